"""Measures of intervals, quantiles and normal distributions: by hand, against integrals, and what does not fit."""

import math

import numpy as np
import pytest
from helpers.imports import third_party_imports

from rnn_jax.interval_metrics import gaussian_measures, interval_measures, quantile_measures

NAN = math.nan


def phi(x):
    return math.exp(-(x**2) / 2) / math.sqrt(2 * math.pi)


def cumulative(x):
    return (1 + math.erf(x / math.sqrt(2))) / 2


class TestIntervals:
    def test_by_hand(self):
        y = np.array([[1.0, 0.0], [3.5, NAN], [-1.0, 2.0]])
        lower, upper = np.array([[0.0, 0.0], [1.0, 5.0], [0.0, 1.0]]), np.array([[2.0, 1.0], [3.0, 6.0], [4.0, 2.0]])
        found = interval_measures(y, lower, upper, level=0.9)
        # Inside, on the lower bound, 0.5 above, not measured, 1 below, on the upper bound.
        assert found["coverage"] == pytest.approx(3 / 5)
        assert found["width"] == pytest.approx((2 + 1 + 2 + 4 + 1) / 5)
        assert found["interval_score"] == pytest.approx((10 + 2 / 0.1 * (0.5 + 1)) / 5)
        assert all(type(value) is float for value in found.values())

    def test_one_entry(self):
        found = interval_measures([2.0], [0.0], [1.0], level=0.5)
        assert found == {"coverage": 0, "width": 1, "interval_score": 1 + 4 * 1}

    def test_the_true_quantiles_have_the_best_score(self):
        y = np.random.default_rng(0).normal(size=20_000)
        true = 1.2815515655446004  # holds 80 %

        def score(half):
            return interval_measures(y, np.full(y.shape, -half), np.full(y.shape, half), 0.8)

        assert score(true)["coverage"] == pytest.approx(0.8, abs=3 * math.sqrt(0.16 / 20_000))
        assert score(true)["interval_score"] < min(
            score(0.8 * true)["interval_score"], score(1.2 * true)["interval_score"]
        )

    def test_what_does_not_fit(self):
        ones = np.ones((2, 3))
        with pytest.raises(ValueError, match=r"^targets \(2, 3\), lower \(2, 3\), upper \(2,\) must have one shape$"):
            interval_measures(ones, ones, np.ones(2), 0.9)
        with pytest.raises(ValueError, match=r"^lower is above upper at 6 of 6 measured targets of \(2, 3\)$"):
            interval_measures(ones, 2 * ones, ones, 0.9)
        with pytest.raises(ValueError, match=r"^upper \(2, 3\) are NaN at 6 of 6 measured targets$"):
            interval_measures(ones, ones, NAN * ones, 0.9)
        with pytest.raises(ValueError, match=r"^no targets to measure: shape \(2, 3\), 6 missing$"):
            interval_measures(NAN * ones, ones, ones, 0.9)
        for level in (0, 1, 90, NAN):
            with pytest.raises(ValueError, match=rf"^level={level}: must be between 0 and 1$"):
                interval_measures(ones, ones, ones, level)


class TestQuantiles:
    def test_by_hand(self):
        y = np.array([[2.0, NAN, 5.0]])
        quantiles = np.array([[[1.0, 4.0], [NAN, 0.0], [6.0, 7.0]]])
        found = quantile_measures(y, quantiles, levels=[0.2, 0.9])
        pinball = (0.2 * 1 + 0.1 * 2 + 0.8 * 1 + 0.1 * 2) / 4
        assert found == pytest.approx({"pinball": pinball, "crps": 2 * pinball})
        assert all(type(value) is float for value in found.values())

    def test_the_median_alone_gives_the_absolute_error(self):
        found = quantile_measures([1.0, 4.0], [[2.0], [2.0]], [0.5])
        assert found == {"pinball": 0.75, "crps": 1.5}

    def test_many_levels_give_the_score_of_the_distribution(self):
        levels = (np.arange(2000) + 0.5) / 2000
        found = quantile_measures([0.3], levels[None], levels)  # of the uniform distribution on 0..1
        assert found["crps"] == pytest.approx((0.3**3 + 0.7**3) / 3, rel=1e-5)

    def test_what_does_not_fit(self):
        with pytest.raises(
            ValueError, match=r"^quantiles must be \[\.\.\., Q\] for targets \(2,\) and levels \(3,\), got \(3, 2\)$"
        ):
            quantile_measures(np.ones(2), np.ones((3, 2)), [0.1, 0.5, 0.9])
        for levels in (0.5, []):
            with pytest.raises(ValueError, match=r"^quantiles must be \[\.\.\., Q\] for targets \(2,\)"):
                quantile_measures(np.ones(2), np.ones((2, np.size(levels))), levels)
        with pytest.raises(ValueError, match=r"^levels must be between 0 and 1, got \[0\.5, 1\.0\]$"):
            quantile_measures(np.ones(2), np.ones((2, 2)), [0.5, 1.0])
        with pytest.raises(ValueError, match=r"^quantiles of level 0\.9 \(2,\) are NaN at 1 of 2 measured targets$"):
            quantile_measures(np.ones(2), [[1.0, 1.0], [1.0, NAN]], [0.5, 0.9])


class TestNormal:
    def test_by_hand(self):
        found = gaussian_measures([[5.0, NAN]], [[2.0, 0.0]], [[1.5, NAN]])
        w = 2.0
        crps = 1.5 * (w * (2 * cumulative(w) - 1) + 2 * phi(w) - 1 / math.sqrt(math.pi))
        assert found == pytest.approx({"crps": crps, "log_score": -math.log(phi(w) / 1.5)})
        assert all(type(value) is float for value in found.values())

    def test_the_score_is_the_integral_over_all_thresholds(self):
        x, step = np.linspace(-12, 12, 48_001, retstep=True)
        below = np.array([cumulative(value) for value in x])
        integral = np.sum((below - (x >= 0.7)) ** 2) * step
        assert gaussian_measures([0.7], [0.0], [1.0])["crps"] == pytest.approx(integral, rel=1e-3)

    def test_log_score_is_that_of_the_package_near_the_mean(self):
        scoringrules = pytest.importorskip("scoringrules")
        y, mean = np.random.default_rng(0).normal(size=(2, 50))
        expected = scoringrules.logs_normal(y, mean, 0.5).mean()
        assert gaussian_measures(y, mean, np.full(50, 0.5))["log_score"] == pytest.approx(expected)

    def test_means_over_the_measured(self):
        y, mean = np.random.default_rng(0).normal(size=(2, 50))
        std = np.random.default_rng(1).uniform(0.5, 2, size=50)
        each = [gaussian_measures(*([value] for value in row)) for row in zip(y, mean, std, strict=True)]
        found = gaussian_measures(np.append(y, NAN), np.append(mean, 0), np.append(std, -1))
        assert found == pytest.approx({name: np.mean([one[name] for one in each]) for name in found})

    def test_far_from_the_mean(self):
        """Where the density itself is 0 in floating point."""
        found = gaussian_measures([3.0], [1.0], [1e-9])
        assert found == pytest.approx({"crps": 2, "log_score": 2e18})

    def test_what_does_not_fit(self):
        with pytest.raises(ValueError, match=r"^targets \(2,\), mean \(2,\), std \(1,\) must have one shape$"):
            gaussian_measures(np.ones(2), np.ones(2), np.ones(1))
        with pytest.raises(ValueError, match=r"^std \(2,\) must be above 0, got 0\.0$"):
            gaussian_measures(np.ones(2), np.ones(2), [1.0, 0.0])


def test_the_package_is_imported_when_it_is_used():
    assert third_party_imports("rnn_jax.interval_metrics") <= {"numpy"}
