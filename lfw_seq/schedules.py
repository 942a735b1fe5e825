"""Learning rates as a function of the step."""

import math

from torch.optim import Optimizer
from torch.optim.lr_scheduler import LambdaLR

from lfw_seq.errors import check_real


def cosine(optimizer: Optimizer, total_steps: int, warmup: float, final: float) -> LambdaLR:
    """Half a cosine from the optimizer's rate down (Loshchilov and Hutter, 2017), after a linear warm-up.

    Args:
        optimizer: at its highest rate.
        total_steps: steps of the whole training.
        warmup: share of the steps that rise to the highest rate, in [0, 1).
        final: share of the highest rate at the end, in [0, 1).
    """
    check_real("schedule.warmup", warmup, 0, 1)
    check_real("schedule.final", final, 0, 1)
    rising = round(warmup * total_steps)

    def share(step: int) -> float:
        if step < rising:
            return (step + 1) / rising
        done = (step - rising) / max(1, total_steps - 1 - rising)
        return final + (1 - final) * (1 + math.cos(math.pi * min(1.0, done))) / 2

    return LambdaLR(optimizer, share)
