"""Readers made of parts: an encoder and a recurrent reader behind it, or two readers side by side.

Shape legend: B batch, T rows, F pixels a row, C people.
"""

from collections.abc import Callable

import torch
from torch import Tensor, nn

MakePart = Callable[..., nn.Module]  # of num_features and num_rows; a reader's of num_classes as well


class EncodedReader(nn.Module):
    """An encoder, then a reader of what it gives.

    Attributes:
        encoder: one of `lfw_seq.models.encoders`.
        reader: a `RecurrentReader`.
    """

    def __init__(self, num_features: int, num_rows: int, num_classes: int, encoder: MakePart, reader: MakePart) -> None:
        super().__init__()
        self.encoder = encoder(num_features=num_features, num_rows=num_rows)
        steps, features = int(self.encoder.num_rows), int(self.encoder.num_features)  # type: ignore[arg-type]
        self.reader = reader(num_features=features, num_rows=steps, num_classes=num_classes)

    @property
    def accepts_fewer_rows(self) -> bool:
        """Whether both parts do."""
        return all(getattr(part, "accepts_fewer_rows", False) for part in (self.encoder, self.reader))

    def forward(self, rows: Tensor) -> Tensor:
        """Logits (B, C) of rows (B, T, F)."""
        logits: Tensor = self.reader(self.encoder(rows))
        return logits


class TwoReaders(nn.Module):
    """One reader of the rows and one of the columns, side by side, whose logits add up.

    ReNet (Visin et al., 2015) sweeps its layers over rows and columns in turn; here each direction has a whole reader.

    Attributes:
        rows: reads (B, T, F).
        columns: reads (B, F, T).
    """

    def __init__(self, num_features: int, num_rows: int, num_classes: int, reader: MakePart) -> None:
        super().__init__()
        self.rows = reader(num_features=num_features, num_rows=num_rows, num_classes=num_classes)
        self.columns = reader(num_features=num_rows, num_rows=num_features, num_classes=num_classes)

    def forward(self, rows: Tensor) -> Tensor:
        """Logits (B, C) of rows (B, T, F)."""
        logits: Tensor = torch.add(self.rows(rows), self.columns(rows.transpose(1, 2)))
        return logits
