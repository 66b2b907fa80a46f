"""Made-up series: repeatable, plausible, and worth forecasting."""

import numpy as np
import pandas as pd
import pytest

from rnn_jax.data.errors import DataError
from rnn_jax.data.series import synthetic

LAGS = 64


@pytest.fixture(scope="module")
def default():
    return synthetic.read(".", "clean")


def test_the_same_for_the_same_seed():
    a, b, c = (synthetic.hourly_temperature(500, seed) for seed in (0, 0, 1))
    np.testing.assert_array_equal(a.values, b.values)
    np.testing.assert_array_equal(a.best, b.best)
    assert np.abs(a.values - c.values).max() > 1


def test_a_longer_one_begins_with_the_shorter_one(default):
    short = synthetic.hourly_temperature(700, seed=0)
    np.testing.assert_array_equal(short.values, default.values[:700])
    np.testing.assert_array_equal(short.best, default.best[:700])
    assert list(short.times) == list(default.times[:700])


def test_hours_of_a_temperate_climate(default):
    series = default
    assert series.values.shape == (26_304, 1)
    assert series.name == "synthetic"
    assert [column.name for column in series.columns] == ["synthetic temperature (C)"]
    assert (series.num_targets, series.season, series.step) == (1, 24, "1h")
    assert series.times[0] == pd.Timestamp("2006-01-01", tz="UTC")
    assert set(np.diff(series.times.asi8)) == {pd.Timedelta("1h") // pd.Timedelta(1, unit=series.times.unit)}
    assert not series.breaks.any()
    frame = pd.Series(series.values[:, 0], index=series.times)
    by_month, by_hour = frame.groupby(series.times.month).mean(), frame.groupby(series.times.hour).mean()
    assert by_month[7] - by_month[1] > 15
    assert by_hour[14] - by_hour[2] > 3
    swing = frame.resample("D").max() - frame.resample("D").min()
    assert swing[swing.index.month == 7].mean() > 1.3 * swing[swing.index.month == 1].mean()
    assert -30 < frame.min() < frame.max() < 50


def test_fronts_cut_the_daily_cycle(default):
    """In one summer, days under a front swing about half as much as the clear ones."""
    summer = pd.Series(default.values[:, 0], index=default.times)["2007-06":"2007-08"]
    days = summer.resample("D")
    swing = days.max() - days.min()
    assert swing.quantile(0.1) < 0.6 * swing.quantile(0.9)


def _error(forecast, values):
    return np.mean((forecast - values) ** 2)


def test_the_rungs(default):
    """On the last 20 %: persistence, what is linear in 64 lags and the calendar, and the limit, by clear margins."""
    values, best = default.values[:, 0], default.best
    num_hours = len(values)
    hours = np.arange(num_hours)
    calendar = [
        wave(2 * np.pi * hours / period) for period in (24, synthetic.HOURS_PER_YEAR) for wave in (np.sin, np.cos)
    ]
    lags = np.lib.stride_tricks.sliding_window_view(values, LAGS)[:-1]
    inputs = np.column_stack([lags, *(wave[LAGS:] for wave in calendar), np.ones(num_hours - LAGS)])
    train, test = int(0.7 * num_hours), int(0.8 * num_hours)
    weights = np.linalg.lstsq(inputs[: train - LAGS], values[LAGS:train])[0]
    limit = _error(best[test:], values[test:])
    linear = _error(inputs[test - LAGS :] @ weights, values[test:])
    persistence = _error(values[test - 1 : -1], values[test:])
    # The figures of the docstring.
    assert limit == pytest.approx(0.1092, abs=1e-4)
    assert linear == pytest.approx(0.1540, abs=5e-4)
    assert persistence == pytest.approx(0.7925, abs=5e-4)
    assert persistence > 4 * linear
    assert linear > 1.35 * limit


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_nothing_is_left_beside_the_best(seed):
    """What `best` leaves is the noise: white, of the stated deviation, and uncorrelated with the values before."""
    series = synthetic.hourly_temperature(8000, seed)
    left = series.values[:, 0] - series.best
    assert left.std() == pytest.approx(synthetic.NOISE, rel=0.03)
    for lag in (1, 2, 6, 24):
        assert abs(np.corrcoef(left[lag:], left[:-lag])[0, 1]) < 0.04
        assert abs(np.corrcoef(left[lag:], series.values[:-lag, 0])[0, 1]) < 0.04


def test_the_best_follows_from_the_values_before(default):
    """The equations of the docstring, driven by the values alone and from rest, catch up within 64 hours."""
    values, hours = default.values[:, 0], np.arange(len(default.values))
    season = -np.cos(2 * np.pi * (hours - 360) / synthetic.HOURS_PER_YEAR)
    daily = (4 + 2 * season) * np.cos(2 * np.pi * (hours - 14) / 24)
    starts = np.arange(5000, 20_000, 7)
    a = q = k = b = np.zeros(len(starts))
    keep = np.exp(-1 / 6)
    for t in (starts + ahead for ahead in range(LAGS + 1)):
        q = keep * q + (1 - keep) * a
        k = k + 0.3 * (1 / (1 + np.exp(-1.2 * (q - 2.5 + 5 * k))) - k)
        m = a + (1 - k) * (7 - a) / 20 + k * (-9 - a) / 8 + b
        best = 11 + 10 * season[t] + (1 - 0.85 * k) * daily[t] + m
        a, b = m + values[t] - best, 0.8 * b + 0.05 * np.tanh((values[t] - best) / 0.33)
    truth = default.best[starts + LAGS]
    assert _error(best, truth) < 0.02 * synthetic.NOISE**2


def test_sine_with_trend():
    values = synthetic.noisy_sine_with_trend(4000, seed=0)
    steps = np.arange(4000)
    np.testing.assert_array_equal(values, synthetic.noisy_sine_with_trend(4000, seed=0))
    residual = values - np.sin(2 * np.pi * steps / 40) - 0.002 * steps
    assert residual.std() == pytest.approx(0.25, rel=0.05)


@pytest.mark.parametrize("generate", [synthetic.hourly_temperature, synthetic.noisy_sine_with_trend])
def test_lengths(generate):
    assert len(getattr(generate(1, 0), "values", generate(1, 0))) == 1
    with pytest.raises(DataError, match=r"^num_(hours|steps)=0: must be at least 1$"):
        generate(0, 0)
