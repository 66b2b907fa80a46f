"""Where the gradient of cells goes at their initialization."""

import math
import time
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from experiments.common import results
from experiments.vanishing import report, trained
from experiments.vanishing.attractor import attractor
from experiments.vanishing.flags import Config
from rnn_jax import cells, unroll
from rnn_jax.diagnostics import (
    cell_step,
    gate_activations,
    gate_statistics,
    gradient_flow,
    log_norm,
    lyapunov_spectrum,
    memory_horizon,
)
from rnn_jax.types import Array, Carry, Params

GATE_STEPS = 1000
LONGEST_EXPONENT = 10_000
"""Steps over which Lyapunov exponents are taken; their error falls as one over the root of that."""


class Looks(NamedTuple):
    """What is measured of a cell, as jitted functions of its parameters.

    Attributes:
        flow: for each length T, log ||dL/dh_t|| by lag `[T + 1]`, of an LSTM over h and c: the mean over sequences. The
            loss is the last output along a random direction; where outputs do not follow from the carry, the carry.
        state: the largest Lyapunov exponents, and the activations of the gates.
    """

    flow: dict[int, Any]
    state: Any


def read(cell: cells.Cell[Params, Carry], carry: Carry) -> Array:
    """What a loss sees of a carry: the output that follows from it, or all of its parts side by side, `[..., O]`."""
    return jnp.concatenate(jax.tree.leaves(carry), axis=-1) if cell.output is None else cell.output(carry)


def make_looks(config: Config, cell_name: str, lengths: Sequence[int]) -> Looks:
    """Compiled once per cell and length, for all of its initializations."""
    cell = cells.get(cell_name)
    keys = jax.random.split(jax.random.key(config.seed), 3)
    xs = jax.random.normal(keys[0], (lengths[-1], config.batch_size, config.input_size))
    carry = cell.init_carry((config.batch_size,), config.hidden_size)
    direction = jax.random.normal(keys[1], read(cell, carry).shape[-1:])
    direction = direction / jnp.linalg.norm(direction)
    some = min(lengths[-1], LONGEST_EXPONENT)

    def flow(length: int, params: Params) -> Array:
        step, some = cell_step(cell, params), xs[:length]
        norms = gradient_flow(step, carry, some, lambda after: jnp.sum(read(cell, after)[-1] @ direction))
        whole = 0.5 * jax.nn.logsumexp(2 * jnp.stack(jax.tree.leaves(norms)), axis=0)
        return whole[::-1].mean(axis=1)

    def state(params: Params) -> tuple[Array, Any]:
        first = jax.tree.map(lambda leaf: leaf[0], carry)
        size = sum(leaf.size for leaf in jax.tree.leaves(first))
        exponents = lyapunov_spectrum(
            cell_step(cell, params), first, xs[:some, 0], num_exponents=min(config.num_exponents, size),
            warmup=some // 10,
        ).exponents  # fmt: skip
        if cell.activations is None:
            return exponents, None
        return exponents, gate_activations(cell, params, carry, xs[: min(some, GATE_STEPS)])

    return Looks({length: jax.jit(partial(flow, length)) for length in lengths}, jax.jit(state))


def verdict(horizon: float, exponent: float, longest: int) -> str:
    """What the figures mean, in words: of the horizon (to a thousandth) and the largest exponent."""
    if horizon == 1:
        return "saturated: its output no longer moves with its state"
    if exponent > 1e-3:
        return f"explodes: errors grow by e every {1 / exponent:.0f} steps"
    if math.isinf(horizon):
        return f"reaches back beyond {longest:,} steps"
    if horizon <= 20:
        return f"gone after {horizon:.0f} steps: cannot learn what lies further back"
    return f"falls by 1,000 in {horizon:,.0f} steps"


def sweep(config: Config, workdir: Path) -> tuple[list[dict[str, Any]], float]:
    """A row per setting, the curves as `flow.npz`, and the seconds of compiling."""
    lengths = sorted(config.lengths)
    longest, rows, curves, compile_seconds = lengths[-1], [], {}, 0.0
    looks: dict[str, Looks] = {}
    for cell_name, init, gain, options in config.settings():
        cell = cells.get(cell_name)
        key = jax.random.fold_in(jax.random.key(config.seed), 1)
        if gain != 1:  # a cell without weights for it to multiply has only this one, see `Config.settings`
            options = {"gain": gain, **options}
        params = cell.init_params(key, config.input_size, config.hidden_size, **options)
        if cell_name not in looks:
            started = time.perf_counter()
            looks = {cell_name: compiled(make_looks(config, cell_name, lengths), params)}  # the last cell's may go
            compile_seconds += time.perf_counter() - started
        flows = {length: np.asarray(look(params), np.float64) for length, look in looks[cell_name].flow.items()}
        exponents, shown = looks[cell_name].state(params)
        flow = flows[longest]
        label = f"{cell_name}, {init}" + (f", gain {gain:g}" if gain != 1 else "")
        curves[label] = flow / math.log(10)
        horizon = float(memory_horizon(flow, 1000))
        row = {
            "cell": cell_name,
            "init": init,
            "gain": gain,
            "num_params": sum(leaf.size for leaf in jax.tree.leaves(params)),
            "log10_gradient": {str(n): float((each[-1] - each[0]) / math.log(10)) for n, each in flows.items()},
            **attractor(exponents, config.num_exponents),
            "horizon_e": float(memory_horizon(flow)),
            "horizon_1000": horizon,
            "gates": {} if shown is None else gate_statistics(shown),
            "verdict": verdict(horizon, float(exponents[0]), longest),
        }
        rows.append(row)
        print(f"{label}: {row['verdict']}", flush=True)
    np.savez_compressed(workdir / "flow.npz", **curves)  # type: ignore[arg-type]  # names to arrays
    return rows, compile_seconds


def compiled(looks: Looks, params: Params) -> Looks:
    """The same functions, compiled for parameters like these."""
    flow = {length: look.lower(params).compile() for length, look in looks.flow.items()}
    return Looks(flow, looks.state.lower(params).compile())


def without_dc(config: Config, num_steps: int = 100) -> dict[str, Any]:
    """What dropping dc does to an LSTM's gradient: log10 ||dL/dx_t|| by lag 0..100, right and without dc."""
    cell = cells.get("lstm")
    keys = jax.random.split(jax.random.key(config.seed), 3)
    xs = jax.random.normal(keys[0], (num_steps + 1, config.batch_size, config.input_size))
    direction = jax.random.normal(keys[1], (config.hidden_size,))

    def norms(params: Params, cell_name: str) -> np.ndarray:
        def loss(xs: Array) -> Array:
            final = unroll(cells.get(cell_name), params, xs, backend="scan")[0]
            return jnp.sum(final.h @ direction)

        slopes = jax.jit(jax.grad(loss))(xs)
        return np.asarray(log_norm(slopes).mean(axis=1), np.float64)[::-1] / math.log(10)

    found: dict[str, Any] = {}
    for bias in (1.0, 3.0):
        params = cell.init_params(
            keys[2], config.input_size, config.hidden_size, init="glorot_orthogonal", forget_bias=bias
        )
        found[f"forget bias {bias:g}"] = {name: norms(params, name).tolist() for name in report.LABELS}
    return found


def run(name: str, config: Config, workdir: Path) -> None:
    """Measures, writes `results.json` and plots, prints the table."""
    if config.run:
        trained.run(name, config, workdir)
        return
    if results.read(workdir, name) is not None:
        results.show_old(workdir, report.show)
        return
    started = time.perf_counter()
    rows, compile_seconds = sweep(config, workdir)
    faulty = without_dc(config)
    seconds = time.perf_counter() - started - compile_seconds
    report.write(name, config, workdir, rows, faulty, compile_seconds, seconds)
    report.plot(workdir, rows, faulty)
    report.show(workdir)
