"""From a photo to the rows that a trained net reads; stored in its checkpoint.

Shape legend: N images, T rows, F pixels a row.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import numpy as np
from numpy.typing import NDArray

from lfw_seq.data.images import check_crop, read_image
from lfw_seq.data.sequences import Layout, Order, sequences
from lfw_seq.parts import Bounds

Side = Annotated[int, Bounds(1, 2**16)]


@dataclass(frozen=True)
class Preprocessing:
    """Conversion of a photo to rows; fields as of `lfw_seq.data.folder.Folder`."""

    crop: list[float] | None
    height: Side
    width: Side
    color: bool
    order: Order  # of reading, see `lfw_seq.data.sequences`

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
        colors = 3 if self.color else 1
        if self.order == "columns":
            return self.width, self.height * colors
        return self.height, self.width * colors

    def rows(self, images: NDArray[np.float32]) -> NDArray[np.float32]:
        """Convert images (N, height, width[, 3]) in [0, 1] to rows (N, T, F)."""
        return sequences(images, self.order)
