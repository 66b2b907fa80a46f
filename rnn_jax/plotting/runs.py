"""Plots of many runs: a metric against a flag, and learning curves beside each other."""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from rnn_jax.plotting.style import COLOURS, STYLE, rc_context, save, spans_decade, subplots

MARKERS = "osD^v"
"""Once all colours are used, the next one."""
BESIDE = 0.4
"""Of the place of a category, what its points share."""


class Point(NamedTuple):
    """A figure over seeds.

    Attributes:
        value: of the flag, as written.
        mean, std: of the metric; `std` is NaN of a single seed.
    """

    value: str
    mean: float
    std: float


class Curve(NamedTuple):
    """The learning curve of a run; `group` is what it shares its colour with."""

    group: str
    steps: Sequence[int]
    losses: Sequence[float]
    finished: bool


def natural_order(value: str) -> tuple[float, str]:
    """What to sort values of a flag by: numbers as numbers, and after them texts.

    >>> sorted(["gru", "16", "8", "1e-3"], key=natural_order)
    ['1e-3', '8', '16', 'gru']
    """
    numbers = _numbers([value])
    return (math.inf, value) if numbers is None else (numbers[0], value)


def _numbers(values: Sequence[str]) -> list[float] | None:
    """None unless all are finite numbers."""
    try:
        found = [float(value) for value in values]
    except ValueError:
        return None
    return found if all(map(math.isfinite, found)) else None


def metric_by_flag(
    path: Path,
    lines: Mapping[str, Sequence[Point]],
    flag: str,
    metric: str,
    levels: Mapping[str, float] | None = None,
    title: str = "",
    log: bool = False,
) -> None:
    """A metric against the values of a flag, a line for each name, with the deviation over seeds.

    Numbers have an axis, a logarithmic one from a decade on; other values are categories.

    Args:
        path: the PNG to write.
        lines: name to points.
        flag, metric: names.
        levels: name to a value of the metric, dotted lines to compare with.
        title: of the plot.
        log: whether the metric's axis is logarithmic too, where it reaches over a decade.
    """
    values = sorted({point.value for points in lines.values() for point in points}, key=natural_order)
    numbers = _numbers(values)
    places: dict[str, float] = dict(zip(values, numbers if numbers is not None else range(len(values)), strict=True))
    with rc_context(STYLE):
        figure, axes = subplots(figsize=(8, 4.5))
        for i, (name, points) in enumerate(lines.items()):
            ordered = sorted(points, key=lambda point: places[point.value])
            style: Any = {"color": COLOURS[i % len(COLOURS)], "marker": MARKERS[i // len(COLOURS) % len(MARKERS)]}
            # Beside each other, where one category has them all.
            aside = 0.0 if numbers is not None else (i - (len(lines) - 1) / 2) * BESIDE / len(lines)
            axes.errorbar(
                [places[point.value] + aside for point in ordered],
                [point.mean for point in ordered],
                yerr=np.nan_to_num([point.std for point in ordered]),
                linestyle="none" if numbers is None else "-",
                markersize=5,
                capsize=3,
                label=_plain(name),
                **style,
            )
        for i, (name, level) in enumerate((levels or {}).items()):
            axes.axhline(level, color="black", linestyle=(":", "--", "-.")[i % 3], linewidth=1, label=_plain(name))
        if numbers is None:
            axes.set_xticks(range(len(values)), [_plain(value) for value in values])
            axes.set_xlim(-0.5, len(values) - 0.5)
            axes.tick_params(axis="x", labelrotation=20 if max(map(len, values)) > 8 else 0)
        elif len(numbers) > 1:
            if spans_decade(numbers):
                axes.set_xscale("log")
            if len(values) <= 8:  # else the ticks of the axis say enough
                axes.set_xticks(numbers, [_plain(value) for value in values])
                axes.minorticks_off()
        if log and spans_decade([point.mean for points in lines.values() for point in points]):
            axes.set_yscale("log")
        axes.set(xlabel=_plain(flag), ylabel=f"{_plain(metric)}, test split")
        axes.set_title(_plain(title))
        if len(lines) > 1 or levels:
            axes.legend(fontsize=8)
        save(figure, path)


def learning_curves(path: Path, curves: Sequence[Curve], ylabel: str, most_names: int = 12) -> None:
    """The learning curves of all runs; dashed those of runs that are not finished.

    Args:
        path: the PNG to write.
        curves: those of a group have one colour, in the order in which groups appear.
        ylabel: what the losses are.
        most_names: groups in the legend, at most; all further ones are grey and behind the others.
    """
    groups = list(dict.fromkeys(curve.group for curve in curves))
    losses = [loss for curve in curves for loss in curve.losses]
    with rc_context(STYLE):
        figure, axes = subplots(figsize=(8, 4.5))
        for place, group in enumerate(groups):
            named = place < most_names
            for i, curve in enumerate(each for each in curves if each.group == group):
                axes.plot(
                    curve.steps,
                    curve.losses,
                    color=COLOURS[place % len(COLOURS)] if named else "#c8c8c8",
                    linestyle="--" if not curve.finished else (":" if named and place >= len(COLOURS) else "-"),
                    linewidth=1.4 if named else 0.7,
                    zorder=2 if named else 1,
                    label=_plain(group) if named and i == 0 else None,
                )
        if spans_decade(losses):
            axes.set_yscale("log")
        if spans_decade([curve.steps[-1] for curve in curves]):  # else a short run is not seen beside a long one
            axes.set_xscale("log")
        axes.set(xlabel="step", ylabel=ylabel)
        left_out = len(groups) - most_names
        axes.set_title("Learning curves" + (f"; {left_out} more rows in grey" if left_out > 0 else ""))
        axes.legend(fontsize=8)
        save(figure, path)


def _plain(text: str) -> str:
    """A name that Matplotlib draws as it is, without mathematics, and no longer than fits."""
    short = text if len(text) <= 60 else f"{text[:59]}…"
    return short.replace("$", r"\$").lstrip("_") or " "  # a label that begins with a dash below is left out of legends
