"""Peers in processes of their own, taking turns: whatever else the machine does falls on all of them alike."""

import contextlib
import json
import os
import selectors
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from benchmarks.worker import WHATS, Task
from rnn_jax.machine import resident_bytes

ROOT = Path(__file__).resolve().parent.parent
MOST_CALLS = 20
"""In one turn."""


class Refused(Exception):
    """A peer that ended, or was ended, before its time: `status` for programs, the message for people."""

    def __init__(self, status: str, message: str):
        super().__init__(message)
        self.status = status


class Worker:
    """The other end of `benchmarks.worker`. Closing it ends the process."""

    def __init__(self, argument: str):
        # On a GPU every process would take most of the memory for itself.
        environment = {**os.environ, "XLA_PYTHON_CLIENT_PREALLOCATE": "false"}
        self.errors = tempfile.TemporaryFile()  # noqa: SIM115  # `close` closes it
        self.process = subprocess.Popen(
            [sys.executable, "-m", "benchmarks.worker", argument],
            cwd=ROOT,
            env=environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self.errors,
        )

    def ask(self, request: Mapping[str, Any], limit: float) -> Any:
        """Sends a line and waits for the answer. Raises: `Refused`, as `hear`."""
        assert self.process.stdin is not None
        with contextlib.suppress(BrokenPipeError):  # `hear` says why
            self.process.stdin.write(json.dumps(request).encode() + b"\n")
            self.process.stdin.flush()
        return self.hear(limit)

    def hear(self, limit: float, memory_bytes: int | None = None) -> Any:
        """The next answer.

        Args:
            limit: seconds to wait.
            memory_bytes: the process may hold that much while it is waited for; None: not watched.

        Raises: `Refused` if there is none in time, if the process took more memory, ended, or says that it failed.
        """
        assert self.process.stdout is not None
        deadline = time.monotonic() + limit
        with selectors.DefaultSelector() as selector:
            selector.register(self.process.stdout, selectors.EVENT_READ)
            while not selector.select(timeout=min(0.05 if memory_bytes else 60, max(deadline - time.monotonic(), 0))):
                if time.monotonic() >= deadline:
                    self.close()
                    raise Refused("time", f"no answer within {limit:.0f} s")
                if memory_bytes and resident_bytes(self.process.pid) > memory_bytes:
                    self.close()
                    raise Refused("memory", f"took more than {memory_bytes / 2**30:.3g} GiB")
        line = self.process.stdout.readline()
        if not line.endswith(b"\n"):
            ended = self.process.wait()  # -9: the system had no more memory
            self.errors.seek(0)
            last = self.errors.read().decode(errors="replace").strip().splitlines()[-1:]
            self.close()
            raise Refused("failed", ": ".join([f"ended with status {ended}", *last])[:300])
        found = json.loads(line)
        for status in ("failed", "not_here"):
            if isinstance(found, dict) and status in found:
                raise Refused(status, found[status].removeprefix("NotHere: "))
        return found

    def close(self) -> None:
        """Ends the process and waits for its end."""
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        for pipe in (self.process.stdin, self.process.stdout, self.errors):
            if pipe is not None:
                with contextlib.suppress(OSError):
                    pipe.close()


@contextlib.contextmanager
def closing_all() -> Iterator[dict[str, Worker]]:
    """A dictionary to put workers into: all are ended when it is left, however."""
    workers: dict[str, Worker] = {}
    try:
        yield workers
    finally:
        for worker in workers.values():
            worker.close()


def start(task: Task, limit: float) -> tuple[Worker, dict[str, Any]]:
    """A worker that is warm, and what it found; closed again if it `Refused`."""
    worker = Worker(task.to_json())
    try:
        return worker, worker.hear(limit, task.memory_bytes)
    except BaseException:
        worker.close()
        raise


def matmul_rate(size: int) -> float:
    """Multiply-adds per second of a float32 matrix product `[size, size]` on this machine, in a process of its own."""
    worker = Worker(str(size))
    try:
        return worker.hear(600)
    finally:
        worker.close()


def calls_per_turn(call_seconds: Mapping[str, float], turns: int, seconds: float) -> int:
    """How many calls of each kind fill a share of the budget; at least one, since a turn without a call is none.

    >>> calls_per_turn({"forward": 0.02, "forward_backward": 0.08}, turns=10, seconds=10)
    10
    """
    return min(max(int(seconds / turns / max(sum(call_seconds.values()), 1e-9)), 1), MOST_CALLS)


def take_turns(
    workers: Mapping[str, Any], calls: Mapping[str, int], turns: int, seconds: float
) -> tuple[dict[str, dict[str, list[list[float]]]], dict[str, Refused]]:
    """All workers in the same order, again and again: A B C A B C ...

    Args:
        workers: name to `Worker`.
        calls: name to how often each kind of call is made in one turn.
        turns: how often each has its turn.
        seconds: of timed calls, after which a worker has no more turns. Each has one at least.

    Returns: name to `{"forward": [turn][call] seconds, "forward_backward": ...}`, and by name the workers that ended on
    the way.
    """
    found: dict[str, dict[str, list[list[float]]]] = {name: {what: [] for what in WHATS} for name in workers}
    spent, ended = dict.fromkeys(workers, 0.0), {}
    for _ in range(turns):
        for name, worker in workers.items():
            if spent[name] > seconds or name in ended:
                continue
            try:
                for what in WHATS:
                    took = worker.ask({"time": what, "calls": calls[name]}, limit=60 + 20 * seconds)
                    found[name][what].append(took)
                    spent[name] += sum(took)
            except Refused as refused:
                ended[name] = refused
    return found, ended
