"""Figures of many runs; any warning of matplotlib is an error here."""

import math

import numpy as np
import pytest

from rnn_jax.plotting.runs import Curve, Point, learning_curves, metric_by_flag


def points(**means):
    return [Point(value.removeprefix("v"), mean, 0.1) for value, mean in means.items()]


@pytest.mark.parametrize(
    ("values", "scale"),
    [(("8", "16", "32"), "linear"), (("1e-3", "1e-2"), "log"), (("0", "100"), "linear"), (("-1", "20"), "linear")],
)
def test_numbers_have_an_axis(tmp_path, figures, values, scale):
    """In their order, whatever that of the points; a logarithmic one over a decade of positive numbers."""
    lines = {"gru": [Point(value, float(at), 0.1) for at, value in reversed(list(enumerate(values)))]}
    metric_by_flag(tmp_path / "a.png", lines, "hidden_size", "mse")
    (axes,) = figures[0].axes
    assert axes.get_xscale() == scale
    np.testing.assert_allclose(axes.lines[0].get_xydata(), [(float(value), at) for at, value in enumerate(values)])
    assert [label.get_text() for label in axes.get_xticklabels()] == list(values)
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("hidden_size", "mse, test split")


def test_others_are_categories(tmp_path, figures):
    lines = {"a": points(vrnn=1.0, v8=2.0), "b": [Point("gru", 3.0, math.nan)]}
    metric_by_flag(tmp_path / "a.png", lines, "cell", "mse", {"persistence": 0.5}, "a title")
    (axes,) = figures[0].axes
    assert [label.get_text() for label in axes.get_xticklabels()] == ["8", "gru", "rnn"]
    np.testing.assert_allclose(axes.lines[0].get_xydata(), [(-0.1, 2.0), (1.9, 1.0)])
    np.testing.assert_allclose(axes.lines[3].get_xydata(), [(1.1, 3.0)])
    assert axes.lines[0].get_linestyle() == "None", "there is nothing between categories"
    assert {text.get_text() for text in axes.get_legend().get_texts()} == {"a", "b", "persistence"}


@pytest.mark.parametrize(
    ("log", "means", "scale"), [(True, (1, 20), "log"), (True, (1, 2), "linear"), (False, (1, 20), "linear")]
)
def test_a_metric_over_decades(tmp_path, figures, log, means, scale):
    lines = {"a": [Point(str(at), mean, 3.0) for at, mean in enumerate(means)]}
    metric_by_flag(tmp_path / "a.png", lines, "lag", "mse", log=log)
    assert figures[0].axes[0].get_yscale() == scale


def test_a_long_run_beside_a_short_one(tmp_path, figures):
    for last, scale in ((30, "linear"), (3000, "log")):
        curves = [Curve("a", [1, 20], [3.0, 1.0], True), Curve("b", [1, last], [2.0, 1.0], True)]
        learning_curves(tmp_path / "a.png", curves, "loss")
        assert figures[-1].axes[0].get_xscale() == scale


def test_a_line_of_error_bars(tmp_path, figures):
    metric_by_flag(tmp_path / "a.png", {"a": [Point("1", 1.0, 0.25), Point("2", 2.0, math.nan)]}, "lag", "mse")
    bars = figures[0].axes[0].collections[0].get_segments()
    np.testing.assert_allclose(bars, [[(1, 0.75), (1, 1.25)], [(2, 2.0), (2, 2.0)]])


def test_learning_curves(tmp_path, figures):
    curves = [Curve("a", [1, 2], [3.0, 0.1], True), Curve("b", [1, 2], [2.0, 1.0], False), Curve("a", [1], [4.0], True)]
    learning_curves(tmp_path / "a.png", curves, "loss", most_names=1)
    (axes,) = figures[0].axes
    assert axes.get_yscale() == "log"
    one, same, other = axes.lines
    assert one.get_color() == same.get_color() != other.get_color()
    assert (one.get_linestyle(), other.get_linestyle()) == ("-", "--")
    assert [text.get_text() for text in axes.get_legend().get_texts()] == ["a"]
    assert axes.get_title(loc="left") == "Learning curves; 1 more rows in grey"


@pytest.mark.parametrize("name", ["_hidden", "$x$", r"\frac{", "a$", "", "y" * 200])
def test_any_name_is_drawn_as_it_is(tmp_path, figures, name):
    metric_by_flag(tmp_path / "a.png", {name: points(v1=1.0), "b": points(v2=1.0)}, name, name, {name: 2.0}, name)
    learning_curves(tmp_path / "b.png", [Curve(name, [1, 2], [1.0, 2.0], True)], "loss")
    assert len(figures) == 2
    assert len(figures[0].axes[0].get_legend().get_texts()) == 3
