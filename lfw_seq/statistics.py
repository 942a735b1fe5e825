"""Statistics of repeated runs: pure functions of numbers.

Nadeau & Bengio, "Inference for the Generalization Error", Machine Learning 52 (2003), 239-281: the scores of one model
on many random splits of the same data are not independent, for their training sets overlap. The variance of their mean
is sd² (1/n + n_test/n_train), not sd²/n; with sd²/n a t-test sees differences that are not there.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

LEVEL = 0.95
ROUNDING = 1e-6  # metrics are computed in float32: numbers that differ by less are equal, and tell no spread


@dataclass(frozen=True)
class Interval:
    """Where a mean lies with a probability of `LEVEL`."""

    low: float
    high: float


@dataclass(frozen=True)
class Summary:
    """Some numbers in short.

    Attributes:
        n: how many.
        mean: their mean.
        sd: standard deviation of the sample (n - 1); None for one number.
        min: the least.
        max: the largest.
        interval: Student's for the mean of independent numbers; None for one number or equal ones: they tell no spread.
    """

    n: int
    mean: float
    sd: float | None
    min: float
    max: float
    interval: Interval | None


@dataclass(frozen=True)
class PairedTest:
    """Two models compared on the same splits.

    Attributes:
        n: splits.
        difference: the mean of first less second.
        interval: of the mean difference, corrected.
        t: the corrected statistic, with n - 1 degrees of freedom.
        p: two-sided.
    """

    n: int
    difference: float
    interval: Interval
    t: float
    p: float


def summarise(values: Sequence[float]) -> Summary:
    """Mean, spread and Student's interval of at least one number."""
    n, center, sd = len(values), mean(values), deviation(values)
    return Summary(
        n, center, sd, min(values), max(values), around(center, sd**2 / n, n - 1) if sd and sd > ROUNDING else None
    )


def mean(values: Sequence[float]) -> float:
    """Arithmetic mean of at least one number, rounded once."""
    return math.fsum(values) / len(values)


def deviation(values: Sequence[float]) -> float | None:
    """Standard deviation of a sample (n - 1); None below two numbers."""
    if len(values) < 2:
        return None
    center = mean(values)
    return math.sqrt(math.fsum((value - center) ** 2 for value in values) / (len(values) - 1))


def around(center: float, variance: float, freedom: int) -> Interval:
    """Student's two-sided interval for a mean whose estimate has this variance."""
    from scipy.special import stdtrit

    half = float(stdtrit(freedom, (1 + LEVEL) / 2)) * math.sqrt(variance)
    return Interval(center - half, center + half)


def corrected_interval(values: Sequence[float], test_share: float) -> Interval | None:
    """Nadeau and Bengio's interval for the mean score over random splits; None below two, or for equal scores.

    Args:
        values: one score a split.
        test_share: n_test / n_train.
    """
    sd = deviation(values)
    if sd is None or sd <= ROUNDING:
        return None
    return around(mean(values), sd**2 * (1 / len(values) + test_share), len(values) - 1)


def corrected_test(differences: Sequence[float], test_share: float) -> PairedTest | None:
    """Nadeau and Bengio's corrected resampled t-test, two-sided.

    Args:
        differences: score of the first model less that of the second, one a split.
        test_share: n_test / n_train; 0 gives the plain paired t-test, which is too sure.

    Returns:
        The test; None where it says nothing: below two splits, or the same difference on each.
    """
    from scipy.special import stdtr

    sd = deviation(differences)
    if sd is None or sd <= ROUNDING:
        return None
    n, center = len(differences), mean(differences)
    variance = sd**2 * (1 / n + test_share)
    t = center / math.sqrt(variance)
    return PairedTest(n, center, around(center, variance, n - 1), t, 2 * float(stdtr(n - 1, -abs(t))))


def holm(probabilities: Sequence[float]) -> list[float]:
    """Holm's adjusted p-values: reject those at most alpha, and alpha bounds the chance of any false rejection.

    S. Holm, "A Simple Sequentially Rejective Multiple Test Procedure", Scandinavian Journal of Statistics 6 (1979).
    """
    adjusted, so_far = [0.0] * len(probabilities), 0.0
    order = sorted(range(len(probabilities)), key=probabilities.__getitem__)
    for rank, index in enumerate(order):
        so_far = max(so_far, min(1.0, (len(order) - rank) * probabilities[index]))
        adjusted[index] = so_far
    return adjusted
