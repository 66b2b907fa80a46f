"""Gradients through very long sequences: what they cost, and what truncating them leaves out.

Memory and time of the gradient through up to a million steps, for every back end, stored whole (`plain`), with
checkpoints near every sqrt(T)-th step (`checkpointed`), and with the loss taken inside the segments as well
(`segmented`); every measurement in a process of its own, every gradient compared with one in float64. Then the bias of
truncated backpropagation against the truncation length, for several cells. 16 minutes on 2 busy cores.
"""

import hashlib
import json
import sys
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from tabulate import tabulate

from experiments.common import results
from experiments.common.command import RunConfig
from experiments.common.command import main as run_command
from experiments.common.flags import UsageError, flag, listed
from experiments.long_sequences import measure as long_measure
from experiments.long_sequences.measure import METHODS, Task
from rnn_jax import cells
from rnn_jax.diagnostics.truncation import echo_task, truncation_bias
from rnn_jax.plotting import long_sequences as plotting_long

BIAS_CELLS: dict[str, tuple[str, dict[str, Any]]] = {
    "rnn": ("rnn", {}),
    "rnn_orthogonal": ("rnn", {"init": "glorot_orthogonal"}),
    "gru": ("gru", {}),
    "lstm": ("lstm", {}),
    "lstm_forget_1": ("lstm", {"forget_bias": 1.0}),
    "lstm_forget_3": ("lstm", {"forget_bias": 3.0}),
}
"""What the bias is measured of: a cell and how it is initialised."""
BACKENDS = ("scan", "manual")
"""What is measured: the back ends for any device."""
TOLERANCE = {"float32": 1e-4, "float64": 1e-9}
"""How far a gradient may be from the reference, ||g - g64|| / ||g64||: a row above it fails the run."""


@dataclass(frozen=True)
class Config(RunConfig):
    """Flags of the long sequences."""

    lengths: str = flag("1000,10000,100000,1000000", "sequence lengths T, separated by commas")
    backends: str = flag(",".join(BACKENDS), "back ends, separated by commas")
    methods: str = flag(",".join(METHODS), "what to compare, separated by commas")
    cell: str = flag("lstm", "the cell whose cost is measured", choices=("rnn", "lstm", "gru"))
    hidden_size: int = flag(64, "hidden features", minimum=1, maximum=8192)
    loss: str = flag("mean", "over all steps, or of the last one alone", choices=("mean", "final"))
    float64_up_to: int = flag(100_000, "lengths up to this are run in float64 too", minimum=0, maximum=10**8)
    memory_limit_gib: float = flag(12.0, "what would take more memory, as the compiler plans, is not run", above=0.0)
    bias_cells: str = flag(",".join(BIAS_CELLS), "cells of the truncation bias, separated by commas")
    bias_length: int = flag(1024, "T of the truncation bias", minimum=2, maximum=100_000)
    bias_batch_size: int = flag(16, "B of the truncation bias", minimum=1, maximum=10_000)
    seed: int = flag(0, "first seed", minimum=0, below=2**31)
    num_seeds: int = flag(5, "how many seeds the truncation bias is averaged over", minimum=1, maximum=1024)


def _lengths(config: Config) -> list[int]:
    for each in config.lengths.split(","):
        if not each.isascii() or not each.isdigit() or not 1 <= int(each[:10]) <= 10**8 or len(each) > 9:
            raise UsageError(f"--lengths: {each!r} is no whole number from 1 to 100000000; write --lengths=1000,10000")
    return sorted({int(each) for each in config.lengths.split(",")})


def tasks(config: Config) -> Iterator[Task]:
    """What is measured, in this order; of every length the reference comes first: `segmented` in float64."""
    backends, methods = listed(config, "backends", BACKENDS), listed(config, "methods", METHODS)
    common = {name: getattr(config, name) for name in ("cell", "hidden_size", "loss", "seed")}
    for length in _lengths(config):
        make = {"length": length, "limit_gib": config.memory_limit_gib, **common}
        reference = Task(backend="manual", method="segmented", dtype="float64", **make)
        yield reference
        for dtype in ("float32", "float64"):
            if dtype == "float64" and length > config.float64_up_to:
                continue
            for backend in backends:
                for method in methods:
                    task = Task(backend=backend, method=method, dtype=dtype, **make)
                    if task != reference:
                        yield task


def measure_costs(config: Config, workdir: Path) -> list[dict[str, Any]]:
    """A row per task: the task, what was measured, and `gradient_error` against the reference of that length.

    Rows are kept in `measurements.jsonl` as they come: an interrupted run goes on with the next.
    """
    file, gradients = workdir / "measurements.jsonl", workdir / "gradients"
    gradients.mkdir(exist_ok=True)
    lines = file.read_text(encoding="utf-8").splitlines() if file.exists() else []
    done = {row["key"]: row for row in map(json.loads, lines)}
    rows, reference = [], None
    for task in tasks(config):
        key = hashlib.sha256(json.dumps(asdict(task)).encode()).hexdigest()[:12]
        gradient_file = gradients / f"{key}.npy"
        if key not in done:
            row = {"key": key, **asdict(task), "every": task.every, **long_measure.measure(task, gradient_file)}
            done[key] = row
            if "error" not in row:  # that is tried again
                results.append(file, row)
            print(f"T {task.length:>8} {task.backend:<7}{task.method:<13}{task.dtype}: {_outcome(row)}", flush=True)
        row = {name: value for name, value in done[key].items() if name not in ("key", "limit_gib")}
        gradient = np.load(gradient_file).astype(np.float64) if row["ran"] else None
        if task.dtype == "float64" and (reference is None or reference[0] != task.length):
            reference = (task.length, gradient)
        if gradient is not None and reference is not None and reference[1] is not None:
            error = np.linalg.norm(gradient - reference[1]) / np.linalg.norm(reference[1])
            row["gradient_error"] = float(error)
        rows.append(row)
    return rows


def measure_bias(config: Config) -> dict[str, dict[str, Any]]:
    """The truncation bias for k = 1, 2, 4, ... T: name to lengths `[K]` and `[K, S]` errors and cosines, as lists."""
    lengths = [2**power for power in range(config.bias_length.bit_length()) if 2**power < config.bias_length]
    lengths.append(config.bias_length)
    seeds = jnp.arange(config.seed, config.seed + config.num_seeds, dtype=jnp.uint32)
    found = {}
    for name in listed(config, "bias_cells", tuple(BIAS_CELLS)):
        cell_name, options = BIAS_CELLS[name]
        cell = cells.get(cell_name)

        def one_seed(seed, cell=cell, options=options):
            keys = jax.random.split(jax.random.key(seed), 3)
            params = cell.init_params(keys[0], 1, config.hidden_size, **options)
            readout = jax.random.normal(keys[1], (config.hidden_size,)) / config.hidden_size**0.5
            task = echo_task(keys[2], config.bias_length, config.bias_batch_size)
            return truncation_bias(cell, params, readout, *task, lengths)

        bias = jax.jit(jax.vmap(one_seed))(seeds)
        found[name] = {
            "lengths": lengths,
            "relative_error": np.asarray(bias.relative_error, np.float64).T.tolist(),
            "cosine": np.asarray(bias.cosine, np.float64).T.tolist(),
        }
        print(f"bias of {name}: done", flush=True)
    return found


def _outcome(row: dict[str, Any]) -> str:
    if row["ran"]:
        return f"{row['seconds']:.3g} s, {_mib(row['predicted_bytes'])} MiB planned"
    return row.get("error") or f"not run: {row['predicted_bytes'] / 2**30:.1f} GiB"


def _mib(count: float) -> str:
    return f"{count / 2**20:.1f}"


def run(config: Config, workdir: Path) -> int:
    """Measures what is missing, writes `results.json` and two plots, prints the tables; returns the exit status."""
    listed(config, "bias_cells", tuple(BIAS_CELLS))  # refused now, not after minutes of measuring
    list(tasks(config))
    found = results.read(workdir)
    if found is None:
        rows = measure_costs(config, workdir)
        found = _results(config, rows, measure_bias(config))
        plotting_long.costs(workdir / "plots" / "costs.png", [row for row in rows if row["dtype"] == "float32"])
        plotting_long.truncation_bias(workdir / "plots" / "bias.png", found["truncation"], config.bias_length)
        results.write(workdir, found)
    else:
        print("this run is finished; its results:")
    return _report(found)


def _results(config: Config, rows: list[dict[str, Any]], truncation: dict[str, Any]) -> dict[str, Any]:
    """`results.json`: at its top the longest length with the last method and back end, beside the first ones."""
    float32 = [row for row in rows if row["dtype"] == "float32" and row["length"] == rows[-1]["length"]]
    shapes = jax.eval_shape(lambda: cells.get(config.cell).init_params(jax.random.key(0), 1, config.hidden_size))

    def metrics(row: dict[str, Any]) -> dict[str, Any]:
        names = ("predicted_bytes", "process_bytes", "seconds", "gradient_error")
        return {name: results.spread([row[name]]) for name in names if name in row}

    return {
        "experiment": "long_sequences",
        "dataset": "echoes of white noise",
        "protocol": f"loss={config.loss}",
        "cell": config.cell,
        "num_params": sum(leaf.size for leaf in jax.tree.leaves(shapes)),
        "seeds": list(range(config.seed, config.seed + config.num_seeds)),
        "metrics": metrics(float32[-1]),
        "baselines": {f"{row['backend']} {row['method']}": metrics(row) for row in float32[:-1]},
        "steps": float32[-1]["length"],
        "compile_seconds": float32[-1].get("compile_seconds"),
        "train_seconds": float32[-1].get("seconds"),
        "costs": rows,
        "truncation": truncation,
    }


def _report(found: dict[str, Any]) -> int:
    columns = ("T", "dtype", "back end", "method", "k", "planned MiB", "process MiB", "seconds", "gradient error")
    body, failed = [], 0
    for row in found["costs"]:
        error = row.get("gradient_error")
        failed += "error" in row or (row["ran"] and (error is None or not error <= TOLERANCE[row["dtype"]]))
        every = "" if row["method"] == "plain" else row["every"]
        line = [row["length"], row["dtype"], row["backend"], row["method"], every]
        if row["ran"]:
            shown = "undefined" if error is None else f"{error:.1e}"
            line += [_mib(row["predicted_bytes"]), _mib(row["process_bytes"]), f"{row['seconds']:.4g}", shown]
        else:
            line += [_outcome(row)]
        body.append(line)
    print("\n" + tabulate(body, headers=columns, tablefmt="pipe", disable_numparse=True))
    print("\nrelative error of the truncated gradient, mean over seeds (cosine)\n")
    bias = found["truncation"]
    body = []
    for at, k in enumerate(next(iter(bias.values()))["lengths"]):
        means = [[np.mean(entry[name][at]) for name in ("relative_error", "cosine")] for entry in bias.values()]
        body.append([k, *(f"{error:.4f} ({cosine:.3f})" for error, cosine in means)])
    print(tabulate(body, headers=["k", *bias], tablefmt="pipe", disable_numparse=True))
    limits = ", ".join(f"{dtype} {limit:.0e}" for dtype, limit in TOLERANCE.items())
    print(f"\n{failed} of {len(found['costs'])} rows failed (no result, or a gradient error above {limits})")
    return int(failed > 0)


def main(arguments: Sequence[str]) -> int:
    """The command line of this experiment; returns the exit status."""
    return run_command("long_sequences", Config, run, __doc__, arguments)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
