"""Plots of forecasts: arrays in, a PNG out."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from rnn_jax.plotting.style import COLOURS, STYLE, rc_context, save, subplots


def _shown(predictions: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Without the seasonal forecast, whose errors are so large that nothing else could be seen beside them."""
    return {name: values for name, values in predictions.items() if name != "seasonal_naive"}


def forecast_days(
    path: Path,
    times: Any,
    targets: np.ndarray,
    predictions: Mapping[str, np.ndarray],
    unit: str,
    num_steps: int = 7 * 24,
    against: str | None = None,
) -> None:
    """Real and predicted values over a stretch of the test split, and below it the errors.

    Args:
        path: the PNG to write.
        times: `[W]` times or row numbers of the targets.
        targets: `[W]`, in physical units, NaN where not measured: a gap.
        predictions: name to `[W]`; the first is drawn boldly, the others as thin lines, `seasonal_naive` not at all.
        unit: what the values are.
        num_steps: how much to show.
        against: a key of `predictions`: shown is the stretch in which its squared error exceeds that of the first most;
            None: the middle. Errors of all but these two are not drawn.
    """
    start = max((len(targets) - num_steps) // 2, 0)
    title = "One step ahead, test split"
    if against is not None:
        excess = (predictions[against] - targets) ** 2 - (next(iter(predictions.values())) - targets) ** 2
        sums = np.cumsum(np.append(0.0, np.nan_to_num(excess)))
        start = int(np.argmax(sums[num_steps:] - sums[:-num_steps])) if len(targets) > num_steps else 0
        title += f": where {against.replace('_', ' ')} fails most"
    part = slice(start, start + num_steps)
    with rc_context(STYLE):
        figure, (above, below) = subplots(2, 1, figsize=(11, 6), sharex=True, height_ratios=(3, 1.3))
        shown = times[part]
        above.plot(shown, targets[part], color="black", linewidth=1.6, label="real")
        for (name, values), colour in zip(_shown(predictions).items(), COLOURS, strict=False):
            first = name == next(iter(predictions))
            style = {"linewidth": 1.6 if first else 0.9, "linestyle": "-" if first else "--", "color": colour}
            above.plot(shown, values[part], label=name.replace("_", " "), **style)
            if against is None or first or name == against:
                below.plot(shown, (values - targets)[part], **style)
        above.set_ylabel(unit)
        above.set_title(title)
        above.legend(ncols=4, loc="upper left", bbox_to_anchor=(0, -0.02))
        below.axhline(0, color="black", linewidth=0.6)
        below.set_ylabel("error")
        if isinstance(shown, pd.DatetimeIndex):
            below.tick_params(axis="x", labelrotation=20)
        else:
            below.set_xlabel("row of the file")
        save(figure, path)


def error_histogram(path: Path, targets: np.ndarray, predictions: Mapping[str, np.ndarray], unit: str) -> None:
    """The distribution of the errors of each forecast, on a logarithmic count axis: tails matter.

    Args:
        path: the PNG to write.
        targets: `[W]`, in physical units; those that are NaN, not measured, are left out.
        predictions: name to `[W]`; `seasonal_naive` is not drawn. The legend gives the root of the mean squared error
            and the mean error.
        unit: what the values are.
    """
    known = ~np.isnan(targets)
    errors = {name: (values - targets)[known] for name, values in _shown(predictions).items()}
    limit = max(np.quantile(np.abs(e), 0.999) for e in errors.values()) if known.any() else 0.0
    bins = np.linspace(-(limit or 1.0), limit or 1.0, 81).tolist()
    with rc_context(STYLE):
        figure, axes = subplots(figsize=(8, 4.5))
        for (name, error), colour in zip(errors.items(), COLOURS, strict=False):
            found = f"RMSE {np.sqrt(np.mean(error**2)):.3f}, mean {error.mean():+.3f}" if error.size else "not measured"
            label = f"{name.replace('_', ' ')}: {found}"
            axes.hist(error, bins=bins, histtype="step", color=colour, linewidth=1.4, label=label)
        if known.any():  # else Matplotlib warns
            axes.set_yscale("log")
        axes.set_xlabel(f"predicted - real, {unit}")
        axes.set_ylabel("windows")
        axes.set_title("Errors one step ahead, test split")
        axes.legend()
        save(figure, path)


PIXELS = 1200
"""Columns of a plot of a whole series."""


def series_with_monthly_mean(path: Path, times: pd.DatetimeIndex, values: np.ndarray, unit: str) -> None:
    """A whole series and its moving mean over the 30 days around each time.

    Of more than 5,000 rows the lowest and the highest of each pixel are drawn, which looks the same. There is no mean
    where less than a third of the rows that 30 days have were measured.

    Args:
        path: the PNG to write.
        times: `[N]`, ascending.
        values: `[N]`, NaN where not measured: a gap.
        unit: what the values are.

    Raises:
        ValueError: times and values of different shapes, with the shapes, or times that do not ascend.
    """
    if times.shape != values.shape or not times.is_monotonic_increasing:
        raise ValueError(f"times {times.shape} must ascend and have the shape of the values {values.shape}, [N]")
    step = (times[-1] - times[0]) / max(len(times) - 1, 1)
    month = pd.Timedelta(days=30)
    enough = max(int(month / step / 3), 1) if step else 1
    mean = pd.Series(values, index=times).rolling(month, center=True, min_periods=enough).mean().to_numpy()
    with rc_context(STYLE):
        figure, axes = subplots(figsize=(11, 4.2))
        for y, label, colour, width in ((values, "data", COLOURS[2], 0.6), (mean, "mean of 30 days", COLOURS[1], 1.8)):
            rows = _extremes(y) if len(y) > 5000 else np.arange(len(y))
            axes.plot(times[rows], y[rows], color=colour, linewidth=width, label=label)
        axes.set(ylabel=unit, title="The whole series")
        axes.tick_params(axis="x", labelrotation=20)
        axes.legend(ncols=2, loc="lower right", bbox_to_anchor=(1, 1), borderaxespad=0.2)
        save(figure, path)


def _extremes(values: np.ndarray) -> np.ndarray:
    """The rows of the lowest and the highest value of each pixel, ascending; one row of a pixel that is all NaN."""
    rows: set[int] = set()
    edges = np.linspace(0, len(values), PIXELS + 1).astype(int)
    for first, part in zip(edges, np.split(values, edges[1:-1]), strict=False):
        none = np.isnan(part).all()
        rows |= {int(first)} if none else {int(first + np.nanargmin(part)), int(first + np.nanargmax(part))}
    return np.array(sorted(rows))


def fan_chart(
    path: Path,
    past_times: Any,
    past: np.ndarray,
    times: Any,
    forecast: np.ndarray,
    bands: Sequence[tuple[float, np.ndarray, np.ndarray]],
    unit: str,
    real: np.ndarray | None = None,
) -> None:
    """A forecast after the values that it was made from, and the intervals that are to hold the real values.

    Args:
        path: the PNG to write.
        past_times: `[L]` times or row numbers.
        past: `[L]`, NaN where not measured.
        times: `[A]`, of the steps ahead.
        forecast: `[A]`.
        bands: level (0.9 holds 90 %), lower and upper bound `[A]` of each interval.
        unit: what the values are.
        real: `[A]`, what came, NaN where not measured.
    """
    marker = "o" if len(times) == 1 else None  # a line needs two points
    with rc_context(STYLE):
        figure, axes = subplots(figsize=(9, 4.5))
        axes.plot(past_times, past, color="black", linewidth=1.4, label="past")
        wide_first = sorted(bands, key=lambda band: -band[0])  # behind the narrow ones
        for i, (level, lower, upper) in enumerate(wide_first, 1):
            style: Any = {"color": COLOURS[0], "alpha": min(0.15 * i, 0.6), "label": f"{100 * level:g} %"}
            if marker:
                axes.vlines(times, lower, upper, linewidth=9, **style)
            else:
                axes.fill_between(times, lower, upper, linewidth=0, **style)
        axes.plot(times, forecast, color=COLOURS[0], linewidth=1.8, marker=marker, label="forecast")
        if real is not None:
            axes.plot(times, real, color="black", linewidth=1.2, linestyle="--", marker=marker, label="real")
        axes.set(ylabel=unit, title=f"Forecast of {len(times)} step{'s' if len(times) > 1 else ''} ahead")
        if isinstance(times, pd.DatetimeIndex):
            axes.tick_params(axis="x", labelrotation=20)
        else:
            axes.set_xlabel("row of the file")
        axes.legend(ncols=3 + len(bands), loc="lower right", bbox_to_anchor=(1, 1), fontsize=8, borderaxespad=0.2)
        save(figure, path)
