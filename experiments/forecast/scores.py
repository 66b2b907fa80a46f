"""How good forecasts are: over all steps ahead, at some of them, for each target, and how often intervals hold."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from scipy.stats import norm

from experiments.common import results
from experiments.forecast.flags import Config
from experiments.forecast.task import quantile_levels
from rnn_jax.conformal import conformal_radius, rolling_conformal
from rnn_jax.data.series.baselines import persistence
from rnn_jax.data.series.forecasting import ForecastTask
from rnn_jax.forecast_metrics import by_step, diebold_mariano, forecast_measures, naive_scale
from rnn_jax.interval_metrics import gaussian_measures, interval_measures, quantile_measures

Measures = dict[str, dict[str, Any]]
"""`all`: name to value; `steps` and `targets`: name to a list."""

LEVELS = tuple(np.linspace(0.05, 0.95, 19).round(2).tolist())
"""Of the quantiles by which the distribution around a point forecast is scored."""

MOST_SCORED = 1_000_000
"""Values that are scored as distributions."""


class Judge(NamedTuple):
    """What forecasts of some windows are measured against, in the units that are reported.

    Attributes:
        targets: `[W, A, M]`, NaN where not measured.
        last: persistence, the same shape.
        scale: `[W, M]`, of mase.
        factor: `[W, 1, M]`, what errors in physical units are divided by.
        steps: the steps ahead that are reported by themselves.
    """

    targets: np.ndarray
    last: np.ndarray
    scale: np.ndarray
    factor: np.ndarray
    steps: tuple[int, ...]

    def measure(self, forecast: np.ndarray) -> Measures:
        """Measures of a forecast `[W, A, M]` in physical units; of one with steps left out, NaN, of the others alone.

        `all` over all steps and targets, `steps` a list for those that are reported, `targets` a list.
        """
        forecast = forecast / self.factor
        found: Measures = {"all": {}, "steps": {}, "targets": {}}
        places = np.asarray(self.steps) - 1
        parts = [each[:, places] for each in (self.targets, forecast, self.last)]
        there = ~np.isnan(parts[1]).all(axis=(0, 2))
        if there.any():
            real, said, last = (part[:, there] for part in parts)
            values = by_step(real, said, last, self.scale, range(1, int(there.sum()) + 1))
            nothing = np.full(len(places), np.nan)
            for name, each in values.items():
                line = nothing.copy()
                line[there] = each
                found["steps"][name] = line.tolist()
        if np.isnan(forecast[~np.isnan(self.targets)]).any():
            return found
        found["all"] = forecast_measures(self.targets, forecast, self.last, self.scale)
        count = self.targets.shape[2]
        if count > 1:
            nowhere = dict.fromkeys(found["all"], float("nan"))
            apart = [
                forecast_measures(*(part[..., k : k + 1] for part in (self.targets, forecast, self.last, self.scale)))
                if (~np.isnan(self.targets[..., k])).any()
                else nowhere
                for k in range(count)
            ]
            found["targets"] = {name: [measures[name] for measures in apart] for name in found["all"]}
        return found

    def rmse_of_steps(self, forecast: np.ndarray) -> list[float]:
        """The root mean squared error of each step, NaN where none was forecast or measured."""
        squares = (forecast / self.factor - self.targets) ** 2
        known = ~np.isnan(squares)
        count = known.sum(axis=(0, 2))
        return np.where(count, np.sqrt(np.nansum(squares, axis=(0, 2)) / np.maximum(count, 1)), np.nan).tolist()

    def squared_errors(self, forecast: np.ndarray, step: int) -> np.ndarray:
        """`[W]` at one step, the mean over the targets that were measured, NaN where none was."""
        error = (forecast[:, step - 1] / self.factor[:, 0] - self.targets[:, step - 1]) ** 2
        measured = ~np.isnan(error)
        return np.where(measured.any(axis=1), np.nansum(error, axis=1) / np.maximum(measured.sum(axis=1), 1), np.nan)


def judge(config: Config, task: ForecastTask, starts: np.ndarray) -> Judge:
    """The judge of the windows at `starts` `[W]`."""
    factor = task.constants(starts)[1] if config.units == "scaled" else np.ones((len(starts), 1, task.num_targets))
    series, count = task.series, task.num_targets
    values = np.where(task.train_rows[:, None], series.values[:, :count], np.nan)
    ids = series.numbers
    each = []
    for number in range(series.num_series):
        rows = ids == number
        each.append(naive_scale(values[rows], config.season or 1, series.breaks[rows]))
    scale = np.stack(each)[ids[starts]] / factor[:, 0]
    return Judge(task.targets(starts) / factor, persistence(task, starts) / factor, scale, factor, config.report_steps)


def spread(per_seed: Sequence[Measures]) -> dict[str, Any]:
    """Mean and deviation over seeds: measures by name, of all steps; and lists of them, by step and by target."""

    def lists(part: str) -> dict[str, list[Any]]:
        names = per_seed[0][part]
        return {
            name: [results.spread(values) for values in zip(*(each[part][name] for each in per_seed), strict=True)]
            for name in names
        }

    whole = {name: results.spread([each["all"][name] for each in per_seed]) for name in per_seed[0]["all"]}
    return {"all": whole, "steps": lists("steps"), "targets": lists("targets")}


def compare(
    judged: Judge, ours: np.ndarray, others: Mapping[str, np.ndarray], steps: Sequence[int]
) -> list[dict[str, Any]]:
    """Diebold-Mariano at each of `steps`, against the baseline with the smallest error there on these windows.

    Args:
        judged: of the windows.
        ours: forecasts `[W, A, M]` in physical units.
        others: those of the baselines by name.
        steps: steps ahead.
    """
    found = []
    for step in steps:
        errors = {name: judged.squared_errors(forecast, step) for name, forecast in others.items()}
        means = {name: float(np.nanmean(each)) for name, each in errors.items() if not np.isnan(each).all()}
        best = min(means, key=lambda name: means[name])
        mine = judged.squared_errors(ours, step)
        try:
            statistic, p_value = diebold_mariano(np.sqrt(mine), np.sqrt(errors[best]), step)
        except ValueError:  # too few windows, or the same forecasts
            statistic, p_value = float("nan"), float("nan")
        found.append(
            {
                "step": step, "baseline": best, "statistic": statistic, "p_value": p_value,
                "mse_ratio": float(np.nanmean(mine)) / means[best] if means[best] else float("nan"),
            }
        )  # fmt: skip
    return found


class Bands(NamedTuple):
    """How sure a scaled forecast is, from validation windows; or the network says so itself.

    Attributes:
        level: share of the values that an interval is to hold.
        radius: `[ahead, M]`, how far intervals reach around a point forecast, or `[W, ahead, M]`, at each of W origins;
            None where the network says it.
        errors: `[Q, ahead, M]`, quantiles of target less point forecast at `LEVELS`; None likewise.
    """

    level: float
    radius: np.ndarray | None
    errors: np.ndarray | None = None

    def of(self, outputs: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Lower and upper ends of outputs `[..., A, M, P]`, scaled: `[..., A, M]` each."""
        if self.radius is not None:
            return outputs[..., 0] - self.radius, outputs[..., 0] + self.radius
        if outputs.shape[-1] == 2:
            half = norm.ppf((1 + self.level) / 2) * outputs[..., 1]
            return outputs[..., 0] - half, outputs[..., 0] + half
        return outputs[..., 0], outputs[..., -1]


def bands(config: Config, task: ForecastTask, outputs: np.ndarray) -> Bands:
    """Split conformal intervals from the outputs `[V, A, M, P]` of the validation windows; or the network's own."""
    if config.output != "point":
        return Bands(config.level, None)
    residuals = task.scaled_targets(task.validation) - outputs[..., 0]
    measured = np.where(np.isnan(residuals).all(axis=0), 0.0, residuals)
    radius = conformal_radius(residuals, config.level)
    # Where nothing was measured: the largest of all, which promises least.
    radius = np.where(np.isnan(radius), np.nanmax(radius), radius)
    return Bands(config.level, radius, np.nanquantile(measured, LEVELS, axis=0))


def follow(config: Config, task: ForecastTask, band: Bands, validation: np.ndarray, test: np.ndarray) -> Bands:
    """With the radius at each origin of the test split, from the last `--interval_window` errors known there.

    Args:
        config, task: of the run.
        band: of `bands`.
        validation, test: outputs `[V, A, M, P]` and `[W, A, M, P]` of these windows, scaled.
    """
    if band.radius is None or not config.interval_window:
        return band
    series, radius = task.series, np.empty(test.shape[:-1])
    late = task.scaled_targets(task.test) - test[..., 0]
    early = task.scaled_targets(task.validation) - validation[..., 0]
    for number in range(series.num_series):
        old, new = (np.flatnonzero(series.numbers[starts] == number) for starts in (task.validation, task.test))
        radius[new] = rolling_conformal(
            early[old], late[new], band.level, config.interval_window,
            origins_validation=task.validation[old], origins_test=task.test[new],
        )  # fmt: skip
    return band._replace(radius=np.where(np.isnan(radius), band.radius, radius))


def interval_scores(config: Config, task: ForecastTask, band: Bands, outputs: np.ndarray) -> dict[str, Any]:
    """Measures of how sure forecasts of the test windows are, in physical units, and the coverage by step.

    Args:
        config, task, band: of the run.
        outputs: `[W, A, M, P]`, scaled.

    Returns: `coverage`, `width`, `interval_score`, `crps` and more by name; `coverage_by_step`, a list.
    """
    targets, scale = task.scaled_targets(task.test), task.constants(task.test)[1]
    lower, upper = band.of(outputs)
    found = interval_measures(targets * scale, lower * scale, upper * scale, band.level)
    # The score of a distribution takes a number for each level: of many windows every second, third, ... is scored.
    some = slice(None, None, -(-targets.size // MOST_SCORED))
    real, unit, said = targets[some] * scale[some], scale[some], outputs[some]
    if config.output == "gaussian":
        found |= gaussian_measures(real, said[..., 0] * unit, said[..., 1] * unit)
    elif band.errors is not None:
        quantiles = said + np.moveaxis(band.errors, 0, -1)
        found |= quantile_measures(real, quantiles * unit[..., None], LEVELS)
    else:
        found |= quantile_measures(real, said * unit[..., None], quantile_levels(config.level))
    inside = np.where(np.isnan(targets), np.nan, (lower <= targets) & (targets <= upper))
    measured = (~np.isnan(inside)).sum(axis=(0, 2))
    share = np.where(measured, np.nansum(inside, axis=(0, 2)) / np.maximum(measured, 1), np.nan)
    return {**found, "coverage_by_step": share[np.asarray(config.report_steps) - 1].tolist()}
