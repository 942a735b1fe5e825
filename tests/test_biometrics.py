"""Every measure against scikit-learn, scipy, or an example worked by hand."""

import numpy as np
import pytest
import torch
from scipy.interpolate import interp1d
from scipy.optimize import brentq
from scipy.special import softmax
from sklearn import metrics as sk
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.calibration import CalibratedClassifierCV
from sklearn.frozen import FrozenEstimator
from torchmetrics.classification import MulticlassCalibrationError

from lfw_seq.evaluation import biometrics as bio

N, C = 258, 7
LOGITS, NOISE = (np.random.default_rng(seed).normal(size=(N, C)) * 1.5 for seed in (3, 4))
TRUTH, PROBABILITIES = (LOGITS + NOISE).argmax(axis=1), softmax(LOGITS, axis=1)


class Given(ClassifierMixin, BaseEstimator):  # type: ignore[misc]  # scikit-learn has no types
    """A classifier whose inputs are its logits."""

    def fit(self, x: bio.Floats, y: bio.Ids) -> "Given":
        self.classes_ = np.unique(y)
        return self

    def decision_function(self, x: bio.Floats) -> bio.Floats:
        return x

    def predict(self, x: bio.Floats) -> bio.Ids:
        ids: bio.Ids = x.argmax(axis=1)
        return ids


def exact(value: float | list[float]) -> object:
    return pytest.approx(value, abs=1e-9)


def test_cmc_is_top_k_accuracy() -> None:
    curve = bio.cmc(PROBABILITIES, TRUTH)
    for k in range(1, C):
        assert curve[k - 1] == exact(sk.top_k_accuracy_score(TRUTH, PROBABILITIES, k=k, labels=range(C)))
    assert curve[-1] == 1


def test_equal_scores_rank_as_argmax_picks() -> None:
    scores = np.array([[0.4, 0.4, 0.2], [0.4, 0.4, 0.2], [1 / 3, 1 / 3, 1 / 3]])
    assert bio.cmc(scores, np.array([0, 1, 2])).tolist() == exact([1 / 3, 2 / 3, 1])


def test_det_and_eer_by_hand() -> None:
    genuine, impostor = np.array([0.9, 0.8, 0.5, 0.3]), np.array([0.6, 0.4, 0.2, 0.1])
    curve = bio.det(genuine, impostor)
    assert curve.thresholds.tolist() == [np.inf, 0.9, 0.8, 0.6, 0.5, 0.4, 0.3, 0.2, 0.1]
    assert curve.fmr.tolist() == [0, 0, 0, 0.25, 0.25, 0.5, 0.5, 0.75, 1]
    assert curve.fnmr.tolist() == [1, 0.75, 0.5, 0.5, 0.25, 0.25, 0, 0, 0]
    assert bio.equal_error_rate(curve) == exact(0.25)
    assert bio.fnmr_at_fmr(curve, 0.25) == (0.25, 0.5)
    assert bio.fnmr_at_fmr(curve, 0.24) == (0.5, 0.8)
    assert bio.fnmr_at_fmr(curve, 0) == (0.5, 0.8)


def test_pooled_verification_errors_cross_where_scipy_finds_it() -> None:
    genuine, impostor = bio.verification_scores(PROBABILITIES, TRUTH)
    assert (len(genuine), len(impostor)) == (N, N * (C - 1))
    curve = bio.det(genuine, impostor)
    crossing = brentq(lambda x: interp1d(curve.fmr, curve.fnmr)(x) - x, 0, 1, xtol=1e-13)
    assert bio.equal_error_rate(curve) == exact(crossing)
    assert bio.fnmr_at_fmr(curve, 0.01)[0] == exact(curve.fnmr[curve.fmr <= 0.01].min())


def test_perfect_and_useless_scores() -> None:
    assert bio.equal_error_rate(bio.det(np.array([0.9, 0.8]), np.array([0.1, 0.2]))) == 0
    assert bio.equal_error_rate(bio.det(np.array([0.5, 0.5]), np.array([0.5, 0.5]))) == 0.5


def test_open_set_by_hand() -> None:
    strangers = np.array([0.95, 0.9, 0.8, 0.7, 0.6, 0.5, 0.4, 0.4, 0.3, 0.3])
    assert bio.threshold_at_fpir(strangers, 0.10) == 0.95
    assert bio.threshold_at_fpir(strangers, 0.25) == 0.9
    assert bio.threshold_at_fpir(strangers, 0.01) == np.nextafter(0.95, 1)
    for count in range(20, 600, 20):  # one in twenty of any number is one in twenty
        many = np.arange(count, dtype=np.float64)
        assert bio.threshold_at_fpir(many, 0.05) == count - count // 20
    known = np.array([[0.9, 0.1], [0.7, 0.3], [0.2, 0.8], [0.9, 0.1]])
    truth = np.array([0, 0, 0, 0])  # accepted; below the threshold; somebody else; accepted
    curve = bio.open_set_det(known.max(axis=1), known.argmax(axis=1) == truth, strangers)
    rates = {threshold: rate for threshold, *rate in np.stack(curve, axis=1).tolist()}
    assert rates[0.8] == exact([0.3, 0.5])  # FPIR and FNIR
    assert rates[0.3] == exact([1, 0.25])
    assert curve.fnmr.min() == exact(0.25)  # at any threshold


def test_losses_agree_with_scikit_learn() -> None:
    assert bio.negative_log_likelihood(np.log(PROBABILITIES), TRUTH) == exact(sk.log_loss(TRUTH, PROBABILITIES))
    assert bio.brier_score(PROBABILITIES, TRUTH) == exact(((PROBABILITIES - np.eye(C)[TRUTH]) ** 2).sum() / N)
    two = PROBABILITIES[:, :2] / PROBABILITIES[:, :2].sum(axis=1, keepdims=True)
    answers = TRUTH % 2
    assert bio.brier_score(two, answers) / 2 == exact(sk.brier_score_loss(answers, two[:, 1]))


def test_ece_by_hand() -> None:
    scores = np.array([[0.95, 0.05], [0.95, 0.05], [0.55, 0.45], [0.55, 0.45]])
    # two answers at .95, one right: |.5 - .95| = .45; two at .55, both right: |1 - .55| = .45
    assert bio.expected_calibration_error(scores, np.array([0, 1, 0, 0])) == exact(0.45)
    theirs = MulticlassCalibrationError(C, n_bins=15)(torch.from_numpy(PROBABILITIES), torch.from_numpy(TRUTH))
    assert bio.expected_calibration_error(PROBABILITIES, TRUTH) == pytest.approx(theirs.item(), abs=1e-6)
    sure = np.array([[1.0, 0.0], [1.0, 0.0], [0.95, 0.05]])  # torchmetrics has a part for 1 alone
    assert bio.reliability(sure, np.array([0, 1, 1]))[0][-1] == 3


def test_temperature_finds_the_scale_and_the_minimum() -> None:
    drawn = np.array([np.random.default_rng(i).choice(C, p=row) for i, row in enumerate(softmax(LOGITS, axis=1))])
    best = bio.fit_temperature(LOGITS, drawn)
    assert 0.7 < best < 1.4
    theirs = CalibratedClassifierCV(FrozenEstimator(Given().fit(LOGITS, drawn)), method="temperature")
    assert np.allclose(theirs.fit(LOGITS, drawn).predict_proba(LOGITS), softmax(LOGITS / best, axis=1), atol=1e-4)
    assert bio.fit_temperature(LOGITS * 8, drawn) == pytest.approx(8 * best, rel=1e-6)
    # at the minimum the derivative by 1/T is zero: the mean score of the truth equals its expectation
    scaled = softmax(LOGITS / best, axis=1)
    assert LOGITS[np.arange(N), drawn].mean() == pytest.approx((scaled * LOGITS).sum(axis=1).mean(), abs=1e-6)


def test_wilson_as_in_the_textbook() -> None:
    assert list(bio.wilson(219, 258)) == pytest.approx([0.800, 0.887], abs=5e-4)


def test_interval_of_balanced_accuracy() -> None:
    one = bio.balanced_accuracy_interval(np.array([8]), np.array([10]))
    assert list(one) == exact(list(bio.wilson(8, 10)))  # of one person: Wilson's
    low, high = bio.balanced_accuracy_interval(np.array([8, 8]), np.array([10, 10]))
    assert 0.8 - low == exact((0.8 - one[0]) / np.sqrt(2))  # of two alike: narrower by the root of two
    assert high - 0.8 == exact((one[1] - 0.8) / np.sqrt(2))


def test_interval_of_balanced_accuracy_covers() -> None:
    rng, trials, shares = np.random.default_rng(0), np.array([106, 47, 29, 24, 22, 16, 14]), np.linspace(0.95, 0.5, 7)
    draws = rng.binomial(trials, shares, (400, 7))
    limits = np.array([bio.balanced_accuracy_interval(hits, trials) for hits in draws])
    covered = ((limits[:, 0] <= shares.mean()) & (shares.mean() <= limits[:, 1])).mean()
    assert 0.92 <= covered <= 0.98


def test_mcnemar_by_hand() -> None:
    first = np.array([True] * 10 + [False] * 2 + [True] * 5)
    second = np.array([False] * 10 + [True] * 2 + [True] * 5)
    # of 12 images on which they differ, 10 : 2 or further out, both sides: 2 (1 + 12 + 66) / 2^12
    assert bio.mcnemar(first, second) == (10, 2, exact(2 * 79 / 4096))
    assert bio.mcnemar(first, first) == (0, 0, 1.0)
