"""Train an RNN and an LSTM with nothing but the hand-derived gradient: no autodiff, no optimizer library.

The next value of a noisy sine with trend, from all values so far: plain gradient descent on the mean squared error of
standardized values, every derivative written out below or in `rnn_jax.bptt`. A course lecture's version of this system
falls from about 0.9 to 0.14 (with a gradient that drops the LSTM's cell-state path: docs/errata.md, 4). About 15
seconds on 2 cores.
"""

import sys
import time
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from experiments.common.command import Experiment, RunConfig
from experiments.common.flags import UsageError, flag
from rnn_jax import cells
from rnn_jax.backends import manual
from rnn_jax.bptt import RULES, backward
from rnn_jax.cells import Cell
from rnn_jax.controls import StepMasks, zeros_like
from rnn_jax.training.errors import TrainingError
from rnn_jax.types import Array, Key, Params

CELLS = ("rnn", "lstm")
HEADLINE = "lstm"
"""The cell whose figures stand at the top of the results; `cells` there has those of each."""
METRICS = ("train_mse", "mse")
LECTURE_ERROR = 0.14
SHOWN = 100
"""Into how many means the loss curve is condensed."""


@dataclass(frozen=True)
class Config(RunConfig):
    """Flags of the spelled-out example."""

    num_steps: int = flag(1000, "length of the series; the last fifth is the test split", minimum=205, maximum=100_000)
    lag: int = flag(40, "steps of a window", minimum=2, maximum=1000)
    hidden_size: int = flag(16, "hidden features", minimum=1, maximum=8192)
    batch_size: int = flag(32, "windows per step", minimum=1, maximum=10_000)
    learning_rate: float = flag(0.3, "step size of stochastic gradient descent at the start; it falls to 0", above=0.0)
    steps: int = flag(4000, "steps", minimum=1, maximum=10_000_000)
    seed: int = flag(0, "first seed", minimum=0, below=2**31)
    num_seeds: int = flag(3, "how many seeds", minimum=1, maximum=1024)

    @property
    def train_end(self) -> int:
        """Where the training split of the series ends and the test split begins."""
        return self.num_steps * 4 // 5

    def check(self, given: frozenset[str]) -> None:
        """See `RunConfig.check`."""
        left = self.num_steps - self.train_end
        if left <= self.lag:
            text = f"the test split of --num_steps={self.num_steps} has only {left} values"
            raise UsageError(f"--lag={self.lag}: {text}; take a smaller --lag or a larger --num_steps")


class Model(NamedTuple):
    """The cell's parameters, the read-out's weights `[H]` and its bias `[]`."""

    cell: Params
    weights: Array
    bias: Array


def predict(cell: Cell, model: Model, xs: Array) -> tuple[Array, Any, Array]:
    """Forward: windows `[T, B, 1]` to a prediction after every step `[T, B]`; also the carries and the outputs."""
    initial = cell.init_carry((xs.shape[1],), model.weights.shape[0])
    _, ys, carries = manual.forward(cell, False, model.cell, initial, xs, StepMasks())
    return ys @ model.weights + model.bias, (initial, carries), ys


def loss_and_gradient(cell: Cell, model: Model, xs: Array, targets: Array) -> tuple[Array, Model]:
    """The mean squared error and its gradient, by hand.

    L = mean (p - y)^2,  p_t = h_t w + b
    dp = 2 (p - y) / (T B),  dw = sum dp h,  db = sum dp,  dh_t = dp_t w^T, and from there through time
    """
    predictions, (initial, carries), ys = predict(cell, model, xs)
    errors = predictions - targets
    dp = 2 * errors / errors.size
    dys = dp[..., None] * model.weights
    through_time = backward(RULES[cell.name], model.cell, xs, initial, carries, dys, zeros_like(initial), StepMasks())
    gradient = Model(through_time.params, jnp.einsum("tb,tbh->h", dp, ys), dp.sum())
    return jnp.mean(errors**2), gradient


@partial(jax.jit, static_argnums=(0, 1))
def descend(cell: Cell, config: Config, seed: int, xs: Array, targets: Array) -> tuple[Model, Array]:
    """Stochastic gradient descent from a random model: the model it ends with, and the loss before each step."""
    key_model, key_batches = jax.random.split(jax.random.key(seed))

    def step(model: Model, t: Array) -> tuple[Model, Array]:
        batch = jax.random.randint(jax.random.fold_in(key_batches, t), (config.batch_size,), 0, xs.shape[1])
        loss, gradient = loss_and_gradient(cell, model, xs[:, batch], targets[:, batch])
        rate = config.learning_rate * (1 - t / config.steps)
        return jax.tree.map(lambda p, d: p - rate * d, model, gradient), loss

    return jax.lax.scan(step, init_model(cell, config.hidden_size, key_model), jnp.arange(config.steps))


@partial(jax.jit, static_argnums=0)
def mean_squared_error(cell: Cell, model: Model, xs: Array, targets: Array) -> Array:
    """Over every step of every window."""
    return jnp.mean((predict(cell, model, xs)[0] - targets) ** 2)


def init_model(cell: Cell, hidden_size: int, key: Key) -> Model:
    """A model at random, its read-out zero."""
    return Model(cell.init_params(key, 1, hidden_size), jnp.zeros(hidden_size), jnp.zeros(()))


def make_windows(config: Config) -> tuple[tuple[Array, Array], tuple[Array, Array]]:
    """Standardized windows and, after every step, the next value: `[T, B, 1]` and `[T, B]`, training and test."""
    from rnn_jax.data.series.synthetic import noisy_sine_with_trend
    from rnn_jax.data.series.windows import gather, window_starts

    values = noisy_sine_with_trend(config.num_steps, seed=0)
    end = config.train_end
    values = (values - values[:end].mean()) / values[:end].std()

    def part(values: np.ndarray) -> tuple[Array, Array]:
        rows = gather(values[:, None], window_starts(len(values), config.lag, 1), config.lag + 1)
        steps = jnp.asarray(rows.swapaxes(0, 1), jnp.float32)
        return steps[:-1], steps[1:, :, 0]

    return part(values[:end]), part(values[end:])


def _means(values: np.ndarray, parts: int) -> list[float]:
    return [float(part.mean()) for part in np.array_split(values, min(parts, len(values)))]


def run(name: str, config: Config, workdir: Path) -> None:
    """Trains both cells for every seed; prints the error as it falls, writes `results.json` and a plot."""
    from experiments.common import results

    def train() -> None:
        from experiments.common.plots import draw
        from rnn_jax.plotting.training import error_curves

        found, curves = train_and_evaluate(config)
        results.write(workdir, found | {"experiment": name})
        levels = {"the lecture's error": LECTURE_ERROR}
        draw(error_curves, workdir / "plots" / "loss.png", curves, levels, config.steps)

    results.run_or_show(name, workdir, train, show, lambda: "")


def train_and_evaluate(config: Config) -> tuple[dict[str, Any], dict[str, list[float]]]:
    """Trains; prints the error as it falls; returns the results, and the error of the first seed by cell."""
    from experiments.common.results import spread

    (xs, targets), (test_xs, test_targets) = make_windows(config)
    seeds = list(range(config.seed, config.seed + config.num_seeds))
    persistence = {"train_mse": spread([float(jnp.mean((xs[..., 0] - targets) ** 2))])}
    persistence["mse"] = spread([float(jnp.mean((test_xs[..., 0] - test_targets) ** 2))])
    entries: dict[str, dict[str, Any]] = {}
    curves: dict[str, list[float]] = {}
    for name in CELLS:
        cell = cells.get(name)
        started = time.perf_counter()
        train = descend.lower(cell, config, np.uint32(seeds[0]), xs, targets).compile()
        compile_seconds, train_seconds = time.perf_counter() - started, 0.0
        train_errors, test_errors = [], []
        for seed in seeds:
            started = time.perf_counter()
            model, losses = jax.block_until_ready(train(np.uint32(seed), xs, targets))
            train_seconds += time.perf_counter() - started
            bad = np.flatnonzero(~np.isfinite(np.asarray(losses)))
            if bad.size:
                when = f"at step {bad[0] + 1} of the {name}"
                raise TrainingError(f"loss of seed {seed} is {losses[bad[0]]} {when}; lower learning_rate")
            train_errors.append(float(mean_squared_error(cell, model, xs, targets)))
            test_errors.append(float(mean_squared_error(cell, model, test_xs, test_targets)))
            if seed == seeds[0]:
                curves[name] = smooth = _means(np.asarray(losses), SHOWN)
                for part, error in enumerate(smooth):
                    if part % (SHOWN // 5) == 0 or part == len(smooth) - 1:
                        print(f"{name:<5} step {part * config.steps // len(smooth):>5}: error {error:.4f}")
        entries[name] = {
            "num_params": sum(leaf.size for leaf in jax.tree.leaves(model)),
            "metrics": {"train_mse": spread(train_errors), "mse": spread(test_errors)},
            "compile_seconds": compile_seconds,
            "train_seconds": train_seconds,
        }
    found = {
        "dataset": "noisy_sine_with_trend",
        "protocol": "clean",
        "cell": HEADLINE,
        "seeds": seeds,
        **entries[HEADLINE],
        "cells": entries,
        "baselines": {"persistence": persistence},
        "steps": config.steps,
    }
    return found, curves


def show(workdir: Path) -> None:
    """Prints the results of a finished run."""
    from experiments.common import results

    found = results.read(workdir)
    assert found is not None
    steps = found["steps"]
    print(f"\nmean squared standardized error after {steps} steps (the lecture's: {LECTURE_ERROR} in training)\n")
    rows = {name: entry["metrics"] for name, entry in found["cells"].items()}
    print(results.table({**rows, **found["baselines"]}, METRICS))


EXPERIMENT = Experiment("spelled_out", __doc__, Config, "experiments.spelled_out")

if __name__ == "__main__":
    sys.exit(EXPERIMENT.main(sys.argv[1:]))
