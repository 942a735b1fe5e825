"""Pixels with mean zero and deviation one: the first thing a classifier does to its rows.

Shape legend: B batch, N images, T rows, F pixels a row.
"""

from typing import Literal

import torch
from torch import Tensor, nn

Mode = Literal["none", "image", "pixel"]
LEAST = 1e-6  # of a deviation: a blank image stays blank; far under that of pixels divided by 255 twice, about 1e-3


class Standardize(nn.Module):
    """Standardises rows.

    Attributes:
        mode: "none" changes nothing; "image" takes each image's own mean and deviation; "pixel" each pixel's over the
            training images, which `fit` sets and the state keeps.
        num_rows: T.
        num_features: F.
    """

    mean: Tensor
    deviation: Tensor

    def __init__(self, mode: Mode, num_rows: int, num_features: int) -> None:
        super().__init__()
        self.mode = mode
        if mode == "pixel":
            self.register_buffer("mean", torch.zeros(num_rows, num_features))
            self.register_buffer("deviation", torch.ones(num_rows, num_features))

    def fit(self, rows: Tensor) -> None:
        """Learn from the training images (N, T, F)."""
        if self.mode == "pixel":
            self.mean.copy_(rows.mean(dim=0))
            self.deviation.copy_(rows.std(dim=0, correction=0).clamp(min=LEAST))

    def forward(self, rows: Tensor) -> Tensor:
        """(B, T, F) -> (B, T, F)."""
        if self.mode == "image":
            deviation, mean = torch.std_mean(rows, dim=(1, 2), correction=0, keepdim=True)  # (B, 1, 1)
            return (rows - mean) / deviation.clamp(min=LEAST)
        if self.mode == "pixel":
            return (rows - self.mean) / self.deviation
        return rows
