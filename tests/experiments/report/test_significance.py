"""Tests of rows against each other, with SciPy as the witness."""

import math

import numpy as np
import pytest
from scipy import stats

from experiments.report.significance import FIXED, compare, holm

RNG = np.random.default_rng(0)


def row(n, mean=1.0, first=0):
    return dict(enumerate(RNG.normal(mean, 0.3, n).tolist(), first))


@pytest.mark.parametrize("n", [2, 3, 10])
def test_paired_where_seeds_are_shared(n):
    """On the shared seeds alone, whatever their order."""
    ours, theirs = row(n), row(n + 3, 1.4)
    found = compare(ours, dict(reversed(theirs.items())))
    wanted = stats.ttest_rel([ours[key] for key in range(n)], [theirs[key] for key in range(n)])
    assert found.test == f"paired t, n = {n}"
    assert found.p == pytest.approx(wanted.pvalue)
    assert found.difference == pytest.approx(np.mean([ours[key] - theirs[key] for key in range(n)]))
    interval = wanted.confidence_interval(0.95)
    assert (found.low, found.high) == pytest.approx((interval.low, interval.high))


def test_welch_where_none_are():
    ours, theirs = row(4), row(7, 1.4, first=100)
    found = compare(ours, theirs)
    wanted = stats.ttest_ind(list(ours.values()), list(theirs.values()), equal_var=False)
    assert found.test == "Welch's t, n = 4 and 7"
    assert found.p == pytest.approx(wanted.pvalue)
    interval = wanted.confidence_interval(0.95)
    assert (found.low, found.high) == pytest.approx((interval.low, interval.high))


@pytest.mark.parametrize("swapped", [False, True])
def test_against_a_fixed_value(swapped):
    ours, value = row(5), 0.7
    found = compare({FIXED: value}, ours) if swapped else compare(ours, {FIXED: value})
    assert found.p == pytest.approx(stats.ttest_1samp(list(ours.values()), value).pvalue)
    assert found.difference == pytest.approx((np.mean(list(ours.values())) - value) * (-1 if swapped else 1))
    assert found.low < found.difference < found.high
    assert found.test == "t against a fixed value, n = 5"


@pytest.mark.parametrize(
    ("ours", "theirs", "test"),
    [
        ({0: 1.0}, {0: 2.0}, "n = 1, no test"),
        ({0: 1.0}, {5: 2.0, 6: 3.0}, "n = 1, no test"),
        ({0: 1.0}, {FIXED: 2.0}, "n = 1, no test"),
        ({FIXED: 1.0}, {FIXED: 2.0}, "fixed values, no test"),
        ({0: 1.0, 1: 1.0}, {0: 2.0, 1: 2.0}, "no spread, no test, n = 2"),
        ({0: 1.0, 1: 1.0 + 1e-9}, {FIXED: 2.0}, "no spread, no test, n = 2"),
        ({0: 1.0, 1: 1.0}, {5: 2.0, 6: 2.0}, "no spread, no test"),
        ({0: 0.0, 1: 0.0}, {0: 0.0, 1: 0.0}, "no spread, no test, n = 2"),
    ],
)
def test_no_test_without_a_spread(ours, theirs, test):
    """A spread of float32's rounding is none: p would be tiny for a difference that means nothing."""
    found = compare(ours, theirs)
    assert (found.test, found.p, found.low, found.high) == (test, None, None, None)
    means = [np.mean(list(each.values())) for each in (ours, theirs)]
    assert found.difference == pytest.approx(means[0] - means[1])


def test_holm():
    """The example of a textbook: what is multiplied by 4, 3, 2 and 1, and then made to ascend."""
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([0.5, 0.9, 0.4]) == pytest.approx([1.0, 1.0, 1.0])
    assert holm([]) == []


def test_holm_keeps_the_level():
    """Of 2,000 tables of five rows that differ in nothing, 5 % and not 19 % have a row that is called different."""
    rng, alarms, uncorrected = np.random.default_rng(1), 0, 0
    for _ in range(2000):
        figures = rng.normal(size=(5, 6))
        p = [compare(dict(enumerate(each)), {FIXED: 0.0}).p for each in figures]
        uncorrected += min(p) < 0.05
        alarms += min(holm(p)) < 0.05
    error = math.sqrt(0.05 * 0.95 / 2000)
    assert alarms / 2000 == pytest.approx(0.05, abs=4 * error)
    assert uncorrected / 2000 > 0.15
