"""Made-up series: repeatable, plausible, and worth forecasting."""

import numpy as np
import pandas as pd
import pytest

from rnn_jax.data.errors import DataError
from rnn_jax.data.series import baselines, synthetic
from rnn_jax.data.series.forecasting import make_task
from rnn_jax.metrics import regression


def test_the_same_for_the_same_seed():
    a, b, c = (synthetic.hourly_temperature(500, seed).values for seed in (0, 0, 1))
    np.testing.assert_array_equal(a, b)
    assert np.abs(a - c).max() > 1


def test_hours_of_a_temperate_climate():
    series = synthetic.hourly_temperature(3 * 8766, seed=0)
    assert "synthetic" in series.name
    assert "synthetic" in series.columns[0]
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


def test_an_autoregression_beats_persistence():
    task = make_task(synthetic.hourly_temperature(8000, seed=3), "clean", lag=48, ahead=1)
    forecasts = baselines.all_baselines(task, "test")
    measures = regression(
        task.targets(task.test), forecasts["linear_autoregression"], persistence=forecasts["persistence"]
    )
    assert 0.2 < measures["skill"] < 0.6


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
