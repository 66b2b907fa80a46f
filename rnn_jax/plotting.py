"""Plots that are written to a file: one function each, arrays in, a PNG out."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
import pandas as pd

matplotlib.use("Agg")  # writes files; has to be chosen before pyplot is imported
import matplotlib.pyplot as plt

COLOURS = ("#1b6ca8", "#d1495b", "#8a8a8a", "#66a182", "#edae49", "#5c4d7d")
STYLE: Any = {
    "figure.dpi": 120,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.alpha": 0.3,
    "axes.titlelocation": "left",
    "legend.frameon": False,
}


def save(figure: Any, path: Path) -> None:
    path.parent.mkdir(exist_ok=True)
    figure.tight_layout()
    figure.savefig(path)
    plt.close(figure)


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
) -> None:
    """Real and predicted values over a stretch from the middle of the test split, and below it the errors.

    Args:
        path: the PNG to write.
        times: `[W]` times or row numbers of the targets.
        targets: `[W]`.
        predictions: name to `[W]`; the first is drawn boldly, persistence as a thin line.
        unit: what the values are.
        num_steps: how much to show.
    """
    middle = max((len(targets) - num_steps) // 2, 0)
    part = slice(middle, middle + num_steps)
    with plt.rc_context(STYLE):
        figure, (above, below) = plt.subplots(2, 1, figsize=(11, 6), sharex=True, height_ratios=(3, 1.3))
        shown = times[part]
        above.plot(shown, targets[part], color="black", linewidth=1.6, label="real")
        for (name, values), colour in zip(_shown(predictions).items(), COLOURS, strict=False):
            first = name == next(iter(predictions))
            style = {"linewidth": 1.6 if first else 0.9, "linestyle": "-" if first else "--", "color": colour}
            above.plot(shown, values[part], label=name.replace("_", " "), **style)
            below.plot(shown, (values - targets)[part], **style)
        above.set_ylabel(unit)
        above.set_title("One step ahead, test split")
        above.legend(ncols=4, loc="upper left", bbox_to_anchor=(0, -0.02))
        below.axhline(0, color="black", linewidth=0.6)
        below.set_ylabel("error")
        if isinstance(shown, pd.DatetimeIndex):
            below.tick_params(axis="x", labelrotation=20)
        else:
            below.set_xlabel("row of the file")
        save(figure, path)


def error_histogram(path: Path, targets: np.ndarray, predictions: Mapping[str, np.ndarray], unit: str) -> None:
    """The distribution of the errors of each forecast, `[W]` each, on a logarithmic count axis: tails matter."""
    errors = {name: values - targets for name, values in _shown(predictions).items()}
    limit = max(np.quantile(np.abs(e), 0.999) for e in errors.values()) or 1.0
    bins = np.linspace(-limit, limit, 81).tolist()
    with plt.rc_context(STYLE):
        figure, axes = plt.subplots(figsize=(8, 4.5))
        for (name, error), colour in zip(errors.items(), COLOURS, strict=False):
            rmse = np.sqrt(np.mean(error**2))
            axes.hist(
                error,
                bins=bins,
                histtype="step",
                color=colour,
                linewidth=1.4,
                label=f"{name.replace('_', ' ')}: RMSE {rmse:.3f}, mean {error.mean():+.3f}",
            )
        axes.set_yscale("log")
        axes.set_xlabel(f"predicted - real, {unit}")
        axes.set_ylabel("windows")
        axes.set_title("Errors one step ahead, test split")
        axes.legend()
        save(figure, path)


def loss_curves(path: Path, records: Sequence[Mapping[str, Any]]) -> None:
    """Training and validation loss, and the norms of gradient and update, against the step, from `metrics.jsonl`."""
    frame = pd.DataFrame(records)
    with plt.rc_context(STYLE):
        figure, (left, right) = plt.subplots(1, 2, figsize=(11, 4.2))
        left.plot(frame["step"], frame["loss"], color=COLOURS[0], label="training")
        if "validation_loss" in frame:
            validation = frame.dropna(subset=["validation_loss"])
            left.plot(
                validation["step"],
                validation["validation_loss"],
                "o-",
                color=COLOURS[1],
                markersize=3,
                label="validation",
            )
        left.set(xlabel="step", ylabel="loss (mean over seeds)", yscale="log", title="Loss")
        left.legend()
        for name, colour in zip(("grad_norm", "update_norm"), COLOURS, strict=False):
            right.plot(frame["step"], frame[name], color=colour, label=name.replace("_", " "))
        right.set(xlabel="step", yscale="log", title="Norms")
        right.legend()
        save(figure, path)


def error_curves(
    path: Path, curves: Mapping[str, Sequence[float]], levels: Mapping[str, float], num_steps: int
) -> None:
    """An error against the step for each name, and horizontal lines to compare with.

    A curve has any number of points, each the mean over an equal share of `num_steps`.
    """
    with plt.rc_context(STYLE):
        figure, axes = plt.subplots(figsize=(8, 4.5))
        for (name, values), colour in zip(curves.items(), COLOURS, strict=False):
            axes.plot((np.arange(len(values)) + 0.5) * num_steps / len(values), values, color=colour, label=name)
        for name, level in levels.items():
            axes.axhline(level, color="black", linestyle=":", linewidth=1, label=f"{name}: {level}")
        axes.set(xlabel="step", ylabel="mean squared standardised error", yscale="log", title="Training error")
        axes.legend()
        save(figure, path)
