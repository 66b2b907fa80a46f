"""Plots of forecasts: which stretch is shown, of which forecasts, and what the legend says."""

import numpy as np
import pandas as pd
import pytest

from rnn_jax.plotting.forecast import PIXELS, error_histogram, fan_chart, forecast_days, series_with_monthly_mean

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


def test_missing_targets_are_gaps(tmp_path, figures):
    targets = np.where(np.arange(100) % 10 == 0, np.nan, TARGETS)
    forecast_days(tmp_path / "days.png", np.arange(100), targets, PREDICTIONS, "C")
    above, below = figures[0].axes
    np.testing.assert_array_equal(above.lines[0].get_ydata(), targets)
    np.testing.assert_array_equal(above.lines[1].get_ydata(), TARGETS + 1)
    np.testing.assert_array_equal(np.isnan(below.lines[0].get_ydata()), np.isnan(targets))


def test_missing_targets_have_no_error(tmp_path, figures):
    targets = np.where(np.arange(100) < 40, np.nan, TARGETS)
    error_histogram(tmp_path / "errors.png", targets, {"lstm": TARGETS + np.where(np.arange(100) < 70, 3, -1)}, "C")
    error_histogram(tmp_path / "none.png", np.full(100, np.nan), {"lstm": TARGETS}, "C")
    texts = [figure.axes[0].get_legend().get_texts()[0].get_text() for figure in figures]
    assert texts == ["lstm: RMSE 2.236, mean +1.000", "lstm: not measured"]
    assert figures[0].axes[0].patches[0].get_xy()[:, 1].max() == 30


def daily(num_rows):
    return pd.date_range("2015-01-01", periods=num_rows, freq="D")


def test_a_series_and_its_mean(tmp_path, figures):
    values = np.arange(200.0)
    values[100:150] = np.nan
    series_with_monthly_mean(tmp_path / "series.png", daily(200), values, "temperature (C)")
    (axes,) = figures[0].axes
    data, mean = (line.get_ydata() for line in axes.lines)
    np.testing.assert_array_equal(data, values)
    np.testing.assert_allclose(mean[20:80], values[20:80], atol=0.51)  # 30 days, of which one end counts
    assert np.isfinite(mean[[0, -1, 99, 150]]).all()
    assert np.isnan(mean[107:142]).all()  # fewer than 10 of 30 days
    assert [text.get_text() for text in axes.get_legend().get_texts()] == ["data", "mean of 30 days"]
    assert axes.get_ylabel() == "temperature (C)"


def test_a_long_series_is_thinned_but_keeps_its_extremes_and_gaps(tmp_path, figures):
    times = pd.date_range("2015-01-01", periods=50_000, freq="h", tz="UTC")
    values = np.random.default_rng(0).normal(size=50_000)
    values[[12_345, 30_001]] = 50, -40
    values[20_000:25_000] = np.nan
    series_with_monthly_mean(tmp_path / "series.png", times, values, "C")
    data = figures[0].axes[0].lines[0]
    x, y = pd.DatetimeIndex(data.get_xdata()), data.get_ydata()
    assert len(y) <= 2 * PIXELS
    assert (np.nanmax(y), np.nanmin(y)) == (50, -40)
    assert x[np.nanargmax(y)] == times[12_345]
    assert x.is_monotonic_increasing
    inside = (x > times[20_050]) & (x < times[24_950])
    assert inside.sum() > 100
    assert np.isnan(y[inside]).all()


def test_monthly_values_are_their_own_mean(tmp_path, figures):
    times = pd.date_range("2015-01-01", periods=40, freq="MS")
    series_with_monthly_mean(tmp_path / "series.png", times, TARGETS[:40], "C")
    np.testing.assert_array_equal(figures[0].axes[0].lines[1].get_ydata(), TARGETS[:40])


def test_times_that_do_not_fit(tmp_path):
    for times in (daily(99), daily(100)[::-1]):
        with pytest.raises(
            ValueError, match=r"^times \((99|100),\) must ascend and have the shape of the values \(100,\)"
        ):
            series_with_monthly_mean(tmp_path / "series.png", times, TARGETS, "C")


BANDS = [(0.5, TARGETS[:6] - 1, TARGETS[:6] + 1), (0.9, TARGETS[:6] - 3, TARGETS[:6] + 3)]


def test_a_fan(tmp_path, figures):
    times, past = daily(36), np.where(np.arange(30) == 7, np.nan, 5.0)
    fan_chart(tmp_path / "fan.png", times[:30], past, times[30:], TARGETS[:6], BANDS, "C", real=TARGETS[:6] + 0.5)
    fan_chart(tmp_path / "rows.png", np.arange(30), past, np.arange(30, 36), TARGETS[:6], [], "C")
    (axes,), (plain,) = (figure.axes for figure in figures)
    for line, values in zip(axes.lines, (past, TARGETS[:6], TARGETS[:6] + 0.5), strict=True):
        np.testing.assert_array_equal(line.get_ydata(), values)
    heights = [np.ptp(band.get_paths()[0].vertices[:, 1]) for band in axes.collections]
    assert heights == [5 + 6, 5 + 2]  # the wide one behind
    labels = [text.get_text() for text in axes.get_legend().get_texts()]
    assert labels == ["past", "90 %", "50 %", "forecast", "real"]
    assert (axes.get_ylabel(), axes.get_xlabel()) == ("C", "")
    assert axes.get_title(loc="left") == "Forecast of 6 steps ahead"
    assert [text.get_text() for text in plain.get_legend().get_texts()] == ["past", "forecast"]
    assert plain.get_xlabel() == "row of the file"


def test_a_fan_of_one_step(tmp_path, figures):
    bands = [(level, lower[:1], upper[:1]) for level, lower, upper in BANDS]
    fan_chart(tmp_path / "fan.png", np.arange(30), TARGETS[:30], [30], TARGETS[:1], bands, "C", real=TARGETS[:1])
    (axes,) = figures[0].axes
    assert [bar.get_segments()[0].tolist() for bar in axes.collections] == [[[30, -3], [30, 3]], [[30, -1], [30, 1]]]
    assert [line.get_marker() for line in axes.lines] == ["None", "o", "o"]
    assert axes.get_title(loc="left") == "Forecast of 1 step ahead"
