"""A multilayer perceptron on all pixels at once, for comparison with reading row by row.

Shape legend: B batch, T rows, F pixels a row, C people.
"""

from torch import Tensor, nn

from lfw_seq.models.init import Scheme, initialise
from lfw_seq.parts import Layers, Share, Units


class MLP(nn.Module):
    """Hidden layers with ReLU, dropout after each; arguments as of `RecurrentReader`."""

    def __init__(
        self,
        num_features: int,
        num_rows: int,
        num_classes: int,
        hidden_size: Units,
        num_layers: Layers,
        dropout: Share,
        init: Scheme,
    ) -> None:
        super().__init__()
        layers: list[nn.Module] = [nn.Flatten()]
        size = num_rows * num_features
        for _ in range(num_layers):
            layers += [nn.Linear(size, hidden_size), nn.ReLU(), nn.Dropout(dropout)]
            size = hidden_size
        self.layers = nn.Sequential(*layers, nn.Linear(size, num_classes))
        initialise(self, init)

    def forward(self, rows: Tensor) -> Tensor:
        """Logits (B, C) of rows (B, T, F)."""
        logits: Tensor = self.layers(rows)
        return logits
