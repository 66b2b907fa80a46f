"""Figures of the long-memory tasks; any warning of matplotlib is an error here."""

import numpy as np
import pytest

from rnn_jax.plotting.memory_tasks import learning_curve, metric_by_length


def at(mse):
    return {
        "metrics": {"mse": {"mean": mse, "std": 0.0}},
        "baselines": {"trivial": {"mse": {"mean": 0.17, "std": 0.0}}},
    }


@pytest.mark.parametrize("lengths", [(10_000,), (400, 100, 200)])
def test_one_length_or_several(tmp_path, figures, lengths):
    by_length = {length: at(1e-6 * length) for length in lengths}
    metric_by_length(tmp_path / "lengths.png", by_length, "mse", "gru", lengths[0])
    (axes,) = figures[0].axes
    ours, trivial, trained = axes.lines[0], axes.lines[-2], axes.lines[-1]
    np.testing.assert_allclose(ours.get_xydata(), [(length, 1e-6 * length) for length in sorted(lengths)])
    np.testing.assert_allclose(trivial.get_ydata(), 0.17)
    assert trained.get_xdata()[0] == lengths[0]
    assert axes.get_xlim()[0] < min(lengths) <= max(lengths) < axes.get_xlim()[1]


def test_learning(tmp_path, figures):
    records = [{"step": 10, "loss": 0.3}, {"step": 20, "loss": 0.2, "validation_mse": 0.25}, {"step": 30, "loss": 0.1}]
    learning_curve(tmp_path / "learning.png", records, "mse", level=0.167)
    training, validation, level = figures[0].axes[0].lines
    assert training.get_xydata().tolist() == [[10, 0.3], [20, 0.2], [30, 0.1]]
    assert validation.get_xydata().tolist() == [[20, 0.25]]
    assert level.get_ydata()[0] == 0.167
    learning_curve(tmp_path / "learning.png", records[:1], "cross_entropy", level=2.0)
    assert len(figures[1].axes[0].lines) == 2
    assert figures[1].axes[0].get_ylabel() == "cross entropy (mean over seeds)"
