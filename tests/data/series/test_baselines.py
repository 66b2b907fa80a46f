"""Baselines against their definitions; on noise none of them knows anything, and none looks ahead."""

import os

import numpy as np
import pytest

from rnn_jax.data.series import baselines, lines, szeged, trees
from rnn_jax.data.series.forecasting import make_task
from rnn_jax.data.series.series import Column, Series
from rnn_jax.forecast_metrics import diebold_mariano

NAN = np.nan


def task_of(values, lag, ahead, num_targets=1):
    values = np.asarray(values, np.float64).reshape(len(values), -1)
    columns = tuple(Column(f"x{k}") for k in range(values.shape[1]))
    return make_task(
        Series("some", values, columns, num_targets, None, np.zeros(len(values), bool)), "clean", lag, ahead
    )


def with_holes(values, *holes):
    values = np.asarray(values, np.float64).copy()
    values[list(holes)] = NAN
    return values


@pytest.mark.parametrize(
    ("forecast", "expected"),
    [
        (baselines.persistence, [[4, 4, 4], [14, 14, 14], [23, 23, 23]]),
        (lambda task, starts: baselines.seasonal_naive(task, starts, 2), [[3, 4, 3], [13, 14, 13], [23, 23, 23]]),
        (lambda task, starts: baselines.seasonal_naive(task, starts, 5), [[4, 1, 2], [10, 11, 12], [19, 21, 22]]),
        (baselines.drift, [[4, 4, 4], [15, 16, 17], [24, 25, 26]]),
    ],
)
def test_by_hand(forecast, expected):
    """Rows 0, 20 and 24 were not measured: the last value stands for them, where there is one."""
    task = task_of(with_holes(np.arange(100.0), 0, 20, 24), lag=5, ahead=3)
    np.testing.assert_allclose(forecast(task, np.array([0, 10, 20]))[..., 0], expected)


def test_several_targets():
    values = np.random.default_rng(0).normal(size=(90, 3))
    task = task_of(values, lag=4, ahead=2, num_targets=2)
    found = baselines.forecasts(task, baselines.fit_lines(task), 3, [1, 2])
    for name, forecast in found.items():
        assert forecast(task.test).shape == (len(task.test), 2, 2), name
        assert np.isfinite(forecast(task.test)).all()
    np.testing.assert_array_equal(found["persistence"](task.test)[:, 1], values[task.test + 3, :2])
    np.testing.assert_array_equal(found["seasonal_naive"](task.test)[:, 0], values[task.test + 1, :2])


def test_which_there_are():
    task = task_of(np.sin(np.arange(120.0)), lag=5, ahead=2)
    names = ["persistence", "seasonal_naive", "drift", "linear_autoregression", "nlinear", "dlinear", "trees"]
    fitted = baselines.fit_lines(task)
    assert list(baselines.forecasts(task, fitted, 5, [1])) == names
    assert list(baselines.forecasts(task, fitted, 6)) == [names[0], *names[2:-1]]
    assert list(baselines.forecasts(task_of(np.arange(90.0), 1, 2), {}, 1)) == ["persistence"]


@pytest.mark.parametrize(
    ("values", "season", "best"),
    [
        (np.resize([1.0, 7.0, 2.0, 9.0], 300), 4, 0.0),
        (np.cumsum(np.random.default_rng(3).normal(size=300)), 1, None),
    ],
)
def test_best_line(values, season, best):
    task = task_of(values, lag=12, ahead=2)
    fitted = baselines.fit_lines(task)
    candidates = [lines.repeat(task, 1), *fitted.values()] + [lines.repeat(task, season)] * (season > 1)
    line = baselines.best_line(task, fitted, season)
    assert line.error == min(each.error for each in candidates)
    assert best is None or line.error < 1e-20
    assert baselines.best_line(task, {}, 13).past[-1].tolist() == [1, 1]


@pytest.mark.parametrize("holes", [0.0, 0.05, 0.3])
def test_no_skill_on_noise(holes):
    """Nothing is better than the mean of the training rows, where every value is drawn anew."""
    rng = np.random.default_rng(5)
    values = np.where(rng.random((600, 2)) < holes, NAN, rng.normal(size=(600, 2)))
    task = task_of(values, lag=6, ahead=2)
    wanted = task.targets(task.test)[..., 0]
    mean = wanted - task.encoder.center[0, 0]
    for name, forecast in baselines.forecasts(task, baselines.fit_lines(task), 5, [1, 2]).items():
        errors = wanted - forecast(task.test)[..., 0]
        for step in range(2):
            statistic, p = diebold_mariano(errors[:, step], mean[:, step], ahead=step + 1)
            assert statistic > 0 or p > 0.02, (name, step, statistic, p)
            assert np.nanmean(errors[:, step] ** 2) > 0.9 * np.nanmean(mean[:, step] ** 2), (name, step)


def test_no_baseline_looks_ahead():
    rng = np.random.default_rng(2)
    values = np.where(rng.random((200, 2)) < 0.1, NAN, np.cumsum(rng.normal(size=(200, 2)), axis=0))
    task = task_of(values, lag=5, ahead=3)
    start = task.test[len(task.test) // 2 :][:1]
    origin = start[0] + 5
    later = values.copy()
    later[origin:] = np.where(rng.random((200 - origin, 2)) < 0.3, NAN, 1e3)
    later[[origin, -1]] = 1e3
    other = task_of(later, lag=5, ahead=3)
    found = [baselines.forecasts(each, baselines.fit_lines(each), 3, [1, 3]) for each in (task, other)]
    for name, forecast in found[0].items():
        np.testing.assert_array_equal(found[1][name](start), forecast(start), err_msg=name)
        assert not np.array_equal(found[1][name](start + 1), forecast(start + 1)), "one row later it is seen"


class TestTrees:
    def test_a_threshold(self):
        rng = np.random.default_rng(0)
        x = np.zeros(500)
        for t in range(1, 500):
            x[t] = (0.9 * x[t - 1] + 1.5 if x[t - 1] < 0 else -0.8 * x[t - 1] - 1) + 0.1 * rng.normal()
        task = task_of(x, lag=3, ahead=2)
        found = trees.forecast(task, task.test, [1])
        assert np.isnan(found[:, 1]).all()
        wanted = task.targets(task.test)[:, 0]
        straight = lines.predict(task, lines.autoregression(task), task.test)[:, 0]
        mse = [np.mean((each - wanted) ** 2) for each in (found[:, 0], straight)]
        assert mse[0] < 0.02 < 0.1 < mse[1]

    def test_what_they_read(self):
        values = np.stack([np.arange(60.0) ** 2, np.sin(np.arange(60.0)), np.cos(np.arange(60.0))], axis=1)
        columns = (Column("x"), Column("y"), Column("k", known=True))
        task = make_task(Series("some", values, columns, 1, None, np.zeros(60, bool)), "clean", 4, 3)
        table = trees.table(task, np.array([7]), step=2)[0]
        x, y, k = task.features.T
        expected = [*(x[7:10] - x[10]), x[10], y[9], k[9], y[10], k[10], k[12]]
        np.testing.assert_allclose(table, expected, rtol=1e-6)
        assert trees.table(make_task(task.series, "clean", 1, 3), np.array([7, 8]), 1).shape == (2, 1 + 2 + 1)

    def test_long_series_are_thinned(self, monkeypatch):
        task = task_of(np.sin(np.arange(100.0)), lag=3, ahead=1)
        np.testing.assert_array_equal(trees.thinned(task), task.train)
        monkeypatch.setattr(trees, "MOST_NUMBERS", 5 * len(task.train) // 3 + 1)
        np.testing.assert_array_equal(trees.thinned(task), task.train[::3])

    def test_nothing_measured_at_a_step(self):
        """Then the forecast is the last value."""
        values = np.sin(np.arange(90.0))
        values[63:71] = NAN
        task = task_of(values, lag=3, ahead=9)
        assert task.validation.tolist() == [60]
        found = trees.forecast(task, task.test, [1, 9])
        np.testing.assert_allclose(found[:, 0], baselines.persistence(task, task.test)[:, 0])
        assert not np.allclose(found[:, 8], found[:, 0])


@pytest.mark.skipif("RNN_JAX_DATA" not in os.environ, reason="RNN_JAX_DATA is not set")
def test_the_lecture_on_the_real_file(monkeypatch):
    """The published figures: persistence, and a least-squares line on the same 64 lags; a ridge makes it better."""
    task = make_task(szeged.read(os.environ["RNN_JAX_DATA"], "lecture"), "lecture", lag=64, ahead=1)
    wanted = task.targets(task.test)
    found = {
        "persistence": baselines.persistence(task, task.test),
        "ridge": lines.predict(task, lines.autoregression(task), task.test),
    }
    monkeypatch.setattr(lines, "RIDGES", (1e-13,))
    found["line"] = lines.predict(task, lines.autoregression(task), task.test)
    mse = {name: float(np.mean((wanted - each) ** 2)) for name, each in found.items()}
    assert mse == pytest.approx({"persistence": 1.867, "ridge": 1.1312, "line": 1.137}, abs=6e-4)
