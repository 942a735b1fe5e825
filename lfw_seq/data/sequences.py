"""From a photo to the sequence of rows that a net reads, and back; standardization of sequences.

Shape legend: N images, B batch, C colours, H image rows, W pixels a row, T steps of the sequence, F features a step.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from lfw_seq.data.images import check_crop, read_image
from lfw_seq.parts import Bounds

Side = Annotated[int, Bounds(1, 2**16)]  # of an image, in pixels
Order = Literal["top_down", "bottom_up", "columns"]
PixelScale = Annotated[float, Bounds(0, 256, "neither")]  # factor of pixels in [0, 1]
Mode = Literal["none", "image", "pixel"]
LEAST = 1e-6  # least deviation: a blank image becomes 0; pixels divided by 255 twice have about 1e-3


def sequences(images: NDArray[np.float32], order: str) -> NDArray[np.float32]:
    """Convert images to sequences.

    Args:
        images: (N, H, W), or (N, H, W, 3).
        order: "top_down" or "bottom_up" for rows, "columns" for columns from the left.

    Returns:
        (N, T, F): T is H, or W for columns; F is the other side times the colours.
    """
    turned = np.ascontiguousarray(_turn(images, order))
    return turned.reshape(*turned.shape[:2], -1)


def pictures(rows: NDArray[np.float32], order: str, color: bool) -> NDArray[np.float32]:
    """Convert sequences (N, T, F) to images (N, H, W) or (N, H, W, 3): the inverse of `sequences`."""
    return _turn(rows.reshape(*rows.shape[:2], -1, 3) if color else rows, order)


def _turn(images: NDArray[np.float32], order: str) -> NDArray[np.float32]:
    if order == "bottom_up":
        return images[:, ::-1]
    return images.swapaxes(1, 2) if order == "columns" else images


@dataclass(frozen=True)
class Layout:
    """Conversion between sequences and images as tensors.

    With order "bottom_up" images are upside down, which makes no difference to `Augment`.
    """

    columns: bool  # whether a step is a column, from the left; else it is a row
    colours: int  # values per pixel, 1 or 3

    def images(self, rows: Tensor) -> Tensor:
        """(B, T, F) -> (B, C, H, W), without a copy."""
        pixels: Tensor = rows.unflatten(2, (-1, self.colours))  # (B, T, F / C, C)
        return pixels.permute(0, 3, 2, 1) if self.columns else pixels.permute(0, 3, 1, 2)

    def rows(self, images: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, T, F)."""
        pixels = images.permute(0, 3, 2, 1) if self.columns else images.permute(0, 2, 3, 1)  # (B, T, F / C, C)
        return pixels.flatten(2)

    def mirror(self, rows: Tensor) -> Tensor:
        """Flip every image of rows (B, T, F) horizontally."""
        return self.rows(self.images(rows).flip(3))


@dataclass(frozen=True)
class Preprocessing:
    """Conversion of a photo to rows, stored in checkpoints; fields as of `lfw_seq.data.folder.Folder`."""

    crop: list[float] | None
    height: Side
    width: Side
    color: bool
    order: Order

    def __post_init__(self) -> None:
        check_crop(self.crop)

    def image(self, path: Path) -> NDArray[np.float32]:
        """Decode a photo: float32 in [0, 1], (height, width) or (height, width, 3).

        Raises:
            UsageError: not a readable image.
        """
        return read_image(path, self.crop, self.height, self.width, self.color)

    @property
    def layout(self) -> Layout:
        """Positions of an image's pixels in its sequence."""
        return Layout(self.order == "columns", 3 if self.color else 1)

    @property
    def shape(self) -> tuple[int, int]:
        """Steps T and features F of an image's rows."""
        if self.order == "columns":
            return self.width, self.height * self.layout.colours
        return self.height, self.width * self.layout.colours

    def rows(self, images: NDArray[np.float32]) -> NDArray[np.float32]:
        """Convert images (N, height, width[, 3]) in [0, 1] to rows (N, T, F)."""
        return sequences(images, self.order)


class Standardize(nn.Module):
    """Standardization of rows, the first step of a `Predictor`.

    Args:
        mode: "none" for none; "image" by the mean and standard deviation of each image; "pixel" by those of each pixel
            over the training images, set by `fit` and saved in the state dict.
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
        """Set mean and standard deviation to those of the training images (N, T, F); only in mode "pixel"."""
        if self.mode == "pixel":
            self.mean.copy_(rows.mean(dim=0))
            self.deviation.copy_(rows.std(dim=0, correction=0).clamp(min=LEAST))

    def forward(self, rows: Tensor) -> Tensor:
        """(B, T, F) -> (B, T, F)."""
        if self.mode == "image":
            deviation, mean = torch.std_mean(rows, dim=(1, 2), correction=0, keepdim=True)  # (B, 1, 1)
            standardized = (rows - mean) / deviation.clamp(min=LEAST)
            return standardized.where(deviation > LEAST, 0.0)  # a mean that is rounded otherwise would be divided too
        if self.mode == "pixel":
            return (rows - self.mean) / self.deviation
        return rows
