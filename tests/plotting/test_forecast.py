"""Plots of forecasts: which stretch is shown, of which forecasts, and what the legend says."""

import numpy as np
import pandas as pd
import pytest

from rnn_jax.plotting.forecast import error_histogram, forecast_days

TARGETS = np.arange(100.0)
PREDICTIONS = {"lstm, seed 0": TARGETS + 1, "persistence": TARGETS - 2, "seasonal_naive": TARGETS + 1e6}


@pytest.mark.parametrize("num_steps", [10, 500])
def test_the_middle_of_the_test_split(tmp_path, figures, num_steps):
    forecast_days(tmp_path / "days.png", np.arange(100) + 7, TARGETS, PREDICTIONS, "temperature (C)", num_steps)
    above, below = figures[0].axes
    shown = np.arange(45, 55) if num_steps == 10 else np.arange(100)
    real, ours, persistence = above.lines
    for line, values in ((real, TARGETS), (ours, TARGETS + 1), (persistence, TARGETS - 2)):
        np.testing.assert_array_equal(line.get_xdata(), shown + 7)
        np.testing.assert_array_equal(line.get_ydata(), values[shown])
    assert ours.get_linewidth() > persistence.get_linewidth()
    errors = [line.get_ydata() for line in below.lines[:2]]
    np.testing.assert_array_equal(errors, [np.full(len(shown), 1), np.full(len(shown), -2)])
    labels = [text.get_text() for text in above.get_legend().get_texts()]
    assert labels == ["real", "lstm, seed 0", "persistence"]  # beside the seasonal one nothing else could be seen
    assert (above.get_ylabel(), below.get_xlabel()) == ("temperature (C)", "row of the file")


def test_times(tmp_path, figures):
    times = pd.date_range("2015-01-01", periods=100, freq="h", tz="UTC")
    forecast_days(tmp_path / "days.png", times, TARGETS, PREDICTIONS, "C", num_steps=48)
    above, below = figures[0].axes
    assert above.lines[0].get_xdata()[0] == times[26]
    assert below.get_xlabel() == ""


def test_errors_are_counted(tmp_path, figures):
    predictions = {"lstm": TARGETS + np.where(np.arange(100) < 25, 2, -1), "seasonal_naive": TARGETS + 1e6}
    error_histogram(tmp_path / "errors.png", TARGETS, predictions, "C")
    (axes,) = figures[0].axes
    (outline,) = axes.patches
    assert outline.get_xy()[:, 1].max() == 75
    assert axes.get_yscale() == "log"
    assert [text.get_text() for text in axes.get_legend().get_texts()] == ["lstm: RMSE 1.323, mean -0.250"]


def test_a_perfect_forecast(tmp_path, figures):
    error_histogram(tmp_path / "errors.png", TARGETS, {"lstm": TARGETS}, "C")
    assert figures[0].axes[0].get_legend().get_texts()[0].get_text() == "lstm: RMSE 0.000, mean +0.000"
