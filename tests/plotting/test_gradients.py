"""Plots of gradients through time: limits where a gradient vanishes or explodes, and one picture for each layer."""

import numpy as np
import pytest

from rnn_jax.plotting.gradients import by_lag, flow_from_log, heat_map, spectrum_from_log

LAGS = np.arange(1, 101)


def test_lines_and_limits(tmp_path, figures):
    values = np.where(LAGS < 50, -0.1 * LAGS, -np.inf)  # log10 of a norm that becomes zero
    by_lag(tmp_path / "lag.png", "Gradient", {"rnn": (LAGS, values), "lstm": (LAGS[:60], -0.01 * LAGS[:60])}, "log10")
    (axes,) = figures[0].axes
    rnn, lstm, range_of_float32 = axes.lines
    np.testing.assert_array_equal(rnn.get_ydata(), values)
    assert len(lstm.get_xdata()) == 60
    np.testing.assert_allclose(range_of_float32.get_ydata()[0], np.log10(np.finfo(np.float32).tiny))
    assert axes.get_xlim() == (1, 100)
    np.testing.assert_allclose(axes.get_ylim(), (-4.9 - 1, 0 + 1))


@pytest.mark.parametrize(("values", "limits"), [(-10.0 * LAGS, (-46, 1)), (10.0 * LAGS, (-1, 46))])
def test_beyond_the_range_of_float32(tmp_path, figures, values, limits):
    by_lag(tmp_path / "lag.png", "Gradient", {"rnn": (LAGS, values)}, "log10")
    assert figures[0].axes[0].get_ylim() == limits


def test_every_line_has_its_colour(tmp_path, figures):
    by_lag(tmp_path / "lag.png", "Gradient", {f"{i}": (LAGS, -i * LAGS / 9) for i in range(24)}, "log10")
    colours = {tuple(line.get_color()) for line in figures[0].axes[0].lines[:-1]}
    assert len(colours) == 24


def test_heat_map(tmp_path, figures):
    flow = np.array([[0.0, -1.0, -99.0], [0.0, -2.0, np.nan]])
    heat_map(tmp_path / "map.png", "Gradient", [10, 20], flow)
    (mesh,) = figures[0].axes[0].collections
    shown = np.ma.filled(mesh.get_array().reshape(2, 3).astype(float), np.nan)
    np.testing.assert_array_equal(shown, [[0, -1, -40], [0, -2, np.nan]])


def test_a_picture_for_each_layer(tmp_path, figures):
    records = [
        {"step": 1, "loss": 2.0},
        {"step": 10, "gradient_flow": {"layer 0 forward": [0.0, None], "layer 1": [0.0, -3.0]}},
        {"step": 20, "gradient_flow": {"layer 0 forward": [-1.0, 2.0], "layer 1": [0.0, 0.0]}},
    ]
    flow_from_log(tmp_path / "flow.png", records)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["flow_layer_0_forward.png", "flow_layer_1.png"]
    titles = [figure.axes[0].get_title(loc="left") for figure in figures]
    assert titles == ["Gradient through time, layer 0 forward", "Gradient through time, layer 1"]
    (mesh,) = figures[0].axes[0].collections
    np.testing.assert_array_equal(mesh.get_array().reshape(2, 2).filled(np.nan), [[0, np.nan], [-1, 2]])


def test_exponents_by_training_step(tmp_path, figures):
    records = [
        {"step": 0, "spectrum": {"layer 0": [0.5, -1.0, None]}},
        {"step": 5, "loss": 2.0},
        {"step": 10, "spectrum": {"layer 0": [0.1, -2.0, -3.0]}},
    ]
    spectrum_from_log(tmp_path / "spectrum.png", records)
    assert [path.name for path in tmp_path.iterdir()] == ["spectrum_layer_0.png"]
    (axes,) = figures[0].axes
    *lines, zero = axes.lines
    drawn = np.array([line.get_ydata() for line in lines])
    np.testing.assert_array_equal(drawn, [[np.nan, -3], [-1, -2], [0.5, 0.1]])
    assert all(list(line.get_xdata()) == [0, 10] for line in lines)
    assert list(zero.get_ydata()) == [0, 0]
    assert [text.get_text() for text in axes.get_legend().get_texts()] == ["exponent 1", "exponent 3"]


def test_nothing_logged(tmp_path, figures):
    flow_from_log(tmp_path / "flow.png", [{"step": 1, "loss": 2.0}])
    spectrum_from_log(tmp_path / "flow.png", [{"step": 1, "loss": 2.0}])
    assert not figures
