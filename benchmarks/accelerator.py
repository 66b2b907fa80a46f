"""`launch.py benchmark --preset=gpu`: every contest of `benchmarks.presets` on one accelerator, within some minutes.

Processes take seconds to start there, so there are four for all contests, each a `benchmarks.host`: PyTorch, either of
our kernels, whose errors would take everything else in their process with them, and the rest of JAX. In a contest all
peers compile at once, one process beside the other; then nothing else runs: values are compared with those of `scan` in
float32, and the peers take turns, as in `benchmarks.contest`. One that ends, or hangs, is started again for the next.

Contests are kept as they come. What time does not suffice for is a row that says so, and the same command goes on with
it.
"""

import os
import tempfile
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks import report
from benchmarks.child import Refused
from benchmarks.contest import Limits, absent, compare, rank, time_in_turns
from benchmarks.peers import PEERS, missing
from benchmarks.presets import Trial, trials
from benchmarks.turns import Child
from benchmarks.worker import Task
from experiments.common import rows as measured
from experiments.common.flags import UsageError

REFERENCE = "scan float32"
"""With whose values all are compared."""
KERNELS = ("pallas", "mosaic")
PATIENCE, PATIENCE_WITH_CALLS = 90.0, 20.0
"""Seconds that any answer may take, and that calls may: a kernel that hangs would use up all the time."""
MOST_FAILURES = 2
"""Of a peer that take its process with them; then it is not asked any more."""
RESERVE = 15.0
"""Seconds of the given time for what comes after the last contest."""
LONGEST = 4.0
"""How long a call of each pass may take at most, in budgets of a peer."""
LEFT_OUT = ("left_out", "time was up: the same command goes on with it")
"""Status and reason of a contest that is still due."""
MACHINE = "machine"


class TimeIsUp(Exception):
    """No time is left for the contest that is under way."""


def process_of(peer: str) -> str:
    """Which of the processes a peer is in: `torch`, one of `KERNELS` or `jax`."""
    if "torch" in PEERS[peer].packages:
        return "torch"
    return PEERS[peer].variant if PEERS[peer].variant in KERNELS else "jax"


class Hosts:
    """The processes, and the time that they have.

    Args:
        deadline: when no answer is waited for any more, by `time.monotonic`.
    """

    def __init__(self, deadline: float):
        self.deadline = deadline
        self.running: dict[str, Child] = {}
        self.starting: set[str] = set()
        self.failures: Counter[str] = Counter()

    def start(self, *names: str) -> None:
        """Those of these that do not run: they come up side by side."""
        for name in names:
            if name not in self.running:
                self.running[name] = Child("-m", "benchmarks.host")
                self.starting.add(name)

    def ask(self, name: str, question: str, limit: float = PATIENCE, **asked: Any) -> Any:
        """What a process answers.

        Raises: `Refused` where a peer says why it does not answer, or the process has ended, or takes too long and is
            ended; `TimeIsUp`.
        """
        self.start(name)
        child, left = self.running[name], self.deadline - time.monotonic()
        if left <= 0:
            raise TimeIsUp
        try:
            if name in self.starting:
                child.hear(min(left, PATIENCE))
                self.starting.discard(name)
            said = child.ask(question, limit=min(left, limit), **asked)
        except Refused as refused:
            self.end(name)
            if refused.status == "time" and limit > left:
                raise TimeIsUp from refused
            raise
        if "refused" in said:
            raise Refused(**said["refused"])
        return said["found"]

    def end(self, *names: str) -> None:
        """Ends these."""
        for name in names:
            if name in self.running:
                self.running.pop(name).close()
                self.starting.discard(name)


class Seat:
    """A peer that is set up in a process, asked as `benchmarks.turns.take_turns` asks a child.

    Args:
        hosts: the processes.
        process: which of them.
        peer: its name there.
    """

    def __init__(self, hosts: Hosts, process: str, peer: str):
        self.hosts, self.process, self.peer = hosts, process, peer
        self.child = hosts.running.get(process)

    def ask(self, question: str, limit: float = PATIENCE, **asked: Any) -> Any:
        """See `Hosts.ask`. A process whose peer failed while it computed is ended: its device may be lost."""
        if self.child is None or self.hosts.running.get(self.process) is not self.child:
            raise Refused("failed", "its process ended with another peer")
        try:
            return self.hosts.ask(self.process, question, min(limit, PATIENCE_WITH_CALLS), peer=self.peer, **asked)
        except Refused as refused:
            if refused.status == "failed":
                self.hosts.end(self.process)
            self.hosts.failures[self.peer] += self.process not in self.hosts.running
            raise

    def first(self) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
        """What the first calls took, and a sample of the values. Raises: `Refused`, `TimeIsUp`."""
        with tempfile.TemporaryDirectory() as folder:
            file = f"{folder}/values.npz"
            found = self.ask("first", file=file)
            with np.load(file) as values:
                return found, dict(values)


def check_device(hosts: Hosts, preset: str) -> None:
    """Asks JAX what it computes on, before anything large is timed there.

    Raises: `UsageError` where that is not what the preset is for, `Refused` by JAX, `TimeIsUp`.
    """
    found = hosts.ask("jax", "machine", library="jax", sizes={})
    platform = found["platform"].split()[0]
    if platform != preset:
        here = f"JAX computes on {platform} ({found['device']}) here"
        raise UsageError(f"--preset={preset}: {here}; --rehearsal=true runs it there with tiny sizes")


def machine(hosts: Hosts, size: int, dtypes: Sequence[str]) -> dict[str, Any]:
    """What the processes say of the machine, see `benchmarks.host.machine`. Raises: `Refused` by JAX, `TimeIsUp`.

    Args:
        hosts: the processes.
        size: the side of the matrix products that are timed.
        dtypes: their types.
    """
    found = {"jax": hosts.ask("jax", "machine", library="jax", sizes=dict.fromkeys(dtypes, size))}
    try:
        found["torch"] = hosts.ask("torch", "machine", library="torch", sizes={}) if "torch" in hosts.running else None
    except Refused as refused:
        found["torch"] = {"reason": str(refused)}
    return found


def hold(trial: Trial, hosts: Hosts, limits: Limits) -> list[dict[str, Any]]:
    """A contest, as `benchmarks.contest.hold`: a row for each peer, `title` besides.

    Raises: `Refused` where nothing can be compared, `TimeIsUp`: nothing of it counts then.
    """
    _, cell, shape, dtype, names = trial
    rows: dict[str, dict[str, Any]] = {name: {"peer": name, **absent(name, cell, shape, limits)} for name in names}
    for name in names:
        if hosts.failures[name] >= MOST_FAILURES:
            rows[name] |= {"status": "failed", "reason": "took its process with it twice, and is not asked any more"}
    reference = prepare(trial, rows, hosts, limits)
    seats = {name: Seat(hosts, process_of(name), name) for name, row in rows.items() if "status" not in row}
    for name, seat in list(seats.items()):
        try:
            found, got = seat.first()
            rows[name] |= found
            if (call := sum(found["call_seconds"].values())) > LONGEST * limits.seconds:
                raise Refused("time", f"one call of each takes {call:.1f} s")
            compare(rows[name], got, reference, cell, dtype)
        except Refused as refused:
            rows[name] |= {"status": refused.status, "reason": str(refused)}
            del seats[name]
    time_in_turns(cell, shape, rows, seats, limits)
    rank(rows)
    return described(trial, rows)


def described(trial: Trial, rows: Mapping[str, dict[str, Any]]) -> list[dict[str, Any]]:
    """Rows with what they are of."""
    title, cell, shape, dtype, _ = trial
    place = {"title": title, "cell": cell, "shape": shape.name, "sizes": shape.describe(), "dtype": dtype}
    return [{**place, **row} for row in rows.values()]


def without(trial: Trial, status: str, reason: str) -> list[dict[str, Any]]:
    """The rows of a contest that was not held."""
    return described(trial, {name: {"peer": name, "status": status, "reason": reason} for name in trial.peers})


def prepare(
    trial: Trial, rows: Mapping[str, dict[str, Any]], hosts: Hosts, limits: Limits
) -> tuple[str, str, dict[str, np.ndarray]]:
    """Sets up and compiles the reference and the peers whose rows have no status yet, all at once.

    Returns: what `benchmarks.contest.compare` takes of the reference. Raises: `Refused` where that fails, `TimeIsUp`.
    """
    tasks: dict[str, dict[str, str]] = {"jax": {REFERENCE: Task("scan", trial.cell, trial.shape, "float32").to_json()}}
    for name, row in rows.items():
        if "status" not in row:
            task = Task(name, trial.cell, trial.shape, trial.dtype)
            tasks.setdefault(process_of(name), {})[name] = task.to_json()
    hosts.start(*tasks)

    def prepared(process: str) -> Any:
        try:
            hosts.ask(process, "clear")
            return hosts.ask(process, "prepare", tasks=tasks[process])
        except Refused as refused:
            return {peer: {"refused": {"status": refused.status, "message": str(refused)}} for peer in tasks[process]}

    with ThreadPoolExecutor(len(tasks)) as pool:
        answers = {name: said for found in pool.map(prepared, tasks) for name, said in found.items()}
    for name, said in answers.items():
        if name in rows and "refused" in said:
            rows[name] |= {"status": said["refused"]["status"], "reason": said["refused"]["message"]}
        elif name in rows:
            rows[name] |= said["found"]
            if (planned := said["found"]["planned_bytes"] or 0) > limits.memory_bytes:
                rows[name] |= {"status": "memory", "reason": f"plans for {planned / 2**30:.1f} GiB"}
    if "refused" in answers[REFERENCE]:
        raise Refused(**answers[REFERENCE]["refused"])
    return REFERENCE, answers[REFERENCE]["found"]["device"], Seat(hosts, "jax", REFERENCE).first()[1]


def measure(config: Any, workdir: Path, started: float) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    """Every contest that is due, and the machine. Kept in `measurements.jsonl`, from which a run goes on.

    Args:
        config: flags, see `benchmarks.layer.Config`.
        workdir: the run's folder.
        started: when `config.time_limit_minutes` began, by `time.monotonic`.

    Raises: `UsageError` where JAX does not start, or has no such device.
    """
    os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")  # of this process, which asks for the device's name
    file = workdir / "measurements.jsonl"
    done = {entry["key"]: entry for entry in measured.read(file)}
    due = trials(config)
    hosts = Hosts(started + 60 * config.time_limit_minutes - RESERVE)

    def keep(key: str, **found: Any) -> None:
        done[key] = {"key": key, **found}
        measured.add(file, done[key])

    try:
        hosts.start(*dict.fromkeys(process_of(name) for name in config.peers if not missing(PEERS[name])))
        if MACHINE not in done:
            if not config.rehearsal:
                check_device(hosts, config.preset)
            keep(MACHINE, **machine(hosts, config.matmul_size, config.dtypes))
        rates = done[MACHINE]["jax"]["rates"]
        for trial in due:
            if trial.key in done:
                continue
            limits = Limits(config.turns, config.seconds, int(config.memory_limit_gib * 2**30), rates[trial.dtype])
            begun = time.monotonic()
            try:
                rows = hold(trial, hosts, limits)
            except Refused as refused:
                rows = without(trial, refused.status, f"the reference: {refused}")
                if refused.status == "time":  # the machine stalled, perhaps
                    rows = without(trial, LEFT_OUT[0], f"the reference: {refused}: the same command asks again")
            if rows[0]["status"] == LEFT_OUT[0]:
                done[trial.key] = {"rows": rows}
            else:
                keep(trial.key, rows=rows, wall_seconds=round(time.monotonic() - begun, 2))
            print(report.line(trial.key, rows), flush=True)
    except TimeIsUp:
        pass
    except Refused as refused:
        raise UsageError(f"--preset={config.preset}: JAX does not start: {refused}") from refused
    finally:
        hosts.end(*list(hosts.running))
    rows = [row for trial in due for row in done.get(trial.key, {"rows": without(trial, *LEFT_OUT)})["rows"]]
    return rows, {name: value for name, value in done.get(MACHINE, {}).items() if name != "key"}
