"""Figures of the long-memory tasks; any warning of matplotlib is an error here."""

import pytest

from rnn_jax.plotting.memory_tasks import metric_by_length


def at(mse):
    return {
        "metrics": {"mse": {"mean": mse, "std": 0.0}},
        "baselines": {"trivial": {"mse": {"mean": 0.17, "std": 0.0}}},
    }


@pytest.mark.parametrize("lengths", [(10_000,), (100, 200, 400)])
def test_one_length_or_several(tmp_path, lengths):
    metric_by_length(
        tmp_path / "lengths.png", {length: at(1e-6 * length) for length in lengths}, "mse", "gru", lengths[0]
    )
    assert (tmp_path / "lengths.png").stat().st_size > 5_000
