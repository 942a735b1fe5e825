"""The lab's model: recurrent layers over rows with dropout, then one linear layer.

Shape legend: B batch, T rows, F pixels a row, D = hidden size x directions, C people.
"""

from functools import cache
from typing import Annotated, Any, Literal

import torch
from torch import Tensor, nn
from torch.nn.functional import pad

from lfw_seq.models.init import Scheme, initialise
from lfw_seq.parts import Bounds, Share, Units


@cache
def bf16_error() -> str:
    """Why this CPU cannot train an LSTM under bf16 autocast, which oneDNN refuses without AVX-512; empty if it can."""
    try:
        with torch.random.fork_rng(devices=[]), torch.inference_mode(False), torch.autocast("cpu", torch.bfloat16):
            nn.LSTM(2, 2)(torch.zeros(1, 1, 2))[0].sum().backward()
    except RuntimeError as error:  # "could not create a primitive descriptor"
        return str(error).split(". ")[0]
    return ""


class LSTM(nn.LSTM):
    """One layer of `nn.LSTM` that pads an odd number of features with a zero under bf16 autocast on a CPU.

    oneDNN's AMX kernels need an even number of features. Parameters, state and float32 results are those of `nn.LSTM`.
    """

    def forward(self, rows: Tensor, hx: Any = None) -> tuple[Tensor, tuple[Tensor, Tensor]]:  # type: ignore[override]
        """(B, T, F) -> (B, T, D), and the last hidden and cell states."""
        if rows.shape[2] % 2 == 0 or rows.device.type != "cpu" or not torch.is_autocast_enabled("cpu"):
            result: tuple[Tensor, tuple[Tensor, Tensor]] = super().forward(rows, hx)
            return result
        weights = [pad(p, (0, 1)) if name.startswith("weight_ih") else p for name, p in self.named_parameters()]
        zeros = rows.new_zeros(2 if self.bidirectional else 1, len(rows), self.hidden_size)
        settings = (True, 1, 0.0, self.training, self.bidirectional, True)  # biases, layers, dropout, ..., batch first
        states, hidden, cell = torch.lstm(pad(rows, (0, 1)), hx or (zeros, zeros), weights, *settings)
        return states, (hidden, cell)


class RowsConvolution(nn.Module):
    """Non-recurrent replacement of a recurrent layer for ablation: a convolution over three rows, and tanh."""

    def __init__(self, input_size: int, hidden_size: int, batch_first: bool, bidirectional: bool) -> None:
        super().__init__()
        self.convolution = nn.Conv1d(input_size, hidden_size * (2 if bidirectional else 1), kernel_size=3, padding=1)

    def forward(self, rows: Tensor) -> tuple[Tensor, None]:
        """(B, T, F) -> (B, T, D), and no last state."""
        return self.convolution(rows.transpose(1, 2)).transpose(1, 2).tanh(), None


CELLS = {"lstm": LSTM, "gru": nn.GRU, "rnn": nn.RNN, "conv": RowsConvolution}
Cell = Literal["lstm", "gru", "rnn", "conv"]
Pooling = Literal["last", "mean", "max", "attention"]


class RecurrentReader(nn.Module):
    """Recurrent layers over a sequence of rows, with a linear head.

    Single layers with dropout between them equal `nn.LSTM(num_layers=2, dropout=p)`, and are reproducible on CUDA,
    where that one is not (pytorch#90168).

    Args:
        num_features: F.
        num_rows: T; other lengths are accepted too.
        num_classes: C.
        cell: "lstm", "gru", "rnn" (tanh), or "conv", which is not recurrent.
        hidden_size: units per layer and direction.
        num_layers: number of layers; 0 pools the raw rows.
        dropout: between layers and before the head, in [0, 1).
        bidirectional: add a direction from the last row to the first.
        pooling: of the last layer's states over rows: "last" of each direction, "mean", "max" or "attention" (a learned
            softmax over rows).
        init: "torch" or "keras", see `initialise`.
    """

    accepts_fewer_rows = True

    def __init__(
        self,
        num_features: int,
        num_rows: int,
        num_classes: int,
        cell: Cell,
        hidden_size: Units,
        num_layers: Annotated[int, Bounds(0, 1000)],
        dropout: Share,
        bidirectional: bool,
        pooling: Pooling,
        init: Scheme,
    ) -> None:
        super().__init__()
        width = hidden_size * (2 if bidirectional else 1)
        sizes = [num_features, *[width] * num_layers]
        self.layers = nn.ModuleList(
            CELLS[cell](size, hidden_size, batch_first=True, bidirectional=bidirectional) for size in sizes[:-1]
        )
        self.dropout, width = nn.Dropout(dropout), sizes[-1]
        self.scores = nn.Linear(width, 1) if pooling == "attention" else None
        self.head = nn.Linear(width, num_classes)
        self.hidden_size, self.bidirectional, self.pooling = hidden_size, bidirectional and num_layers > 0, pooling
        initialise(self, init)

    def forward(self, rows: Tensor) -> Tensor:
        """Logits (B, C) of rows (B, T, F)."""
        states = rows
        for index, layer in enumerate(self.layers):
            states, _ = layer(self.dropout(states) if index else states)  # (B, T, D)
        logits: Tensor = self.head(self.dropout(self._pool(states)))
        return logits

    def _pool(self, states: Tensor) -> Tensor:
        """(B, T, D) -> (B, D)."""
        if self.pooling == "mean":
            return states.mean(dim=1)
        if self.pooling == "max":
            return states.amax(dim=1)
        if self.scores is not None:
            weights: Tensor = self.scores(states).softmax(dim=1)  # (B, T, 1)
            return (weights * states).sum(dim=1)
        if self.bidirectional:
            return torch.cat([states[:, -1, : self.hidden_size], states[:, 0, self.hidden_size :]], dim=1)
        return states[:, -1]
