"""Plots of gradients through long sequences: a line for each back end and method, no zeros on logarithmic axes."""

import numpy as np

from rnn_jax.plotting.long_sequences import costs, truncation_bias


def test_costs(tmp_path, figures):
    rows = [
        {"length": 200, "backend": "scan", "method": "full", "predicted_bytes": 4 * 2**20, "seconds": 0.4},
        {"length": 100, "backend": "scan", "method": "full", "predicted_bytes": 2 * 2**20, "seconds": 0.2},
        {"length": 100, "backend": "native", "method": "checkpoint", "predicted_bytes": 2**20},
    ]
    costs(tmp_path / "costs.png", rows)
    memory, seconds = figures[0].axes
    drawn = [line.get_xydata().tolist() for line in memory.lines if len(line.get_xdata())]
    assert drawn == [[[100, 2], [200, 4]], [[100, 1]]]
    drawn = [line.get_xydata().tolist() for line in seconds.lines if len(line.get_xdata())]
    assert drawn == [[[100, 0.2], [200, 0.4]]]
    assert [text.get_text() for text in memory.get_legend().get_texts()] == ["scan, full", "native, checkpoint"]


def test_bias(tmp_path, figures):
    curve = {
        "lengths": np.array([1, 2, 4]),
        "relative_error": np.array([[0.5, 0.7], [0.1, 0.3], [0.0, 0.0]]),  # nothing is cut at the last length
        "cosine": np.array([[0.8, 0.6], [0.9, 0.9], [1.0, 1.0]]),
    }
    truncation_bias(tmp_path / "bias.png", {"lstm": curve}, num_steps=1000)
    errors, angles = (axes.lines[0].get_xydata() for axes in figures[0].axes)
    np.testing.assert_allclose(errors, [[1, 0.6], [2, 0.2]])
    np.testing.assert_allclose(angles, [[1, 0.3], [2, 0.1]])
    assert "T = 1000" in figures[0].axes[0].get_title(loc="left")
