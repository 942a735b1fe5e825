"""Batches of data that fit in memory: one tensor, indexed, on the device of the net; no workers, no collation.

Shape legend: N images, B batch, T rows, F pixels a row.
"""

from collections.abc import Callable, Iterator

import numpy as np
import torch
from torch import Tensor


class Batches:
    """An iterable over (x, y) batches.

    Attributes:
        rows: (N, T, F).
        labels: (N,).
        batch_size: B; the last batch may be smaller.
        order: gives the order of an epoch, (N,); None keeps the images as they are.
        rank, world: which of how many processes this is. They share the images of every batch, so that a step takes
            `batch_size` images in all, some twice where they do not divide; without an order, all images, in one piece.
    """

    def __init__(
        self,
        rows: Tensor,
        labels: Tensor,
        batch_size: int,
        order: Callable[[], Tensor] | None = None,
        rank: int = 0,
        world: int = 1,
    ) -> None:
        if order is None:
            rows, labels = rows.tensor_split(world)[rank], labels.tensor_split(world)[rank]
        self.rows, self.labels, self.batch_size, self.order = rows, labels, batch_size, order
        self.rank, self.world = rank, world

    def __len__(self) -> int:
        return -(-len(self.labels) // self.batch_size)

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        if self.order is None:
            yield from zip(self.rows.split(self.batch_size), self.labels.split(self.batch_size), strict=True)
        else:
            for part in self.order().to(self.labels.device).split(self.batch_size):
                part = share(part, self.rank, self.world)
                yield self.rows[part], self.labels[part]


def share(part: Tensor, rank: int, world: int) -> Tensor:
    """A process's share (ceil(B / world),) of a batch (B,): as many for each, the first ones again at the end."""
    return part if world == 1 else part.repeat(world)[rank : -(-len(part) // world) * world : world]


def mix(seed: int, epoch: int) -> int:
    """One seed from two whole numbers from 0, by NumPy's SeedSequence: neighbours give unrelated streams."""
    return int(np.random.SeedSequence([seed, epoch]).generate_state(1)[0])


def shuffled(size: int, seed: int, epoch: int) -> Tensor:
    """The order of an epoch, (size,): a function of seed and epoch alone, so that a resumed run repeats nothing."""
    return torch.randperm(size, generator=torch.Generator().manual_seed(mix(seed, epoch)))
