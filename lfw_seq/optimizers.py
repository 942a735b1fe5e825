"""Optimizers that torch has, with the choices it leaves to its users."""

from collections.abc import Iterable

from torch import nn
from torch.optim import AdamW


def adamw(parameters: Iterable[nn.Parameter], lr: float, weight_decay: float, fused: bool) -> AdamW:
    """AdamW (Loshchilov and Hutter, 2019) whose decay spares biases and the gains of norms: all that is no matrix."""
    known = list(parameters)
    groups = [
        {"params": [p for p in known if p.ndim > 1], "weight_decay": weight_decay},
        {"params": [p for p in known if p.ndim <= 1], "weight_decay": 0.0},
    ]
    return AdamW([group for group in groups if group["params"]], lr=lr, fused=fused)
