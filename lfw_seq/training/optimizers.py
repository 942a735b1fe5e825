"""Optimizers and learning-rate schedules that torch lacks."""

import math
from collections.abc import Iterable

from torch import nn
from torch.optim import AdamW, Optimizer
from torch.optim.lr_scheduler import LambdaLR

from lfw_seq.parts import NotNegative, Share


def adamw(parameters: Iterable[nn.Parameter], lr: float, weight_decay: NotNegative, fused: bool) -> AdamW:
    """AdamW (Loshchilov and Hutter, 2019) whose decay spares biases and the gains of norms: all that is no matrix."""
    known = list(parameters)
    groups = [
        {"params": [p for p in known if p.ndim > 1], "weight_decay": weight_decay},
        {"params": [p for p in known if p.ndim <= 1], "weight_decay": 0.0},
    ]
    return AdamW([group for group in groups if group["params"]], lr=lr, fused=fused)


def cosine(optimizer: Optimizer, total_steps: int, warmup: Share, final: Share) -> LambdaLR:
    """Half a cosine from the optimizer's rate down (Loshchilov and Hutter, 2017), after a linear warm-up.

    Args:
        optimizer: at its highest rate.
        total_steps: steps of the whole training.
        warmup: share of the steps that rise to the highest rate, in [0, 1).
        final: share of the highest rate at the end, in [0, 1).
    """
    rising = round(warmup * total_steps)

    def share(step: int) -> float:
        if step < rising:
            return (step + 1) / rising
        done = (step - rising) / max(1, total_steps - 1 - rising)
        return final + (1 - final) * (1 + math.cos(math.pi * min(1.0, done))) / 2

    return LambdaLR(optimizer, share)
