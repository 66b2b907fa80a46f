"""A small sweep as one starts it: processes of their own, a failure, a kill, and the points that are left."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from helpers.jobs import count, until

import launch

pytest.importorskip("submitit")

FLAGS = (
    "--cell=rnn", "--backend=scan", "--lag=2", "--hidden_size=3", "--num_seeds=2", "--batch_size=32", "--epochs=2",
    "--notrees", "--noblend", "--calendar=none",
)  # fmt: skip


def start(cwd, *flags):
    """The sweep, started elsewhere than in the project, as the leader of a group of processes."""
    command = [sys.executable, launch.__file__, "sweep", "forecast", "--workdir=s", *FLAGS, *flags]
    return subprocess.Popen(
        command, cwd=cwd, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True
    )


def points_of(folder):
    return {point["name"]: point for point in json.loads((folder / "sweep.json").read_text())["points"]}


def write_series(file):
    values = np.random.default_rng(0).normal(size=300).cumsum()
    file.write_text("x\n" + "".join(f"{value}\n" for value in values))


def test_two_points(tmp_path):
    """One lacks its file and fails, the sweep is killed while the other runs; then both come to their end."""
    folder = tmp_path / "s"
    flags = "--dataset=csv", "--target=x", "--grid=csv=a.csv,b.csv"
    write_series(tmp_path / "b.csv")
    with start(tmp_path, *flags) as sweep:
        until(lambda: (folder / "points" / "csv=b.csv" / "flags.txt").exists(), seconds=120)
        sweep.kill()
    points = points_of(folder)
    assert [point["state"] for point in points.values()] == ["failed", "running"]
    assert "a.csv" in points["csv=a.csv"]["message"]

    write_series(tmp_path / "a.csv")
    with start(tmp_path, *flags, "--jobs=2") as sweep:
        out, err = sweep.communicate()
    assert sweep.returncode == 0, err
    assert "2 of 2 done, 0 running, 0 failed" in out
    found = json.loads((folder / "results.json").read_text())
    assert [point["state"] for point in found["points"]] == ["done", "done"]
    for point in found["points"]:
        assert len(point["measures"]["validation_loss"]["values"]) == 2
        said = (folder / "logs" / f"{point['name']}.out").read_text()
        assert said.count("| persistence ") == 1, "it has not run once"
    assert not list((folder / "jobs").iterdir())


def test_ctrl_c(tmp_path):
    """In a terminal all processes of the command get it, and what has been trained is saved."""
    folder = tmp_path / "s"
    flags = "--num_hours=700", "--epochs=1000000", "--steps_per_dispatch=1", "--grid=gain=1"
    with start(tmp_path, *flags) as sweep:
        until(lambda: count(folder / "points" / "gain=1.0", "metrics.jsonl"), seconds=120)  # it trains
        os.killpg(sweep.pid, signal.SIGINT)
        _, err = sweep.communicate()
    assert sweep.returncode == 128 + signal.SIGINT
    assert err == "stopped with 0 of 1 points done; the same command goes on from there\n"
    (point,) = points_of(folder).values()
    assert (point["state"], point["status"]) == ("waiting", 128 + signal.SIGTERM)
    assert "and saved; the same command continues from there" in point["message"]
    assert any(Path(folder, "points", "gain=1.0", "checkpoints").iterdir())
