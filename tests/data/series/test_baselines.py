"""Baselines against their definitions, a plain least-squares fit and the figures measured on the real file."""

import os
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from rnn_jax.data.errors import DataError
from rnn_jax.data.series import baselines, szeged
from rnn_jax.data.series.forecasting import make_task
from rnn_jax.data.series.series import Series
from rnn_jax.data.series.synthetic import hourly_temperature
from rnn_jax.data.series.windows import gather
from rnn_jax.metrics import regression


def task_of(values, lag, ahead):
    values = np.asarray(values, dtype=np.float64)[:, None]
    return make_task(Series("some", values, ("x",), None, np.zeros(len(values), dtype=bool)), "clean", lag, ahead)


def test_persistence_repeats_the_last_value_read():
    task = task_of(np.arange(100), lag=5, ahead=3)
    np.testing.assert_array_equal(baselines.persistence(task, np.array([0, 10])), [[4, 4, 4], [14, 14, 14]])


def test_seasonal_naive_takes_the_season_before():
    task = task_of(np.arange(200), lag=5, ahead=6)
    expected = [[1, 2, 3, 4, 1, 2], [11, 12, 13, 14, 11, 12]]  # season 4 before rows 5, 6, ...
    np.testing.assert_array_equal(baselines.seasonal_naive(task, np.array([0, 10]), season=4), expected)
    periodic = task_of(np.arange(400) % 24, lag=24, ahead=8)
    np.testing.assert_array_equal(baselines.seasonal_naive(periodic, periodic.test), periodic.targets(periodic.test))


def test_seasonal_naive_stays_within_the_window():
    task = task_of(np.arange(300), lag=23, ahead=1)
    with pytest.raises(DataError, match=r"^a season of 24 rows needs lag=24 or more, got 23$"):
        baselines.seasonal_naive(task, task.test)
    assert list(baselines.all_baselines(task, "test")) == ["persistence", "linear_autoregression"]


def test_all_baselines():
    task = make_task(hourly_temperature(1000, seed=0), "clean", lag=24, ahead=3)
    forecasts = baselines.all_baselines(task, "validation")
    assert list(forecasts) == ["persistence", "seasonal_naive", "linear_autoregression"]
    for forecast in forecasts.values():
        assert forecast.shape == (len(task.validation), 3)
        assert forecast.dtype == np.float64


@pytest.mark.parametrize("chunk", [7, 100, 10_000])
def test_autoregression_is_the_least_squares_fit(monkeypatch, chunk):
    monkeypatch.setattr(baselines, "CHUNK", chunk)
    task = make_task(hourly_temperature(700, seed=1), "clean", lag=6, ahead=2)
    X, Y = gather(task.values, task.train, 6, 2)
    with_one = np.hstack([X[..., 0], np.ones((len(X), 1))])
    coefficients = np.linalg.lstsq(with_one, Y[..., 0], rcond=None)[0]
    expected = gather(task.values, task.test, 6, 2)[0][..., 0] @ coefficients[:-1] + coefficients[-1]
    np.testing.assert_allclose(baselines.linear_autoregression(task, task.test), expected, rtol=1e-9)


def test_autoregression_of_a_series_without_noise_is_exact():
    steps = np.arange(400)
    task = task_of(3 + np.sin(steps / 5), lag=20, ahead=4)  # lags of a sine have rank 2
    np.testing.assert_allclose(baselines.linear_autoregression(task, task.test), task.targets(task.test), atol=1e-8)


def test_autoregression_with_more_lags_than_windows():
    task = make_task(hourly_temperature(300, seed=1), "clean", lag=25, ahead=1)
    few = replace(task, train=task.train[:10])
    np.testing.assert_allclose(baselines.linear_autoregression(few, few.train), few.targets(few.train), atol=1e-8)


def test_autoregression_does_not_see_the_test_rows():
    task = make_task(hourly_temperature(1000, seed=0), "clean", lag=5, ahead=1)
    changed = task.values.copy()
    changed[task.validation[0] :] = 0.0
    np.testing.assert_array_equal(
        baselines.fit_autoregression(replace(task, values=changed)), baselines.fit_autoregression(task)
    )


@pytest.fixture(scope="module")
def clean():
    return szeged.read(os.environ["RNN_JAX_DATA"], "clean")


def measures(task, starts, step):
    """Measures of each baseline at one step ahead, counted from 1."""
    truth, last = task.targets(starts)[:, step - 1], baselines.persistence(task, starts)[:, step - 1]
    forecasts = {
        "persistence": last,
        "seasonal_naive": baselines.seasonal_naive(task, starts)[:, step - 1],
        "linear_autoregression": baselines.linear_autoregression(task, starts)[:, step - 1],
    }
    return {name: regression(truth, forecast, persistence=last) for name, forecast in forecasts.items()}


@pytest.mark.skipif("RNN_JAX_DATA" not in os.environ, reason="RNN_JAX_DATA is not set")
class TestRealFile:
    def test_lecture(self):
        task = make_task(szeged.read(os.environ["RNN_JAX_DATA"], "lecture"), "lecture", lag=64, ahead=1)
        found = measures(task, task.test, 1)
        for name, figures in {
            "persistence": {"mse": 1.867, "mae": 0.897, "r2": 0.9769},
            "linear_autoregression": {"mse": 1.137, "mae": 0.678, "r2": 0.9859},
        }.items():
            assert {k: found[name][k] for k in figures} == pytest.approx(figures, abs=6e-4)
        # The published fit used the first 80 % of the windows, validation included.
        wider = replace(task, train=np.concatenate([task.train, task.validation]))
        found = measures(wider, task.test, 1)["linear_autoregression"]
        figures = {"mse": 1.130, "mae": 0.675, "r2": 0.9860}
        assert {k: found[k] for k in figures} == pytest.approx(figures, abs=6e-4)

    @pytest.mark.parametrize(
        ("ahead", "persistence", "seasonal", "linear"),
        [(1, 1.6433, 9.9455, 0.7969), (6, 28.8042, 9.9451, 5.5928), (24, 9.9231, 9.9231, 9.3379)],
    )
    def test_clean(self, clean, ahead, persistence, seasonal, linear):
        task = make_task(clean, "clean", lag=48, ahead=ahead)
        found = [m["mse"] for m in measures(task, task.test, ahead).values()]
        assert found == pytest.approx([persistence, seasonal, linear], abs=1e-4)

    @pytest.mark.parametrize(
        ("ahead", "persistence", "seasonal", "linear"),
        [(1, 1.639, 9.974, 0.796), (6, 28.72, 9.974, 5.595), (24, 9.974, 9.974, 9.372)],
    )
    def test_clean_with_inputs_before_2015(self, clean, ahead, persistence, seasonal, linear):
        """Every hour of the test part is a target, so that the first windows read hours of 2014."""
        task = make_task(clean, "clean", lag=48, ahead=ahead)
        begin, end = (int(task.times.searchsorted(pd.Timestamp(d, tz="UTC"))) for d in ("2015-01-01", "2016-11-01"))
        starts = np.arange(begin, end) - 48 - ahead + 1
        found = [m["mse"] for m in measures(task, starts, ahead).values()]
        assert found == pytest.approx([persistence, seasonal, linear], rel=3e-4)
