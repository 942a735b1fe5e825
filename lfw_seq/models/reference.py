"""The LSTM written out equation by equation, to explain and verify `nn.LSTM`; slow, and never trained.

Shape legend: B batch, T rows, F pixels a row, H hidden.
"""

from collections.abc import Iterator
from typing import NamedTuple

import torch
from torch import Tensor, nn


class Gates(NamedTuple):
    """Activations of a cell at one row, each (B, H): gates in (0, 1), the candidate in (-1, 1)."""

    input: Tensor
    forget: Tensor
    candidate: Tensor
    output: Tensor


def update_cell(gates: Gates, cell: Tensor) -> Tensor:
    """Equation 5: forget gate times old cell, plus input gate times candidate, (B, H)."""
    return gates.forget * cell + gates.input * gates.candidate


def read_cell(gates: Gates, cell: Tensor) -> Tensor:
    """Equation 6: the hidden state, output gate times tanh of the cell, (B, H)."""
    return gates.output * torch.tanh(cell)


class ReferenceLSTM:
    """One layer and direction with the weights of an `nn.LSTM`.

    The equations are those of Hochreiter and Schmidhuber (1997) with the forget gate of Gers et al. (2000).
    """

    def __init__(self, lstm: nn.LSTM) -> None:
        # stacked in the order input, forget, candidate, output: four times (H, F) and (H, H)
        w, u, b_w, b_u = lstm.all_weights[0]
        self.w_i, self.w_f, self.w_g, self.w_o = w.chunk(4)
        self.u_i, self.u_f, self.u_g, self.u_o = u.chunk(4)
        self.b_i, self.b_f, self.b_g, self.b_o = (b_w + b_u).chunk(4)

    def gates(self, x: Tensor, h: Tensor) -> Gates:
        """Equations 1 to 4, from a row (B, F) and the previous hidden state (B, H)."""
        return Gates(
            input=torch.sigmoid(x @ self.w_i.T + h @ self.u_i.T + self.b_i),
            forget=torch.sigmoid(x @ self.w_f.T + h @ self.u_f.T + self.b_f),
            candidate=torch.tanh(x @ self.w_g.T + h @ self.u_g.T + self.b_g),
            output=torch.sigmoid(x @ self.w_o.T + h @ self.u_o.T + self.b_o),
        )

    def steps(self, rows: Tensor) -> Iterator[tuple[Gates, Tensor, Tensor]]:
        """The gates, the cell (B, H) and the hidden state (B, H) after each of the rows (B, T, F)."""
        h = cell = rows.new_zeros(len(rows), len(self.u_i))
        for x in rows.unbind(dim=1):
            gates = self.gates(x, h)
            cell = update_cell(gates, cell)
            h = read_cell(gates, cell)
            yield gates, cell, h

    def __call__(self, rows: Tensor) -> tuple[Tensor, Tensor]:
        """Return the hidden states (B, T, H) and the last cell (B, H) of rows (B, T, F)."""
        _, cells, states = zip(*self.steps(rows), strict=True)
        return torch.stack(states, dim=1), cells[-1]
