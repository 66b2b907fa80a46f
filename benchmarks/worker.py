"""One peer in a process of its own, which runs its passes whenever it is asked.

    python -m benchmarks.worker '{"peer": "torch", "cell": "lstm", "shape": {...}, "dtype": "float32"}'

A child of `benchmarks.turns`. Imports no JAX unless the peer does, nor `rnn_jax`, which does.
"""

import json
import sys
from dataclasses import asdict, dataclass
from functools import partial
from typing import Any

import numpy as np

from benchmarks import peers
from benchmarks.child import Answers, seconds_of, serve, stopwatch
from benchmarks.problem import PASSES, Problem, draw, sample
from benchmarks.shapes import Shape

PROFILED = 3
"""Gradients in a trace."""


@dataclass(frozen=True)
class Task:
    """What a worker is started with.

    Attributes:
        peer: a name of `benchmarks.peers.PEERS`.
        cell, shape, dtype: the problem.
    """

    peer: str
    cell: str
    shape: Shape
    dtype: str

    def to_json(self) -> str:
        """For a command line."""
        return json.dumps(asdict(self))

    @staticmethod
    def from_json(text: str) -> "Task":
        """The inverse."""
        fields = json.loads(text)
        return Task(**{**fields, "shape": Shape(**fields["shape"])})


def set_up(task: Task) -> tuple[dict[str, Any], Answers]:
    """Compiles, see `benchmarks.child.serve`.

    Returns: `device`, `instruction_set`, `compile_seconds` of each pass and `planned_bytes` of a gradient, where a
    compiler says so; and the answers to `time` (a pass), `values` and `profile`. Raises: whatever the peer raises.
    """
    if task.dtype == "float64" and "torch" not in peers.PEERS[task.peer].packages:
        import jax

        jax.config.update("jax_enable_x64", True)
    problem = draw(task.cell, task.shape, task.dtype)
    runner = peers.make(task.peer, problem)
    compiled = runner.compile(peers.PEERS[task.peer].options)
    planned = compiled.pop("planned_bytes", None)
    found = {"device": runner.device, "instruction_set": runner.instruction_set}
    return {**found, "compile_seconds": compiled, "planned_bytes": planned}, {
        "time": stopwatch({what: getattr(runner, what) for what in PASSES}),
        "values": partial(write_values, runner, problem),
        "profile": partial(profile, runner),
    }


def write_values(runner: Any, problem: Problem, file: str) -> None:
    """A sample of its outputs and derivatives, see `benchmarks.problem.sample`, as NumPy's `.npz`."""
    np.savez(file, **sample(runner.values(), problem.mask))  # type: ignore[arg-type]


def profile(runner: Any, folder: str) -> None:
    """A trace of JAX's profiler of a few gradients, for Perfetto or XProf."""
    import jax

    with jax.profiler.trace(folder):
        seconds_of(runner.forward_backward, PROFILED)


if __name__ == "__main__":
    serve(lambda: set_up(Task.from_json(sys.argv[1])))
