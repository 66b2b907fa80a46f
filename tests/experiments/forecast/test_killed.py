"""A run that is killed again and again ends with the same bits as one that was left alone."""

import signal
import subprocess
import sys
from pathlib import Path

import jax
import numpy as np
import orbax.checkpoint as ocp
import pytest
from helpers.running import results_of, run

import launch
from rnn_jax.training.log import read_log

FLAGS = (
    "--num_hours=700", "--lag=6", "--hidden_size=3", "--cell=rnn", "--num_layers=2", "--dropout=0.2", "--num_seeds=2",
    "--batch_size=32", "--learning_rate=0.01", "--epochs=8", "--warmup_steps=50", "--clip_norm=0.2",
    "--steps_per_dispatch=5", "--num_devices=1", "--notrees",
)  # fmt: skip
EPOCHS, PER_EPOCH = 8, (700 * 7 // 10 - 6) // 32

PLOTS = [f"{name}.png" for name in ("errors", "forecast", "importance", "loss", "predicted_and_real", "series")]

STOPPED = """
import os, sys
from pathlib import Path
import launch
from rnn_jax.training.log import TrainingLog

checkpoints, line, event, number, *arguments = sys.argv[1:]
lines = events = 0

def stop_if(due):
    if due:
        os.kill(os.getpid(), int(number))

def write(log, record, write=TrainingLog.write):
    global lines
    write(log, record)
    lines += 1
    stop_if((lines, 0) == (int(line), int(event)))

def audit(what, about):  # which Python calls before it does something with a file
    global events
    if lines == int(line) and about and Path(checkpoints) in Path(str(about[0])).parents:
        events += 1
        stop_if(events == int(event))

TrainingLog.write = write
sys.addaudithook(audit)
sys.exit(launch.main(arguments))
"""
"""The command, which sends itself a signal after a line of the log, or that many touches of `checkpoints` later."""


def start(folder, *command):
    """The command in a process of its own: its exit status and what it said."""
    ran = subprocess.run(
        [sys.executable, *command, "forecast", f"--workdir={folder}", *FLAGS],
        cwd=Path(launch.__file__).parent,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    return ran.returncode, ran.stdout


def final_state(folder):
    restored = ocp.StandardCheckpointer().restore(folder / "checkpoints" / str(EPOCHS * PER_EPOCH) / "state")
    leaves = jax.tree_util.tree_leaves_with_path(restored)
    return {jax.tree_util.keystr(path): np.asarray(leaf) for path, leaf in leaves}


def records_of(folder):
    return [
        {name: value for name, value in record.items() if name != "train_seconds"}
        for record in read_log(folder / "metrics.jsonl")
    ]


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory):
    folder = tmp_path_factory.mktemp("uninterrupted") / "run"
    ran = run(launch.main, "forecast", f"--workdir={folder}", *FLAGS)
    assert ran.status == 0, ran.err
    return folder


def test_the_same_bits(uninterrupted, tmp_path):
    """Killed in the middle of a checkpoint, the log ahead of the last, and stopped in the middle of an epoch."""
    folder = tmp_path / "run"
    checkpoints = folder / "checkpoints"

    def stop(line, event, number):
        status, out = start(folder, "-c", STOPPED, str(checkpoints), str(line), str(event), str(int(number)))
        assert not (folder / "results.json").exists(), "it was not stopped"
        whole = max(int(path.name) for path in checkpoints.iterdir() if path.name.isdigit())
        half = any("tmp" in path.name for path in checkpoints.iterdir())
        return status, out, len(records_of(folder)), whole, half

    status, _, lines, step, half = stop(line=4 * 3, event=15, number=signal.SIGKILL)
    assert (status, lines, step, half) == (-signal.SIGKILL, 4 * 3, 3 * PER_EPOCH, True)
    status, out, lines, step, half = stop(line=2 * 3 + 1, event=0, number=signal.SIGTERM)
    assert (status, lines, step, half) == (128 + signal.SIGTERM, 5 * 3 + 1, 5 * PER_EPOCH + 5, False)
    assert f"stopped at step {step} and saved" in out

    status, out = start(folder, "launch.py")
    assert status == 0, out
    assert "this run is finished" not in out
    assert "damaged" not in out
    expected, found = final_state(uninterrupted), final_state(folder)
    assert list(found) == list(expected)
    for name in expected:
        assert found[name].dtype == expected[name].dtype
        assert found[name].tobytes() == expected[name].tobytes(), name
    assert any("opt_state" in name for name in expected)
    assert records_of(folder) == records_of(uninterrupted)
    assert len(records_of(folder)) == EPOCHS * 3

    a, b = (results_of(each) for each in (uninterrupted, folder))
    for name in set(a) - {"compile_seconds", "train_seconds"}:
        assert a[name] == b[name], name
    assert sorted(p.name for p in (folder / "plots").iterdir()) == PLOTS
