"""Forecasting as pure functions of parameters and data on the device."""

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from experiments.common.command import data_folder
from experiments.common.fit import Look, float_data, initializer
from experiments.common.training import recurrent_options
from experiments.forecast.flags import Config
from rnn_jax.data import series
from rnn_jax.data.series.forecasting import ForecastTask, make_task
from rnn_jax.data.series.lines import Line
from rnn_jax.data.series.series import Series
from rnn_jax.models import Forecaster, Gaussian, Output, Point, Quantiles
from rnn_jax.training.step import Task
from rnn_jax.types import Array, Params

EVALUATION_BATCH = 512
LOOK_BATCH = 64
DOUBT = 0.5
"""How far from 1 the share of a line is expected to lie before validation is looked at: few windows say little."""


def read_series(config: Config) -> Series:
    """The series that the flags name. Raises `DataError`, one line."""
    options = {}
    for name in series.DATASETS[config.dataset].options:
        value = getattr(config, name)
        if value not in ((), ""):
            options[name] = value
    return series.read(config.dataset, data_folder(config), config.protocol, **options)


def cut(config: Config, found: Series) -> ForecastTask:
    """Its windows, by a config of `defaults.settle`."""
    assert config.lag is not None
    return make_task(found, config.protocol, config.lag, config.ahead, scaling=config.scaling, cycles=config.calendar)


def model_sizes(config: Config, task: ForecastTask, line: Line | None) -> dict[str, Any]:
    """The arguments of `make_model` that follow from the data."""
    form = "none" if line is None else "shared" if line.shared else "full"
    return {
        "input_size": task.encoder.num_features,
        "num_targets": task.num_targets,
        "num_known": task.encoder.num_known,
        "lag": task.lag,
        "unit": None if config.normalize in ("none", "mean") else typical_change(task).tolist(),
        "line": form,
        "normalize": config.normalize,
    }


def typical_change(task: ForecastTask) -> np.ndarray:
    """The root mean square of the change from the last value up to each step: `[ahead, M]`, of training windows."""
    some = task.train[:: max(len(task.train) // 2000, 1)]
    last = task.features[some + task.lag - 1, None, : task.num_targets]
    squares = (task.scaled_targets(some) - last) ** 2
    measured = ~np.isnan(squares)
    mean = np.nansum(squares, axis=0) / np.maximum(measured.sum(axis=0), 1)
    return np.where(mean > 0, np.sqrt(mean), 1.0)


def make_output(config: Config) -> Output:
    """What the network says of a value."""
    if config.output == "point":
        return Point(config.loss)
    return Gaussian() if config.output == "gaussian" else Quantiles(quantile_levels(config.level))


def quantile_levels(level: float) -> tuple[float, ...]:
    """Those of a network's quantiles: the ends of the interval first and last, and between them what lies there.

    >>> quantile_levels(0.75), quantile_levels(0.5)
    ((0.125, 0.25, 0.5, 0.75, 0.875), (0.25, 0.5, 0.75))
    """
    low = (1 - level) / 2
    return (low, 0.25, 0.5, 0.75, 1 - low) if low < 0.25 else (low, 0.5, 1 - low)


def make_model(
    config: Config,
    rngs: nnx.Rngs,
    *,
    input_size: int,
    num_targets: int,
    num_known: int,
    lag: int,
    unit: list[list[float]] | None,
    line: str,
    normalize: str,
) -> Forecaster:
    """The model that the flags describe, for windows of these sizes."""
    return Forecaster(
        config.cell,
        input_size,
        config.hidden_size,
        num_targets=num_targets,
        lag=lag,
        ahead=config.ahead,
        num_known=num_known,
        decoder=config.decoder,
        segment=config.segment,
        separate=config.separate,
        normalize=normalize,
        output=make_output(config),
        unit=unit,
        line=line,
        head_dropout=config.head_dropout,
        layer_norm=config.layer_norm,
        residual=config.residual_layers,
        rngs=rngs,
        **recurrent_options(config),
    )


def device_data(config: Config, task: ForecastTask) -> dict[str, Any]:
    """What windows are taken from."""
    return {
        "features": float_data(config, task.features),
        "targets": float_data(config, task.scaled),
        "train": task.train,
        "validation": task.validation,
    }


def take_windows(data: dict[str, Array], starts: Array, sizes: dict[str, Any], ahead: int) -> tuple[Array, Array]:
    """Windows `[B, lag, I]`, and what is known of the rows after them, `[B, ahead, K]`, from first rows `[B]`."""
    lag = sizes["lag"]
    rows = data["features"][starts[:, None] + jnp.arange(lag + ahead)]
    return rows[:, :lag], rows[:, lag:, rows.shape[-1] - sizes["num_known"] :]


def take_targets(data: dict[str, Array], starts: Array, lag: int, ahead: int, origins: int = 1) -> Array:
    """The targets of windows, scaled, from each of their last rows: `[B, origins, ahead, M]`."""
    first = lag - origins + 1 + np.arange(origins)
    return data["targets"][starts[:, None, None] + first[:, None] + np.arange(ahead)]


def predict(config: Config, sizes: dict[str, Any], apply: Any, params: Params, data: Any, starts: Array) -> Array:
    """Forecasts `[W, ahead, M, P]` of the windows at `starts` `[W]`, a batch at a time."""
    batches = -(-starts.shape[0] // EVALUATION_BATCH)

    def batch(starts: Array) -> Array:
        return apply(params, *take_windows(data, starts, sizes, config.ahead))

    if batches == 1:
        return batch(starts)
    padded = jnp.resize(starts, (batches, EVALUATION_BATCH))  # repeats some windows; their forecasts are dropped
    found = jax.lax.map(batch, padded)
    return found.reshape(-1, *found.shape[2:])[: starts.shape[0]]


def make_training_task(config: Config, task: ForecastTask, sizes: dict[str, Any], model: Forecaster) -> Task:
    """The loss of forecasts from the last rows of training windows, as pure functions."""
    from rnn_jax import models

    apply, _ = models.pure(model)
    from_origins, _ = models.pure(model, "from_origins")
    output, origins = make_output(config), config.origins or 1
    random = bool(config.dropout or config.zoneout or config.head_dropout)
    weight = np.ones((config.ahead, task.num_targets))
    if config.equal_steps:
        weight = typical_change(task)

    def loss(params: Params, batch: tuple[Array, Array, Array], key: Array) -> tuple[Array, dict[str, Array]]:
        past, future, targets = batch
        rngs = nnx.Rngs(dropout=key) if random else None
        if origins > 1:
            outputs = from_origins(params, past, future, origins, rngs=rngs)
        else:
            targets = targets[:, 0]
            teacher = targets if config.teacher_forcing else None
            outputs = apply(params, past, future, teacher=teacher, rngs=rngs)
        return output.loss(outputs, targets, jnp.asarray(weight, outputs.dtype)), {}

    def batch(data: dict[str, Array], indices: Array) -> tuple[Array, Array, Array]:
        starts = data["train"][indices]
        targets = take_targets(data, starts, task.lag, config.ahead, origins)
        return *take_windows(data, starts, sizes, config.ahead), targets

    def evaluate(params: Params, data: dict[str, Array]) -> dict[str, Array]:
        outputs = predict(config, sizes, apply, params, data, data["validation"])
        targets = take_targets(data, data["validation"], task.lag, config.ahead)[:, 0]
        return {"loss": output.loss(outputs, targets, jnp.asarray(weight, outputs.dtype))}

    def measured(batch: tuple[Array, Array, Array]) -> Array:
        return (~jnp.isnan(batch[2])).sum()

    init = initializer(partial(make_model, config, **sizes))
    return Task(init, loss, batch, evaluate, len(task.train), spread=("features", "targets"), weight=measured)


def set_line(
    config: Config, sizes: dict[str, Any], task: ForecastTask, line: Line, apply: Any, params: Params, data: Any
) -> Params:
    """The parameters with the line's weights and with the share of the line that validation asks for.

    For each step and target, within 0 and 1,

        share = (sum (target - network) (line - network) + p) / (sum (line - network)^2 + p),  p = v / DOUBT^2

    with v the mean squared error that is left without p: the mean of the share's distribution after the validation
    windows, if it was normal around 1 with deviation `DOUBT` before.
    """
    weights = {"past": line.past, "future": line.future, "bias": line.bias}
    own = {name: jnp.asarray(weight, params["line"][name].dtype) for name, weight in weights.items() if weight.size}
    none = {**params, "line": {**own, "share": jnp.zeros_like(params["line"]["share"])}}
    whole = {**params, "line": {**own, "share": jnp.ones_like(params["line"]["share"])}}
    output = make_output(config)
    starts = data["validation"]
    network, straight = (output.location(predict(config, sizes, apply, each, data, starts)) for each in (none, whole))
    targets = take_targets(data, starts, task.lag, config.ahead)[:, 0]
    measured = ~jnp.isnan(targets)
    difference = jnp.where(measured, straight - network, 0.0)
    wanted = jnp.where(measured, targets - network, 0.0)
    above, below = jnp.sum(wanted * difference, axis=0), jnp.sum(difference**2, axis=0)
    plain = jnp.clip(above / jnp.maximum(below, 1e-12), 0.0, 1.0)
    left = jnp.sum((wanted - plain * difference) ** 2, axis=0) / jnp.maximum(measured.sum(axis=0), 1)
    prior = left / DOUBT**2
    share = (above + prior) / jnp.maximum(below + prior, 1e-12)
    return {**params, "line": {**own, "share": jnp.clip(share, 0.0, 1.0).astype(own["bias"].dtype)}}


def make_look(config: Config, sizes: dict[str, Any], count: int = LOOK_BATCH) -> Look:
    """The gradient of the forecast on `count` validation windows, spread evenly."""

    def take(data: dict[str, Array]) -> tuple[tuple[Array, Array], None]:
        starts = data["validation"]
        some = starts[np.linspace(0, len(starts) - 1, min(count, len(starts))).astype(int)]
        return take_windows(data, some, sizes, config.ahead), None

    return Look(take, lambda outputs: outputs.reshape(outputs.shape[0], -1).sum(axis=-1), "the forecast")
