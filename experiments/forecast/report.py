"""What a forecast leaves: measures, plots, tables."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import jax
import numpy as np
import pandas as pd

from experiments.common import results
from experiments.common.plots import draw
from experiments.forecast import scores
from experiments.forecast.scores import Judge
from experiments.forecast.task import make_output
from rnn_jax.data.series.forecasting import SPLITS, ForecastTask
from rnn_jax.data.series.windows import gather
from rnn_jax.files import write_whole
from rnn_jax.importance import permutation_importance
from rnn_jax.plotting import forecast as plots
from rnn_jax.plotting import forecast_errors, gradients, training
from rnn_jax.training.log import read_log

if TYPE_CHECKING:
    from experiments.forecast.run import Trained

METRICS = ("mse", "mae", "rmse", "r2", "skill", "mase")
ENCODER = "encoder.json"
"""The file, in a run's folder, that says how rows become features."""
SHOWN = 7 * 24
"""Steps of the picture of forecasts."""
DRAWN = ("linear_autoregression", "nlinear", "trees", "seasonal_naive", "persistence", "known_limit")
"""Baselines of the picture of errors by step."""
LOOKED_AT = 512
"""Validation windows of the importance of inputs."""


def write(workdir: Path, trained: "Trained") -> None:
    """Measures the test split and the baselines there, writes `results.json`, draws."""
    config, task = trained.config, trained.task
    outputs = trained.predict(task.test)
    validated = trained.predict(task.validation)[0]
    band = scores.follow(config, task, scores.bands(config, task, validated), validated, outputs[0])
    judged = scores.judge(config, task, task.test)
    location = task.in_units(make_output(config).location(outputs), task.test)
    ours = [judged.measure(each) for each in location]
    baselines = trained.others()
    print("baselines: " + ", ".join(baselines))
    forecasts = {name: forecast(task.test) for name, forecast in baselines.items()}
    if (best := best_possible(task)) is not None:
        forecasts["known_limit"] = best
    others = {name: scores.spread([judged.measure(each)]) for name, each in forecasts.items()}
    measures = scores.spread(ours)
    if len(ours) > 1:
        together = scores.spread([judged.measure(location.mean(axis=0))])
        others[f"ensemble of {len(ours)}"] = together
    rivals = {name: each for name, each in forecasts.items() if name != "known_limit"}
    intervals = [scores.interval_scores(config, task, band, each) for each in outputs]
    importance = importance_of(trained)
    # Before the results, which say that a run is finished.
    write_whole(workdir / ENCODER, json.dumps(task.encoder.to_json()) + "\n")
    found = {
        **trained.fitted.record,
        "dataset": task.series.name,
        "protocol": task.protocol,
        "targets": list(task.target_names),
        "units": config.units,
        "model": trained.sizes,
        "windows": {split: len(task.starts(split)) for split in SPLITS},
        "metrics": measures["all"],
        "report_steps": list(config.report_steps),
        "metrics_by_step": measures["steps"],
        "metrics_by_target": measures["targets"],
        "baselines": {name: each["all"] for name, each in others.items()},
        "baselines_by_step": {name: each["steps"] for name, each in others.items()},
        "baselines_by_target": {name: each["targets"] for name, each in others.items()},
        "diebold_mariano": scores.compare(judged, location[0], rivals, config.report_steps),
        "intervals": {
            "level": band.level,
            "kind": "conformal" if band.radius is not None else config.output,
            # For forecasts of what comes after the last row.
            "radius": None if band.radius is None else band.radius.reshape(-1, *validated.shape[1:3])[-1].tolist(),
            **{
                key: results.spread([each[key] for each in intervals])
                for key in intervals[0]
                if key != "coverage_by_step"
            },
            "coverage_by_step": intervals[0]["coverage_by_step"],
        },
        "importance": importance,
        "share_of_line": _shares(trained),
    }
    results.write(workdir, found)
    plot(workdir, trained, judged, location[0], forecasts, band.of(outputs[0]), importance)


def _shares(trained: "Trained") -> list[float] | None:
    """Of the line in the forecast, by step, the mean over targets, of the first seed."""
    line = trained.fitted.first.get("line")
    return None if line is None else np.asarray(line["share"]).mean(axis=1).tolist()


def best_possible(task: ForecastTask) -> np.ndarray | None:
    """The best forecast that there is of the first step of test windows, `[W, A, M]`, where the generator says it."""
    if task.series.best is None:
        return None
    found = np.full((len(task.test), task.ahead, task.num_targets), np.nan)
    found[:, 0, 0] = task.series.best[task.test + task.lag]
    return found


def importance_of(trained: "Trained") -> dict[str, float]:
    """How much worse forecasts get when a column is taken from other windows; on validation, of the first seed."""
    task, config = trained.task, trained.config
    groups = task.encoder.groups
    if len(groups) < 2:
        return {}
    starts = task.validation[np.linspace(0, len(task.validation) - 1, min(LOOKED_AT, len(task.validation))).astype(int)]
    rows = gather(task.features, starts, task.lag + task.ahead).astype(np.float32)
    known, params = trained.sizes["num_known"], jax.device_put(trained.fitted.first)
    output = make_output(config)

    @jax.jit
    def predict(rows: Any) -> Any:
        past, future = rows[:, : task.lag], rows[:, task.lag :, rows.shape[-1] - known :]
        return output.location(trained.apply(params, past, future))

    return permutation_importance(predict, rows, task.scaled_targets(starts), groups, seed=config.seed)


def plot(
    workdir: Path,
    trained: "Trained",
    judged: Judge,
    forecast: np.ndarray,
    others: Mapping[str, np.ndarray],
    ends: tuple[np.ndarray, np.ndarray],
    importance: Mapping[str, float],
) -> None:
    """The first seed's forecasts `[W, A, M]` beside the baselines, the data, errors, losses, the gradient if logged."""
    config, task, folder = trained.config, trained.task, workdir / "plots"
    name, unit = f"{config.cell}, seed {config.seed}", task.target_names[0]
    targets = task.targets(task.test)[..., 0]
    rows = task.test + task.lag
    times: Any = rows if task.series.times is None else task.series.times[rows]
    if isinstance(times, pd.DatetimeIndex) and not times.is_monotonic_increasing:
        times = rows  # lines in file order, or of one series after another, would run to and fro through time
    drawn = {key: others[key] for key in ("linear_autoregression", "trees", "persistence") if key in others}
    first = {key: each[:, 0, 0] for key, each in {name: forecast, **drawn}.items() if np.isfinite(each[:, 0, 0]).all()}
    against = "linear_autoregression" if "linear_autoregression" in first else None
    draw(plots.forecast_days, folder / "forecast.png", times, targets[:, 0], first, unit, SHOWN, against)
    draw(plots.error_histogram, folder / "errors.png", targets[:, 0], first, unit)
    draw(forecast_errors.predicted_and_real, folder / "predicted_and_real.png", targets[:, 0], forecast[:, 0, 0], unit)
    if task.series.times is not None and task.series.ids is None and task.series.times.is_monotonic_increasing:
        draw(plots.series_with_monthly_mean, folder / "series.png", task.series.times, task.series.values[:, 0], unit)
    if config.ahead > 1:
        curves = {config.cell: judged.rmse_of_steps(forecast)}
        curves |= {key: judged.rmse_of_steps(others[key]) for key in DRAWN if key in others}
        draw(forecast_errors.error_by_step, folder / "error_by_step.png", curves, range(1, config.ahead + 1), "rmse")
        draw(fan, folder / "fan.png", trained, forecast, ends, unit)
    if importance:
        draw(forecast_errors.importance_bars, folder / "importance.png", importance)
    records = read_log(workdir / "metrics.jsonl")
    draw(training.loss_curves, folder / "loss.png", [record for record in records if "loss" in record])
    draw(gradients.flow_from_log, folder / "gradient_flow.png", records)
    draw(gradients.spectrum_from_log, folder / "spectrum.png", records)


def fan(path: Path, trained: "Trained", forecast: np.ndarray, ends: tuple[np.ndarray, np.ndarray], unit: str) -> None:
    """A forecast from the middle of the test split with its interval, and what came."""
    task, level = trained.task, trained.config.level
    middle = len(task.test) // 2
    start = task.test[middle : middle + 1]
    lower, upper = (task.in_units(end[middle : middle + 1], start)[0, :, 0] for end in ends)
    rows = np.arange(start[0], start[0] + task.lag + task.ahead)
    times: Any = rows if task.series.times is None else task.series.times[rows]
    values = task.series.values[rows, 0]
    past = slice(max(task.lag - 3 * task.ahead, 0), task.lag)
    plots.fan_chart(
        path,
        times[past],
        values[past],
        times[task.lag :],
        forecast[middle, :, 0],
        [(level, lower, upper)],
        unit,
        values[task.lag :],
    )


def show(workdir: Path) -> None:
    """Prints the results of a finished run."""
    found = results.read(workdir)
    assert found is not None
    units = "errors as scaled" if found.get("units") == "scaled" else "errors in units"
    print(f"\n{found['dataset']}, protocol {found['protocol']}, test split, {units}:\n")
    rows = results.rows(found)
    print(results.table({name: each for name, each in rows.items() if each}, METRICS))
    steps = found.get("report_steps", [])
    own = results.with_seeds(found["cell"], found["seeds"])
    # A run of an older version has none of these.
    by_step = {own: found.get("metrics_by_step"), **found.get("baselines_by_step", {})}
    if by_step[own] and (len(steps) > 1 or not all(rows.values())):
        columns = {f"mse t+{step}": place for place, step in enumerate(steps)}
        lines = {
            name: {column: each["mse"][place] for column, place in columns.items()}
            for name, each in by_step.items()
            if each
        }
        print(f"\n{results.table(lines, tuple(columns))}")
    show_comparison(found.get("diebold_mariano", []))
    intervals = found.get("intervals")
    if intervals:
        print(f"intervals of {intervals['level']:.0%} ({intervals['kind']}) hold {intervals['coverage']['mean']:.1%}")
    print(f"\n{results.costs(found)}\nplots: {workdir / 'plots'}")


def show_comparison(found: Sequence[Mapping[str, Any]]) -> None:
    """Prints what `scores.compare` found, but for steps at which nothing could be compared."""
    for each in found:
        if each["p_value"] is not None and each["mse_ratio"] is not None:
            print(
                f"t+{each['step']}: {each['mse_ratio']:.3f} times the mse of {each['baseline']} "
                f"(Diebold-Mariano p = {each['p_value']:.2g})"
            )
