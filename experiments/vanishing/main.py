"""Where does the gradient go? How fast it vanishes or explodes, by cell, initialization and length, with a verdict.

Without flags: seven cells, their initializations, lags up to 10,000. A trained run is looked at with --run=FOLDER: how
far back its network really looks, on its own validation data:

    python launch.py vanishing --run=runs/forecast-...

Nothing is trained here. The gradient is kept as a logarithm, exact where floats would be 0 or inf.
"""

import math
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from tabulate import tabulate

from experiments.common import results
from experiments.common.command import RunConfig
from experiments.common.command import main as run_command
from experiments.common.flags import UsageError, flag, listed
from experiments.vanishing import run as vanishing_run
from rnn_jax import cells, unroll
from rnn_jax.diagnostics.gates import gate_activations, gate_statistics
from rnn_jax.diagnostics.gradient_flow import gradient_flow
from rnn_jax.diagnostics.horizon import memory_horizon
from rnn_jax.diagnostics.lyapunov import lyapunov_spectrum
from rnn_jax.diagnostics.steps import cell_step, log_norm
from rnn_jax.plotting import gradients as plotting_gradients
from rnn_jax.types import Array, Carry, Params

CELLS = ("rnn", "lstm_additive", "lstm_no_forget", "lstm", "lstm_coupled", "lstm_peephole", "gru")
INITS: dict[str, dict[str, Any]] = {
    "pytorch": {"init": "pytorch"},
    "orthogonal": {"init": "glorot_orthogonal"},
    "identity": {"init": "identity"},
    "gaussian": {"init": "gaussian"},
    "forget_0": {"init": "glorot_orthogonal", "forget_bias": 0.0},
    "forget_1": {"init": "glorot_orthogonal", "forget_bias": 1.0},
    "forget_2": {"init": "glorot_orthogonal", "forget_bias": 2.0},
    "chrono": {"init": "glorot_orthogonal", "chrono": None},
}
LABELS = {"manual": "the gradient", "without_dc": "without dc"}
GATE_STEPS = 1000
LONGEST_EXPONENT = 10_000
"""Steps over which the largest Lyapunov exponent is taken; its error falls as one over the root of that."""


@dataclass(frozen=True)
class Config(RunConfig):
    """Flags of the gradient laboratory."""

    run: str = flag("", "folder of a finished run to look at, instead of cells at their initialization")
    cells: str = flag(",".join(CELLS), "cells, separated by commas")
    inits: str = flag(",".join(INITS), "initializations; a cell that lacks a bias leaves some out")
    gains: str = flag("1", "factors of the recurrent weights")
    lengths: str = flag("10,100,1000,10000", "lengths T of the sequences; curves are those of the longest")
    hidden_size: int = flag(64, "hidden features", minimum=1, maximum=1024)
    input_size: int = flag(4, "input features, standard normal and independent in time", minimum=1, maximum=1024)
    batch_size: int = flag(8, "sequences over which logarithms are averaged", minimum=1, maximum=1024)
    seed: int = flag(0, "draws parameters, inputs and the direction of the loss", minimum=0, below=2**31)


def numbers(config: Config, name: str, kind: type, minimum: float) -> list[Any]:
    """The numbers of a comma list. Raises `UsageError` for what is none or too small."""
    try:
        values = [kind(word) for word in getattr(config, name).split(",")]
    except ValueError as error:
        raise UsageError(f"--{name}={getattr(config, name)}: write numbers, separated by commas") from error
    if not all(math.isfinite(value) and value >= minimum for value in values):
        raise UsageError(f"--{name}={getattr(config, name)}: must be at least {minimum}")
    return values


def settings(config: Config, longest: int) -> Iterator[tuple[str, str, float, dict[str, Any]]]:
    """Cell, initialization, gain, and the options of `init_params`, for every combination that the cell has."""
    gains = numbers(config, "gains", float, 0.0)
    inits = listed(config, "inits", tuple(INITS))
    for cell in listed(config, "cells", tuple(cells.CELLS)):
        for init in inits:
            options = {k: max(longest, 3) if k == "chrono" else v for k, v in INITS[init].items()}
            try:
                jax.eval_shape(lambda k, c=cell, o=options: cells.get(c).init_params(k, 1, 2, **o), jax.random.key(0))
            except TypeError:  # no such bias
                continue
            for gain in gains:
                yield cell, init, gain, options


class Looks(NamedTuple):
    """What is measured of a cell, as jitted functions of its parameters.

    Attributes:
        flow: for each length T, log ||dL/dh_t|| by lag `[T + 1]`, of an LSTM over h and c: the mean over sequences. The
            loss is the last hidden state along a random direction.
        state: the largest Lyapunov exponent, and the activations of the gates.
    """

    flow: dict[int, Callable[[Params], Array]]
    state: Callable[[Params], tuple[Array, Any]]


def make_looks(config: Config, cell_name: str, lengths: Sequence[int]) -> Looks:
    """Compiled once per cell and length, for all of its initializations."""
    cell = cells.get(cell_name)
    keys = jax.random.split(jax.random.key(config.seed), 3)
    xs = jax.random.normal(keys[0], (lengths[-1], config.batch_size, config.input_size))
    direction = jax.random.normal(keys[1], (config.hidden_size,))
    direction = direction / jnp.linalg.norm(direction)
    carry = cell.init_carry((config.batch_size,), config.hidden_size)
    some = min(lengths[-1], LONGEST_EXPONENT)

    def flow(length: int, params: Params) -> Array:
        step, some = cell_step(cell, params), xs[:length]
        norms = gradient_flow(step, carry, some, lambda after: jnp.sum(after.h[-1] @ direction))
        whole = 0.5 * jax.nn.logsumexp(2 * jnp.stack(jax.tree.leaves(norms)), axis=0)
        return whole[::-1].mean(axis=1)

    def state(params: Params) -> tuple[Array, Any]:
        first = jax.tree.map(lambda leaf: leaf[0], carry)
        spectrum = lyapunov_spectrum(cell_step(cell, params), first, xs[:some, 0], num_exponents=1, warmup=some // 10)
        return spectrum.exponents[0], gate_activations(cell, params, carry, xs[: min(some, GATE_STEPS)])

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


def sweep(config: Config, workdir: Path) -> list[dict[str, Any]]:
    """A row per setting, and the curves as `flow.npz`."""
    lengths = sorted(set(numbers(config, "lengths", int, 1)))
    longest, rows, curves = lengths[-1], [], {}
    looks: dict[str, Looks] = {}
    for cell_name, init, gain, options in settings(config, longest):
        cell = cells.get(cell_name)
        if cell_name not in looks:
            looks = {cell_name: make_looks(config, cell_name, lengths)}  # what was compiled for the last cell may go
        key = jax.random.fold_in(jax.random.key(config.seed), 1)
        params = cell.init_params(key, config.input_size, config.hidden_size, gain=gain, **options)
        flows = {length: np.asarray(look(params), np.float64) for length, look in looks[cell_name].flow.items()}
        exponent, shown = looks[cell_name].state(params)
        flow = flows[longest]
        label = f"{cell_name}, {init}" + (f", gain {gain:g}" if gain != 1 else "")
        curves[label] = flow / math.log(10)
        horizon = memory_horizon(flow, 1000)
        row = {
            "cell": cell_name,
            "init": init,
            "gain": gain,
            "log10_gradient": {str(n): float((each[-1] - each[0]) / math.log(10)) for n, each in flows.items()},
            "lyapunov_exponent": float(exponent),
            "horizon_e": memory_horizon(flow),
            "horizon_1000": horizon,
            "gates": gate_statistics(shown),
            "verdict": verdict(horizon, float(exponent), longest),
        }
        rows.append(row)
        print(f"{label}: {row['verdict']}", flush=True)
    if not rows:
        raise UsageError("--cells, --inits: no cell of the list has one of these initializations")
    np.savez_compressed(workdir / "flow.npz", **curves)  # type: ignore[arg-type]  # names to arrays
    return rows


def without_dc(config: Config, num_steps: int = 100) -> dict[str, Any]:
    """What dropping dc does to an LSTM's gradient: log10 ||dL/dx_t|| by lag 0..100, right and without dc."""
    cell = cells.get("lstm")
    keys = jax.random.split(jax.random.key(config.seed), 3)
    xs = jax.random.normal(keys[0], (num_steps + 1, config.batch_size, config.input_size))
    direction = jax.random.normal(keys[1], (config.hidden_size,))

    def norms(params: Params, backend: str) -> np.ndarray:
        def loss(xs: Array) -> Array:
            final: Carry = unroll(cell, params, xs, backend=backend)[0]
            return jnp.sum(final.h @ direction)

        slopes = jax.jit(jax.grad(loss))(xs)
        return np.asarray(log_norm(slopes).mean(axis=1), np.float64)[::-1] / math.log(10)

    found: dict[str, Any] = {}
    for bias in (1.0, 3.0):
        params = cell.init_params(
            keys[2], config.input_size, config.hidden_size, init="glorot_orthogonal", forget_bias=bias
        )
        found[f"forget bias {bias:g}"] = {name: norms(params, name).tolist() for name in ("manual", "without_dc")}
    return found


def plot(workdir: Path, rows: Sequence[Mapping[str, Any]], faulty: Mapping[str, Any]) -> None:
    """One plot per question: which cell, which initialization (of each cell), which gain, what dc does."""
    curves = dict(np.load(workdir / "flow.npz"))
    lags = np.arange(next(iter(curves.values())).size)
    some = np.unique(np.geomspace(1, lags[-1], 400).astype(int))

    def draw(file: str, title: str, chosen: Mapping[str, np.ndarray]) -> None:
        if chosen:
            shown = {name: (some, values[some] - values[0]) for name, values in chosen.items()}
            plotting_gradients.by_lag(workdir / "plots" / file, title, shown, "log10 of dL/dh_t against lag 0")

    one = {f"{row['cell']}, orthogonal" for row in rows}
    draw("cells.png", "Which cell keeps the gradient?", {k: v for k, v in curves.items() if k in one})
    for cell in dict.fromkeys(row["cell"] for row in rows):
        mine = {k: v for k, v in curves.items() if k.split(", ")[0] == cell and "gain" not in k}
        draw(f"inits_{cell}.png", f"Which initialization keeps the gradient of {cell}?", mine)
        gained = {k: v for k, v in curves.items() if k.split(", ")[0] == cell and "gain" in k}
        draw(f"gains_{cell}.png", f"Which gain keeps the gradient of {cell}?", gained)
    shown = {
        f"{bias}, {LABELS[name]}": (np.arange(1, len(values)), values[1:])
        for bias, both in faulty.items()
        for name, values in ((name, np.asarray(values)) for name, values in both.items())
    }
    title = "An LSTM's gradient with and without dc"
    plotting_gradients.by_lag(workdir / "plots" / "without_dc.png", title, shown, "log10 of dL/dx_t")


def table(found: Mapping[str, Any]) -> str:
    """The rows of a sweep as Markdown."""
    lengths = list(found["rows"][0]["log10_gradient"])
    head = ["cell", "initialization", "gain", *(f"T {int(n):,}" for n in lengths), "exponent", "horizon e", "1,000"]
    body = []
    for row in found["rows"]:
        falls = [f"{value:+.1f}" if value is not None else "-inf" for value in row["log10_gradient"].values()]
        spans = [f"{row[k]:,.0f}" if row[k] is not None else "beyond" for k in ("horizon_e", "horizon_1000")]
        body.append([row["cell"], row["init"], f"{row['gain']:g}", *falls, f"{row['lyapunov_exponent']:+.4f}", *spans])
    return tabulate(body, headers=head, tablefmt="pipe", disable_numparse=True)


def power(log10: float | None, against: float) -> str:
    """The ratio of two numbers given by their logarithms; 0 where the first is below the range of floats."""
    return "0" if log10 is None else f"{10 ** (log10 - against):.1e}"


def run(config: Config, workdir: Path) -> None:
    """Measures, writes `results.json` and plots, prints the table."""
    if config.run:
        vanishing_run.run(config.run, workdir)
        return
    if results.read(workdir) is None:
        rows, faulty = sweep(config, workdir), without_dc(config)
        plot(workdir, rows, faulty)
        results.write(workdir, {"experiment": "vanishing", "rows": rows, "without_dc": faulty})
    found = results.read(workdir)
    assert found is not None
    print(f"\nlog10 of ||dL/dh_0|| / ||dL/dh_T||, by length T (-3.0: a thousandth is left):\n\n{table(found)}")
    print("\nexponent: the largest Lyapunov exponent, nats per step; horizon: lag from which on that factor is lost")
    print("\nthe lecture's backward pass without dc, share of the true gradient that is left:")
    for bias, both in found["without_dc"].items():
        left = [
            f"lag {lag}: {power(both['without_dc'][lag], both['manual'][lag])}" for lag in (1, 2, 5, 10, 20, 50, 100)
        ]
        print(f"  {bias}: {', '.join(left)}")
    print(f"\n{found['device']}\nplots: {workdir / 'plots'}")


def main(arguments: Sequence[str]) -> int:
    """The command line of this experiment; returns the exit status."""
    return run_command("vanishing", Config, run, __doc__, arguments)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
