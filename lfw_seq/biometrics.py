"""How well faces are recognised, in the terms of ISO/IEC 19795-1 and NIST's FRTE, from probabilities alone.

A comparison is accepted when its score reaches the threshold (score >= threshold). Shape legend: N images, C people.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize_scalar
from scipy.special import log_softmax
from scipy.stats import binomtest, rankdata

Floats = NDArray[np.float64]
Ids = NDArray[np.int64]

CONFIDENCE = 0.95
LEAST = 1e-12  # of a probability under a logarithm
TEMPERATURES = (0.01, 100.0)  # between which one is looked for


@dataclass(frozen=True)
class Det:
    """Errors of verification at each threshold that changes anything, from accepting nobody to accepting all.

    Attributes:
        thresholds: falling, the first above every score, (K,).
        fmr: false match rate, the share of impostors accepted, rising, (K,).
        fnmr: false non-match rate, the share of genuine comparisons refused, falling, (K,).
    """

    thresholds: Floats
    fmr: Floats
    fnmr: Floats


def identification_ranks(probabilities: NDArray[Any], truth: Ids) -> Ids:
    """The rank of the true person in each answer, from 1, (N,).

    Of equal probabilities the person with the lower id comes first, as argmax has it: rank 1 is the predicted person.
    """
    own = probabilities[np.arange(len(truth)), truth][:, None]  # (N, 1)
    before = np.arange(probabilities.shape[1]) < truth[:, None]  # (N, C)
    ranks: Ids = 1 + ((probabilities > own) | ((probabilities == own) & before)).sum(axis=1)
    return ranks


def cmc(probabilities: NDArray[Any], truth: Ids) -> Floats:
    """Cumulative match characteristic: the share of images whose person is among the first 1, 2, ..., C, (C,)."""
    ranks = identification_ranks(probabilities, truth)
    curve: Floats = (ranks[:, None] <= np.arange(1, probabilities.shape[1] + 1)).mean(axis=0)
    return curve


def verification_scores(probabilities: NDArray[Any], truth: Ids) -> tuple[Floats, Floats]:
    """Every image compared with every person: the N genuine scores and the N x (C - 1) impostor scores, pooled."""
    mated = np.arange(probabilities.shape[1]) == truth[:, None]  # (N, C)
    scores = np.asarray(probabilities, dtype=np.float64)
    return scores[mated], scores[~mated]


def det(genuine: Floats, impostor: Floats) -> Det:
    """The detection error trade-off of two sets of scores."""
    thresholds = np.append(np.inf, np.unique(np.concatenate([genuine, impostor]))[::-1])
    return Det(thresholds, accepted(impostor, thresholds), refused(genuine, thresholds))


def accepted(scores: Floats, thresholds: Floats) -> Floats:
    """The share of scores that reach each threshold; of counts, as 1 - refused would be off in the last digit."""
    share: Floats = (len(scores) - np.searchsorted(np.sort(scores), thresholds)) / len(scores)
    return share


def refused(scores: Floats, thresholds: Floats) -> Floats:
    """The share of scores below each threshold."""
    share: Floats = np.searchsorted(np.sort(scores), thresholds) / len(scores)
    return share


def equal_error_rate(curve: Det) -> float:
    """Where the false match and the false non-match rate are equal, on the line between the two nearest points."""
    gap = curve.fmr - curve.fnmr  # rises from -1 to 1
    after = int(np.argmax(gap >= 0))
    share = -gap[after - 1] / (gap[after] - gap[after - 1])
    return float(curve.fmr[after - 1] + share * (curve.fmr[after] - curve.fmr[after - 1]))


def fnmr_at_fmr(curve: Det, fmr: float) -> tuple[float, float]:
    """The false non-match rate at the lowest threshold whose false match rate is at most `fmr`, and the threshold."""
    index = int(np.flatnonzero(curve.fmr <= fmr)[-1])
    return float(curve.fnmr[index]), float(curve.thresholds[index])


def threshold_at_fpir(stranger_scores: Floats, fpir: float) -> float:
    """The lowest score of strangers as threshold that at most the share `fpir` of them reaches; else just above all."""
    scores = np.unique(stranger_scores)
    allowed = scores[accepted(stranger_scores, scores) <= fpir]
    return float(allowed[0]) if len(allowed) else float(np.nextafter(scores[-1], np.inf))


def fpir(stranger_scores: Floats, threshold: float) -> float:
    """False positive identification rate: the share of strangers for whom somebody's name is given.

    Args:
        stranger_scores: the best score of each image of a stranger.
        threshold: a name is given from this score on.
    """
    return float((stranger_scores >= threshold).mean())


def fnir(probabilities: NDArray[Any], truth: Ids, threshold: float) -> float:
    """False negative identification rate: the share of known people not named, or named as somebody else.

    One name is given, so the true person must be at rank 1 with a score that reaches the threshold (FNIR(N, 1, T)).
    """
    ranks = identification_ranks(probabilities, truth)
    return float(((ranks > 1) | (probabilities.max(axis=1) < threshold)).mean())


def negative_log_likelihood(probabilities: NDArray[Any], truth: Ids) -> float:
    """Mean of -ln p(true person); a probability counts as at least 1e-12."""
    own = np.asarray(probabilities, dtype=np.float64)[np.arange(len(truth)), truth]
    return float(-np.log(np.clip(own, LEAST, None)).mean())


def brier_score(probabilities: NDArray[Any], truth: Ids) -> float:
    """Brier's score over all people (1950): the mean squared distance to the one-hot truth, in [0, 2]."""
    target = np.arange(probabilities.shape[1]) == truth[:, None]
    return float(((np.asarray(probabilities, dtype=np.float64) - target) ** 2).sum(axis=1).mean())


def reliability(probabilities: NDArray[Any], truth: Ids, bins: int = 15) -> tuple[Ids, Floats, Floats]:
    """Images by confidence, in `bins` equal parts (low, high] of [0, 1]: their number, mean confidence and accuracy.

    Empty parts have nan for both.
    """
    confidence = np.asarray(probabilities, dtype=np.float64).max(axis=1)
    right = identification_ranks(probabilities, truth) == 1
    part = np.clip(np.ceil(confidence * bins).astype(int) - 1, 0, bins - 1)
    count = np.bincount(part, minlength=bins)
    with np.errstate(invalid="ignore"):
        mean = np.bincount(part, confidence, bins) / count
        accuracy = np.bincount(part, right, bins) / count
    return count, mean, accuracy


def expected_calibration_error(probabilities: NDArray[Any], truth: Ids, bins: int = 15) -> float:
    """ECE (Guo et al., 2017): |accuracy - confidence| of each part of `reliability`, weighted by its images."""
    count, mean, accuracy = reliability(probabilities, truth, bins)
    filled = count > 0
    return float((count[filled] * np.abs(accuracy - mean)[filled]).sum() / count.sum())


def fit_temperature(logits: NDArray[Any], truth: Ids) -> float:
    """The T for which softmax(logits / T) has the least negative log-likelihood (Guo et al., 2017)."""
    scores = np.asarray(logits, dtype=np.float64)
    images = np.arange(len(truth))

    def loss(log_t: float) -> float:
        return float(-log_softmax(scores / np.exp(log_t), axis=1)[images, truth].mean())

    low, high = np.log(TEMPERATURES)
    return float(np.exp(minimize_scalar(loss, bounds=(low, high), method="bounded", options={"xatol": 1e-10}).x))


def wilson(hits: int, trials: int) -> tuple[float, float]:
    """Wilson's 95 % interval (1927) of a share; nan without a trial."""
    if trials == 0:
        return float("nan"), float("nan")
    interval = binomtest(hits, trials).proportion_ci(CONFIDENCE, method="wilson")
    return float(interval.low), float(interval.high)


def balanced_accuracy_interval(hits: Ids, trials: Ids) -> tuple[float, float]:
    """A 95 % interval of the mean of several shares, from the Wilson interval of each (MOVER; Zou and Donner, 2008).

    Args:
        hits: images recognised of each person, (C,).
        trials: images of each person, (C,); people without one do not count.
    """
    present = trials > 0
    share = hits[present] / trials[present]
    limits = [wilson(int(k), int(n)) for k, n in zip(hits[present], trials[present], strict=True)]
    low, high = np.array(limits).T
    mean, size = share.mean(), len(share)
    return (
        float(mean - np.sqrt(((share - low) ** 2).sum()) / size),
        float(mean + np.sqrt(((high - share) ** 2).sum()) / size),
    )


def auc(scores: NDArray[Any], positive: NDArray[np.bool_]) -> float:
    """Area under the ROC curve, by ranks (Mann and Whitney); nan when all images are positive, or none is."""
    count = int(positive.sum())
    if count in (0, len(positive)):
        return float("nan")
    ranks = rankdata(scores)
    return float((ranks[positive].sum() - count * (count + 1) / 2) / (count * (len(positive) - count)))


def mcnemar(first_right: NDArray[np.bool_], second_right: NDArray[np.bool_]) -> tuple[int, int, float]:
    """Exact McNemar test of two models on the same images.

    Returns:
        How many images only the first got right, how many only the second, and the two-sided p-value.
    """
    first, second = int((first_right & ~second_right).sum()), int((second_right & ~first_right).sum())
    p_value = float(binomtest(first, first + second, 0.5).pvalue) if first + second else 1.0
    return first, second, p_value
