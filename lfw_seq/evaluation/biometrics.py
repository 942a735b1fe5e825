"""Recognition measures of ISO/IEC 19795-1 and NIST's FRTE, and calibration, from probabilities alone.

A comparison is accepted when its score reaches the threshold (score >= threshold). Shape legend: N images, C people.
"""

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize_scalar
from scipy.special import log_softmax
from scipy.stats import binomtest
from sklearn.metrics import roc_auc_score, roc_curve

Floats = NDArray[np.float64]
Ids = NDArray[np.int64]


class Det(NamedTuple):
    """Errors at falling thresholds, the first above all scores: false match and false non-match rate, (K,) each."""

    thresholds: Floats
    fmr: Floats
    fnmr: Floats


def cmc(probabilities: NDArray[Any], truth: Ids) -> Floats:
    """Cumulative match characteristic: the share of images whose person is among the first 1, 2, ..., C, (C,).

    Of equal probabilities the lower id comes first, as in argmax.
    """
    own = probabilities[np.arange(len(truth)), truth][:, None]  # (N, 1)
    before = np.arange(probabilities.shape[1]) < truth[:, None]  # (N, C)
    rank = 1 + ((probabilities > own) | ((probabilities == own) & before)).sum(axis=1)
    curve: Floats = (rank[:, None] <= np.arange(1, probabilities.shape[1] + 1)).mean(axis=0)
    return curve


def verification_scores(probabilities: NDArray[Any], truth: Ids) -> tuple[Floats, Floats]:
    """Every image compared with every person: the N genuine scores and the N x (C - 1) impostor scores, pooled."""
    genuine = np.arange(probabilities.shape[1]) == truth[:, None]  # (N, C)
    scores = np.asarray(probabilities, dtype=np.float64)
    return scores[genuine], scores[~genuine]


def det(genuine: Floats, impostor: Floats) -> Det:
    """The detection error trade-off of two sets of scores, at every threshold that changes an error."""
    labels = np.repeat([1, 0], [len(genuine), len(impostor)])
    fmr, tpr, thresholds = roc_curve(labels, np.concatenate([genuine, impostor]), drop_intermediate=False)
    return Det(thresholds, fmr, 1 - tpr)


def open_set_det(known_scores: Floats, right: NDArray[np.bool_], stranger_scores: Floats) -> Det:
    """The errors of identification among strangers: `fmr` is FPIR, the share of strangers given a name.

    `fnmr` is FNIR, the share of images of known people, with scores (N,), that are not given their own name.
    """
    lowest = min(known_scores.min(), stranger_scores.min()) - 1  # a wrong name is never a right one
    return det(np.where(right, known_scores, lowest), stranger_scores)


def equal_error_rate(curve: Det) -> float:
    """Where both errors are equal, on the line between the two nearest points."""
    gap = curve.fmr - curve.fnmr  # rises from -1 to 1
    after = int(np.argmax(gap >= 0))
    share = -gap[after - 1] / (gap[after] - gap[after - 1])
    return float(curve.fmr[after - 1] + share * (curve.fmr[after] - curve.fmr[after - 1]))


def fnmr_at_fmr(curve: Det, fmr: float) -> tuple[float, float]:
    """The false non-match rate at the lowest threshold whose false match rate is at most `fmr`, and the threshold."""
    index = int(np.flatnonzero(curve.fmr <= fmr)[-1])
    return float(curve.fnmr[index]), float(curve.thresholds[index])


def threshold_at_fpir(stranger_scores: Floats, fpir: float) -> float:
    """The lowest score of a stranger that at most the share `fpir` of them reaches; else just above them all."""
    scores = np.sort(stranger_scores)
    allowed = scores[(len(scores) - np.searchsorted(scores, scores)) / len(scores) <= fpir]
    return float(allowed[0]) if len(allowed) else float(np.nextafter(scores[-1], np.inf))


def brier_score(probabilities: NDArray[Any], truth: Ids) -> float:
    """Brier's score over all people (1950): the mean squared distance to the one-hot truth, in [0, 2]."""
    target = np.arange(probabilities.shape[1]) == truth[:, None]
    return float(((np.asarray(probabilities, dtype=np.float64) - target) ** 2).sum(axis=1).mean())


def reliability(probabilities: NDArray[Any], truth: Ids, bins: int = 15) -> tuple[Ids, Floats, Floats]:
    """Images by confidence, in parts (low, high] of [0, 1]: their number, mean confidence and accuracy, nan for none.

    torchmetrics counts a confidence of exactly 1, which nets often have, as a part of its own.
    """
    confidence = np.asarray(probabilities, dtype=np.float64).max(axis=1)
    part = np.clip(np.ceil(confidence * bins).astype(int) - 1, 0, bins - 1)
    count = np.bincount(part, minlength=bins)
    weights = confidence, probabilities.argmax(axis=1) == truth
    with np.errstate(invalid="ignore"):
        mean, accuracy = (np.bincount(part, weight, bins) / count for weight in weights)
    return count, mean, accuracy


def expected_calibration_error(probabilities: NDArray[Any], truth: Ids) -> float:
    """ECE (Guo et al., 2017): |accuracy - confidence| of each part of `reliability`, weighted by its images."""
    count, mean, accuracy = reliability(probabilities, truth)
    return float(np.nansum(count * np.abs(accuracy - mean)) / count.sum())


def negative_log_likelihood(logits: NDArray[Any], truth: Ids, temperature: float = 1.0) -> float:
    """Mean of -ln p(true person) under softmax(logits / temperature)."""
    logs = log_softmax(np.asarray(logits, dtype=np.float64) / temperature, axis=1)
    return float(-logs[np.arange(len(truth)), truth].mean())


def fit_temperature(logits: NDArray[Any], truth: Ids) -> float:
    """The temperature in [0.01, 100] of least negative log-likelihood (Guo et al., 2017)."""

    def loss(log_t: float) -> float:
        return negative_log_likelihood(logits, truth, np.exp(log_t))

    return float(np.exp(minimize_scalar(loss, bounds=np.log([0.01, 100]), options={"xatol": 1e-10}).x))


def wilson(hits: int, trials: int) -> tuple[float, float]:
    """Wilson's 95 % interval (1927) of a share."""
    interval = binomtest(hits, trials).proportion_ci(method="wilson")
    return float(interval.low), float(interval.high)


def balanced_accuracy_interval(hits: Ids, trials: Ids) -> tuple[float, float]:
    """A 95 % interval of the mean of shares, (C,) each, from their Wilson intervals (MOVER; Zou and Donner, 2008)."""
    share = hits / trials
    low, high = np.array([wilson(int(k), int(n)) for k, n in zip(hits, trials, strict=True)]).T
    below, above = (np.sqrt(((share - limit) ** 2).sum()) / len(share) for limit in (low, high))
    return float(share.mean() - below), float(share.mean() + above)


def auc(scores: NDArray[Any], positive: NDArray[np.bool_]) -> float:
    """Area under the ROC curve; nan when all images are positive, or none is."""
    return float(roc_auc_score(positive, scores)) if 0 < positive.sum() < len(positive) else float("nan")


def mcnemar(first_right: NDArray[np.bool_], second_right: NDArray[np.bool_]) -> tuple[int, int, float]:
    """Exact McNemar test of two models on the same images.

    Returns:
        How many images only the first got right, how many only the second, and the two-sided p-value.
    """
    first, second = int((first_right & ~second_right).sum()), int((second_right & ~first_right).sum())
    return first, second, float(binomtest(first, first + second).pvalue) if first + second else 1.0
