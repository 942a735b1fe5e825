"""A small CNN on the whole image, the lab's "next step".

Shape legend: B batch, T rows, F pixels a row, K filters, C people.
"""

from torch import Tensor, nn

from lfw_seq.models.encoders import as_image, convolutions, pooled
from lfw_seq.parts import Odd, Share, Units


class CNN(nn.Module):
    """Blocks of convolution, batch norm, pooling by two and ReLU, then one linear layer.

    Args:
        num_features: F.
        num_rows: T.
        num_classes: C.
        channels: filters of each convolution.
        kernel: side of a filter, odd.
        dropout: before the linear layer, in [0, 1).
    """

    def __init__(
        self, num_features: int, num_rows: int, num_classes: int, channels: list[Units], kernel: Odd, dropout: Share
    ) -> None:
        super().__init__()
        self.layers, self.dropout = convolutions(nn.Conv2d, channels, kernel), nn.Dropout(dropout)
        self.head = nn.Linear(channels[-1] * pooled(num_features, channels) * pooled(num_rows, channels), num_classes)

    def forward(self, rows: Tensor) -> Tensor:
        """Logits (B, C) of rows (B, T, F)."""
        features = self.layers(as_image(rows)).flatten(1)  # (B, K T' F')
        logits: Tensor = self.head(self.dropout(features))
        return logits
