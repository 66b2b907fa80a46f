"""Plots of errors: what is drawn of values that are missing or not finite, the axes and the labels."""

import numpy as np
import pytest

from rnn_jax.plotting.forecast_errors import error_by_origin, error_by_step, importance_bars, predicted_and_real

RNG = np.random.default_rng(0)


def texts(axes):
    return [text.get_text() for text in axes.get_legend().get_texts()]


def test_by_step(tmp_path, figures):
    curves = {"lstm": [1.0, 2.0, np.nan], "linear_autoregression": [1.5, -np.inf, 3.0]}
    error_by_step(tmp_path / "steps.png", curves, [1, 6, 24], "MAE")
    (axes,) = figures[0].axes
    first, second = axes.lines
    np.testing.assert_array_equal(first.get_xdata(), [1, 6, 24])
    np.testing.assert_array_equal(first.get_ydata(), [1, 2, np.nan])
    np.testing.assert_array_equal(second.get_ydata(), [1.5, np.nan, 3])
    assert texts(axes) == ["lstm", "linear autoregression"]
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("steps ahead", "MAE")


def test_one_step(tmp_path, figures):
    error_by_step(tmp_path / "step.png", {"lstm": [1.0]}, [1], "MAE")
    assert figures[0].axes[0].lines[0].get_marker() == "o"


def test_more_names_than_colours_can_be_told_apart(tmp_path, figures):
    error_by_step(tmp_path / "steps.png", {f"model {i}": [i, i + 1] for i in range(14)}, [1, 2], "MAE")
    lines = figures[0].axes[0].lines
    assert len({(line.get_color(), line.get_linestyle()) for line in lines}) == len(lines) == 14


@pytest.mark.parametrize(("num_origins", "every"), [(1, 1), (12, 1), (13, 2), (40, 4)])
def test_by_origin(tmp_path, figures, num_origins, every):
    labels = [f"2015-01-{i:02}" for i in range(num_origins)]
    error_by_origin(tmp_path / "origins.png", labels, {"lstm": RNG.random(num_origins)}, "RMSE")
    (axes,) = figures[0].axes
    assert [text.get_text() for text in axes.get_xticklabels()] == labels[::every]
    assert axes.get_xticks().tolist() == list(range(0, num_origins, every))
    assert (axes.get_ylabel(), texts(axes)) == ("RMSE", ["lstm"])


@pytest.mark.parametrize("num_windows", [50, 5000])
def test_predicted_and_real(tmp_path, figures, num_windows):
    y = RNG.normal(size=(num_windows, 2, 1))
    p = y + 0.5
    y[3], p[4, 0], p[4, 1] = np.nan, np.inf, np.nan
    predicted_and_real(tmp_path / "real.png", y, p, "C")
    axes, *bars = figures[0].axes
    count = 2 * num_windows - 4
    assert axes.get_title(loc="left") == f"{count:,} forecasts, RMSE 0.5"
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("real, C", "predicted, C")
    diagonal = axes.lines[-1]
    np.testing.assert_array_equal(diagonal.get_xdata(), diagonal.get_ydata())
    if num_windows == 50:
        assert len(axes.lines[0].get_xdata()) == count
        assert not bars
    else:
        assert axes.collections[0].get_array().sum() == count
        assert bars[0].get_ylabel() == "forecasts"


def test_a_constant_series(tmp_path, figures):
    predicted_and_real(tmp_path / "few.png", np.ones(5), np.ones(5), "C")
    predicted_and_real(tmp_path / "many.png", np.ones(5000), np.ones(5000), "C")
    assert len(figures) == 2


def test_nothing_to_draw(tmp_path):
    with pytest.raises(ValueError, match=r"^targets \(3,\) and predictions \(2,\) must have one shape$"):
        predicted_and_real(tmp_path / "real.png", np.ones(3), np.ones(2), "C")
    with pytest.raises(ValueError, match=r"^no targets to draw: shape \(3,\)$"):
        predicted_and_real(tmp_path / "real.png", np.full(3, np.nan), np.ones(3), "C")


def test_importance(tmp_path, figures):
    found = {"hour": 0.31, "temperature": 2.3, "wind": -0.004, "constant": np.nan, "all": np.inf}
    importance_bars(tmp_path / "bars.png", found)
    (axes,) = figures[0].axes
    names = [text.get_text() for text in axes.get_yticklabels()]
    assert names == ["constant", "wind", "hour", "temperature", "all"]  # upwards
    assert [bar.get_width() for bar in axes.patches] == [0, -0.004, 0.31, 2.3, 0]
    assert [text.get_text() for text in axes.texts] == ["+nan%", "-0.4%", "+31.0%", "+230.0%", "+inf%"]
    assert axes.get_xlabel() == "growth of the squared error when permuted"
