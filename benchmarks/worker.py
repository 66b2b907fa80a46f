"""One peer in a process of its own, which runs its calls whenever it is asked.

    python -m benchmarks.worker '{"peer": "torch", "cell": "lstm", "shape": {...}, "dtype": "float32", ...}'

Says first how setting up went, then answers a line on stdin with a line on stdout, JSON both. `benchmarks.turns` is the
other end. Imports no JAX unless the peer does.
"""

import json
import os
import statistics
import sys
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks import peers
from benchmarks.problem import draw, sample
from benchmarks.shapes import Shape
from rnn_jax.machine import forget_peak, peak_bytes, resident_bytes

WARM_UP = 3
WHATS = ("forward", "forward_backward")


@dataclass(frozen=True)
class Task:
    """What a worker is started with.

    Attributes:
        peer: a name of `benchmarks.peers.PEERS`.
        cell, shape, dtype: the problem.
        seconds: a peer that needs longer than this for its first call of each kind is not timed.
        memory_bytes: a peer whose compiler plans for more is not run.
        values: the file to write sampled values to, NumPy's `.npz`.
    """

    peer: str
    cell: str
    shape: Shape
    dtype: str
    seconds: float
    memory_bytes: int
    values: str

    def to_json(self) -> str:
        """For a command line."""
        return json.dumps(asdict(self))

    @staticmethod
    def from_json(text: str) -> "Task":
        """The inverse."""
        fields = json.loads(text)
        return Task(**{**fields, "shape": Shape(**fields["shape"])})


def prepare(task: Task) -> tuple[Any, dict[str, Any]]:
    """Sets up, compiles, writes the values, warms up.

    Returns: the runner and what was found: `device`, `compile_seconds` and `first_call_seconds` of each call,
    `planned_bytes` where a compiler says so, `peak_bytes` (of the process while it took a gradient for the first time)
    and `process_bytes` (that above what it held before), `call_seconds`. With `skipped` and its reason instead of the
    last ones where a limit forbids them.
    """
    if task.dtype == "float64" and "torch" not in peers.PEERS[task.peer].packages:
        import jax

        jax.config.update("jax_enable_x64", True)
    problem = draw(task.cell, task.shape, task.dtype)
    runner = peers.make(task.peer, problem)
    compiled = runner.compile()
    planned = compiled.pop("planned_bytes", None)
    found: dict[str, Any] = {"device": runner.device, "compile_seconds": compiled, "planned_bytes": planned}
    if planned is not None and planned > task.memory_bytes:
        return runner, found | {"skipped": f"plans for {planned / 2**30:.1f} GiB"}
    forget_peak()
    before, first = resident_bytes(), {}
    for what in reversed(WHATS):
        started = time.perf_counter()
        getattr(runner, what)()
        first[what] = time.perf_counter() - started
    found |= {"first_call_seconds": first, "peak_bytes": peak_bytes(), "process_bytes": peak_bytes() - before}
    if sum(first.values()) > task.seconds:
        return runner, found | {"skipped": f"one call of each takes {sum(first.values()):.1f} s"}
    calls = {what: run(runner, what, WARM_UP - 1) for what in WHATS}
    found["call_seconds"] = {what: statistics.median(seconds) for what, seconds in calls.items()}
    np.savez(task.values, **sample(runner.values(), problem.mask))  # type: ignore[arg-type]
    return runner, found


def run(runner: Any, what: str, calls: int) -> list[float]:
    """Seconds of each call."""
    seconds = []
    for _ in range(calls):
        started = time.perf_counter()
        getattr(runner, what)()
        seconds.append(time.perf_counter() - started)
    return seconds


def profile(runner: Any, folder: Path) -> None:
    """A trace of JAX's profiler of a few gradients, for Perfetto or XProf."""
    import jax

    with jax.profiler.trace(str(folder)):
        run(runner, "forward_backward", WARM_UP)


def answer(runner: Any, request: dict[str, Any]) -> Any:
    """`{"time": "forward", "calls": n}`: n times, after one untimed call, since others have had the caches since the
    last turn. `{"profile": folder}`: true when it is written."""
    if "profile" in request:
        profile(runner, Path(request["profile"]))
        return True
    run(runner, request["time"], 1)
    return run(runner, request["time"], request["calls"])


def matmul_rate(size: int, repeats: int = 5) -> float:
    """Multiply-adds per second of the best of a few float32 products `[size, size]`."""
    import jax
    import jax.numpy as jnp

    a = jnp.asarray(np.random.default_rng(0).standard_normal((size, size), np.float32))
    product = jax.jit(jnp.matmul)
    jax.block_until_ready(product(a, a))
    seconds = []
    for _ in range(repeats):
        started = time.perf_counter()
        jax.block_until_ready(product(a, a))
        seconds.append(time.perf_counter() - started)
    return size**3 / min(seconds)


def main(text: str) -> None:
    """Sets up and answers until stdin ends."""
    # What libraries print must not come between the answers.
    out = os.fdopen(os.dup(sys.stdout.fileno()), "w", buffering=1)
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())

    def say(words: Any) -> None:
        print(json.dumps(words), file=out, flush=True)

    if text.isdigit():
        return say(matmul_rate(int(text)))
    try:
        runner, found = prepare(Task.from_json(text))
        say(found)
        for line in sys.stdin:
            say(answer(runner, json.loads(line)))
    except Exception as error:  # whatever a peer raises is a row of the table
        lines = str(error).splitlines() or [""]
        say(
            {"not_here" if type(error).__name__ == "NotHere" else "failed": f"{type(error).__name__}: {lines[0]}"[:300]}
        )


if __name__ == "__main__":
    main(sys.argv[1])
