"""Many peers in one process, since on an accelerator a process takes seconds to start.

    python -m benchmarks.host

A child of `benchmarks.turns`, like `benchmarks.worker`, which holds one peer. What goes wrong with one is said of it,
and the others go on. Imports no JAX unless a peer does.

| it is asked | it answers |
|---|---|
| `machine` | what it computes on |
| `prepare` | for each peer what setting up found, or why there is none; all compile at once |
| `first` | what the first calls took, and a file with the values |
| `time` | seconds of calls, see `benchmarks.child.stopwatch` |
| `clear` | nothing, when all peers and their memory are gone |
"""

import gc
import os
import statistics
import sys
import threading
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any

from benchmarks import peers
from benchmarks.child import Answers, Refused, seconds_of, serve, stopwatch
from benchmarks.problem import PASSES, draw
from benchmarks.worker import Task, write_values

WARM_UP = 3
"""Calls of each pass after the first, and before any is timed: by then CUDA graphs have been recorded."""
OUT_OF_MEMORY = ("RESOURCE_EXHAUSTED", "out of memory")


def refused(error: Exception) -> dict[str, Any]:
    """An answer that says why there is none."""
    first_line = (str(error).splitlines() or [""])[0]
    words = {"status": "failed", "message": f"{type(error).__name__}: {first_line}"[:300]}
    if isinstance(error, Refused):
        words = {"status": error.status, "message": str(error)}
    elif any(said in str(error) for said in OUT_OF_MEMORY):
        words["status"] = "memory"
    return {"refused": words}


def answered(answer: Callable[..., Any]) -> Callable[..., dict[str, Any]]:
    """The same answer in a dictionary, in which an error is an answer too."""

    def safely(**asked: Any) -> dict[str, Any]:
        try:
            return {"found": answer(**asked)}
        except Exception as error:  # whatever a peer raises, the others go on
            return refused(error)

    return safely


class Host:
    """The peers of one contest after another.

    Attributes:
        runners: by name, see `benchmarks.peers.runner`.
        problems: what each computes.
    """

    def __init__(self) -> None:
        self.runners: dict[str, Any] = {}
        self.problems: dict[str, Any] = {}
        self.one_at_a_time = threading.Lock()

    def answers(self) -> Answers:
        """What it can be asked."""
        asked: list[Callable[..., Any]] = [machine, self.prepare, self.first, self.time, self.clear]
        return {answer.__name__: answered(answer) for answer in asked}

    def prepare(self, tasks: Mapping[str, str]) -> dict[str, Any]:
        """Sets up peers and compiles them, as many at once as there are cores.

        Args:
            tasks: by name a `benchmarks.worker.Task`, as JSON, of one cell and shape.

        Returns: by name what `benchmarks.worker.set_up` finds, or `refused`.
        """
        kinds = {name: Task.from_json(task) for name, task in tasks.items()}
        any_of_them = next(iter(kinds.values()))
        problem = draw(any_of_them.cell, any_of_them.shape, any_of_them.dtype)
        self.problems = {name: problem.to(task.dtype) for name, task in kinds.items()}
        with ThreadPoolExecutor(min(len(kinds), os.cpu_count() or 1)) as pool:
            found = {name: pool.submit(answered(partial(self._set_up, name, task))) for name, task in kinds.items()}
        return {name: each.result() for name, each in found.items()}

    def _set_up(self, name: str, task: Task) -> dict[str, Any]:
        with self.one_at_a_time:  # libraries are not made to be imported by several threads
            runner = peers.make(task.peer, self.problems[name])
        compiled = runner.compile(peers.PEERS[task.peer].options)
        self.runners[name] = runner
        planned = compiled.pop("planned_bytes", None)
        return {"device": runner.device, "compile_seconds": compiled, "planned_bytes": planned}

    def first(self, peer: str, file: str) -> dict[str, Any]:
        """Calls a peer for the first time, keeps a sample of its values in a file, and warms it up.

        Returns: `first_call_seconds` and `call_seconds` of each pass, and `peak_bytes`, see `runner.device_bytes`.
        """
        runner = self.runners[peer]
        first = {what: seconds_of(getattr(runner, what), 1)[0] for what in PASSES}
        peak = runner.device_bytes()
        write_values(runner, self.problems[peer], file)
        warm = {what: min(seconds_of(getattr(runner, what), WARM_UP)) for what in PASSES}
        return {"first_call_seconds": first, "call_seconds": warm, "peak_bytes": peak}

    def time(self, peer: str, **asked: Any) -> list[float]:
        """The seconds of a peer's calls."""
        return stopwatch({what: getattr(self.runners[peer], what) for what in PASSES})(**asked)

    def clear(self) -> None:
        """Lets go of all peers, and of what was compiled for them."""
        self.runners.clear()
        self.problems.clear()
        gc.collect()
        if (jax := sys.modules.get("jax")) is not None:
            jax.clear_caches()
        elif (torch := sys.modules.get("torch")) is not None and torch.cuda.is_available():
            torch.cuda.empty_cache()


def machine(library: str, sizes: Mapping[str, int]) -> dict[str, Any]:
    """What this process computes on.

    Args:
        library: `jax` or `torch`.
        sizes: by type the side of a matrix product that is timed.

    Returns: `device`, versions, `empty_call_seconds` (a call that computes next to nothing, and the wait for it: so
    much of every time is not the layer's), and with JAX `memory_bytes` of the device and `rates`, multiply-adds per
    second.
    """
    return machine_of_torch() if library == "torch" else machine_of_jax(sizes)


def machine_of_torch() -> dict[str, Any]:
    """What PyTorch says."""
    import torch

    gpu = torch.cuda.is_available()
    if not gpu:  # a rehearsal: on a busy machine threads that wait for each other take seconds
        torch.set_num_threads(1)
    one = torch.zeros(1, device="cuda" if gpu else "cpu")
    wait = torch.cuda.synchronize if gpu else lambda: None
    return {
        "device": torch.cuda.get_device_name() if gpu else "cpu",
        "torch": torch.__version__,
        "cudnn": torch.backends.cudnn.version() if gpu else None,
        "empty_call_seconds": _empty_call(lambda: (one + 1, wait())),
    }


def machine_of_jax(sizes: Mapping[str, int]) -> dict[str, Any]:
    """What JAX says."""
    import jax
    import jax.numpy as jnp

    from benchmarks.matmul import rate_here

    device = jax.devices()[0]
    plus_one, one = jax.jit(lambda x: x + 1), jnp.zeros(1)
    return {
        "device": device.device_kind,
        "platform": f"{device.platform} {device.client.platform_version}",
        "jax": jax.__version__,
        "compute_capability": getattr(device, "compute_capability", None),
        "memory_bytes": (device.memory_stats() or {}).get("bytes_limit"),
        "empty_call_seconds": _empty_call(lambda: jax.block_until_ready(plus_one(one))),
        "rates": {dtype: rate_here(size, dtype) for dtype, size in sizes.items()},
    }


def _empty_call(call: Callable[[], object]) -> float:
    call()
    return statistics.median(seconds_of(call, 101))


if __name__ == "__main__":
    serve(lambda: ("ready", Host().answers()))
