"""How long a recurrent layer takes, ours and others', on this machine.

Forward, and forward with the gradient of parameters and inputs, of one layer, at fixed shapes. All start with the same
weights and inputs; outputs and gradients are compared first, and who computes something else is not ranked. Each peer
has a process of its own; they take turns, so that noise hits all alike, and medians are reported. Run it on an idle
machine: about 45 minutes on 2 cores.

Shapes: S1 ... S7 of benchmarks/shapes.py, or spelled out, B64T100I1H32, with an r at the end for unequal lengths.
"""

import json
import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks import contest, report, shapes, turns
from benchmarks.peers import PEERS
from benchmarks.problem import DTYPES, NUM_GATES
from experiments.common import results
from experiments.common.command import RunConfig
from experiments.common.command import main as run_command
from experiments.common.flags import UsageError, flag, listed

Contest = tuple[str, shapes.Shape, str]
"""Cell, shape and type."""


@dataclass(frozen=True)
class Config(RunConfig):
    """Flags of the benchmark."""

    cells: str = flag(",".join(NUM_GATES), "cells, separated by commas")
    shapes: str = flag(",".join(shapes.SHAPES), "shapes, separated by commas")
    peers: str = flag(",".join(PEERS), "whom to time; what is not installed is a row that says so")
    dtypes: str = flag("float32", f"types, of {','.join(DTYPES)}; S6 is timed in bfloat16 alone")
    turns: int = flag(10, "how often each peer has its turn", minimum=1, maximum=1000)
    seconds: float = flag(10.0, "budget of each peer and shape; who cannot do with it is not timed", above=0.0)
    memory_limit_gib: float = flag(12.0, "for all processes of a shape together; who needs more is left out", above=0.0)
    sweep: str | None = flag(None, "time against this size: --shapes names the one to vary", choices=("T", "B", "H"))
    factors: str = flag("0.25,0.5,1,2,4", "what --sweep multiplies the size with")
    matmul_size: int = flag(
        2048, "side of the product that the machine's rate is measured with", minimum=1, maximum=32768
    )
    profile: str = flag("", "folder for traces of our back ends by JAX's profiler", local=True)


def _factors(config: Config) -> tuple[float, ...]:
    try:
        factors = tuple(sorted({float(each) for each in config.factors.split(",")}))
    except ValueError:
        factors = ()
    if not factors or not all(0 < factor <= 1e4 for factor in factors):
        raise UsageError(
            f"--factors: {config.factors!r} are no numbers above 0 and up to 10000; write --factors=0.5,1,2"
        )
    return factors


def peer_names(config: Config) -> list[str]:
    """Whom `--peers` names. Raises: `UsageError` for an unknown one, or where none of ours is among them."""
    names = listed(config, "peers", tuple(PEERS))
    ours = [name for name, peer in PEERS.items() if peer.ours]
    if not set(ours) & set(names):
        raise UsageError(f"--peers: name one of {','.join(ours)} too: the others are compared with it")
    return names


def contests(config: Config) -> list[Contest]:
    """What is timed, in this order. Raises: `UsageError` for flags that do not fit."""
    cells, dtypes = listed(config, "cells", tuple(NUM_GATES)), listed(config, "dtypes", DTYPES)
    try:
        chosen = [shapes.get(name) for name in dict.fromkeys(config.shapes.split(","))]
    except ValueError as error:
        raise UsageError(f"--shapes: {error}") from error
    if config.sweep is not None:
        if len(chosen) > 1:
            raise UsageError(f"--sweep={config.sweep} varies one shape: name it, like --shapes=S2")
        chosen = shapes.sweep(chosen[0], config.sweep, _factors(config))
    return [
        (cell, shape, dtype)
        for cell in cells
        for shape in chosen
        for dtype in ([shape.dtype] if shape.dtype else dtypes)
    ]


def measure(config: Config, workdir: Path) -> tuple[list[dict[str, Any]], float]:
    """A row per contest and peer, and the machine's rate in multiply-adds per second.

    Contests are kept in `measurements.jsonl` as they come: an interrupted run goes on with the next.
    """
    file, names = workdir / "measurements.jsonl", peer_names(config)
    lines = file.read_text(encoding="utf-8").splitlines() if file.exists() else []
    done = {entry["key"]: entry for entry in map(json.loads, lines)}
    if "rate" not in done:
        done["rate"] = {"key": "rate", "rate": turns.matmul_rate(config.matmul_size)}
        results.append(file, done["rate"])
    rate = done["rate"]["rate"]
    limits = contest.Limits(config.turns, config.seconds, int(config.memory_limit_gib * 2**30), rate)
    rows = []
    for cell, shape, dtype in contests(config):
        key = f"{cell} {shape.name} {dtype}"
        if key not in done:
            trace = Path(config.profile) if config.profile else None
            done[key] = {"key": key, "rows": contest.hold(cell, shape, dtype, names, limits, trace)}
            results.append(file, done[key])
            print(report.line(key, done[key]["rows"]), flush=True)
        rows += done[key]["rows"]
    return rows, rate


def _load() -> list[float] | None:
    """How many processes wanted a core over the last 1, 5 and 15 minutes; None where the system does not say."""
    return [round(each, 2) for each in os.getloadavg()] if hasattr(os, "getloadavg") else None


def run(config: Config, workdir: Path) -> int:
    """Times what is missing, writes `results.json`, `table.md` and, of a sweep, a plot; prints the table."""
    contests(config), peer_names(config)  # refused now, not after minutes
    found = results.read(workdir)
    if found is None:
        load, cores = _load(), os.cpu_count() or 1
        if load is not None and load[0] > cores / 4:
            print(f"warning: the machine is busy (load {load[0]} on {cores} cores): times will be too long", flush=True)
        rows, rate = measure(config, workdir)
        found = _results(
            config, rows, {"cores": cores, "load_before": load, "load_after": _load(), "matmul_rate": rate}
        )
        if config.sweep is not None:
            report.plot_sweep(workdir / "plots" / f"sweep_{config.sweep}.png", found["rows"], config.sweep)
        (workdir / "table.md").write_text(f"{report.tables(found)}\n{report.details(found)}\n", encoding="utf-8")
        results.write(workdir, found)
    else:
        print("this run is finished; its results:")
    print(f"\n{report.tables(found)}\nmore of each in {workdir / 'table.md'}")
    return int(not any(row["status"] == "ran" for row in found["rows"]))


def _results(config: Config, rows: list[dict[str, Any]], machine: dict[str, Any]) -> dict[str, Any]:
    """`results.json`: at its top the first cell and shape, our faster back end beside the others; `rows` has them all.

    Every single call is in `measurements.jsonl`, here are the medians of the turns.
    """
    cell, shape, dtype = contests(config)[0]
    first = [row for row in rows if (row["cell"], row["shape"], row["dtype"]) == (cell, shape.name, dtype)]
    entries = {row["peer"]: _metrics(row) for row in first if row["status"] == "ran" and row["agrees"]}
    best = next((row["ratio_to"] for row in first if "ratio_to" in row), None)
    headline = next((row for row in first if row["peer"] == best), {})
    timed = [row[what] for row in rows if row["status"] == "ran" for what in ("forward", "forward_backward")]
    whole = {
        "experiment": "benchmark",
        "dataset": "random",
        "protocol": f"{shape.describe()} {dtype}",
        "cell": cell,
        "num_params": contest.num_params(cell, shape),
        "seeds": [0],
        "metrics": entries.pop(best, {}),
        "baselines": entries,
        "steps": sum(len(turn) for times in timed for turn in times["seconds"]),
        "compile_seconds": sum(headline.get("compile_seconds", {}).values()),
        "train_seconds": sum(sum(turn) for times in timed for turn in times["seconds"]),
        "backend": best,
        "machine": machine,
        "flags": {name: getattr(config, name) for name in ("turns", "seconds", "memory_limit_gib", "matmul_size")},
        "peer_versions": report.versions(),
    }
    whole["rows"] = [{name: _without_calls(value) for name, value in row.items()} for row in rows]
    return whole


def _metrics(row: dict[str, Any]) -> dict[str, Any]:
    return {f"{what}_seconds": results.spread(row[what]["turns"]) for what in ("forward", "forward_backward")}


def _without_calls(value: Any) -> Any:
    return {name: each for name, each in value.items() if name != "seconds"} if isinstance(value, dict) else value


def main(arguments: Sequence[str]) -> int:
    """The command line of this experiment; returns the exit status."""
    return run_command("benchmark", Config, run, __doc__, arguments)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
