"""Batches of data that fit in memory: each step indexes tensors on the model's device.

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
    """Derive a seed from two non-negative ints with NumPy's SeedSequence; similar pairs give independent streams."""
    return int(np.random.SeedSequence([seed, epoch]).generate_state(1)[0])


@lru_cache(maxsize=1)
def shuffled(size: int, seed: int, epoch: int) -> Tensor:
    """Permutation of an epoch, (size,), from seed and epoch alone, so that a resumed run continues the same order."""
    return torch.randperm(size, generator=torch.Generator().manual_seed(derive_seed(seed, epoch)))


@dataclass(frozen=True)
class BatchDataset(Dataset[Batch]):
    """A dataset whose items are whole batches, (B, T, F) and (B,)."""

    rows: Tensor  # (N, T, F)
    labels: Tensor  # (N,)
    batch_size: int  # B; the last batch may be smaller
    order: Callable[[], Tensor] | None = None  # returns the current epoch's permutation, (N,)

    def __len__(self) -> int:
        return math.ceil(len(self.labels) / self.batch_size)

    def __getitem__(self, index: int) -> Batch:
        part = slice(index * self.batch_size, (index + 1) * self.batch_size)
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
    """DataLoader of all batches, or of those of process `rank` of `processes`; other arguments as in `BatchDataset`."""
    dataset = BatchDataset(rows, labels, batch_size, order)
    # Lightning would insert its own sampler, which shuffles anew in the first epoch after a resume.
    sampler: DistributedSampler[Batch] = DistributedSampler(dataset, processes, rank, shuffle=False)
    # A DataLoader draws a worker seed each epoch; from the global generator, this would change what dropout draws.
    return DataLoader(dataset, batch_size=None, sampler=sampler, generator=torch.Generator())
