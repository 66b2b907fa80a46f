"""A contender's side: a process that says how setting up went, then answers whatever it is asked, a line of JSON each.

    serve(set_up)       with set_up() -> (what was found, {"time": stopwatch({"forward": call})})

| the parent writes | the child writes |
|---|---|
| its command line | `{"answer": what was found}` |
| `{"ask": "time", "what": "forward", "calls": 2}` | `{"answer": [seconds, seconds]}` |
| | or, before it ends, `{"refused": {"status": ..., "message": ...}}` |

`benchmarks.turns` is the other end. Imports no JAX: in one process PyTorch's threads and JAX's get in each other's way,
and PyTorch takes up to twice as long.
"""

import json
import os
import sys
import time
from collections.abc import Callable, Mapping
from typing import Any

Answers = Mapping[str, Callable[..., Any]]
"""By name what a child can be asked; called with what stands beside the name, returns something that JSON has."""


class Refused(Exception):
    """A contender that takes no part, or no longer. The message is for people.

    Attributes:
        status: the same for programs: `not_here`, `memory`, `time` or `failed`.
    """

    def __init__(self, status: str, message: str):
        super().__init__(message)
        self.status = status


def serve(set_up: Callable[[], tuple[Any, Answers]]) -> None:
    """Says what was found in setting up, then answers until stdin ends. An error is the last answer.

    Args:
        set_up: returns what was found, which JSON must have, and what the child can be asked.
    """
    # What libraries print must not come between the answers: it goes where their warnings go.
    out = os.fdopen(os.dup(sys.stdout.fileno()), "w", buffering=1)
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())

    def say(**words: Any) -> None:
        print(json.dumps(words), file=out, flush=True)

    try:
        found, answers = set_up()
        say(answer=found)
        for line in sys.stdin:
            asked = json.loads(line)
            say(answer=answers[asked.pop("ask")](**asked))
    except Refused as refused:
        say(refused={"status": refused.status, "message": str(refused)})
    except Exception as error:  # whatever a contender raises, the others go on
        first_line = (str(error).splitlines() or [""])[0]
        say(refused={"status": "failed", "message": f"{type(error).__name__}: {first_line}"[:300]})


def seconds_of(call: Callable[[], object], calls: int) -> list[float]:
    """How long each of so many calls took; the call returns when its work is done."""
    seconds = []
    for _ in range(calls):
        started = time.perf_counter()
        call()
        seconds.append(time.perf_counter() - started)
    return seconds


def stopwatch(timed: Mapping[str, Callable[[], object]]) -> Callable[..., list[float]]:
    """The answer to `time`: `(what, calls, untimed=0) -> [calls] seconds`, those not counted first."""

    def time_calls(what: str, calls: int, untimed: int = 0) -> list[float]:
        seconds_of(timed[what], untimed)
        return seconds_of(timed[what], calls)

    return time_calls


def epochs(train: Callable[[int, int], Any], steps: int, compared: int) -> tuple[list[float], Answers]:
    """What a contender that trains sets up, see `serve`: found are the losses of its first steps, timed are epochs.

    Args:
        train: `(first step, how many) -> their mean loss`, a number, when they are done.
        steps: how many are timed at once: an epoch.
        compared: how many are made before, and compared.
    """
    losses = [float(train(step, 1)) for step in range(compared)]
    return losses, {"time": stopwatch({"train": lambda: train(0, steps)})}
