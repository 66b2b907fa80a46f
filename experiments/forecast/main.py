"""Forecast an hourly series with a recurrent network, against persistence and linear autoregression.

Without flags: three years of a synthetic temperature, 17 seconds on 2 cores. The lectures' system on real data:

    python launch.py forecast --dataset=szeged --protocol=lecture --num_seeds=3

experiments/README.md lists commands, times and figures to expect.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd
from flax import nnx
from tabulate import tabulate

from experiments.common import results
from experiments.common.command import check_data, check_finished, data_folder, note_data
from experiments.common.command import main as run_command
from experiments.common.flags import UsageError, flag
from experiments.common.training_flags import (
    TrainConfig,
    backend_in_use,
    make_config_optimizer,
    make_schedule,
    recurrent_options,
    seeds,
    set_devices,
    set_precision,
)
from rnn_jax import metrics, models, plotting
from rnn_jax.data.series import baselines, series, synthetic, szeged
from rnn_jax.data.series.forecasting import ForecastTask, make_task
from rnn_jax.models.gradient_flow import make_gradient_flow
from rnn_jax.plotting import gradients as plotting_gradients
from rnn_jax.training.checkpoints import save_params
from rnn_jax.training.log import read_log
from rnn_jax.training.loop import Probe, Schedule, steps_per_dispatch, train
from rnn_jax.training.step import Task, make_functions, map_over_seeds
from rnn_jax.types import Array, Params

METRICS = ("mse", "mae", "rmse", "r2", "skill")
EVALUATION_BATCH = 512
FLOW_BATCH = 64


@dataclass(frozen=True)
class Config(TrainConfig):
    """Flags of the forecast."""

    dataset: str = flag("synthetic", "what to forecast", choices=("synthetic", "szeged", "csv"))
    protocol: str = flag("clean", "how to order and split the rows", choices=series.PROTOCOLS)
    csv: str = flag("", "CSV file of --dataset=csv")
    target: str = flag("", "column of --csv to forecast")
    time: str = flag("", "column of --csv with the time of each row; without it rows are one step apart")
    lag: int = flag(64, "steps that the model reads", minimum=1, maximum=10_000)
    ahead: int = flag(1, "steps that it forecasts", minimum=1, maximum=10_000)
    season: int = flag(24, "steps of the cycle that the seasonal forecast repeats", minimum=1, maximum=10_000)
    residual: bool = flag(False, "predict the change from the last value instead of the value")
    num_hours: int = flag(26_304, "hours of the synthetic series", minimum=1, maximum=10_000_000)


def read_series(config: Config) -> series.Series:
    """The series that the flags name. Raises `UsageError` or `DataError`, one line each."""
    if config.dataset != "csv" and (config.csv or config.target or config.time):
        raise UsageError(f"--csv, --target and --time go with --dataset=csv, not with --dataset={config.dataset}")
    if config.dataset == "szeged":
        return szeged.read(data_folder(config), config.protocol)
    if config.dataset == "synthetic":
        return synthetic.hourly_temperature(config.num_hours, seed=0)
    if not config.csv or not config.target:
        raise UsageError("--dataset=csv needs --csv=FILE and --target=COLUMN")
    return series.read_csv(config.csv, config.target, config.time or None)


def make_model(config: Config, num_features: int, rngs: nnx.Rngs) -> models.SequenceModel:
    """The model that the flags describe."""
    return models.SequenceModel(
        config.cell,
        num_features,
        config.hidden_size,
        config.ahead,
        residual=config.residual,
        rngs=rngs,
        **recurrent_options(config),
    )


def take_windows(data: dict[str, Array], starts: Array, lag: int, ahead: int) -> tuple[Array, Array]:
    """Windows `[B, lag, F]` and the target's values after them `[B, ahead]`, from first rows `[B]`."""
    rows = starts[:, None] + jnp.arange(lag + ahead)
    return data["series"][rows[:, :lag]], data["series"][rows[:, lag:], 0]


def predict_all(apply: Any, params: Params, data: dict[str, Array], starts: Array, lag: int, ahead: int) -> Array:
    """Predictions `[W, ahead]` for the windows at `starts` `[W]`, a batch at a time."""
    batches = -(-starts.shape[0] // EVALUATION_BATCH)
    padded = jnp.resize(starts, (batches, EVALUATION_BATCH))  # repeats some windows; their predictions are dropped

    def batch(starts: Array) -> Array:
        return apply(params, take_windows(data, starts, lag, ahead)[0])

    return jax.lax.map(batch, padded).reshape(-1, ahead)[: starts.shape[0]]


def make_training_task(config: Config, forecast: ForecastTask, apply: Any) -> Task:
    """The mean squared error of standardised values, as pure functions."""

    def init(key: Array) -> Params:
        return models.pure(make_model(config, forecast.values.shape[1], nnx.Rngs(key)))[1]

    def loss(params: Params, batch: tuple[Array, Array], key: Array) -> tuple[Array, dict[str, Array]]:
        windows, targets = batch
        rngs = nnx.Rngs(dropout=key) if config.dropout or config.zoneout else None
        return jnp.mean((apply(params, windows, rngs=rngs) - targets) ** 2), {}

    def batch(data: dict[str, Array], indices: Array) -> tuple[Array, Array]:
        return take_windows(data, data["train"][indices], config.lag, config.ahead)

    def evaluate(params: Params, data: dict[str, Array]) -> dict[str, Array]:
        predictions = predict_all(apply, params, data, data["validation"], config.lag, config.ahead)
        rows = data["validation"][:, None] + config.lag + jnp.arange(config.ahead)
        return {"loss": jnp.mean((predictions - data["series"][rows, 0]) ** 2)}

    return Task(init, loss, batch, evaluate, len(forecast.train))


def make_probe(config: Config, model: models.SequenceModel) -> Probe | None:
    """The gradient of the forecast through time, on the first validation windows."""
    if config.gradient_flow_every is None:
        return None
    flow = make_gradient_flow(model, lambda predictions: predictions.sum(axis=-1))

    def look(params: Params, data: dict[str, Array]) -> dict[str, Array]:
        return flow(params, take_windows(data, data["validation"][:FLOW_BATCH], config.lag, config.ahead)[0])

    return Probe("gradient_flow", config.gradient_flow_every, look)


def run(config: Config, workdir: Path) -> None:
    """Trains, evaluates the test split once, writes `results.json` and plots, prints the table."""
    set_precision(config)
    if results.read(workdir) is None:
        _train_and_evaluate(config, workdir)
    else:
        remark = check_finished(workdir, lambda: _read_task(config).fingerprint())
        print(f"this run is finished{remark}; its results:")
    _report(workdir)


def _read_task(config: Config) -> ForecastTask:
    return make_task(read_series(config), config.protocol, config.lag, config.ahead)


def _train_and_evaluate(config: Config, workdir: Path) -> None:
    num_devices = set_devices(config)
    forecast = _read_task(config)
    check_data(workdir, forecast.fingerprint())
    for sentence in forecast.repairs:
        print(f"data: {sentence}")
    windows = {split: len(forecast.starts(split)) for split in ("train", "validation", "test")}
    print(f"data: {len(forecast.values)} rows, windows: " + ", ".join(f"{n} {split}" for split, n in windows.items()))
    steps_per_epoch = windows["train"] // config.batch_size
    if steps_per_epoch == 0:
        raise UsageError(f"--batch_size={config.batch_size}: there are only {windows['train']} training windows")

    model = make_model(config, forecast.values.shape[1], nnx.Rngs(config.seed))
    print(tabulate(models.summary(model), headers=["parameter", "shape", "count"], intfmt=",", tablefmt="simple"))
    apply, _ = models.pure(model)

    learning_rate = make_schedule(config, config.epochs * steps_per_epoch)
    functions = make_functions(
        make_training_task(config, forecast, apply),
        make_config_optimizer(config, learning_rate),
        batch_size=config.batch_size,
        patience=config.patience,
        num_devices=num_devices,
    )
    data: Any = {
        "series": forecast.standardised.astype(np.float64 if config.dtype == "float64" else np.float32),
        "train": forecast.train,
        "validation": forecast.validation,
    }
    dispatch = steps_per_dispatch(steps_per_epoch, config.steps_per_dispatch)
    schedule = Schedule(steps_per_epoch, config.epochs, dispatch, config.keep)
    note_data(workdir, forecast.fingerprint())
    trained = train(functions, seeds(config), data, schedule, workdir, learning_rate, make_probe(config, model))
    save_params(workdir / results.MODEL, jax.tree.map(lambda leaf: leaf[0], trained.states.best_params))

    data = jax.device_put(data)
    predict = map_over_seeds(
        lambda params: predict_all(apply, params, data, jnp.asarray(forecast.test), config.lag, config.ahead),
        parallel=jax.default_backend() != "cpu",
    )
    predictions = forecast.in_units(np.asarray(jax.jit(predict)(trained.states.best_params)))
    others = baselines.all_baselines(forecast, "test", config.season)
    if "seasonal_naive" not in others:
        print(f"no seasonal forecast: --lag={config.lag} is shorter than --season={config.season}")
    targets = forecast.targets(forecast.test)

    def evaluate(predicted: Iterable[np.ndarray]) -> dict[str, Any]:
        per_seed = [metrics.regression(targets, p, others["persistence"]) for p in predicted]
        return {name: results.spread([each[name] for each in per_seed]) for name in METRICS}

    _plot(config, workdir, forecast, predictions[0], others)  # before the results, which say that a run is finished
    results.write(
        workdir,
        {
            "experiment": "forecast",
            "dataset": forecast.dataset,
            "protocol": forecast.protocol,
            "cell": config.cell,
            "backend": backend_in_use(config),
            "num_params": models.num_params(model),
            "seeds": seeds(config),
            "metrics": evaluate(predictions),
            "baselines": {name: evaluate([p]) for name, p in others.items()},
            "best_epochs": np.asarray(trained.states.best_epoch).tolist(),
            "steps": trained.steps,
            "compile_seconds": trained.compile_seconds,
            "train_seconds": trained.train_seconds,
        },
    )


def _plot(
    config: Config, workdir: Path, forecast: ForecastTask, predictions: np.ndarray, others: dict[str, np.ndarray]
) -> None:
    folder = workdir / "plots"
    targets, ours = forecast.targets(forecast.test), f"{config.cell}, seed {config.seed}"
    rows = forecast.test + forecast.lag
    times: Any = rows if forecast.times is None else forecast.times[rows]
    if isinstance(times, pd.DatetimeIndex) and not times.is_monotonic_increasing:
        times = rows  # lines in file order would run to and fro through time
    first_step = {name: p[:, 0] for name, p in {ours: predictions, **others}.items()}
    unit = forecast.columns[0]
    plotting.forecast_days(folder / "forecast.png", times, targets[:, 0], first_step, unit)
    plotting.error_histogram(folder / "errors.png", targets[:, 0], first_step, unit)
    records = read_log(workdir / "metrics.jsonl")
    plotting.loss_curves(folder / "loss.png", [record for record in records if "loss" in record])
    plotting_gradients.flow_from_log(folder / "gradient_flow.png", records)


def _report(workdir: Path) -> None:
    found = results.read(workdir)
    assert found is not None
    print(f"\n{found['dataset']}, protocol {found['protocol']}, test split:\n")
    print(results.table(results.with_seeds(found), METRICS))
    print(f"\n{results.costs(found)}\nplots: {workdir / 'plots'}")


def main(arguments: Sequence[str]) -> int:
    """The command line of this experiment; returns the exit status."""
    return run_command("forecast", Config, run, __doc__, arguments)


if __name__ == "__main__":
    import sys

    sys.exit(main(sys.argv[1:]))
