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
from benchmarks.peers import PEERS
from benchmarks.problem import NUM_GATES, draw, relative_errors
from benchmarks.shapes import Shape
from benchmarks.turns import Refused, calls_per_turn, closing_all, start, take_turns
from benchmarks.worker import WHATS, Task
from rnn_jax.machine import resident_bytes

TOLERANCES = {"float32": 1e-4, "float64": 1e-10, "bfloat16": 1e-1}
"""How far, ||theirs - ours|| / ||ours||, an output or a derivative may be from ours. In bfloat16 ours sums in float32
and keeps c so, which not every peer does; another function is off by 0.5 and more."""
GPU_TOLERANCE = 1e-2
"""Of float32 on a GPU, where products are rounded to TF32 by some and not by others."""


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


def agreement(errors: Mapping[str, float], dtype: str, device: str) -> bool:
    """Whether all errors are within tolerance; NaN is not."""
    limit = GPU_TOLERANCE if (dtype, device) == ("float32", "gpu") else TOLERANCES[dtype]
    return all(error <= limit for error in errors.values())


def hold(
    cell: str, shape: Shape, dtype: str, names: Sequence[str], limits: Limits, trace: Path | None = None
) -> list[dict[str, Any]]:
    """Rows of all `names`, in their order; `trace` is a folder for profiles of our own back ends."""
    rows: dict[str, dict[str, Any]] = {name: {"peer": name} for name in names}
    beyond = too_much(cell, shape, limits)
    with closing_all() as workers, tempfile.TemporaryDirectory() as folder:
        # Ours first: the others are compared with the first of them that runs.
        reference = None
        for name in sorted(names, key=lambda name: not PEERS[name].ours):
            row, peer = rows[name], PEERS[name]
            if package := peers.missing(peer):
                row |= {"status": "missing", "reason": f"{package} is not installed"}
            elif reason := peers.not_asked(peer, cell, shape.ragged):
                row |= {"status": "not_asked", "reason": reason}
            elif beyond:
                row |= {"status": "time", "reason": beyond}
            else:
                file = Path(folder) / f"{name}.npz"
                task = Task(name, cell, shape, dtype, limits.seconds, limits.memory_bytes, str(file))
                try:
                    worker, found = start(task, limit=120 + 4 * limits.seconds)
                    workers[name] = worker
                    row |= found
                    _check_limits(found, workers, limits)
                except Refused as refused:
                    row |= {"status": refused.status, "reason": str(refused)}
                    if name in workers:
                        workers.pop(name).close()
                    continue
                with np.load(file) as values:
                    got = dict(values)
                reference = (name, row["device"], got) if reference is None else reference
                _compare(row, got, reference, cell, dtype)
        if reference is not None and not PEERS[reference[0]].ours:
            for name in workers:
                rows[name] |= {"agrees": False, "remark": "none of ours ran to compare with"}
        calls = {name: calls_per_turn(rows[name]["call_seconds"], limits.turns, limits.seconds) for name in workers}
        seconds, ended = take_turns(workers, calls, limits.turns, limits.seconds)
        for name in workers:
            if name in ended:
                rows[name] |= {"status": ended[name].status, "reason": str(ended[name])}
            else:
                rows[name] |= {"status": "ran", **_times(cell, shape, seconds[name], limits.rate)}
                if trace is not None and PEERS[name].ours:
                    workers[name].ask({"profile": str(trace.resolve() / f"{cell}-{shape.name}-{dtype}-{name}")}, 600)
    _rank(rows)
    return [
        {"cell": cell, "shape": shape.name, "sizes": shape.describe(), "dtype": dtype, **row} for row in rows.values()
    ]


def _check_limits(found: Mapping[str, Any], workers: Mapping[str, Any], limits: Limits) -> None:
    if "skipped" in found:
        raise Refused("memory" if "GiB" in found["skipped"] else "time", found["skipped"])
    together = found["process_bytes"] + sum(resident_bytes(worker.process.pid) for worker in workers.values())
    if together > limits.memory_bytes:
        raise Refused("memory", f"with those before it {together / 2**30:.1f} GiB: name fewer peers")


def _compare(
    row: dict[str, Any], got: dict[str, np.ndarray], reference: tuple[str, str, dict], cell: str, dtype: str
) -> None:
    name, device, want = reference
    errors = relative_errors(got, want)
    row |= {"errors": errors, "compared_with": name, "agrees": agreement(errors, dtype, device)}
    if not row["agrees"]:
        worst = max(errors, key=lambda each: (np.isnan(errors[each]), errors[each]))
        words = PEERS[row["peer"]].other.get(cell, "does not agree")
        row["remark"] = f"{words}: relative error of {worst} {errors[worst]:.1g}"
    if row["device"] != device:
        row |= {"agrees": False, "remark": f"computes on {row['device']}, ours on {device}"}


def _times(cell: str, shape: Shape, seconds: Mapping[str, list[list[float]]], rate: float) -> dict[str, Any]:
    """What a row says of a peer that ran.

    Of `forward` and `forward_backward` each: `median`, `p90`, `turns` (the median of each) and `seconds` (of every
    call, by turn). Of a gradient: `steps_per_second`, `tokens_per_second` (valid steps of all sequences) and
    `share_of_matmul_rate`.
    """
    times: dict[str, Any] = {}
    for what in WHATS:
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


def _rank(rows: Mapping[str, dict[str, Any]]) -> None:
    """Adds `ratio` to every row that agrees: how many times as long a gradient takes as with our faster back end."""
    ranked = {name: row for name, row in rows.items() if row.get("status") == "ran" and row["agrees"]}
    mine = [name for name in ranked if PEERS[name].ours]
    if not mine:
        return
    best = min(mine, key=lambda name: ranked[name]["forward_backward"]["median"])
    for row in ranked.values():
        for what in WHATS:
            pairs = zip(row[what]["turns"], ranked[best][what]["turns"], strict=False)
            row[what]["ratio"] = statistics.median(theirs / ours for theirs, ours in pairs)
        row["ratio_to"] = best


def num_params(cell: str, shape: Shape) -> int:
    """Of one layer, as we count: one bias, and a GRU's second one for n."""
    return sum(
        array.size
        for array in draw(cell, Shape("", 1, 1, shape.input_size, shape.hidden_size), "float32").params.values()
    )
