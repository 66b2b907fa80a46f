"""What the drills share: a small training in a process of its own, and how to look at what it leaves."""

import hashlib
import json
import re
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

ROOT = Path(__file__).resolve().parents[1]

TRAINING = (
    "forecast", "--num_hours=700", "--lag=6", "--hidden_size=3", "--cell=rnn", "--num_layers=2", "--dropout=0.2",
    "--num_seeds=2", "--batch_size=32", "--epochs=30", "--steps_per_dispatch=5", "--num_devices=1", "--notrees",
    "--backend=manual",
)  # fmt: skip
"""A run of 30 epochs of 15 steps, a second of training; another `--epochs` makes it longer."""

CLOCKS = ("compile_seconds", "train_seconds")
"""What two runs may differ in."""


class Ended(NamedTuple):
    """How a process ended: its exit status, what it said, and the lines of errors among that."""

    status: int
    out: str
    err: str

    @property
    def lines(self) -> list[str]:
        """Those of stderr that are not a progress bar's."""
        return [line for line in self.err.splitlines() if line and not re.search(r"\d+/\d+ \[", line)]


def start(folder: Path, *flags: str, **options: Any) -> "subprocess.Popen[str]":
    """Begins, or goes on with, the run in that folder.

    Args:
        folder: of the run.
        flags: besides `TRAINING`; a later one counts.
        options: of `subprocess.Popen`.
    """
    command = [sys.executable, "launch.py", *TRAINING, *flags, f"--workdir={folder}"]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    return subprocess.Popen(command, cwd=ROOT, text=True, **{**pipes, **options})


def end(process: "subprocess.Popen[str]") -> Ended:
    """Waits for the end."""
    out, err = process.communicate()
    return Ended(process.returncode, out or "", err or "")


def wait(process: "subprocess.Popen[str]", until: Callable[[], Any], seconds: float = 300) -> bool:
    """Waits until something holds, while the process runs; returns whether it came to that."""
    deadline = time.monotonic() + seconds
    while process.poll() is None and time.monotonic() < deadline:
        if until():
            return True
        time.sleep(0.001)
    return False


def logged(folder: Path) -> int:
    """How many records the run has logged."""
    file = folder / "metrics.jsonl"
    return file.read_bytes().count(b"\n") if file.exists() else 0


def saving(folder: Path) -> bool:
    """Whether half a checkpoint is there."""
    return any("tmp" in path.name for path in (folder / "checkpoints").glob("*"))


def bits(folder: Path) -> dict[str, str]:
    """Digests of what a finished run has found: its last state, its model, its results and its log without clocks."""
    import jax
    import numpy as np
    import orbax.checkpoint as ocp

    newest = max((int(path.name), path) for path in (folder / "checkpoints").iterdir() if path.name.isdigit())[1]
    found = {}
    for name, place in (("state", newest / "state"), ("model", folder / "model")):
        leaves = jax.tree.leaves(ocp.StandardCheckpointer().restore(place.resolve()))
        sha = hashlib.sha256()
        for leaf in map(np.asarray, leaves):
            sha.update(f"{leaf.dtype}{leaf.shape}".encode() + leaf.tobytes())
        found[name] = sha.hexdigest()
    results = json.loads((folder / "results.json").read_text(encoding="utf-8"))
    records = [json.loads(line) for line in (folder / "metrics.jsonl").read_text(encoding="utf-8").splitlines()]
    for name, value in (("results", results), ("records", records)):
        found[name] = hashlib.sha256(json.dumps(_without_clocks(value)).encode()).hexdigest()
    return {**found, "newest": newest.name}


def _without_clocks(value: Any) -> Any:
    if isinstance(value, list):
        return [_without_clocks(each) for each in value]
    if isinstance(value, dict):
        return {name: _without_clocks(each) for name, each in value.items() if name not in CLOCKS}
    return value
