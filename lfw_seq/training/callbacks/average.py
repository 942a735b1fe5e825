"""An exponential moving average of the weights."""

from collections.abc import Callable
from typing import Any

from lightning.pytorch.callbacks import WeightAveraging
from torch.optim.swa_utils import get_ema_multi_avg_fn

from lfw_seq.parts import Share


class WeightAverage(WeightAveraging):
    """Validate, keep and test the average of the weights over the optimizer's steps (Polyak and Juditsky, 1992).

    The average follows faster at the start, decay = min(decay, (1 + n) / (10 + n)) at step n, as TensorFlow's.

    Args:
        decay: share of the average that a step leaves, in [0, 1).
    """

    def __init__(self, decay: Share) -> None:
        super().__init__(use_buffers=True, multi_avg_fn=warm_average(decay))


def warm_average(decay: float) -> Callable[[Any, Any, Any], None]:
    """An averaging function for torch's AveragedModel, which copies the weights at step 1."""

    def average(averages: Any, weights: Any, averaged: Any) -> None:
        n = int(averaged) + 1
        get_ema_multi_avg_fn(min(decay, (1 + n) / (10 + n)))(averages, weights, averaged)

    return average
