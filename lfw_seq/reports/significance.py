"""Intervals and tests for scores over random splits of the same data.

Nadeau & Bengio, "Inference for the Generalization Error", Machine Learning 52 (2003), 239-281: training sets of random
splits overlap, so a model's scores are not independent. The variance of their mean is sd² (1/n + n_test/n_train), not
sd²/n; a t-test with sd²/n has too many false positives.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from scipy.special import stdtr, stdtrit

LEVEL = 0.95
ROUNDING = 1e-6  # metrics are computed in float32: a smaller standard deviation is rounding


class Estimate(NamedTuple):
    """The mean of n values, its 95 % interval [low, high], and the two-sided t-test against a mean of 0."""

    n: int
    mean: float
    low: float
    high: float
    t: float
    p: float


def estimate(values: Sequence[float], test_share: float = 0.0) -> Estimate | None:
    """Estimate the mean of one score per split, or of the differences between two models on the same splits.

    Args:
        values: a score or difference for each split.
        test_share: n_test / n_train for the corrected resampled t-test; 0 for Student's t-test of independent values.

    Returns:
        None for fewer than two values, or if all are equal: there is no variance to estimate.
    """
    n, sd = len(values), float(np.std(values, ddof=1)) if len(values) > 1 else 0.0
    if sd <= ROUNDING:
        return None
    mean, error = float(np.mean(values)), sd * (1 / n + test_share) ** 0.5
    half, t = float(stdtrit(n - 1, (1 + LEVEL) / 2)) * error, mean / error
    return Estimate(n, mean, mean - half, mean + half, t, 2 * float(stdtr(n - 1, -abs(t))))


def holm(probabilities: Sequence[float]) -> list[float]:
    """Adjust p-values for multiple tests: rejecting those below alpha bounds the family-wise error rate by alpha.

    S. Holm, "A Simple Sequentially Rejective Multiple Test Procedure", Scandinavian Journal of Statistics 6 (1979).
    """
    order = np.argsort(probabilities, kind="stable")
    adjusted = np.empty(len(order))
    adjusted[order] = np.maximum.accumulate(np.arange(len(order), 0, -1) * np.asarray(probabilities, float)[order])
    return [float(p) for p in adjusted.clip(max=1)]
