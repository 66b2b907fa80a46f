"""A run that is killed again and again ends with the same bits as one that was left alone."""

import json
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import jax
import numpy as np
import orbax.checkpoint as ocp
import pytest

from rnn_jax.training.log import read_log

REPOSITORY = Path(__file__).parents[2]

FLAGS = (
    "--num_hours=700", "--lag=6", "--hidden_size=3", "--cell=rnn", "--num_layers=2", "--dropout=0.2", "--num_seeds=2",
    "--batch_size=32", "--learning_rate=0.01", "--epochs=70", "--warmup_steps=50", "--clip_norm=0.2",
)  # fmt: skip
EPOCHS = 70
STEPS = EPOCHS * ((700 * 7 // 10 - 6) // 32)

WAIT_SECONDS = 300


def start(folder: Path) -> subprocess.Popen:
    return subprocess.Popen(
        [sys.executable, "launch.py", "forecast", f"--workdir={folder}", *FLAGS],
        cwd=REPOSITORY,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def finish(folder: Path) -> str:
    process = start(folder)
    out, _ = process.communicate(timeout=WAIT_SECONDS)
    assert process.returncode == 0, out
    return out


def lines_in(folder: Path) -> int:
    try:
        return (folder / "metrics.jsonl").read_bytes().count(b"\n")
    except FileNotFoundError:
        return 0


def stop_when(folder: Path, due, number: signal.Signals) -> int:
    """Starts the command, sends it a signal as soon as `due()` holds, and returns the exit status."""
    process = start(folder)
    deadline = time.monotonic() + WAIT_SECONDS
    while not due():
        assert process.poll() is None, f"it ended before it could be killed:\n{process.communicate()[0]}"
        assert time.monotonic() < deadline, "it hangs"
        time.sleep(0.001)
    process.send_signal(number)
    process.communicate(timeout=WAIT_SECONDS)
    return process.returncode


def saving(folder: Path) -> bool:
    """Whether a checkpoint is being written just now."""
    return any("tmp" in path.name for path in (folder / "checkpoints").glob("*"))


def final_state(folder: Path) -> dict[str, np.ndarray]:
    restored = ocp.StandardCheckpointer().restore(folder / "checkpoints" / str(STEPS) / "state")
    leaves = jax.tree_util.tree_leaves_with_path(restored)
    return {jax.tree_util.keystr(path): np.asarray(leaf) for path, leaf in leaves}


def records_of(folder: Path):
    return [
        {name: value for name, value in record.items() if name != "train_seconds"}
        for record in read_log(folder / "metrics.jsonl")
    ]


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory):
    folder = tmp_path_factory.mktemp("uninterrupted") / "run"
    finish(folder)
    return folder


def test_the_same_bits(uninterrupted, tmp_path):
    folder, rng = tmp_path / "run", random.Random(0)
    lines = 0
    for kill in range(4):
        last, lines = lines, lines + rng.randint(4, 12)
        pause = rng.uniform(0, 0.02)

        def due(last=last, lines=lines, pause=pause, while_saving=kill % 2 == 1):
            if while_saving:  # not the first save of this start, but another one at once
                return lines_in(folder) > last + 2 and saving(folder)
            if lines_in(folder) < lines:
                return False
            time.sleep(pause)
            return True

        number = signal.SIGTERM if kill == 2 else signal.SIGKILL
        status = stop_when(folder, due, number)
        assert status == (-signal.SIGKILL if number == signal.SIGKILL else 128 + signal.SIGTERM)
        assert not (folder / "results.json").exists(), "it was killed too late to show anything"
        lines = lines_in(folder)
        print(f"kill {kill}: {number.name} at {lines} lines")
        assert lines < EPOCHS
    out = finish(folder)
    assert "this run is finished" not in out
    assert "damaged" not in out

    expected, found = final_state(uninterrupted), final_state(folder)
    assert list(found) == list(expected)
    for name in expected:
        assert found[name].dtype == expected[name].dtype
        assert found[name].tobytes() == expected[name].tobytes(), name
    assert any("opt_state" in name for name in expected)
    assert records_of(folder) == records_of(uninterrupted)
    assert len(records_of(folder)) == EPOCHS

    a, b = (json.loads((f / "results.json").read_text()) for f in (uninterrupted, folder))
    for name in ("metrics", "baselines", "best_epochs", "steps", "seeds", "num_params"):
        assert a[name] == b[name], name
    assert sorted(p.name for p in (folder / "plots").iterdir()) == ["errors.png", "forecast.png", "loss.png"]
