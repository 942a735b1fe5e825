"""Statistics of runs against hand-computed examples and scikit-learn's worked example of the corrected test."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lfw_seq import statistics


def test_summary_by_hand() -> None:
    summary = statistics.summarise([1.0, 2.0, 3.0, 4.0])
    assert (summary.n, summary.mean, summary.min, summary.max) == (4, 2.5, 1.0, 4.0)
    assert summary.sd == pytest.approx(math.sqrt(5 / 3), abs=1e-12)
    assert summary.interval is not None
    half = 3.182446305284263 * math.sqrt(5 / 3) / 2  # t of 3 degrees of freedom at .975, from a table
    assert (summary.interval.low, summary.interval.high) == pytest.approx((2.5 - half, 2.5 + half), abs=1e-9)


def test_one_number_and_equal_numbers_have_no_interval() -> None:
    assert statistics.summarise([0.7]) == statistics.Summary(1, 0.7, None, 0.7, 0.7, None)
    assert statistics.summarise([0.7, 0.7]) == statistics.Summary(2, 0.7, 0.0, 0.7, 0.7, None)
    assert statistics.corrected_interval([0.7], 0.25) is None
    assert statistics.corrected_test([0.1], 0.25) is None
    assert statistics.corrected_test([0.1, 0.1, 0.1], 0.25) is None


def test_corrected_test_by_hand() -> None:
    test = statistics.corrected_test([0.02, 0.04, 0.06], 0.25)
    assert test is not None
    t = 0.04 / math.sqrt(0.0004 * (1 / 3 + 0.25))
    assert test.t == pytest.approx(t, abs=1e-9)
    assert test.p == pytest.approx(1 - t / math.sqrt(2 + t * t), abs=1e-9)  # Student's distribution with two degrees
    half = 4.302652729911275 * 0.04 / t
    assert (test.interval.low, test.interval.high) == pytest.approx((0.04 - half, 0.04 + half), abs=1e-9)
    assert test.n == 3
    assert test.difference == pytest.approx(0.04)


def test_corrected_interval_is_wider_than_the_plain_one() -> None:
    scores = [0.90, 0.92, 0.94, 0.96]
    plain, corrected = statistics.summarise(scores).interval, statistics.corrected_interval(scores, 258 / 1030)
    assert plain is not None
    assert corrected is not None
    ratio = math.sqrt((1 / 4 + 258 / 1030) / (1 / 4))
    assert (corrected.high - corrected.low) / (plain.high - plain.low) == pytest.approx(ratio, abs=1e-9)


def test_worked_example_of_scikit_learn() -> None:
    """Statistical comparison of models using grid search: t .750 and p .227, uncorrected 2.611 and .005, one-sided."""
    from sklearn.datasets import make_moons
    from sklearn.model_selection import RepeatedStratifiedKFold, cross_val_score
    from sklearn.svm import SVC

    rows, labels = make_moons(noise=0.352, random_state=1, n_samples=100)
    folds = RepeatedStratifiedKFold(n_splits=10, n_repeats=10, random_state=0)
    rbf, linear = (
        cross_val_score(SVC(random_state=0, kernel=kernel), rows, labels, cv=folds, scoring="roc_auc")
        for kernel in ("rbf", "linear")
    )
    differences = (rbf - linear).tolist()
    corrected, plain = statistics.corrected_test(differences, 10 / 90), statistics.corrected_test(differences, 0)
    assert corrected is not None
    assert plain is not None
    assert (round(corrected.t, 3), round(corrected.p / 2, 3)) == (0.750, 0.227)
    assert (round(plain.t, 3), round(plain.p / 2, 3)) == (2.611, 0.005)


@given(st.lists(st.floats(-1, 1, width=16), min_size=3, max_size=20).filter(lambda values: np.std(values) > 1e-3))
def test_without_correction_it_is_scipys_paired_test(differences: list[float]) -> None:
    from scipy.stats import ttest_1samp

    test, other = statistics.corrected_test(differences, 0), ttest_1samp(differences, 0)
    assert test is not None
    assert (test.t, test.p) == pytest.approx((other.statistic, other.pvalue), rel=1e-9, abs=1e-9)
    interval = other.confidence_interval(0.95)
    assert (test.interval.low, test.interval.high) == pytest.approx((interval.low, interval.high), abs=1e-9)


def test_holm_by_hand() -> None:
    assert statistics.holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02], abs=1e-12)
    assert statistics.holm([0.9, 0.6]) == pytest.approx([1.0, 1.0])
    assert statistics.holm([]) == []
