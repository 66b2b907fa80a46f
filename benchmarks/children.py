"""Contenders that train, each in a process of its own, one waiting while another computes.

In one process PyTorch's threads and JAX's get in each other's way, which would double PyTorch's time. A child says the
losses of its first steps, then answers every line with an epoch. Imports no JAX.
"""

import contextlib
import json
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

ROOT = Path(__file__).resolve().parent.parent
TOLERANCE = 1e-3
"""Relative difference of two losses at most; more than the rounding of the compared steps."""


def answer(first_losses: Iterable[Any], epoch: Callable[[], object]) -> None:
    """The child's side: says the first losses, then runs an epoch whenever it is asked and says how long it took."""
    print(json.dumps([float(loss) for loss in first_losses]), flush=True)
    for _ in sys.stdin:
        started = time.perf_counter()
        epoch()
        print(json.dumps(time.perf_counter() - started), flush=True)


class Child:
    """The parent's side of a contender: `python -m` its command."""

    def __init__(self, command: Sequence[str]):
        self.command = command
        self.process = subprocess.Popen(
            [sys.executable, "-m", *command], cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )

    def read(self):
        """What the child says next. Raises: `RuntimeError` where it has ended instead; it has said why."""
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        if not line:
            raise RuntimeError(f"{' '.join(self.command)} ended with status {self.process.wait()}")
        return json.loads(line)

    def epoch(self) -> None:
        """Asks for an epoch and waits for its end."""
        assert self.process.stdin is not None
        self.process.stdin.write("epoch\n")
        self.process.stdin.flush()
        self.read()

    def close(self) -> None:
        """Ends the process, which ends when nobody can ask any more, and waits for its end."""
        self.process.communicate()


@contextlib.contextmanager
def started(commands: Mapping[str, Sequence[str]]) -> Iterator[tuple[dict[str, Child], float]]:
    """Starts the contenders one after another, so that the first can write what the others read.

    Args:
        commands: name to module and arguments.

    Returns: the children by name, ended when the context is left, and the largest relative difference of the losses of
    their first steps. Raises: `RuntimeError` for a child that ended, or losses that are not those of the first.
    """
    with contextlib.ExitStack() as stack:
        children, losses = {}, {}
        for name, command in commands.items():
            children[name] = Child(command)
            stack.callback(children[name].close)
            losses[name] = children[name].read()
        yield children, largest_difference(losses)


def largest_difference(losses: Mapping[str, Sequence[float]]) -> float:
    """How far, relatively, the losses are from those of the first contender.

    Raises: `RuntimeError` if that is more than `TOLERANCE`.

    >>> round(largest_difference({"ours": [2.0, 1.0], "theirs": [2.0, 1.0005]}), 6)
    0.0005
    """
    first, *_ = losses.values()
    differences = {name: float(np.max(np.abs(np.divide(each, first) - 1))) for name, each in losses.items()}
    # Not `>`: NaN is no agreement either.
    if wrong := [name for name, difference in differences.items() if not difference <= TOLERANCE]:
        shown = ", ".join(f"{name} {differences[name]:.1e}" for name in wrong)
        raise RuntimeError(f"they do not compute the same, the first losses differ by: {shown}")
    return max(differences.values())
