"""Commands that stand for a run in tests of sweeps: they take no time, and say what happened to them."""

import json
import sys
import time
from collections.abc import Callable
from pathlib import Path

from experiments.sweep.point import Job

SAVES = """
import os, pathlib, signal, sys, time
os.chdir(sys.argv[1])
def save(number, frame):
    pathlib.Path("saved").open("a").write("saved\\n")
    time.sleep(0.3)  # another signal would begin anew
    sys.exit(143)
signal.signal(signal.SIGTERM, save)
pathlib.Path("begun").open("a").write("begun\\n")
while not pathlib.Path("finish").exists():
    time.sleep(0.02)
pathlib.Path("results.json").write_text("{}")
"""
"""A command that saves when it is asked to, and has results once there is a file `finish`."""


def job_of(folder: Path, code: str) -> Job:
    """A job that runs some Python, in `folder`."""
    names = {name: str(folder / f"point.{name}") for name in ("log", "errors", "outcome", "lock")}
    command = [sys.executable, "-c", code, str(folder)]
    return Job(command, results=str(folder / "results.json"), in_use=str(folder / "lock"), **names)


def until(condition: Callable[[], object], seconds: float = 60) -> None:
    """Waits until something holds; fails if it does not come to that."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not come to that"
        time.sleep(0.02)


def count(folder: Path, name: str) -> int:
    """The lines of a file, 0 where there is none."""
    file = folder / name
    return len(file.read_text().splitlines()) if file.exists() else 0


def holder(folder: Path) -> int:
    """The process of the command that has the point; 0 before there is one."""
    file = folder / "point.lock"
    return json.loads(file.read_text())["pid"] if file.exists() and file.read_text() else 0
