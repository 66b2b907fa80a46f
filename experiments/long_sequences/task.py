"""Measures the costs of long gradients, and the bias of truncated ones."""

import hashlib
import json
import sys
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from experiments.common import results
from experiments.common import rows as measured
from experiments.common.plots import draw
from experiments.long_sequences import measure, report
from experiments.long_sequences.flags import BIAS_CELLS, Config
from experiments.long_sequences.measure import Task
from rnn_jax import cells
from rnn_jax.diagnostics import echo_task, truncation_bias
from rnn_jax.files import fingerprint
from rnn_jax.plotting import long_sequences as plots


def tasks(config: Config) -> Iterator[Task]:
    """What is measured, in this order; of every length the reference comes first: `segmented` in float64."""
    common = {name: getattr(config, name) for name in ("cell", "hidden_size", "loss", "seed")}
    for length in sorted(config.lengths):
        make = {"length": length, "limit_gib": config.memory_limit_gib, **common}
        reference = Task(backend="manual", method="segmented", dtype="float64", **make)
        yield reference
        for dtype in ("float32", "float64"):
            if dtype == "float64" and length > config.float64_up_to:
                continue
            for backend in config.backends:
                for method in config.methods:
                    task = Task(backend=backend, method=method, dtype=dtype, **make)
                    if task != reference:
                        yield task


def measure_costs(config: Config, workdir: Path) -> list[dict[str, Any]]:
    """A row per task: the task, what was measured, and `gradient_error` against the reference of that length.

    Rows are kept in `measurements.jsonl` as they come: an interrupted run goes on with the next.
    """
    file, gradients = workdir / "measurements.jsonl", workdir / "gradients"
    gradients.mkdir(exist_ok=True)
    done = {row["key"]: row for row in measured.read(file)}
    rows, reference = [], None
    for task in tasks(config):
        key = hashlib.sha256(json.dumps(asdict(task)).encode()).hexdigest()[:12]
        gradient_file = gradients / f"{key}.npy"
        if key not in done or not _whole(done[key], gradient_file):
            row = {"key": key, **asdict(task), "every": task.every, **measure.measure(task, gradient_file)}
            if row["ran"]:
                row["gradient"] = fingerprint(gradient_file.read_bytes())
            done[key] = row
            if "error" not in row:  # that is tried again
                measured.add(file, row)
            print(
                f"T {task.length:>8} {task.backend:<7}{task.method:<13}{task.dtype}: {report.outcome(row)}", flush=True
            )
        row = {name: value for name, value in done[key].items() if name not in ("key", "limit_gib", "gradient")}
        gradient = np.load(gradient_file).astype(np.float64) if row["ran"] else None
        if task.dtype == "float64" and (reference is None or reference[0] != task.length):
            reference = (task.length, gradient)
        if gradient is not None and reference is not None and reference[1] is not None:
            error = np.linalg.norm(gradient - reference[1]) / np.linalg.norm(reference[1])
            row["gradient_error"] = float(error)
        rows.append(row)
    return rows


def _whole(row: dict[str, Any], gradient_file: Path) -> bool:
    """Whether the gradient of a row of before is there as it was written."""
    if not row.get("ran"):
        return True
    whole = gradient_file.is_file() and row.get("gradient") == fingerprint(gradient_file.read_bytes())
    if not whole:
        print(f"{gradient_file} is missing or damaged; it is measured again", file=sys.stderr)
    return whole


def measure_bias(config: Config) -> dict[str, dict[str, Any]]:
    """The truncation bias for k = 1, 2, 4, ... T: name to lengths `[K]` and `[K, S]` errors and cosines, as lists."""
    lengths = [2**power for power in range(config.bias_length.bit_length()) if 2**power < config.bias_length]
    lengths.append(config.bias_length)
    seeds = jnp.arange(config.seed, config.seed + config.num_seeds, dtype=jnp.uint32)
    found = {}
    for name in config.bias_cells:
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


def run(name: str, config: Config, workdir: Path) -> int:
    """Measures what is missing, writes `results.json` and two plots, prints the tables; returns the exit status."""
    found = results.read(workdir, name)
    if found is None:
        rows = measure_costs(config, workdir)
        found = report.summarize(config, rows, measure_bias(config)) | {"experiment": name}
        results.write(workdir, found)
        folder = workdir / "plots"
        draw(plots.costs, folder / "costs.png", [row for row in rows if row["dtype"] == "float32"])
        draw(plots.truncation_bias, folder / "bias.png", found["truncation"], config.bias_length)
        return report.show(found)
    print("this run is finished; its results:")
    return results.show_old(workdir, lambda _: report.show(found))
