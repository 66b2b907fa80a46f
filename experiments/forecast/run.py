"""A run of the forecast: a network, beside lines, trees and persistence; or what a finished one is used for."""

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from experiments.common import results
from experiments.common.fit import Fitted, Look, fit
from experiments.forecast import report, task
from experiments.forecast.defaults import settle
from experiments.forecast.flags import Config
from experiments.forecast.task import make_model
from rnn_jax import models
from rnn_jax.data.series import baselines
from rnn_jax.data.series.baselines import Forecast
from rnn_jax.data.series.forecasting import ForecastTask
from rnn_jax.data.series.lines import Line
from rnn_jax.training.processes import is_first
from rnn_jax.types import Params

__all__ = ["look_at", "make_model", "run"]


class Trained(NamedTuple):
    """A network that forecasts a task.

    Attributes:
        config: with a value for every flag.
        task: the windows.
        sizes: of the model.
        fitted: its parameters and record.
        lines: the fitted lines, by the names of their rows.
        predict: `starts [W] -> [S, W, ahead, M, P]`, scaled, of each seed.
        apply: the model as a pure function.
    """

    config: Config
    task: ForecastTask
    sizes: dict[str, Any]
    fitted: Fitted
    lines: dict[str, Line]
    predict: Callable[[np.ndarray], np.ndarray]
    apply: Callable[..., Any]

    def others(self, trees: bool = True) -> dict[str, Forecast]:
        """The baselines by name: functions `starts [W] -> [W, ahead, M]` in physical units."""
        steps = self.config.report_steps if self.config.trees and trees else ()
        return baselines.forecasts(self.task, self.lines, self.config.season or 1, steps)


def read(config: Config) -> tuple[Config, ForecastTask]:
    """The config with a value for every flag, and the windows. Raises `DataError` and `UsageError`, one line."""
    series = task.read_series(config)
    settled = settle(config, series)
    windows = task.cut(settled, series)
    if config.batch_size is None:
        assert settled.batch_size is not None
        settled = replace(settled, batch_size=min(settled.batch_size, len(windows.train)))
    return settled, windows


def run(name: str, config: Config, workdir: Path) -> None:
    """Trains, evaluates the test split once, writes `results.json` and plots, prints the table; or another mode."""
    if config.mode == "predict":
        from experiments.forecast.predict import predict

        predict(config, workdir)
    elif config.mode == "backtest":
        from experiments.forecast.backtest import backtest

        backtest(name, config, workdir)
    else:
        results.run_or_show(
            name,
            workdir,
            lambda: train_and_evaluate(name, config, workdir),
            report.show,
            lambda: read(config)[1].fingerprint(),
        )


def train_and_evaluate(name: str, config: Config, workdir: Path) -> None:
    """The run itself."""
    config, windows = read(config)
    describe(config, windows)
    trained = train(name, config, windows, workdir)
    if is_first():
        report.write(workdir, trained)


def describe(config: Config, windows: ForecastTask) -> None:
    """Prints what was read, and the values of flags that follow from it."""
    for sentence in windows.series.repairs:
        print(f"data: {sentence}")
    counts = ", ".join(f"{len(windows.starts(split)):,} {split}" for split in ("train", "validation", "test"))
    targets = ", ".join(windows.target_names[:8])
    print(f"data: {len(windows.series.values):,} rows, windows: {counts}; {windows.encoder.num_features} features")
    print(
        f"forecast: {targets}, {config.ahead} ahead from {config.lag} (season {config.season}, calendar "
        f"{','.join(config.calendar) or 'none'}); batches of {config.batch_size}, {config.epochs} epochs, loss from "
        f"{config.origins} origins"
    )


def train(name: str, config: Config, windows: ForecastTask, workdir: Path) -> Trained:
    """Fits the lines, trains a network for each seed, and gives it the share of the best line."""
    lines = baselines.fit_lines(windows)
    line = baselines.best_line(windows, lines, config.season or 1) if config.blend else None
    sizes = task.model_sizes(config, windows, line)
    model = models.abstract(partial(make_model, config, **sizes))
    apply, _ = models.pure(model)
    data = task.device_data(config, windows)

    def finish(params: Params, data: Any) -> Params:
        if line is None:
            return params
        return task.set_line(config, sizes, windows, line, apply, params, data)

    fitted = fit(
        config,
        name,
        task.make_training_task(config, windows, sizes, model),
        model,
        data,
        workdir,
        fingerprint=windows.fingerprint(),
        look=task.make_look(config, sizes),
        average_decay=config.average_decay or None,
        finish=finish,
    )
    on_device = jax.device_put(data)
    each = jax.jit(partial(task.predict, config, sizes, apply))

    def predict(starts: np.ndarray) -> np.ndarray:
        seeds = range(len(config.seeds))
        ofs = [jax.tree.map(lambda leaf, seed=seed: jnp.asarray(leaf[seed]), fitted.params) for seed in seeds]
        return np.stack([np.asarray(each(params, on_device, jnp.asarray(starts)), np.float64) for params in ofs])

    return Trained(config, windows, sizes, fitted, lines, predict, apply)


def look_at(config: Config, count: int) -> tuple[Look, Any]:
    """Where to look at a trained forecast, and the data for it."""
    config, windows = read(config)
    sizes = {"lag": windows.lag, "num_known": windows.encoder.num_known}
    return task.make_look(config, sizes, count), jax.device_put(task.device_data(config, windows))
