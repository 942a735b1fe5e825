"""The path from pixels to logits shared by training, evaluation, prediction and export.

Shape legend: B batch, T rows, F pixels a row, C people.
"""

from torch import Tensor, nn

from lfw_seq.data.sequences import Layout, Standardize


class Predictor(nn.Module):
    """A net from standardized rows (B, T, F) to logits (B, C), with its preprocessing.

    With a layout as `mirror`, logits are averaged over an image and its horizontal flip outside training.
    """

    def __init__(self, net: nn.Module, standardize: Standardize, pixel_scale: float, mirror: Layout | None) -> None:
        super().__init__()
        self.net, self.standardize, self.pixel_scale, self.mirror = net, standardize, pixel_scale, mirror

    def prepare(self, rows: Tensor) -> Tensor:
        """Scale and standardize rows (B, T, F) in [0, 1]."""
        prepared: Tensor = self.standardize(rows if self.pixel_scale == 1 else rows * self.pixel_scale)
        return prepared

    def logits(self, prepared: Tensor) -> Tensor:
        """Logits (B, C) of prepared rows (B, T, F)."""
        logits: Tensor = self.net(prepared)
        if self.mirror is not None and not self.training:
            logits = (logits + self.net(self.mirror.mirror(prepared))) / 2
        return logits

    def forward(self, rows: Tensor) -> Tensor:
        """Logits (B, C) of rows (B, T, F) in [0, 1]."""
        return self.logits(self.prepare(rows))
