"""Intervals and tests against hand-computed examples, scipy, and scikit-learn's example of the corrected test."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import ttest_1samp
from sklearn.datasets import make_moons
from sklearn.model_selection import RepeatedStratifiedKFold, cross_val_score
from sklearn.svm import SVC

from lfw_seq.reports.significance import estimate, holm


def test_by_hand() -> None:
    found = estimate([0.02, 0.04, 0.06], 0.25)
    assert found is not None
    t = 0.04 / math.sqrt(0.0004 * (1 / 3 + 0.25))
    half = 4.302652729911275 * 0.04 / t  # t of 2 degrees of freedom at .975, from a table
    p = 1 - t / math.sqrt(2 + t * t)  # Student's distribution with two degrees of freedom
    assert found == pytest.approx((3, 0.04, 0.04 - half, 0.04 + half, t, p), abs=1e-9)


def test_equal_values_and_single_ones_tell_nothing() -> None:
    for values in ([], [0.7], [0.7, 0.7], [0.1, 0.1, 0.1 + 1e-9]):
        assert estimate(values, 0.25) is None


def test_worked_example_of_scikit_learn() -> None:
    """Statistical comparison of models using grid search: t .750 and p .227, uncorrected 2.611 and .005, one-sided."""
    rows, labels = make_moons(noise=0.352, random_state=1, n_samples=100)
    folds = RepeatedStratifiedKFold(n_splits=10, n_repeats=10, random_state=0)
    rbf, linear = (
        cross_val_score(SVC(random_state=0, kernel=kernel), rows, labels, cv=folds, scoring="roc_auc")
        for kernel in ("rbf", "linear")
    )
    for share, expected in ((10 / 90, (0.750, 0.227)), (0, (2.611, 0.005))):
        found = estimate(rbf - linear, share)
        assert found is not None
        assert (round(found.t, 3), round(found.p / 2, 3)) == expected


@given(st.lists(st.floats(-1, 1, width=16), min_size=3, max_size=20).filter(lambda values: np.std(values) > 1e-3))
def test_without_correction_it_is_scipys_paired_test(differences: list[float]) -> None:
    found, other = estimate(differences), ttest_1samp(differences, 0)
    assert found is not None
    assert (found.t, found.p) == pytest.approx((other.statistic, other.pvalue), rel=1e-9, abs=1e-9)
    interval = other.confidence_interval(0.95)
    assert (found.low, found.high) == pytest.approx((interval.low, interval.high), abs=1e-9)


def test_holm_by_hand() -> None:
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02], abs=1e-12)
    assert holm([0.9, 0.6]) == pytest.approx([1.0, 1.0])
    assert holm([]) == []
