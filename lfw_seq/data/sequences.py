"""Images as sequences, and back.

Shape legend: N images, H image rows, W pixels a row, T steps of the sequence, F features a step.
"""

import numpy as np
from numpy.typing import NDArray

ORDERS = ("top_down", "bottom_up", "columns")


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
