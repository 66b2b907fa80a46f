"""Memory and time of one gradient through a long sequence, in a process of its own.

`measure(Task)` starts `python -m experiments.long_sequences.measure` and reads back one line. A process of its own,
since a peak of memory cannot be told from that of whatever the process did before. The methods:

| method | how | memory |
|---|---|---|
| `plain` | one `unroll` | T |
| `checkpointed` | one `unroll(..., checkpoint_every=k)` | T / k + k, and ys and its gradient where a loss reads ys |
| `segmented` | `jax.checkpoint` around `unroll` and the loss of k steps, the carry handed on | T / k + k |

with k near sqrt(T). Sources: Chen, Xu, Zhang and Guestrin, "Training deep nets with sublinear memory cost", 2016;
Gruslys, Munos, Danihelka, Lanctot and Graves, "Memory-efficient backpropagation through time", 2016.
"""

import json
import math
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.flatten_util import ravel_pytree

from experiments.long_sequences.flags import METHODS
from rnn_jax import cells, unroll
from rnn_jax.diagnostics.truncation import echo_task
from rnn_jax.machine import forget_peak, peak_bytes, resident_bytes
from rnn_jax.segments import split
from rnn_jax.types import Array, Params

ROOT = Path(__file__).resolve().parents[2]
BRIEF_SECONDS = 2.0
"""A run shorter than this is timed twice more."""


@dataclass(frozen=True)
class Task:
    """What one process measures: the gradient of the loss with respect to the parameters, B = 1, I = 1."""

    length: int
    backend: str
    method: str
    dtype: str
    cell: str
    hidden_size: int
    loss: str
    seed: int
    limit_gib: float

    @property
    def every(self) -> int:
        """k, the whole number next to sqrt(T)."""
        return max(round(math.sqrt(self.length)), 1)


def make_loss(task: Task) -> Callable[[Params, Array, Array, Array], Array]:
    """The loss as a function of (params, readout r `[H]`, xs `[T, 1, 1]`, targets u `[T, 1]`).

    mean:  L = 1 / T sum_t (<y_t, r> - u_t)^2 / 2     every step has a part in it
    final: L = (<h_T, r> - u_T)^2 / 2                 the last steps decide

    Raises: `ValueError` for an unknown method or loss.
    """
    if task.method not in METHODS or task.loss not in ("mean", "final"):
        raise ValueError(f"unknown method {task.method!r} or loss {task.loss!r}")
    cell = cells.get(task.cell)

    def whole(params: Params, readout: Array, xs: Array, targets: Array) -> Array:
        every = task.every if task.method == "checkpointed" else None
        final, ys = unroll(cell, params, xs, backend=task.backend, checkpoint_every=every)
        if task.loss == "final":
            return jnp.sum((final.h @ readout - targets[-1]) ** 2) / 2
        return jnp.mean((ys @ readout - targets) ** 2) / 2

    def segmented(params: Params, readout: Array, xs: Array, targets: Array) -> Array:
        @jax.checkpoint
        def segment(carry: Any, inputs: tuple[Array, Array]) -> tuple[Any, Array]:
            xs, targets = inputs
            carry, ys = unroll(cell, params, xs, carry=carry, backend=task.backend)
            return carry, jnp.sum((ys @ readout - targets) ** 2)

        segments, rest = split((xs, targets), task.length, task.every, reverse=False)
        carry = cell.init_carry((1,), task.hidden_size, xs.dtype)
        carry, sums = jax.lax.scan(segment, carry, segments)
        carry, last = segment(carry, rest)
        if task.loss == "final":
            return jnp.sum((carry.h @ readout - targets[-1]) ** 2) / 2
        return (sums.sum() + last) / task.length / 2

    return segmented if task.method == "segmented" else whole


def make_arguments(task: Task) -> tuple[Params, Array, Array, Array]:
    """Parameters, read-out, inputs and targets: drawn in float32 for any dtype, so that dtypes can be compared."""
    keys = jax.random.split(jax.random.key(task.seed), 3)
    params = cells.get(task.cell).init_params(keys[0], 1, task.hidden_size)
    readout = jax.random.normal(keys[1], (task.hidden_size,), jnp.float32) / task.hidden_size**0.5
    xs, targets = jax.jit(lambda key: echo_task(key, task.length, 1))(keys[2])
    return jax.tree.map(lambda a: a.astype(task.dtype), (params, readout, xs, targets))


def measure_here(task: Task, gradient_file: Path) -> dict[str, Any]:
    """Compiles, and runs unless the compiler plans for more memory than the limit; writes the gradient, `[P]`.

    Returns: `predicted_bytes` (the compiler's temporaries, arguments and outputs), `temp_bytes`, `compile_seconds`
    and, if it ran, `process_bytes` (the peak of the process in the first run above what it held just before) and
    `seconds` (the shortest of three runs; of one if that took long).
    """
    jax.config.update("jax_enable_x64", task.dtype == "float64")
    gradient = jax.jit(jax.grad(make_loss(task)))
    shapes = jax.eval_shape(lambda: make_arguments(task))
    started = time.perf_counter()
    compiled = gradient.lower(*shapes).compile()
    compile_seconds = time.perf_counter() - started
    plan: Any = compiled.memory_analysis()  # None where a back end of XLA has no such thing, which none of ours is
    predicted = plan.temp_size_in_bytes + plan.argument_size_in_bytes + plan.output_size_in_bytes
    found = {
        "predicted_bytes": predicted,
        "temp_bytes": plan.temp_size_in_bytes,
        "compile_seconds": compile_seconds,
        "ran": predicted <= task.limit_gib * 2**30,
    }
    if not found["ran"]:
        return found
    arguments = jax.block_until_ready(make_arguments(task))
    forget_peak()
    before, seconds = resident_bytes(), []
    for _ in range(3):
        started = time.perf_counter()
        result = jax.block_until_ready(compiled(*arguments))
        seconds.append(time.perf_counter() - started)
        found.setdefault("process_bytes", peak_bytes() - before)
        if seconds[0] > BRIEF_SECONDS:
            break
    np.save(gradient_file, np.asarray(ravel_pytree(result)[0]))
    return {**found, "seconds": min(seconds)}


def measure(task: Task, gradient_file: Path) -> dict[str, Any]:
    """`measure_here` in a new process; `{"ran": False, "error": ...}` if that ends before its time."""
    command = [
        sys.executable,
        "-m",
        "experiments.long_sequences.measure",
        json.dumps(asdict(task)),
        str(gradient_file.resolve()),
    ]
    # In a session of its own: Ctrl-C comes to this process alone, and the pipe ends the other, see `end_with_parent`.
    pipes: Any = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "start_new_session": True}
    with subprocess.Popen(command, cwd=ROOT, text=True, **pipes) as child:
        assert child.stdout is not None
        said = child.stdout.read()
        status = child.wait()
    if status != 0:
        return {"ran": False, "error": f"ended with status {status}"}  # -9: the system had no more memory
    return json.loads(said.splitlines()[-1])


def end_with_parent() -> None:
    """Ends this process when the one that has started it ends, however that came about: its end of stdin closes."""

    def wait() -> None:
        while os.read(0, 1):
            pass
        os._exit(1)

    threading.Thread(target=wait, name="parent", daemon=True).start()


if __name__ == "__main__":
    end_with_parent()
    print(json.dumps(measure_here(Task(**json.loads(sys.argv[1])), Path(sys.argv[2]))))
