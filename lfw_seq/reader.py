"""The whole of what a prediction runs, as one module that knows no training.

Shape legend: B batch, T rows, F pixels a row, C people.
"""

from torch import Tensor, nn

from lfw_seq.data.layout import Layout
from lfw_seq.data.standardize import Standardize


class Reader(nn.Module):
    """A trained net with all that stands between pixels and it; its state has the names of a classifier's.

    Attributes:
        net: standardised rows (B, T, F) to logits (B, C).
        standardize: of the training run.
        pixel_scale: what the pixels are multiplied with first.
        mirror: where the logits are the mean over an image and its mirror: how its pixels lie; else None.
    """

    def __init__(self, net: nn.Module, standardize: Standardize, pixel_scale: float, mirror: Layout | None) -> None:
        super().__init__()
        self.net, self.standardize, self.pixel_scale, self.mirror = net, standardize, pixel_scale, mirror

    def prepare(self, rows: Tensor) -> Tensor:
        """What the net reads, from rows (B, T, F) in [0, 1]."""
        prepared: Tensor = self.standardize(rows if self.pixel_scale == 1 else rows * self.pixel_scale)
        return prepared

    def forward(self, rows: Tensor) -> Tensor:
        """Logits (B, C) of rows (B, T, F) in [0, 1]."""
        return self.read(self.prepare(rows))

    def read(self, rows: Tensor) -> Tensor:
        """Logits (B, C) of rows that are prepared."""
        logits: Tensor = self.net(rows)
        if self.mirror is not None:
            logits = (logits + self.net(self.mirror.mirror(rows))) / 2
        return logits
