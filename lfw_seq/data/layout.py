"""Where the pixels of an image lie in its sequence.

Shape legend: B batch, C colours, H image rows, W pixels a row, T steps of the sequence, F features a step.
"""

from dataclasses import dataclass

from torch import Tensor


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
