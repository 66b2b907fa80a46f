"""A series as windows, and forecasting them as pure functions."""

from functools import partial
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from experiments.common import results
from experiments.common.command import data_folder
from experiments.common.fit import Look, fit, float_data, initializer
from experiments.common.training import recurrent_options
from experiments.forecast import report
from experiments.forecast.flags import Config
from rnn_jax import models
from rnn_jax.data import series
from rnn_jax.data.series.forecasting import ForecastTask, make_task
from rnn_jax.models import SequenceModel
from rnn_jax.training.step import Task
from rnn_jax.types import Array, Params

EVALUATION_BATCH = 512
LOOK_BATCH = 64


def read(config: Config) -> ForecastTask:
    """The series that the flags name, in windows. Raises `DataError`, one line."""
    options = {name: getattr(config, name) or None for name in series.DATASETS[config.dataset].options}
    found = series.read(config.dataset, data_folder(config), config.protocol, **options)
    return make_task(found, config.protocol, config.lag, config.ahead)


def make_model(config: Config, rngs: nnx.Rngs, *, input_size: int) -> SequenceModel:
    """The model that the flags describe, for windows of `input_size` features."""
    options = recurrent_options(config)
    return SequenceModel(
        config.cell, input_size, config.hidden_size, config.ahead, residual=config.residual, rngs=rngs, **options
    )


def device_data(config: Config, forecast: ForecastTask) -> dict[str, Any]:
    """What windows are taken from."""
    values = float_data(config, forecast.standardized)
    return {"series": values, "train": forecast.train, "validation": forecast.validation}


def take_windows(data: dict[str, Array], starts: Array, lag: int, ahead: int) -> tuple[Array, Array]:
    """Windows `[B, lag, F]` and the target's values after them `[B, ahead]`, from first rows `[B]`."""
    rows = starts[:, None] + jnp.arange(lag + ahead)
    return data["series"][rows[:, :lag]], data["series"][rows[:, lag:], 0]


def predict(config: Config, apply: Any, params: Params, data: dict[str, Array], starts: Array) -> Array:
    """Predictions `[W, ahead]` for the windows at `starts` `[W]`, a batch at a time."""
    batches = -(-starts.shape[0] // EVALUATION_BATCH)
    padded = jnp.resize(starts, (batches, EVALUATION_BATCH))  # repeats some windows; their predictions are dropped

    def batch(starts: Array) -> Array:
        return apply(params, take_windows(data, starts, config.lag, config.ahead)[0])

    return jax.lax.map(batch, padded).reshape(-1, config.ahead)[: starts.shape[0]]


def make_training_task(config: Config, forecast: ForecastTask, apply: Any) -> Task:
    """The mean squared error of standardized values, as pure functions."""

    def loss(params: Params, batch: tuple[Array, Array], key: Array) -> tuple[Array, dict[str, Array]]:
        windows, targets = batch
        rngs = nnx.Rngs(dropout=key) if config.dropout or config.zoneout else None
        return jnp.mean((apply(params, windows, rngs=rngs) - targets) ** 2), {}

    def batch(data: dict[str, Array], indices: Array) -> tuple[Array, Array]:
        return take_windows(data, data["train"][indices], config.lag, config.ahead)

    def evaluate(params: Params, data: dict[str, Array]) -> dict[str, Array]:
        predictions = predict(config, apply, params, data, data["validation"])
        rows = data["validation"][:, None] + config.lag + jnp.arange(config.ahead)
        return {"loss": jnp.mean((predictions - data["series"][rows, 0]) ** 2)}

    init = initializer(partial(make_model, config, input_size=forecast.values.shape[1]))
    return Task(init, loss, batch, evaluate, len(forecast.train))


def make_look(config: Config, count: int = LOOK_BATCH) -> Look:
    """The gradient of the forecast on `count` validation windows, spread evenly."""

    def take(data: dict[str, Array]) -> tuple[tuple[Array], None]:
        starts = data["validation"]
        some = starts[np.linspace(0, len(starts) - 1, min(count, len(starts))).astype(int)]
        return (take_windows(data, some, config.lag, config.ahead)[0],), None

    return Look(take, lambda predictions: predictions.sum(axis=-1), "the forecast")


def look_at(config: Config, count: int) -> tuple[Look, Any]:
    """Where to look at a trained forecast, and the data for it."""
    return make_look(config, count), jax.device_put(device_data(config, read(config)))


def run(name: str, config: Config, workdir: Path) -> None:
    """Trains, evaluates the test split once, writes `results.json` and plots, prints the table."""

    def train() -> None:
        train_and_evaluate(name, config, workdir)

    results.run_or_show(workdir, train, report.show, lambda: read(config).fingerprint())


def train_and_evaluate(name: str, config: Config, workdir: Path) -> None:
    """The run itself."""
    forecast = read(config)
    for sentence in forecast.repairs:
        print(f"data: {sentence}")
    windows = ", ".join(f"{len(forecast.starts(split))} {split}" for split in ("train", "validation", "test"))
    print(f"data: {len(forecast.values)} rows, windows: {windows}")

    model = models.abstract(partial(make_model, config, input_size=forecast.values.shape[1]))
    apply, _ = models.pure(model)
    task, data = make_training_task(config, forecast, apply), device_data(config, forecast)
    mark = forecast.fingerprint()
    fitted = fit(config, name, task, model, data, workdir, fingerprint=mark, look=make_look(config))
    predictions = fitted.of_each_seed(partial(predict, config, apply), data, jnp.asarray(forecast.test))
    report.write(config, workdir, forecast, fitted.record, forecast.in_units(np.asarray(predictions)))
