"""All peers at one cell, shape and type: compared, then timed in turns, a row each.

A row has `peer`, `status` and, where that is not `ran`, `reason`:

| status | |
|---|---|
| `ran` | timed; `agrees` says whether its values are ours, and only then it is ranked |
| `missing` | not installed |
| `not_asked` | has no such cell, or is for sequences of unequal length alone |
| `not_here` | cannot run on this machine or in this type |
| `memory`, `time` | would take, or took, more than allowed |
| `failed` | raised an error, or its process ended |
"""

import statistics
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks import peers
from benchmarks.child import Refused
from benchmarks.peers import PEERS
from benchmarks.problem import NUM_GATES, PASSES, draw, relative_errors
from benchmarks.shapes import Shape
from benchmarks.turns import Child, calls_per_turn, closing_all, start, take_turns
from benchmarks.worker import Task
from rnn_jax.machine import forget_peak, peak_bytes, resident_bytes

TOLERANCES = {"float32": 1e-4, "float64": 1e-10, "bfloat16": 1e-1, "tf32": 1e-2}
"""How far, ||theirs - ours|| / ||ours||, an output or a derivative may be from ours. In bfloat16 ours sums in float32
and keeps c so, which not every peer does; another function is off by 0.5 and more."""
WARM_UP = 2
"""Calls of each pass after the first, which tell how many fill a turn."""


@dataclass(frozen=True)
class Limits:
    """What a contest may take.

    Attributes:
        turns: how many turns each peer has.
        seconds: the budget of each peer, for timed calls; one that needs more for a call of each kind is not timed.
        memory_bytes: for all processes together.
        rate: multiply-adds per second of a matrix product on this machine.
    """

    turns: int
    seconds: float
    memory_bytes: int
    rate: float


def too_much(cell: str, shape: Shape, limits: Limits) -> str | None:
    """Why no peer need try: the products alone, at the machine's full rate, take longer than the budget."""
    gradient = 3 * shape.multiply_adds(NUM_GATES[cell]) / limits.rate
    if gradient * 4 / 3 <= limits.seconds:  # and the forward pass alone
        return None
    return f"as matrix products alone a gradient takes {gradient:.2g} s"


def agreement(errors: Mapping[str, float], dtype: str) -> bool:
    """Whether all errors are within tolerance; NaN is not."""
    return all(error <= TOLERANCES[dtype] for error in errors.values())


def absent(name: str, cell: str, shape: Shape, limits: Limits) -> dict[str, str]:
    """Status and reason of a peer that is not even started; empty for one that is."""
    if package := peers.missing(PEERS[name]):
        return {"status": "missing", "reason": f"{package} is not installed"}
    if reason := peers.not_asked(PEERS[name], cell, shape):
        return {"status": "not_asked", "reason": reason}
    if reason := too_much(cell, shape, limits):
        return {"status": "time", "reason": reason}
    return {}


def hold(
    cell: str, shape: Shape, dtype: str, names: Sequence[str], limits: Limits, trace: Path | None = None
) -> list[dict[str, Any]]:
    """Starts the peers, compares them, lets them take turns, ranks them.

    Args:
        cell, shape, dtype: the problem, see `benchmarks.problem.Problem`.
        names: who takes part, of `benchmarks.peers.PEERS`.
        limits: what each may take.
        trace: a folder for profiles of our own back ends.

    Returns: a row for each, in that order: `cell`, `shape`, `sizes`, `dtype`, `peer`, `status`, `reason`, what `meet`
    finds, `errors` of its values by name, `compared_with`, `agrees`, `remark`, and of one that ran its times.
    """
    rows: dict[str, dict[str, Any]] = {name: {"peer": name, **absent(name, cell, shape, limits)} for name in names}
    with closing_all() as workers:
        # Ours first: the others are compared with the first of them that runs.
        reference = None
        for name in sorted(names, key=lambda name: not PEERS[name].ours):
            row = rows[name]
            if "status" in row:
                continue
            try:
                got = meet(Task(name, cell, shape, dtype), row, workers, limits)
            except Refused as refused:
                row |= {"status": refused.status, "reason": str(refused)}
                if name in workers:
                    workers.pop(name).close()
                continue
            reference = (name, row["device"], got) if reference is None else reference
            compare(row, got, reference, cell, dtype)
        if reference is not None and not PEERS[reference[0]].ours:
            for name in workers:
                rows[name] |= {"agrees": False, "remark": "none of ours ran to compare with"}
        time_in_turns(cell, shape, rows, workers, limits)
        for name in workers:
            if rows[name]["status"] == "ran" and trace is not None and PEERS[name].ours:
                _profile(workers[name], trace.resolve() / f"{cell}-{shape.name}-{dtype}-{name}")
    rank(rows)
    return [
        {"cell": cell, "shape": shape.name, "sizes": shape.describe(), "dtype": dtype, **row} for row in rows.values()
    ]


def time_in_turns(
    cell: str, shape: Shape, rows: Mapping[str, dict[str, Any]], contenders: Mapping[str, Any], limits: Limits
) -> None:
    """Both passes of all contenders that `take_turns` can ask, into their rows: the times, or why there are none."""
    calls = {name: calls_per_turn(rows[name]["call_seconds"], limits.turns, limits.seconds) for name in contenders}
    seconds, ended = take_turns(contenders, PASSES, calls, limits.turns, untimed=1, seconds=limits.seconds)
    for name in contenders:
        if name in ended:
            rows[name] |= {"status": ended[name].status, "reason": str(ended[name])}
        else:
            rows[name] |= {"status": "ran", **times(cell, shape, seconds[name], limits.rate)}


def meet(task: Task, row: dict[str, Any], workers: dict[str, Child], limits: Limits) -> dict[str, np.ndarray]:
    """Starts a worker, calls it for the first time and warms it up.

    Args:
        task: what it computes.
        row: gets what is found, as far as it comes: what `benchmarks.worker.set_up` says, `first_call_seconds` of each
            pass, `peak_bytes` (of the process in these calls), `process_bytes` (that above what it held before) and
            `call_seconds` of each pass.
        workers: those before it, by name; it becomes one of them.
        limits: what it may take.

    Returns: the sample of its values. Raises: `Refused` where it fails, or takes more than it may.
    """
    patience, most = 120 + 4 * limits.seconds, limits.memory_bytes
    worker, found = start(["-m", "benchmarks.worker", task.to_json()], patience, most)
    workers[task.peer], process = worker, worker.process.pid
    row |= found
    if (found["planned_bytes"] or 0) > most:
        raise Refused("memory", f"plans for {found['planned_bytes'] / 2**30:.1f} GiB")
    forget_peak(process)
    before = resident_bytes(process)
    first = {what: worker.ask("time", patience, most, what=what, calls=1)[0] for what in reversed(PASSES)}
    peak = peak_bytes(process)
    row |= {"first_call_seconds": first, "peak_bytes": peak, "process_bytes": peak - before}
    if sum(first.values()) > limits.seconds:
        raise Refused("time", f"one call of each takes {sum(first.values()):.1f} s")
    together = peak - before + sum(resident_bytes(each.process.pid) for each in workers.values())
    if together > most:
        raise Refused("memory", f"with those before it {together / 2**30:.1f} GiB: name fewer peers")
    calls = {what: worker.ask("time", patience, most, what=what, calls=WARM_UP) for what in PASSES}
    row["call_seconds"] = {what: statistics.median(seconds) for what, seconds in calls.items()}
    with tempfile.TemporaryDirectory() as folder:
        file = f"{folder}/values.npz"
        worker.ask("values", patience, most, file=file)
        with np.load(file) as values:
            return dict(values)


def _profile(worker: Child, folder: Path) -> None:
    try:
        worker.ask("profile", 600, folder=str(folder))
    except Refused as refused:
        print(f"no trace in {folder}: {refused}", flush=True)


def compare(
    row: dict[str, Any], got: dict[str, np.ndarray], reference: tuple[str, str, dict], cell: str, dtype: str
) -> None:
    name, device, want = reference
    errors = relative_errors(got, want)
    row |= {"errors": errors, "compared_with": name, "agrees": agreement(errors, dtype)}
    if not row["agrees"]:
        worst = max(errors, key=lambda each: (np.isnan(errors[each]), errors[each]))
        words = PEERS[row["peer"]].other.get(cell, "does not agree")
        row["remark"] = f"{words}: relative error of {worst} {errors[worst]:.1g}"
    if row["device"] != device:
        row |= {"agrees": False, "remark": f"computes on {row['device']}, ours on {device}"}


def times(cell: str, shape: Shape, seconds: Mapping[str, list[list[float]]], rate: float) -> dict[str, Any]:
    """What a row says of a peer that ran.

    Of `forward` and `forward_backward` each: `median`, `p90`, `turns` (the median of each) and `seconds` (of every
    call, by turn). Of a gradient: `steps_per_second`, `tokens_per_second` (valid steps of all sequences) and
    `share_of_matmul_rate`.
    """
    times: dict[str, Any] = {}
    for what in PASSES:
        every = [each for turn in seconds[what] for each in turn]
        times[what] = {
            "median": statistics.median(every),
            "p90": float(np.quantile(every, 0.9)),
            "turns": [statistics.median(turn) for turn in seconds[what]],
            "seconds": [[round(each, 7) for each in turn] for turn in seconds[what]],
        }
    gradient = times["forward_backward"]["median"]
    least = 3 * shape.multiply_adds(NUM_GATES[cell]) / rate
    return {
        **times,
        "steps_per_second": 1 / gradient,
        "tokens_per_second": shape.tokens / gradient,
        "share_of_matmul_rate": least / gradient,
    }


def rank(rows: Mapping[str, dict[str, Any]]) -> None:
    """Adds `ratio` to every row that agrees: how many times as long a gradient takes as with our faster back end."""
    ranked = {name: row for name, row in rows.items() if row.get("status") == "ran" and row["agrees"]}
    mine = [name for name in ranked if PEERS[name].ours]
    if not mine:
        return
    best = min(mine, key=lambda name: ranked[name]["forward_backward"]["median"])
    for row in ranked.values():
        for what in PASSES:
            pairs = zip(row[what]["turns"], ranked[best][what]["turns"], strict=False)
            row[what]["ratio"] = statistics.median(theirs / ours for theirs, ours in pairs)
        row["ratio_to"] = best


def num_params(cell: str, shape: Shape) -> int:
    """Of one layer, as we count: one bias, and a GRU's second one for n."""
    return sum(
        array.size
        for array in draw(cell, Shape("", 1, 1, shape.input_size, shape.hidden_size), "float32").params.values()
    )
