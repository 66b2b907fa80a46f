"""How long a recurrent layer takes, ours and others', on this machine.

Forward, and forward with the gradient of parameters and inputs, of one layer, at fixed shapes. All start with the same
weights and inputs; outputs and gradients are compared first, and who computes something else is not ranked. Each peer
has a process of its own; they take turns, so that noise hits all alike, and medians are reported. Run it on an idle
machine: about 45 minutes on 2 cores.

Shapes: S1 ... S7 of benchmarks/shapes.py, or spelled out, B64T100I1H32, with an r at the end for unequal lengths.
"""

import os
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks import shapes
from benchmarks.instructions import HELD_TO, held_to
from benchmarks.peers import PEERS, PLAIN
from benchmarks.presets import IN_REHEARSAL, PRESETS, REHEARSED, defaults, trials
from benchmarks.problem import DTYPES, NUM_GATES, PASSES
from experiments.common import rows as measured
from experiments.common.command import Experiment, RunConfig
from experiments.common.flags import UsageError, When, flag

Contest = tuple[str, shapes.Shape, str]
"""Cell, shape and type."""


@dataclass(frozen=True)
class Config(RunConfig):
    """Flags of the benchmark."""

    cells: tuple[str, ...] = flag(tuple(NUM_GATES), "cells, separated by commas", choices=tuple(NUM_GATES))
    shapes: tuple[str, ...] = flag(tuple(shapes.SHAPES), "shapes, separated by commas")
    peers: tuple[str, ...] = flag(
        PLAIN, "whom to time; what is not installed is a row that says so", choices=tuple(PEERS)
    )
    dtypes: tuple[str, ...] = flag(("float32",), "types; S6 is timed in bfloat16 alone", choices=DTYPES)
    instruction_set: str = flag(
        "native", "what all are held to; native: all that the processor has", choices=tuple(HELD_TO)
    )
    turns: int = flag(10, "how often each peer has its turn", minimum=1, maximum=1000)
    seconds: float = flag(10.0, "budget of each peer and shape; who cannot do with it is not timed", above=0.0)
    memory_limit_gib: float = flag(12.0, "for all processes of a shape together; who needs more is left out", above=0.0)
    sweep: str | None = flag(None, "time against this size: --shapes names the one to vary", choices=("T", "B", "H"))
    factors: tuple[float, ...] = flag(
        (0.25, 0.5, 1.0, 2.0, 4.0), "what --sweep multiplies the size with", above=0.0, maximum=1e4
    )
    matmul_size: int = flag(
        2048, "side of the product that the machine's rate is measured with", minimum=1, maximum=32768
    )
    profile: str = flag("", "folder for traces of our back ends by JAX's profiler", local=True)
    preset: str | None = flag(
        None, "everything worth measuring on one such device, in processes that all share", choices=tuple(PRESETS)
    )
    time_limit_minutes: float = flag(
        8.0, "of a --preset: what they do not suffice for is measured by the same command again", above=0.0, local=True
    )
    rehearsal: bool = flag(False, f"with --preset: sizes divided by {REHEARSED}, to see on any machine that it runs")

    DEFAULTS = (*(When("preset", name, defaults(name)) for name in PRESETS), When("rehearsal", True, IN_REHEARSAL))

    def check(self, given: frozenset[str]) -> None:
        """See `RunConfig.check`."""
        ours = [name for name, peer in PEERS.items() if peer.ours]
        if not set(ours) & set(self.peers):
            raise UsageError(f"--peers: name one of {','.join(ours)} too: the others are compared with it")
        try:
            for name in self.shapes:
                shapes.get(name)
        except ValueError as error:
            raise UsageError(f"--shapes: {error}") from error
        if self.sweep is not None and len(self.shapes) > 1:
            raise UsageError(f"--sweep={self.sweep} varies one shape: name it, like --shapes=S2")
        if self.preset is None and self.rehearsal:
            raise UsageError("--rehearsal: is of a --preset, name one")
        if self.preset is not None:
            if self.sweep is not None or self.profile:
                raise UsageError(f"--preset={self.preset}: has no --{'profile' if self.profile else 'sweep'}")
            if not trials(self):
                raise UsageError(f"--preset={self.preset}: the flags leave nothing of it; give fewer")


def contests(config: Config) -> list[Contest]:
    """What is timed, in this order."""
    chosen = [shapes.get(name) for name in config.shapes]
    if config.sweep is not None:
        chosen = shapes.sweep(chosen[0], config.sweep, tuple(sorted(config.factors)))
    return [
        (cell, shape, dtype)
        for cell in config.cells
        for shape in chosen
        for dtype in ([shape.dtype] if shape.dtype else config.dtypes)
    ]


def measure(config: Config, workdir: Path) -> tuple[list[dict[str, Any]], float]:
    """A row per contest and peer, and the machine's rate in multiply-adds per second.

    Contests are kept in `measurements.jsonl` as they come: an interrupted run goes on with the next.

    Raises: `UsageError` where the rate cannot be measured.
    """
    from benchmarks import contest, matmul, report
    from benchmarks.child import Refused

    file = workdir / "measurements.jsonl"
    done = {entry["key"]: entry for entry in measured.read(file)}
    if "rate" not in done:
        try:
            done["rate"] = {"key": "rate", "rate": matmul.rate(config.matmul_size)}
        except Refused as refused:
            raise UsageError(f"--matmul_size={config.matmul_size}: {refused}") from refused
        measured.add(file, done["rate"])
    rate = done["rate"]["rate"]
    limits = contest.Limits(config.turns, config.seconds, int(config.memory_limit_gib * 2**30), rate)
    rows = []
    for cell, shape, dtype in contests(config):
        key = f"{cell} {shape.name} {dtype}"
        if key not in done:
            trace = Path(config.profile) if config.profile else None
            done[key] = {"key": key, "rows": contest.hold(cell, shape, dtype, config.peers, limits, trace)}
            measured.add(file, done[key])
            print(report.line(key, done[key]["rows"]), flush=True)
        rows += done[key]["rows"]
    return rows, rate


def _load() -> list[float] | None:
    """How many processes wanted a core over the last 1, 5 and 15 minutes; None where the system does not say."""
    return [round(each, 2) for each in os.getloadavg()] if hasattr(os, "getloadavg") else None


def run(name: str, config: Config, workdir: Path) -> int:
    """Times what is missing, writes `results.json`, `table.md` and, of a sweep, a plot; prints the table.

    Returns: the exit status, 1 where no peer could be timed.
    """
    from benchmarks import report
    from experiments.common import results

    found, started = results.read(workdir, name), time.monotonic()
    if found is None or any(row["status"] == "left_out" for row in found["rows"]):
        load, cores = _load(), os.cpu_count() or 1
        if load is not None and load[0] > cores / 4:
            print(f"warning: the machine is busy (load {load[0]} on {cores} cores): times will be too long", flush=True)
        if config.preset is None:
            with held_to(config.instruction_set):
                rows, rate = measure(config, workdir)
            built_for = {row["peer"]: row["instruction_set"] for row in rows if row.get("instruction_set")}
            machine: dict[str, Any] = {"matmul_rate": rate, "instruction_sets": built_for}
        else:
            from benchmarks import accelerator

            rows, machine = accelerator.measure(config, workdir, started)
        machine = {"cores": cores, "load_before": load, "load_after": _load(), **machine}
        found = {"experiment": name, **summarize(config, rows, machine)}
        if config.sweep is not None:
            report.plot_sweep(workdir / "plots" / f"sweep_{config.sweep}.png", found["rows"], config.sweep)
        (workdir / "table.md").write_text(f"{report.tables(found)}\n{report.details(found)}\n", encoding="utf-8")
        results.write(workdir, found)
    else:
        print("this run is finished; its results:")
    print(f"\n{report.tables(found)}\nmore of each in {workdir / 'table.md'}")
    return int(not any(row["status"] == "ran" for row in found["rows"]))


def summarize(config: Config, rows: list[dict[str, Any]], machine: dict[str, Any]) -> dict[str, Any]:
    """`results.json`: at its top the first cell and shape, our faster back end beside the others; `rows` has them all.

    Every single call is in `measurements.jsonl`, here are the medians of the turns.
    """
    from benchmarks import contest, report

    cell, shape, dtype = (rows[0][name] for name in ("cell", "sizes", "dtype"))
    first = [row for row in rows if (row["cell"], row["sizes"], row["dtype"]) == (cell, shape, dtype)]
    entries = {row["peer"]: _metrics(row) for row in first if row["status"] == "ran" and row["agrees"]}
    best = next((row["ratio_to"] for row in first if "ratio_to" in row), None)
    headline = next((row for row in first if row["peer"] == best), {})
    timed = [row[what] for row in rows if row["status"] == "ran" for what in PASSES]
    return {
        "dataset": "random",
        "protocol": f"{shape} {dtype}",
        "cell": cell,
        "num_params": contest.num_params(cell, shapes.get(shape)),
        "seeds": [0],
        "metrics": entries.pop(best, {}),
        "baselines": entries,
        "steps": sum(len(turn) for times in timed for turn in times["seconds"]),
        "compile_seconds": sum(headline.get("compile_seconds", {}).values()),
        "train_seconds": sum(sum(turn) for times in timed for turn in times["seconds"]),
        "backend": best,
        "machine": machine,
        "flags": {
            name: getattr(config, name)
            for name in ("instruction_set", "turns", "seconds", "memory_limit_gib", "matmul_size")
        },
        "peer_versions": report.versions(),
        "rows": [{name: _without_calls(value) for name, value in row.items()} for row in rows],
    }


def _metrics(row: dict[str, Any]) -> dict[str, Any]:
    from experiments.common.results import spread

    return {f"{what}_seconds": spread(row[what]["turns"]) for what in PASSES}


def _without_calls(value: Any) -> Any:
    return {name: each for name, each in value.items() if name != "seconds"} if isinstance(value, dict) else value


EXPERIMENT = Experiment("benchmark", __doc__, Config, "benchmarks.layer")

if __name__ == "__main__":
    sys.exit(EXPERIMENT.main(sys.argv[1:]))
