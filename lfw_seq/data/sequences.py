"""Images as sequences, and back.

Shape legend: N images, B batch, C colours, H image rows, W pixels a row, T steps of the sequence, F features a step.
"""

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

Order = Literal["top_down", "bottom_up", "columns"]


def sequences(images: NDArray[np.float32], order: str) -> NDArray[np.float32]:
    """Images as sequences.

    Args:
        images: (N, H, W), or (N, H, W, 3).
        order: "top_down" or "bottom_up" read rows, "columns" reads columns from the left.

    Returns:
        (N, T, F): T is H, or W for columns; F is the rest.
    """
    turned = np.ascontiguousarray(_turn(images, order))
    return turned.reshape(*turned.shape[:2], -1)


def pictures(rows: NDArray[np.float32], order: str, color: bool) -> NDArray[np.float32]:
    """Sequences (N, T, F) as the images they were read from: the inverse of `sequences`."""
    return _turn(rows.reshape(*rows.shape[:2], -1, 3) if color else rows, order)


def _turn(images: NDArray[np.float32], order: str) -> NDArray[np.float32]:
    if order == "bottom_up":
        return images[:, ::-1]
    return images.swapaxes(1, 2) if order == "columns" else images


@dataclass(frozen=True)
class Layout:
    """From sequences to images and back.

    Attributes:
        columns: whether a step is a column, from the left; else it is a row. Read from the bottom up, the image stays
            upside down: what `Augment` does to images is the same either way up.
        colours: values a pixel, 1 or 3.
    """

    columns: bool
    colours: int

    def images(self, rows: Tensor) -> Tensor:
        """(B, T, F) -> (B, C, H, W), without a copy."""
        pixels: Tensor = rows.unflatten(2, (-1, self.colours))  # (B, T, F / C, C)
        return pixels.permute(0, 3, 2, 1) if self.columns else pixels.permute(0, 3, 1, 2)

    def rows(self, images: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, T, F)."""
        pixels = images.permute(0, 3, 2, 1) if self.columns else images.permute(0, 2, 3, 1)  # (B, T, F / C, C)
        return pixels.flatten(2)

    def mirror(self, rows: Tensor) -> Tensor:
        """Swap the left and the right of every image of (B, T, F)."""
        return self.rows(self.images(rows).flip(3))
