"""Optimizers, learning-rate schedules and an average of the weights that torch and Lightning lack."""

import math
from collections.abc import Callable, Iterable
from typing import Any

from lightning.pytorch.callbacks import WeightAveraging
from torch import nn
from torch.optim import AdamW, Optimizer
from torch.optim.lr_scheduler import LambdaLR
from torch.optim.swa_utils import get_ema_multi_avg_fn

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


class WeightAverage(WeightAveraging):
    """Validate, keep and test the average of the weights over the optimizer's steps (Polyak and Juditsky, 1992).

    The average follows faster at the start, decay = min(decay, (1 + n) / (10 + n)) at step n, as TensorFlow's.

    Args:
        decay: share of the average that a step leaves, in [0, 1).
    """

    def __init__(self, decay: float) -> None:
        super().__init__(use_buffers=True, multi_avg_fn=warm_average(decay))


def warm_average(decay: float) -> Callable[[Any, Any, Any], None]:
    """An averaging function for torch's AveragedModel, which copies the weights at step 1."""

    def average(averages: Any, weights: Any, averaged: Any) -> None:
        n = int(averaged) + 1
        get_ema_multi_avg_fn(min(decay, (1 + n) / (10 + n)))(averages, weights, averaged)

    return average
