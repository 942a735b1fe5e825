"""Recognition measures of ISO/IEC 19795-1 and NIST's FRTE, and calibration, from probabilities alone.

A comparison is accepted when score >= threshold. Shape legend: N images, C people, K thresholds.
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
    """False match and false non-match rate at descending thresholds, (K,) each; the first is above all scores."""

    thresholds: Floats
    fmr: Floats
    fnmr: Floats


def cmc(probabilities: NDArray[Any], truth: Ids) -> Floats:
    """Cumulative match characteristic (C,): share of images with the true person in the top 1 to C; ties by id."""
    order = np.argsort(-probabilities, axis=1, kind="stable")  # (N, C)
    curve: Floats = (order == truth[:, None]).cumsum(axis=1).mean(axis=0)
    return curve


def verification_scores(probabilities: NDArray[Any], truth: Ids) -> tuple[Floats, Floats]:
    """Scores of all pairs of an image and a person: genuine (N,) and impostor (N * (C - 1),), pooled over people."""
    genuine = np.arange(probabilities.shape[1]) == truth[:, None]  # (N, C)
    scores = np.asarray(probabilities, dtype=np.float64)
    return scores[genuine], scores[~genuine]


def det(genuine: Floats, impostor: Floats) -> Det:
    """Detection error trade-off of genuine and impostor scores, at every distinct score."""
    labels = np.repeat([1, 0], [len(genuine), len(impostor)])
    fmr, tpr, thresholds = roc_curve(labels, np.concatenate([genuine, impostor]), drop_intermediate=False)
    return Det(thresholds, fmr, 1 - tpr)


def open_set_det(known_scores: Floats, right: NDArray[np.bool_], stranger_scores: Floats) -> Det:
    """Open-set identification errors: `fmr` holds FPIR, the share of strangers given a name.

    `fnmr` holds FNIR, the share of images of known people, with scores (N,), that are rejected or named wrongly.
    """
    lowest = min(known_scores.min(), stranger_scores.min()) - 1  # a wrong name is an error at every threshold
    curve = det(np.where(right, known_scores, lowest), stranger_scores)
    return curve if right.all() else Det(*(part[:-1] for part in curve))


def equal_error_rate(curve: Det) -> float:
    """The rate at which FMR equals FNMR, interpolated linearly between the two nearest points."""
    gap = curve.fmr - curve.fnmr  # rises from -1 to 1
    after = int(np.argmax(gap >= 0))
    share = -gap[after - 1] / (gap[after] - gap[after - 1])
    return float(curve.fmr[after - 1] + share * (curve.fmr[after] - curve.fmr[after - 1]))


def fnmr_at_fmr(curve: Det, fmr: float) -> tuple[float, float]:
    """FNMR at the lowest threshold with a false match rate of at most `fmr`, and that threshold."""
    index = int(np.flatnonzero(curve.fmr <= fmr)[-1])
    return float(curve.fnmr[index]), float(curve.thresholds[index])


def threshold_at_fpir(stranger_scores: Floats, fpir: float) -> float:
    """The lowest stranger score with a share of at most `fpir` at or above it; the next float above all, if none."""
    scores = np.sort(stranger_scores)
    allowed = scores[(len(scores) - np.searchsorted(scores, scores)) / len(scores) <= fpir]
    return float(allowed[0]) if len(allowed) else float(np.nextafter(scores[-1], np.inf))


def brier_score(probabilities: NDArray[Any], truth: Ids) -> float:
    """Multiclass Brier score (1950): the mean squared distance to the one-hot truth, in [0, 2]."""
    target = np.arange(probabilities.shape[1]) == truth[:, None]
    return float(((np.asarray(probabilities, dtype=np.float64) - target) ** 2).sum(axis=1).mean())


def reliability(probabilities: NDArray[Any], truth: Ids, bins: int = 15) -> tuple[Ids, Floats, Floats]:
    """Number of images, mean confidence and accuracy of each confidence bin (low, high] of [0, 1]; nan in empty bins.

    torchmetrics puts a confidence of exactly 1, which nets often have, into a bin of its own.
    """
    confidence = np.asarray(probabilities, dtype=np.float64).max(axis=1)
    index = np.clip(np.ceil(confidence * bins).astype(int) - 1, 0, bins - 1)
    count = np.bincount(index, minlength=bins)
    with np.errstate(invalid="ignore"):
        mean = np.bincount(index, confidence, bins) / count
        return count, mean, np.bincount(index, probabilities.argmax(axis=1) == truth, bins) / count


def expected_calibration_error(probabilities: NDArray[Any], truth: Ids) -> float:
    """ECE (Guo et al., 2017): mean |accuracy - confidence| over the bins of `reliability`, weighted by images."""
    count, mean, accuracy = reliability(probabilities, truth)
    return float(np.nansum(count * np.abs(accuracy - mean)) / count.sum())


def negative_log_likelihood(logits: NDArray[Any], truth: Ids, temperature: float = 1.0) -> float:
    """Mean of -ln p(true person) under softmax(logits / temperature)."""
    logs = log_softmax(np.asarray(logits, dtype=np.float64) / temperature, axis=1)
    return float(-logs[np.arange(len(truth)), truth].mean())


def fit_temperature(logits: NDArray[Any], truth: Ids) -> float:
    """The temperature in [0.01, 100] with the lowest negative log-likelihood (Guo et al., 2017)."""
    search = {"bounds": np.log([0.01, 100]), "options": {"xatol": 1e-10}}
    return float(np.exp(minimize_scalar(lambda log: negative_log_likelihood(logits, truth, np.exp(log)), **search).x))


def wilson(hits: int, trials: int) -> tuple[float, float]:
    """95 % Wilson score interval (1927) of a proportion."""
    interval = binomtest(hits, trials).proportion_ci(method="wilson")
    return float(interval.low), float(interval.high)


def balanced_accuracy_interval(hits: Ids, trials: Ids) -> tuple[float, float]:
    """95 % interval of mean(hits / trials), (C,) each, from Wilson intervals (MOVER; Zou and Donner, 2008)."""
    share = hits / trials
    low, high = np.array([wilson(int(k), int(n)) for k, n in zip(hits, trials, strict=True)]).T
    below, above = (np.sqrt(((share - limit) ** 2).sum()) / len(share) for limit in (low, high))
    return float(share.mean() - below), float(share.mean() + above)


def auc(scores: NDArray[Any], positive: NDArray[np.bool_]) -> float:
    """Area under the ROC curve; nan when all images are positive, or none is."""
    return float(roc_auc_score(positive, scores)) if 0 < positive.sum() < len(positive) else float("nan")


def mcnemar(first_right: NDArray[np.bool_], second_right: NDArray[np.bool_]) -> tuple[int, int, float]:
    """Exact McNemar test: numbers of images only the first and only the second got right, and the two-sided p-value."""
    first, second = int((first_right & ~second_right).sum()), int((second_right & ~first_right).sum())
    return first, second, float(binomtest(first, first + second).pvalue) if first + second else 1.0
