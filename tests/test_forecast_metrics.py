"""Measures of forecasts with missing targets: worked by hand, against the measures of whole arrays, and the test."""

import math

import numpy as np
import pytest
from helpers.imports import third_party_imports

from rnn_jax.forecast_metrics import by_step, diebold_mariano, forecast_measures, measured, naive_scale
from rnn_jax.metrics import regression

RNG = np.random.default_rng(0)
Y, P, LAST = RNG.normal(size=(3, 7, 4, 2))
NAMES = {"mse", "mae", "rmse", "r2", "skill"}


def with_gaps(values: np.ndarray) -> np.ndarray:
    holed = values.copy()
    holed[::3, 1] = np.nan
    return holed


class TestMeasures:
    def test_by_hand(self):
        y = np.array([[[1.0, 10.0]], [[3.0, np.nan]]])
        p = np.array([[[2.0, 14.0]], [[3.0, np.nan]]])
        last = np.array([[[3.0, 10.0]], [[1.0, np.nan]]])
        found = forecast_measures(y, p, last, scale=[0.5, 8.0])
        mean = 14 / 3
        spread = ((1 - mean) ** 2 + (10 - mean) ** 2 + (3 - mean) ** 2) / 3
        expected = {"mse": 17 / 3, "mae": 5 / 3, "rmse": math.sqrt(17 / 3), "r2": 1 - 17 / 3 / spread}
        assert found == pytest.approx({**expected, "skill": 1 - 17 / 8, "mase": (2 + 0.5 + 0) / 3})
        assert all(type(value) is float for value in found.values())

    def test_without_gaps_they_are_those_of_regression(self):
        found = forecast_measures(Y, P, LAST)
        assert set(found) == NAMES
        assert found == pytest.approx(regression(Y, P, LAST))

    def test_only_what_was_measured_counts(self):
        y = with_gaps(Y)
        known = ~np.isnan(y)
        wild = np.where(known, P, 1e30)
        assert forecast_measures(y, wild, np.where(known, LAST, np.nan)) == regression(y[known], P[known], LAST[known])

    def test_a_scale_for_each_window(self):
        scale = RNG.uniform(1, 2, size=(7, 2))
        found = forecast_measures(with_gaps(Y), P, LAST, scale)["mase"]
        assert found == pytest.approx(np.nanmean(np.abs(with_gaps(Y) - P) / scale[:, None]))
        every = np.tile(scale[0], (7, 1))
        assert forecast_measures(Y, P, LAST, every) == forecast_measures(Y, P, LAST, scale[0])

    def test_float32_is_summed_in_float64(self):
        y = np.full((1, 10_000, 1), 1e4, dtype=np.float32)
        assert forecast_measures(y, y + np.float32(0.5), y + 1)["mse"] == 0.25

    def test_limits(self):
        ones = np.ones((3, 1, 1))
        off = forecast_measures(ones, 2 * ones, ones)
        assert (off["r2"], off["skill"]) == (-math.inf, -math.inf)
        assert math.isnan(forecast_measures(ones, ones, ones)["skill"])
        assert forecast_measures(ones, np.full_like(ones, np.inf), 0 * ones)["mse"] == math.inf

    def test_what_does_not_fit(self):
        with pytest.raises(ValueError, match=r"^targets must be \[W, A, M\], got \(7, 4\)$"):
            forecast_measures(Y[..., 0], P[..., 0], LAST[..., 0])
        shapes = r"^targets \(7, 4, 2\), predictions \(6, 4, 2\), persistence \(7, 4, 2\) must have one shape$"
        with pytest.raises(ValueError, match=shapes):
            forecast_measures(Y, P[1:], LAST)
        with pytest.raises(ValueError, match=r"^predictions \(7, 4, 2\) are NaN at 6 of 56 measured targets$"):
            forecast_measures(Y, with_gaps(P), LAST)
        with pytest.raises(ValueError, match=r"^persistence \(7, 4, 2\) are NaN at 6 of 56 measured targets$"):
            forecast_measures(Y, P, with_gaps(LAST))
        with pytest.raises(ValueError, match=r"^no targets to measure: shape \(7, 4, 2\), 56 missing$"):
            forecast_measures(np.full_like(Y, np.nan), P, LAST)
        for scale in (1.0, np.ones(4), np.ones((4, 2))):
            with pytest.raises(ValueError, match=r"^scale must be \[M\] = \(2,\) or \[W, M\] = \(7, 2\), got \("):
                forecast_measures(Y, P, LAST, scale)
        for scale in ([1.0, 0.0], [1.0, np.nan]):
            with pytest.raises(ValueError, match=r"^scale \(2,\) must be above 0, got (0\.0|nan)$"):
                forecast_measures(Y, P, LAST, scale)

    def test_targets_come_first(self):
        y, a, b = measured([[np.nan, 1.0]], a=[[0.0, 2.0]], b=[[0.0, 3.0]])
        assert (y.tolist(), a.tolist(), b.tolist()) == ([1], [2], [3])


class TestByStep:
    def test_each_step_by_itself(self):
        y = with_gaps(Y)
        found = by_step(y, P, LAST, [1.0, 2.0], steps=[1, 2, 4])
        assert set(found) == NAMES | {"mase"}
        for place, step in enumerate([1, 2, 4]):
            one = [values[:, step - 1 : step] for values in (y, P, LAST)]
            assert {name: values[place] for name, values in found.items()} == forecast_measures(*one, [1.0, 2.0])

    def test_a_step_without_targets(self):
        y = Y.copy()
        y[:, 2] = np.nan
        found = by_step(y, P, LAST, None, steps=[2, 3])
        assert set(found) == NAMES
        assert all(math.isfinite(first) and math.isnan(second) for first, second in found.values())

    @pytest.mark.parametrize("steps", [[0], [1, 5]])
    def test_steps_that_are_not_there(self, steps):
        with pytest.raises(ValueError, match=r"^steps must lie in 1\.\.4 of targets \(7, 4, 2\), got \["):
            by_step(Y, P, LAST, None, steps)


class TestNaiveScale:
    def test_by_hand(self):
        values = np.array([[0.0], [1.0], [4.0], [np.nan], [10.0]])
        assert naive_scale(values, season=2) == pytest.approx([(4 + 6) / 2])
        assert naive_scale(values, season=1) == pytest.approx([(1 + 3) / 2])

    def test_no_pair_over_a_break(self):
        values = np.array([[0.0], [1.0], [4.0], [100.0], [101.0], [106.0]])
        breaks = np.arange(6) == 3
        assert naive_scale(values, 2, breaks) == pytest.approx([(4 + 6) / 2])
        assert naive_scale(values, 1, breaks) == pytest.approx([(1 + 3 + 1 + 5) / 4])
        assert naive_scale(values, 2, np.zeros(6, bool)) == pytest.approx(naive_scale(values, 2))

    def test_a_series_shorter_than_its_season(self):
        values = np.array([[0.0, 0.0, np.nan], [2.0, 0.0, np.nan], [6.0, 0.0, 1.0]])
        for season in (3, 24):
            np.testing.assert_array_equal(naive_scale(values, season), [3, 1, 1])

    def test_each_target_falls_back_by_itself(self):
        values = np.array([[0.0, 0.0], [1.0, 1.0], [5.0, np.nan]])
        np.testing.assert_array_equal(naive_scale(values, 2), [5, 1])

    def test_what_does_not_fit(self):
        with pytest.raises(ValueError, match=r"^values must be \[N, M\], got \(3,\)$"):
            naive_scale(np.ones(3), 1)
        with pytest.raises(ValueError, match=r"^season=0: must be at least 1$"):
            naive_scale(np.ones((3, 1)), 0)
        with pytest.raises(ValueError, match=r"^breaks must be \[N\] = \(3,\), got \(2,\)$"):
            naive_scale(np.ones((3, 1)), 1, [True, False])


class TestDieboldMariano:
    def test_by_hand(self):
        a, b = [1.0, -1.0, 2.0, 0.5], [2.0, 2.0, -2.0, 1.5]  # differences -3, -3, 0, -2: mean -2, variance 3/2
        statistic, p = diebold_mariano(a, b, ahead=1)
        assert statistic == pytest.approx(math.sqrt(3 / 4) * -2 / math.sqrt(1.5 / 4))
        x = statistic / math.sqrt(statistic**2 + 3)  # Student's distribution with 3 degrees in closed form
        assert p == pytest.approx(1 - 2 / math.pi * abs(math.asin(x) + x * math.sqrt(1 - x**2)))
        assert diebold_mariano(b, a, ahead=1) == pytest.approx((-statistic, p))

    @pytest.mark.parametrize(("num_pairs", "weighted"), [(30, False), (29, True)])
    def test_which_variance(self, num_pairs, weighted):
        a, b = np.random.default_rng(1).normal(size=(2, num_pairs + 2))
        a, b = (np.convolve(errors, np.ones(3), "valid") for errors in (a, b))
        d = a**2 - b**2
        c = d - d.mean()
        lags = np.array([c[k:] @ c[: len(c) - k] for k in range(3)]) / len(d)
        variance = lags @ ([1, 4 / 3, 2 / 3] if weighted else [1, 2, 2])
        correction = math.sqrt((len(d) + 1 - 6 + 6 / len(d)) / len(d))
        expected = correction * d.mean() / math.sqrt(variance / len(d))
        assert diebold_mariano(a, b, ahead=3)[0] == pytest.approx(expected)

    def test_a_sum_below_zero_is_weighted(self):
        d = np.tile([0.0, 4.0], 20) + 1.0  # neighbours on either side of the mean: 4 - 2 * 3.9 below 0
        statistic, p = diebold_mariano(np.sqrt(d), np.zeros(40), ahead=2)
        variance = (4 - 4 * 39 / 40) / 40
        assert statistic == pytest.approx(math.sqrt((40 + 1 - 4 + 2 / 40) / 40) * 3 / math.sqrt(variance))
        assert 0 <= p < 1e-6

    def test_equally_good_forecasts_are_seldom_told_apart(self):
        draws = np.random.default_rng(2).normal(size=(400, 2, 60))
        found = [diebold_mariano(a, b, ahead=1)[1] < 0.1 for a, b in draws]
        assert abs(np.mean(found) - 0.1) < 3 * math.sqrt(0.1 * 0.9 / 400)

    def test_missing_pairs_are_dropped(self):
        a, b = np.random.default_rng(3).normal(size=(2, 20))
        holed_a, holed_b = np.insert(a, 4, np.nan), np.insert(b, 4, 7.0)
        holed_a, holed_b = np.append(holed_a, 7.0), np.append(holed_b, np.nan)
        assert diebold_mariano(holed_a, holed_b, 2) == diebold_mariano(a, b, 2)

    def test_without_variance(self):
        assert diebold_mariano([1.0, -2.0, 3.0], [-1.0, 2.0, 3.0], 1) == (0, 1)
        assert diebold_mariano([1.0, 1.0, 1.0], [2.0, 2.0, 2.0], 2) == (-math.inf, 0)

    def test_what_does_not_fit(self):
        with pytest.raises(ValueError, match=r"^errors_a \(3,\) and errors_b \(2,\) must have one shape \[W\]$"):
            diebold_mariano(np.ones(3), np.ones(2), 1)
        for ahead in (0, 2, 3):
            with pytest.raises(ValueError, match=r"must be at least 1 and below the 2 measured pairs of \(3,\)$"):
                diebold_mariano([1.0, np.nan, 3.0], np.ones(3), ahead)


def test_packages_are_imported_when_they_are_used():
    assert third_party_imports("rnn_jax.forecast_metrics") <= {"numpy"}
