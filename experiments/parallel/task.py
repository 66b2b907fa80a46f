"""Measures and predicts how many iterations Newton's method over time takes."""

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from experiments.common import results
from experiments.common.flags import UsageError
from experiments.common.plots import draw
from experiments.parallel import report
from experiments.parallel.cost import cost
from experiments.parallel.flags import Config
from experiments.parallel.trained import first_layer
from rnn_jax.cells import CELLS, Cell
from rnn_jax.cells.cell import zero_carry
from rnn_jax.diagnostics import cell_step, newton_iterations, predictability, predicted_iterations
from rnn_jax.plotting import parallel as plots
from rnn_jax.types import Array, Params
from rnn_jax.unrolling import unroll

BEYOND = 4
"""What is predicted to take more than so many times the iterations that are allowed is not run."""

BRIEF = 1.0
"""Seconds up to which a run is repeated, since the first one of a program may take longer."""


class Programs(NamedTuple):
    """Of one cell and one T, compiled once for all parameters: `(params, xs) -> ...`, and the seconds that took."""

    predict: Any
    measure: Any
    scan: Any
    seconds: float


def compiled(cell: Cell[Any, Any], params: Params, xs: Array, max_iterations: int) -> Programs:
    """The programs for parameters and inputs `[T, I]` of these shapes."""

    def predict(params: Params, xs: Array) -> tuple[Array, Array]:
        found = predictability(cell_step(cell, params), zero_carry(cell, params, ()), xs)
        return predicted_iterations(found), found.exponent(warmup=len(xs) // 10)

    def measure(params: Params, xs: Array) -> Any:
        step, start = cell_step(cell, params), zero_carry(cell, params, ())
        return newton_iterations(step, start, xs, max_iterations=max_iterations)

    def scan(params: Params, xs: Array) -> Array:
        return unroll(cell, params, xs, backend="scan")[1]

    started = time.perf_counter()
    first, second, third = (jax.jit(each).lower(params, xs).compile() for each in (predict, measure, scan))
    return Programs(first, second, third, time.perf_counter() - started)


def timed(program: Any, *arguments: Any) -> tuple[Any, float]:
    """What it returns, and the seconds of one run."""
    started = time.perf_counter()
    found = jax.block_until_ready(program(*arguments))
    return found, time.perf_counter() - started


def look(config: Config, name: str, programs: Programs, params: Params, xs: Array, size: int) -> dict[str, Any]:
    """A row: one network over one length."""
    predicted, exponent = map(float, programs.predict(params, xs))
    length, per = len(xs), cost(len(xs), size, config.bandwidth * 1e12, config.latency * 1e-6)
    row = {"network": name, "length": length, "size": size, "lyapunov_exponent": exponent, "predicted": predicted}
    row |= {"work": per.work, "depth": per.depth, "gpu_pays_below": per.pays_below, "measured": None, "seconds": None}
    row["scan_seconds"] = min(timed(programs.scan, params, xs)[1] for _ in range(2))
    if predicted <= BEYOND * config.max_iterations:
        solution, first = timed(programs.measure, params, xs)
        row["seconds"] = first if first > BRIEF else min(first, timed(programs.measure, params, xs)[1])
        row["measured"] = int(solution.iterations) if solution.converged else None
    print(f"{name}, T {length:,}: {report.counts(row, min(config.max_iterations, length))}", flush=True)
    return row


class Network(NamedTuple):
    """What is looked at.

    Attributes:
        name: of its rows.
        trained: whether it is of a finished run.
        cell, params: the layer.
        inputs: what it reads, `[steps, I]`.
        about: what `results.json` says of it.
    """

    name: str
    trained: bool
    cell: Cell[Any, Any]
    params: Params
    inputs: Any
    about: dict[str, Any]


def networks(config: Config) -> Iterator[Network]:
    """Cells at their initialization, then the first layers of trained runs.

    Raises: `UsageError` for a run with fewer steps than the shortest length.
    """
    key, shortest = jax.random.fold_in(jax.random.key(config.seed), 1), min(config.lengths)
    noise = jax.random.normal(jax.random.key(config.seed), (max(config.lengths), config.input_size))
    for each in config.settings():
        cell = CELLS[each.cell]
        params = cell.init_params(key, config.input_size, config.hidden_size, gain=each.gain, **each.options)
        about = {"dataset": "standard normal noise", "protocol": each.init, "seeds": [config.seed], "steps": len(noise)}
        about["num_params"] = sum(leaf.size for leaf in jax.tree.leaves(params))
        yield Network(f"{each.cell}, {each.init}, gain {each.gain:g}", False, cell, params, noise, about)
    for folder in config.run:
        about, cell, params, inputs = first_layer(folder)
        network = Network(f"{cell.name}, {Path(folder).name}", True, cell, params, inputs, about)
        if len(network.inputs) < shortest:
            steps = f"{len(network.inputs):,} steps"
            raise UsageError(f"--lengths={shortest}: the run in --run={folder} has {steps} to look at")
        yield network


def sweep(config: Config) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    """A row for each network and length that it has inputs for, and what `results.json` says of all."""
    found = list(networks(config))
    rows, seconds = [], 0.0
    for length in sorted(config.lengths):
        programs: dict[Any, Programs] = {}
        for name, trained, cell, params, inputs, _ in found:
            if len(inputs) < length:
                print(f"{name}, T {length:,}: left out, the run has {len(inputs):,} steps", flush=True)
                continue
            xs = jnp.asarray(inputs[:length])
            kind = (cell.name, jax.tree.structure(params), *(leaf.shape for leaf in jax.tree.leaves((params, xs))))
            if kind not in programs:
                programs = {kind: compiled(cell, params, xs, min(config.max_iterations, length))}
                seconds += programs[kind].seconds
            size = sum(leaf.size for leaf in jax.tree.leaves(zero_carry(cell, params, ())))
            row = look(config, name, programs[kind], params, xs, size)
            rows.append({**row, "cell": cell.name, "trained": trained})
    return rows, {**found[0].about, "cell": found[0].cell.name, "compile_seconds": seconds}


def run(name: str, config: Config, workdir: Path) -> None:
    """Measures, writes `results.json` and the picture, prints the table."""
    if results.read(workdir, name) is not None:
        results.show_old(workdir, report.show)
        return
    started = time.perf_counter()
    rows, about = sweep(config)
    seconds = time.perf_counter() - started - about["compile_seconds"]
    results.write(workdir, report.summary(config, rows) | about | {"experiment": name, "train_seconds": seconds})
    draw(plots.iterations, workdir / "plots" / "iterations.png", rows, config.max_iterations)
    report.show(workdir)
