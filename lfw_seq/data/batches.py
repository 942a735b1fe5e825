"""Batches of data that fit in memory: tensors on the net's device, indexed once a step.

Shape legend: N images, B batch, T rows, F pixels a row.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, DistributedSampler

Batch = tuple[Tensor, Tensor]


def derive_seed(seed: int, epoch: int) -> int:
    """One seed from two whole numbers from 0, by NumPy's SeedSequence: neighbours give unrelated streams."""
    return int(np.random.SeedSequence([seed, epoch]).generate_state(1)[0])


@lru_cache(maxsize=1)
def shuffled(size: int, seed: int, epoch: int) -> Tensor:
    """The order of an epoch, (size,): a function of seed and epoch alone, so that a resumed run repeats nothing."""
    return torch.randperm(size, generator=torch.Generator().manual_seed(derive_seed(seed, epoch)))


@dataclass(frozen=True)
class BatchDataset(Dataset[Batch]):
    """A dataset whose items are whole batches, (B, T, F) and (B,).

    Attributes:
        rows: (N, T, F).
        labels: (N,).
        batch_size: B; the last batch may be smaller.
        order: gives the order of the current epoch, (N,); None keeps the images as they are.
    """

    rows: Tensor
    labels: Tensor
    batch_size: int
    order: Callable[[], Tensor] | None = None

    def __len__(self) -> int:
        return math.ceil(len(self.labels) / self.batch_size)

    def __getitem__(self, number: int) -> Batch:
        part = slice(number * self.batch_size, (number + 1) * self.batch_size)
        if self.order is None:
            return self.rows[part], self.labels[part]
        images = self.order()[part].to(self.labels.device)
        return self.rows[images], self.labels[images]


def loader(
    rows: Tensor,
    labels: Tensor,
    batch_size: int,
    order: Callable[[], Tensor] | None = None,
    processes: int = 1,
    rank: int = 0,
) -> DataLoader[Batch]:
    """Load every batch, or process `rank`'s share among `processes`; see `BatchDataset` for the other arguments."""
    dataset = BatchDataset(rows, labels, batch_size, order)
    # Lightning would put in one of its own, whose shuffle starts anew in the first epoch after a resume.
    share: DistributedSampler[Batch] = DistributedSampler(dataset, processes, rank, shuffle=False)
    # A DataLoader draws a seed for its workers each epoch: not from torch's global generator, which dropout draws from.
    return DataLoader(dataset, batch_size=None, sampler=share, generator=torch.Generator())
