"""Training sees nothing of the test split, end to end: its values are changed, and the same network comes out."""

import jax
import numpy as np
import pytest
from helpers.running import as_in_a_new_process, results_of
from helpers.running import run as launch
from helpers.series import TABLE_FLAGS, hours, write

from experiments.common.restore import restore
from experiments.forecast.__main__ import EXPERIMENT
from rnn_jax.training.log import read_log

TABLE = hours(400)
TEST = 400 * 8 // 10
FLAGS = (
    *TABLE_FLAGS, "--target=load,heat", "--inputs=wind", "--known_future=price", "--ahead=3", "--lag=8",
    "--scaling=robust", "--dropout=0.1", "--num_layers=2",
)  # fmt: skip


def made(folder, table):
    """Log without times, parameters, results and encoder of a run on a table."""
    file = write(table, folder / "hours.csv")
    ran = launch(EXPERIMENT.main, f"--workdir={folder / 'run'}", f"--csv={file}", *FLAGS)
    assert ran.status == 0, ran.err
    log = [
        {k: v for k, v in record.items() if k != "train_seconds"}
        for record in read_log(folder / "run" / "metrics.jsonl")
    ]
    with as_in_a_new_process():
        params = restore(folder / "run", "workdir").params
    return log, params, results_of(folder / "run"), (folder / "run" / "encoder.json").read_text()


def test_other_values_in_the_test_split(tmp_path):
    changed = TABLE.copy()
    numbers = ["load", "heat", "wind", "price"]
    changed.loc[TEST:, numbers] = changed.loc[TEST:, numbers] * -3 + 11
    changed.loc[TEST + 10 : TEST + 20, "wind"] = np.nan
    for name in "ab":
        (tmp_path / name).mkdir()
    log, params, results, encoder = made(tmp_path / "a", TABLE)
    log_changed, params_changed, results_changed, encoder_changed = made(tmp_path / "b", changed)
    assert any("validation_loss" in record for record in log)
    assert log == log_changed
    assert encoder == encoder_changed
    for a, b in zip(jax.tree.leaves(params), jax.tree.leaves(params_changed), strict=True):
        assert np.asarray(a).tobytes() == np.asarray(b).tobytes()
    for name in ("importance", "share_of_line", "model", "best_epochs"):
        assert results[name] == results_changed[name], name
    assert results["metrics"]["mse"]["mean"] != pytest.approx(results_changed["metrics"]["mse"]["mean"], rel=0.1)
