"""What a forecast leaves: measures, plots, a table."""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from experiments.common import results
from experiments.forecast.flags import Config
from rnn_jax import metrics
from rnn_jax.data.series.baselines import all_baselines
from rnn_jax.data.series.forecasting import ForecastTask
from rnn_jax.plotting import forecast as plots
from rnn_jax.plotting import gradients, training
from rnn_jax.training.log import read_log

METRICS = ("mse", "mae", "rmse", "r2", "skill")


def write(
    config: Config, workdir: Path, forecast: ForecastTask, record: Mapping[str, Any], predictions: np.ndarray
) -> None:
    """Measures predictions `[S, W, ahead]` of the test split and the baselines', draws, writes `results.json` last."""
    others = all_baselines(forecast, "test", config.season)
    if "seasonal_naive" not in others:
        print(f"no seasonal forecast: --lag={config.lag} is shorter than --season={config.season}")
    targets = forecast.targets(forecast.test)

    def evaluate(predicted: Iterable[np.ndarray]) -> dict[str, Any]:
        per_seed = [metrics.regression(targets, p, others["persistence"]) for p in predicted]
        return {name: results.spread([each[name] for each in per_seed]) for name in METRICS}

    plot(config, workdir, forecast, predictions[0], others)  # before the results, which say that a run is finished
    found = {
        **record,
        "dataset": forecast.dataset,
        "protocol": forecast.protocol,
        "model": {"input_size": forecast.values.shape[1]},
        "metrics": evaluate(predictions),
        "baselines": {name: evaluate([p]) for name, p in others.items()},
    }
    results.write(workdir, found)


def plot(
    config: Config, workdir: Path, forecast: ForecastTask, predictions: np.ndarray, others: Mapping[str, np.ndarray]
) -> None:
    """The first seed's predictions `[W, ahead]` beside the baselines, errors, losses, the gradient if it was logged."""
    folder = workdir / "plots"
    targets, ours = forecast.targets(forecast.test), f"{config.cell}, seed {config.seed}"
    rows = forecast.test + forecast.lag
    times: Any = rows if forecast.times is None else forecast.times[rows]
    if isinstance(times, pd.DatetimeIndex) and not times.is_monotonic_increasing:
        times = rows  # lines in file order would run to and fro through time
    first_step = {name: p[:, 0] for name, p in {ours: predictions, **others}.items()}
    unit = forecast.columns[0]
    plots.forecast_days(folder / "forecast.png", times, targets[:, 0], first_step, unit)
    plots.error_histogram(folder / "errors.png", targets[:, 0], first_step, unit)
    records = read_log(workdir / "metrics.jsonl")
    training.loss_curves(folder / "loss.png", [record for record in records if "loss" in record])
    gradients.flow_from_log(folder / "gradient_flow.png", records)


def show(workdir: Path) -> None:
    """Prints the results of a finished run."""
    found = results.read(workdir)
    assert found is not None
    print(f"\n{found['dataset']}, protocol {found['protocol']}, test split:\n")
    print(results.table(results.rows(found), METRICS))
    print(f"\n{results.costs(found)}\nplots: {workdir / 'plots'}")
