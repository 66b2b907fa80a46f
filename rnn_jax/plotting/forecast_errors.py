"""Plots of how wrong forecasts are, and where: by step ahead, by value, by input, by origin."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from rnn_jax.plotting.style import COLOURS, STYLE, rc_context, save, subplots

LINES = ("o-", "s--", "^:")
"""Once all colours are used, the next kind of line."""


def _curves(axes: Any, places: Sequence[float], curves: Mapping[str, Sequence[float]]) -> None:
    """A line for each name; what is not finite is a gap."""
    for i, (name, values) in enumerate(curves.items()):
        y = np.asarray(values, np.float64)
        style: Any = {"color": COLOURS[i % len(COLOURS)], "markersize": 3, "label": name.replace("_", " ")}
        axes.plot(places, np.where(np.isfinite(y), y, np.nan), LINES[i // len(COLOURS) % len(LINES)], **style)
    axes.legend(fontsize=8)


def error_by_step(path: Path, curves: Mapping[str, Sequence[float]], steps: Sequence[int], measure: str) -> None:
    """A measure against the step ahead, a line for each forecast.

    Args:
        path: the PNG to write.
        curves: name to a value for each of the steps, as `rnn_jax.forecast_metrics.by_step` finds them; what is not
            finite is a gap.
        steps: steps ahead, from 1.
        measure: what the values are.
    """
    with rc_context(STYLE):
        figure, axes = subplots(figsize=(8, 4.5))
        _curves(axes, steps, curves)
        axes.xaxis.get_major_locator().set_params(integer=True)
        axes.set(xlabel="steps ahead", ylabel=measure, title=f"{measure} by step ahead")
        save(figure, path)


def error_by_origin(path: Path, labels: Sequence[str], curves: Mapping[str, Sequence[float]], measure: str) -> None:
    """A measure against the origin of a backtest, a line for each forecast.

    Args:
        path: the PNG to write.
        labels: `[K]`, of the origins, ascending; at most twelve are written.
        curves: name to a value for each of the origins; what is not finite is a gap.
        measure: what the values are.
    """
    shown = range(0, len(labels), -(-len(labels) // 12) or 1)
    with rc_context(STYLE):
        figure, axes = subplots(figsize=(9, 4.5))
        _curves(axes, np.arange(len(labels)).tolist(), curves)
        axes.set_xticks(shown, [labels[i] for i in shown], rotation=20, ha="right")
        axes.set(xlabel="origin", ylabel=measure, title=f"{measure} by origin of the backtest")
        save(figure, path)


def predicted_and_real(path: Path, targets: np.ndarray, predictions: np.ndarray, unit: str) -> None:
    """Predicted against real values and the diagonal on which both are equal; counts of them where there are many.

    Args:
        path: the PNG to write.
        targets: any shape, NaN where not measured: left out.
        predictions: the same shape; what is not finite has no place on the axis and is left out.
        unit: what the values are.

    Raises:
        ValueError: shapes that differ, with the shapes, or nothing to draw.
    """
    if targets.shape != predictions.shape:
        raise ValueError(f"targets {targets.shape} and predictions {predictions.shape} must have one shape")
    known = ~np.isnan(targets) & np.isfinite(predictions)
    if not known.any():
        raise ValueError(f"no targets to draw: shape {targets.shape}")
    y, p = targets[known], predictions[known]
    ends = [min(y.min(), p.min()), max(y.max(), p.max())]
    with rc_context(STYLE):
        figure, axes = subplots(figsize=(6.4, 5.4))
        if len(y) > 2000:  # points would hide each other
            counts = axes.hexbin(y, p, gridsize=60, bins="log", mincnt=1, cmap="viridis", linewidths=0.1)
            figure.colorbar(counts, ax=axes, label="forecasts")
        else:
            axes.plot(y, p, ".", color=COLOURS[0], markersize=4, alpha=0.5)
        axes.plot(ends, ends, color="black", linewidth=0.8, linestyle="--")
        rmse = np.sqrt(np.mean((y - p) ** 2))
        axes.set(xlabel=f"real, {unit}", ylabel=f"predicted, {unit}", title=f"{len(y):,} forecasts, RMSE {rmse:.3g}")
        axes.set_aspect("equal", adjustable="box")
        save(figure, path)


def importance_bars(path: Path, importance: Mapping[str, float]) -> None:
    """Which inputs matter, the most important at the top.

    Args:
        path: the PNG to write.
        importance: name to the share by which the squared error grows without the input, as
            `rnn_jax.importance.permutation_importance` finds it; what is not finite has no bar.
    """
    ordered = sorted(importance.items(), key=lambda item: -np.inf if np.isnan(item[1]) else item[1])
    values = np.array([value for _, value in ordered], np.float64)
    with rc_context(STYLE):
        figure, axes = subplots(figsize=(8, 1.6 + 0.32 * len(ordered)))
        bars = axes.barh([name for name, _ in ordered], np.where(np.isfinite(values), values, 0), color=COLOURS[0])
        axes.bar_label(bars, [f"{value:+.1%}" for value in values], padding=3, fontsize=8)
        axes.axvline(0, color="black", linewidth=0.6)
        axes.margins(x=0.15)
        axes.xaxis.set_major_formatter(lambda value, _: f"{100 * value:g} %")
        axes.grid(axis="y", visible=False)
        axes.set_axisbelow(True)
        axes.set(xlabel="growth of the squared error when permuted", title="Importance of the inputs")
        save(figure, path)
