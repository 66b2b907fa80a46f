"""A rolling origin: the test split in periods, each forecast by what was known when it began."""

import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from experiments.common import begun, digests, results
from experiments.common.plots import draw
from experiments.forecast import report, run, scores
from experiments.forecast.flags import Config
from experiments.forecast.run import Trained
from experiments.forecast.task import make_output
from rnn_jax.data.errors import DataError
from rnn_jax.data.series.forecasting import ForecastTask, make_task, split_bounds
from rnn_jax.plotting import forecast_errors
from rnn_jax.training.processes import by_first, is_first

FILE = "backtest.json"
METRICS = ("mse", "mae", "skill", "mase")
QUARTERS = ("December to February", "March to May", "June to August", "September to November")
VALIDATION = 8
"""Of the rows before an origin at which a network is trained anew, one in so many validates it."""


def backtest(name: str, config: Config, workdir: Path) -> None:
    """Forecasts the test split from `--cutoffs` origins on, and tells the errors by origin, step, year and season.

    Without `--refit` one network, trained before the test split, forecasts all periods. With it a network and its
    baselines are trained at every origin on what came before, each in a folder of its own.
    """
    if by_first(lambda: os.path.lexists(workdir / FILE)):
        if is_first():
            show_finished(config, workdir)
        return
    config, windows = run.read(config)
    begun.check_data(workdir, windows.fingerprint())
    begun.note(workdir, windows.fingerprint())
    run.describe(config, windows)
    edges = periods(split_bounds(windows.series), config.cutoffs)
    found = results.finite(measure(name, config, windows, edges, workdir))
    digests.finish(workdir, FILE, json.dumps(found) + "\n")
    show(workdir)


def show_finished(config: Config, workdir: Path) -> None:
    """Prints what an earlier start has found. Raises `UsageError` where that was with other data."""
    try:
        begun.check_data_alone(workdir, run.read(config)[1].fingerprint())
    except DataError as error:
        print(f"this backtest is finished, its data cannot be read any more ({error}); its results:")
    results.show_old(workdir, show, FILE)


def periods(bounds: np.ndarray, cutoffs: int) -> np.ndarray:
    """Rows where the periods of each series begin, and where the last ends: `[D, 4]` bounds to `[D, cutoffs + 1]`.

    >>> periods(np.array([[0, 70, 80, 100]]), 2)
    array([[ 80,  90, 100]])
    """
    first, last = bounds[:, 2:3], bounds[:, 3:4]
    return first + (last - first) * np.arange(cutoffs + 1) // cutoffs


def measure(name: str, config: Config, windows: ForecastTask, edges: np.ndarray, workdir: Path) -> dict[str, Any]:
    """Trains what has to be trained, forecasts every period, and measures all that was forecast."""
    trained = None if config.refit else run.train(name, config, windows, workdir / "backtest" / "once")
    kept: dict[str, list[np.ndarray]] = {}
    starts, numbers = [], []
    for number in range(config.cutoffs):
        own = windows.test[inside(windows, edges, number)]
        if not len(own):  # a short period, or one that ends with the series
            continue
        if config.refit:
            of = until(config, windows, edges[:, number], edges[:, number + 1])
            print(f"origin {number + 1} of {config.cutoffs}: {len(of.train):,} training windows")
            trained = run.train(name, config, of, workdir / "backtest" / f"{number:03d}")
        assert trained is not None
        for row, forecast in forecasts(trained, own).items():
            kept.setdefault(row, []).append(forecast)
        starts.append(own)
        numbers.append(np.full(len(own), number))
    return tables(config, windows, np.concatenate(starts), np.concatenate(numbers), edges, kept, workdir)


def inside(task: ForecastTask, edges: np.ndarray, number: int) -> np.ndarray:
    """`[W]` bool: the test windows whose first forecast row lies in the period."""
    ids = task.series.numbers[task.test]
    origin = task.test + task.lag
    return (edges[ids, number] <= origin) & (origin < edges[ids, number + 1])


def until(config: Config, windows: ForecastTask, origin: np.ndarray, end: np.ndarray) -> ForecastTask:
    """The task that was there at an origin, a row of each series: training and validation before it, then the period.

    The last forecasts of a period reach beyond it, as far as the test split does.
    """
    assert config.lag is not None
    all_bounds = split_bounds(windows.series)
    first, last = all_bounds[:, 0], np.minimum(end + config.ahead - 1, all_bounds[:, 3])
    bounds = np.stack([first, origin - (origin - first) // VALIDATION, origin, last], axis=1)
    return make_task(
        windows.series, config.protocol, config.lag, config.ahead, scaling=config.scaling, cycles=config.calendar,
        bounds=bounds,
    )  # fmt: skip


def forecasts(trained: Trained, starts: np.ndarray) -> dict[str, np.ndarray]:
    """The mean forecast of all seeds, and those of the baselines, in physical units: `[W, A, M]` each."""
    outputs = np.asarray(make_output(trained.config).location(trained.predict(starts))).mean(axis=0)
    found = {trained.config.cell: trained.task.in_units(outputs, starts)}
    return found | {name: forecast(starts) for name, forecast in trained.others(trees=False).items()}


def tables(
    config: Config,
    windows: ForecastTask,
    starts: np.ndarray,
    numbers: np.ndarray,
    edges: np.ndarray,
    kept: dict[str, list[np.ndarray]],
    workdir: Path,
) -> dict[str, Any]:
    """Measures by group of windows; draws those by origin."""
    judged = scores.judge(config, windows, starts)
    whole = {name: np.concatenate(parts) for name, parts in kept.items()}
    times = windows.series.times

    def of(rows: np.ndarray) -> dict[str, dict[str, float]]:
        part = judged._replace(
            targets=judged.targets[rows], last=judged.last[rows], scale=judged.scale[rows], factor=judged.factor[rows]
        )
        return {name: part.measure(forecast[rows])["all"] for name, forecast in whole.items()}

    labels = [str(number + 1) for number in range(config.cutoffs)]
    groups: dict[str, dict[str, np.ndarray]] = {"all": {"all": np.ones(len(starts), bool)}}
    groups["origin"] = {labels[number]: numbers == number for number in np.unique(numbers)}
    if times is not None:
        origin: Any = times[starts + windows.lag]
        groups["year"] = {str(year): np.asarray(origin.year == year) for year in np.unique(origin.year)}
        quarter = np.asarray(origin.month % 12 // 3)
        groups["season"] = {QUARTERS[number]: quarter == number for number in np.unique(quarter)}
        labels = [str(pd.Timestamp(times[edge]).date()) for edge in edges[0, :-1]]
    found: dict[str, Any] = {
        group: {label: of(rows) for label, rows in parts.items()} for group, parts in groups.items()
    }
    found["steps"] = {name: judged.measure(forecast)["steps"] for name, forecast in whole.items()}
    ours = whole.pop(config.cell)
    found["diebold_mariano"] = scores.compare(judged, ours, whole, config.report_steps)
    found |= {"report_steps": list(config.report_steps), "cell": config.cell, "refit": config.refit}
    found |= {"cutoffs": [str(label) for label in labels], "windows": len(starts)}
    curves = {
        name: [each[name]["mae"] for each in found["origin"].values()]
        for name in next(iter(found["origin"].values()))
        if name != "drift"
    }
    shown = [labels[int(number) - 1] for number in found["origin"]]
    draw(forecast_errors.error_by_origin, workdir / "plots" / "error_by_origin.png", shown, curves, "mae")
    return found


def show(workdir: Path) -> None:
    """Prints the tables of a finished backtest."""
    found = results.read_json(workdir, FILE)
    trained = "trained anew at each" if found["refit"] else "trained once, before the first"
    print(f"\n{len(found['origin'])} origins, {found['windows']:,} forecasts, {trained}:\n")

    def rows(values: dict[str, Any]) -> dict[str, Any]:
        return {
            name: {key: results.spread([each[key]]) for key in METRICS if each.get(key) is not None}
            for name, each in values.items()
        }

    print(results.table(rows(found["all"]["all"]), METRICS))
    for group in ("origin", "year", "season"):
        if group in found:
            columns = {
                label: {name: results.spread([each["mae"]]) for name, each in values.items()}
                for label, values in found[group].items()
            }
            names = list(next(iter(columns.values())))
            print(f"\nmae by {group}:\n\n{results.table(columns, names)}")
    steps = found["report_steps"]
    by_step = {
        name: {f"mae t+{step}": results.spread([each["mae"][k]]) for k, step in enumerate(steps)}
        for name, each in found["steps"].items()
    }
    print(f"\n{results.table(by_step, [f'mae t+{step}' for step in steps])}")
    report.show_comparison(found["diebold_mariano"])
    print(f"\nplots: {workdir / 'plots'}")
