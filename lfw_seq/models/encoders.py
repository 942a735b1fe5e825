"""Encoders of rows as steps for a recurrent reader, `(B, T, F) -> (B, S, E)`.

Shape legend: B batch, T rows, F pixels a row, S steps, E features a step, K filters. Each encoder has S as
`num_rows` and E as `num_features`, the input shape of the reader.
"""

from itertools import pairwise
from typing import Literal

import torch
from torch import Tensor, nn

from lfw_seq.cli import UsageError
from lfw_seq.parts import Count, Layers, Natural, Odd, Share, Units


class RowWindows(nn.Module):
    """Sliding windows of `window` neighbouring rows with `stride`, zero-padded at the edges."""

    accepts_fewer_rows = True

    def __init__(self, num_features: int, num_rows: int, window: Odd, stride: Count) -> None:
        super().__init__()
        self.window, self.stride = window, stride
        self.num_features, self.num_rows = num_features * window, -(-num_rows // stride)

    def forward(self, rows: Tensor) -> Tensor:
        """(B, T, F) -> (B, S, E)."""
        padded = nn.functional.pad(rows, (0, 0, self.window // 2, self.window // 2))  # (B, T + window - 1, F)
        end = padded.shape[1] - self.window + 1  # T; slices, as ONNX has no unfold
        return torch.cat([padded[:, k : k + end : self.stride] for k in range(self.window)], dim=2)


class Reorder(nn.Module):
    """Fixed permutation of rows, and of pixels within rows: the loss of accuracy measures the value of the order.

    Args:
        num_features: E, which is F.
        num_rows: S, which is T.
        rows: whether to permute the rows.
        pixels: "kept", "alike" (one permutation for all rows) or "each" (one per row).
        seed: of the permutations.
    """

    def __init__(
        self, num_features: int, num_rows: int, rows: bool, pixels: Literal["kept", "alike", "each"], seed: Natural
    ) -> None:
        super().__init__()
        self.num_features, self.num_rows = num_features, num_rows
        self.row_order: Tensor
        self.pixel_order: Tensor
        self.register_buffer("row_order", torch.arange(num_rows))
        self.register_buffer("pixel_order", torch.arange(num_features).repeat(num_rows, 1))  # (T, F)
        if self.row_order.is_meta:  # built for its shapes only
            return
        generator = torch.Generator().manual_seed(seed)
        order = torch.randperm(num_rows, generator=generator)
        orders = torch.stack([torch.randperm(num_features, generator=generator) for _ in range(num_rows)])  # (T, F)
        if rows:
            self.row_order.copy_(order)
        if pixels != "kept":
            self.pixel_order.copy_(orders if pixels == "each" else orders[:1].expand(num_rows, -1))

    def forward(self, rows: Tensor) -> Tensor:
        """(B, T, F) -> (B, T, F)."""
        order = self.pixel_order.expand(rows.shape[0], -1, -1)  # len(rows) is a constant in ONNX export
        return rows.gather(2, order)[:, self.row_order]


class RowConvolution(nn.Module):
    """`convolutions` along each row, with weights shared by all rows and no mixing of rows."""

    accepts_fewer_rows = True

    def __init__(self, num_features: int, num_rows: int, channels: list[Units], kernel: Odd, dropout: Share) -> None:
        super().__init__()
        self.layers, self.dropout = convolutions(nn.Conv1d, channels, kernel), nn.Dropout(dropout)
        self.num_features, self.num_rows = channels[-1] * pooled(num_features, channels), num_rows

    def forward(self, rows: Tensor) -> Tensor:
        """(B, T, F) -> (B, S, E)."""
        encoded = self.layers(rows.reshape(-1, 1, rows.shape[2]))  # (B T, K, E / K)
        dropped: Tensor = self.dropout(encoded.reshape(*rows.shape[:2], -1))
        return dropped


class WindowConvolution(nn.Module):
    """`convolutions` over windows of rows and pixels, so that a step covers a few rows."""

    accepts_fewer_rows = True

    def __init__(self, num_features: int, num_rows: int, channels: list[Units], kernel: Odd, dropout: Share) -> None:
        super().__init__()
        self.layers, self.dropout = convolutions(nn.Conv2d, channels, kernel), nn.Dropout(dropout)
        self.num_features, self.num_rows = channels[-1] * pooled(num_features, channels), pooled(num_rows, channels)

    def forward(self, rows: Tensor) -> Tensor:
        """(B, T, F) -> (B, S, E)."""
        encoded = self.layers(as_image(rows))  # (B, K, S, E / K)
        dropped: Tensor = self.dropout(encoded.transpose(1, 2).flatten(2))
        return dropped


class ResidualStack(nn.Module):
    """LSTM layers with residual connections (He et al., 2016), each after a layer norm (Ba et al., 2016)."""

    accepts_fewer_rows = True

    def __init__(
        self,
        num_features: int,
        num_rows: int,
        hidden_size: Units,
        num_layers: Layers,
        dropout: Share,
        bidirectional: bool,
    ) -> None:
        super().__init__()
        width = hidden_size * (2 if bidirectional else 1)
        self.enter = nn.Linear(num_features, width)
        self.norms = nn.ModuleList(nn.LayerNorm(width) for _ in range(num_layers))
        self.layers = nn.ModuleList(
            nn.LSTM(width, hidden_size, batch_first=True, bidirectional=bidirectional) for _ in range(num_layers)
        )
        self.leave, self.dropout = nn.LayerNorm(width), nn.Dropout(dropout)
        self.num_features, self.num_rows = width, num_rows

    def forward(self, rows: Tensor) -> Tensor:
        """(B, T, F) -> (B, S, E)."""
        states = self.enter(rows)  # (B, T, E)
        for norm, layer in zip(self.norms, self.layers, strict=True):
            states = states + self.dropout(layer(norm(states))[0])
        normalized: Tensor = self.leave(states)
        return normalized


def convolutions(kind: type[nn.Conv1d | nn.Conv2d], channels: list[int], kernel: int) -> nn.Sequential:
    """Blocks of convolution, batch norm, pooling by two and ReLU, from one channel to `channels[-1]`.

    Raises:
        UsageError: not one to eight channels.
    """
    if not channels or len(channels) > 8:
        raise UsageError(f"channels={channels}: expected one to eight whole numbers")
    norm, pool = (nn.BatchNorm1d, nn.MaxPool1d) if kind is nn.Conv1d else (nn.BatchNorm2d, nn.MaxPool2d)
    layers: list[nn.Module] = []
    for before, after in pairwise([1, *channels]):
        layers += [kind(before, after, kernel, padding=kernel // 2, bias=False), norm(after)]
        layers += [pool(2, ceil_mode=True), nn.ReLU()]  # equal to ReLU before pooling, on a quarter of the values
    return nn.Sequential(*layers)


def as_image(rows: Tensor) -> Tensor:
    """(B, T, F) -> (B, 1, T, F) in channels-last memory format, which later layers keep and compute faster."""
    return rows[..., None].permute(0, 3, 1, 2)


def pooled(size: int, channels: list[int]) -> int:
    """Length after `convolutions`: halved, rounded up, once per layer."""
    return -(-size // (1 << len(channels)))
