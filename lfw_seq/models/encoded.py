"""Composed models: an encoder before a recurrent reader, or two parallel readers.

Shape legend: B batch, T rows, F pixels a row, C people.
"""

from collections.abc import Callable

import torch
from torch import Tensor, nn

MakePart = Callable[..., nn.Module]  # called with num_features and num_rows, and for a reader num_classes


class EncodedReader(nn.Module):
    """An encoder of `lfw_seq.models.encoders`, then a reader of its output, such as `RecurrentReader`."""

    def __init__(self, num_features: int, num_rows: int, num_classes: int, encoder: MakePart, reader: MakePart) -> None:
        super().__init__()
        self.encoder = encoder(num_features=num_features, num_rows=num_rows)
        steps, features = int(self.encoder.num_rows), int(self.encoder.num_features)  # type: ignore[arg-type]
        self.reader = reader(num_features=features, num_rows=steps, num_classes=num_classes)

    @property
    def accepts_fewer_rows(self) -> bool:
        """Whether encoder and reader accept sequences with fewer rows."""
        return all(getattr(part, "accepts_fewer_rows", False) for part in (self.encoder, self.reader))

    def forward(self, rows: Tensor) -> Tensor:
        """Logits (B, C) of rows (B, T, F)."""
        logits: Tensor = self.reader(self.encoder(rows))
        return logits


class TwoReaders(nn.Module):
    """Two parallel readers, of rows and of columns; their logits are summed.

    ReNet (Visin et al., 2015) alternates rows and columns layer by layer; here each direction is a whole reader.
    """

    def __init__(self, num_features: int, num_rows: int, num_classes: int, reader: MakePart) -> None:
        super().__init__()
        self.rows = reader(num_features=num_features, num_rows=num_rows, num_classes=num_classes)
        self.columns = reader(num_features=num_rows, num_rows=num_features, num_classes=num_classes)

    def forward(self, rows: Tensor) -> Tensor:
        """Logits (B, C) of rows (B, T, F)."""
        return torch.add(self.rows(rows), self.columns(rows.transpose(1, 2)))
