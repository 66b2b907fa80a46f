"""The parent's side: contenders in processes of their own, which take turns, A B C A B C ...

Whatever else the machine does falls on all of them alike. `benchmarks.child` is the other end.
"""

import contextlib
import json
import math
import os
import selectors
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks.child import Refused
from rnn_jax.machine import resident_bytes

ROOT = Path(__file__).resolve().parent.parent
MOST_CALLS = 20
"""In one turn."""
WATCH_SECONDS, WAIT_SECONDS = 0.05, 60.0
"""How often a process is looked at while it is waited for: where its memory is limited, and where it is not."""


class Child:
    """A process that runs `benchmarks.child.serve`.

    Args:
        arguments: what Python is given: `-m`, a module and its arguments.
    """

    def __init__(self, *arguments: str):
        # On a GPU every process would take most of the memory for itself.
        environment = {**os.environ, "XLA_PYTHON_CLIENT_PREALLOCATE": "false"}
        self.errors = tempfile.TemporaryFile()  # noqa: SIM115  # `close` closes it
        self.process = subprocess.Popen(
            [sys.executable, *arguments],
            cwd=ROOT,
            env=environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self.errors,
        )

    def ask(self, name: str, limit: float = math.inf, memory_bytes: int | None = None, **arguments: Any) -> Any:
        """Asks and waits for the answer.

        Args:
            name: of one of its `benchmarks.child.Answers`.
            limit, memory_bytes: of `hear`.
            arguments: of that answer.

        Raises: `Refused`, as `hear`.
        """
        assert self.process.stdin is not None
        with contextlib.suppress(BrokenPipeError):  # `hear` says why
            self.process.stdin.write(json.dumps({"ask": name, **arguments}).encode() + b"\n")
            self.process.stdin.flush()
        return self.hear(limit, memory_bytes)

    def hear(self, limit: float = math.inf, memory_bytes: int | None = None) -> Any:
        """The next answer.

        Args:
            limit: seconds to wait.
            memory_bytes: what the process may hold while it is waited for; None: not watched.

        Raises: `Refused` where there is none in time, or the process took more memory, ended, or says why it does not
        answer. It has ended then.
        """
        try:
            return self._answer(limit, memory_bytes)
        except Refused:
            self.close()
            raise

    def _answer(self, limit: float, memory_bytes: int | None) -> Any:
        assert self.process.stdout is not None
        deadline = time.monotonic() + limit
        with selectors.DefaultSelector() as selector:
            selector.register(self.process.stdout, selectors.EVENT_READ)
            most = WAIT_SECONDS if memory_bytes is None else WATCH_SECONDS
            while not selector.select(timeout=min(most, max(deadline - time.monotonic(), 0))):
                if time.monotonic() >= deadline:
                    raise Refused("time", f"no answer within {limit:.0f} s")
                if memory_bytes is not None and resident_bytes(self.process.pid) > memory_bytes:
                    raise Refused("memory", f"took more than {memory_bytes / 2**30:.3g} GiB")
        line = self.process.stdout.readline()
        if not line.endswith(b"\n"):
            ended = self.process.wait()  # -9: the system had no more memory
            self.errors.seek(0)
            last = self.errors.read().decode(errors="replace").strip().splitlines()[-1:]
            raise Refused("failed", ": ".join([f"ended with status {ended}", *last])[:300])
        said = json.loads(line)
        if "refused" in said:
            raise Refused(**said["refused"])
        return said["answer"]

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
def closing_all() -> Iterator[dict[str, Child]]:
    """A dictionary to put children into: all are ended when it is left, however."""
    children: dict[str, Child] = {}
    try:
        yield children
    finally:
        for child in children.values():
            child.close()


def start(arguments: Sequence[str], limit: float = math.inf, memory_bytes: int | None = None) -> tuple[Child, Any]:
    """A child that has set up, and what it found.

    Args:
        arguments: of `Child`.
        limit, memory_bytes: of `Child.hear`.

    Raises: `Refused`, as `Child.hear`.
    """
    child = Child(*arguments)
    try:
        return child, child.hear(limit, memory_bytes)
    except BaseException:
        child.close()
        raise


def calls_per_turn(call_seconds: Mapping[str, float], turns: int, seconds: float) -> int:
    """How many calls of each kind fill a share of the budget; at least one, since a turn without a call is none.

    >>> calls_per_turn({"forward": 0.02, "forward_backward": 0.08}, turns=10, seconds=10)
    10
    """
    return min(max(int(seconds / turns / max(sum(call_seconds.values()), 1e-9)), 1), MOST_CALLS)


def take_turns(
    children: Mapping[str, Any],
    timed: Sequence[str],
    calls: Mapping[str, int],
    turns: int,
    *,
    untimed: int = 0,
    seconds: float = math.inf,
) -> tuple[dict[str, dict[str, list[list[float]]]], dict[str, Refused]]:
    """All children in the same order, again and again: A B C A B C ...

    Args:
        children: name to `Child`, each with a `benchmarks.child.stopwatch`.
        timed: what each is asked to time in its turn, one after another.
        calls: name to how often each of these is called in one turn.
        turns: how often each has its turn.
        untimed: how many calls go before the timed ones, since others have had the caches since the last turn.
        seconds: of timed calls, after which a child has no more turns. Each has one at least.

    Returns: name to `{what: [turn][call] seconds}`, and by name those that ended on the way, with the reason.
    """
    found: dict[str, dict[str, list[list[float]]]] = {name: {what: [] for what in timed} for name in children}
    spent, ended = dict.fromkeys(children, 0.0), {}
    for _ in range(turns):
        for name, child in children.items():
            if spent[name] > seconds or name in ended:
                continue
            try:
                for what in timed:
                    took = child.ask("time", limit=60 + 20 * seconds, what=what, calls=calls[name], untimed=untimed)
                    found[name][what].append(took)
                    spent[name] += sum(took)
            except Refused as refused:
                ended[name] = refused
    return found, ended
