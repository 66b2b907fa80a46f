"""Plots of a training: the numbers of the log, where they belong."""

import numpy as np
import pytest

from rnn_jax.plotting.training import error_curves, loss_curves

RECORDS = [
    {"step": 10, "loss": 3.0, "grad_norm": 2.0, "update_norm": 0.2},
    {"step": 20, "loss": 2.0, "grad_norm": 1.5, "update_norm": 0.1, "validation_loss": 2.5},
    {"step": 30, "loss": 1.0, "grad_norm": 1.0, "update_norm": 0.05},
]


def test_loss_and_norms(tmp_path, figures):
    loss_curves(tmp_path / "loss.png", RECORDS)
    losses, norms = figures[0].axes
    training, validation = (line.get_xydata().tolist() for line in losses.lines)
    assert training == [[10, 3], [20, 2], [30, 1]]
    assert validation == [[20, 2.5]]
    assert [line.get_ydata().tolist() for line in norms.lines] == [[2, 1.5, 1], [0.2, 0.1, 0.05]]
    assert norms.get_yscale() == "log"


@pytest.mark.parametrize(("last", "scale"), [(1.0, "linear"), (0.3, "log"), (0.0, "linear")])
def test_a_logarithmic_axis_from_a_decade_on(last, scale, tmp_path, figures):
    """Below it would have one tick, or none."""
    loss_curves(tmp_path / "loss.png", [*RECORDS[:2], {**RECORDS[2], "loss": last}])
    assert figures[0].axes[0].get_yscale() == scale


def test_no_validation(tmp_path, figures):
    loss_curves(tmp_path / "loss.png", RECORDS[:1])
    assert [text.get_text() for text in figures[0].axes[0].get_legend().get_texts()] == ["training"]


def test_errors_and_levels(tmp_path, figures):
    """A point stands in the middle of its share of the steps."""
    error_curves(tmp_path / "errors.png", {"rnn": [4.0, 3.0], "lstm": [4.0, 3.0, 2.0, 1.0]}, {"persistence": 0.5}, 100)
    rnn, lstm, level = figures[0].axes[0].lines
    assert rnn.get_xydata().tolist() == [[25, 4], [75, 3]]
    np.testing.assert_allclose(lstm.get_xdata(), [12.5, 37.5, 62.5, 87.5])
    assert level.get_ydata()[0] == 0.5
    labels = [text.get_text() for text in figures[0].axes[0].get_legend().get_texts()]
    assert labels == ["rnn", "lstm", "persistence: 0.5"]
