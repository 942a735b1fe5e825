"""Optimizers, learning-rate schedules and an average of the weights that torch and Lightning lack."""

import math
from collections.abc import Iterable
from typing import Any

from lightning.pytorch.callbacks import WeightAveraging
from torch import nn
from torch.optim import AdamW, Optimizer
from torch.optim.lr_scheduler import LambdaLR
from torch.optim.swa_utils import get_ema_multi_avg_fn

from lfw_seq.parts import NotNegative, Share


def adamw(parameters: Iterable[nn.Parameter], lr: float, weight_decay: NotNegative, fused: bool) -> AdamW:
    """AdamW (Loshchilov and Hutter, 2019) without weight decay of biases and norm gains, which are no matrices."""
    parameters = list(parameters)
    groups = [
        {"params": [p for p in parameters if p.ndim > 1], "weight_decay": weight_decay},
        {"params": [p for p in parameters if p.ndim <= 1], "weight_decay": 0.0},
    ]
    return AdamW([group for group in groups if group["params"]], lr=lr, fused=fused)


def cosine(optimizer: Optimizer, total_steps: int, warmup: Share, final: Share) -> LambdaLR:
    """Half-cosine decay of the optimizer's rate (Loshchilov and Hutter, 2017) after a linear warm-up.

    Args:
        optimizer: at its highest rate.
        total_steps: steps of the whole training.
        warmup: fraction of the steps that rise to the highest rate, in [0, 1).
        final: fraction of the highest rate at the end, in [0, 1).
    """
    rising = round(warmup * total_steps)

    def share(step: int) -> float:
        if step < rising:
            return (step + 1) / rising
        done = (step - rising) / max(1, total_steps - 1 - rising)
        return final + (1 - final) * (1 + math.cos(math.pi * min(1.0, done))) / 2

    return LambdaLR(optimizer, share)


class WeightAverage(WeightAveraging):
    """Validate, save and test an exponential moving average of the weights (Polyak and Juditsky, 1992).

    Its decay at step n is min(decay, (1 + n) / (10 + n)), as in TensorFlow: the start is forgotten faster.

    Args:
        decay: weight of the previous average at each step, in [0, 1).
    """

    def __init__(self, decay: float) -> None:
        def average(averages: Any, weights: Any, averaged: Any) -> None:  # AveragedModel copies the weights at step 1
            if not averages[0].is_floating_point():  # as `model=reordered`'s permutations; one dtype per call
                for old, new in zip(averages, weights, strict=True):
                    old.copy_(new)
                return
            n = int(averaged) + 1
            get_ema_multi_avg_fn(min(decay, (1 + n) / (10 + n)))(averages, weights, averaged)

        super().__init__(use_buffers=True, multi_avg_fn=average)
