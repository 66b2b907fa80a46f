"""Plots of forecasts: arrays in, a PNG out."""

from collections.abc import Mapping
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
) -> None:
    """Real and predicted values over a stretch from the middle of the test split, and below it the errors.

    Args:
        path: the PNG to write.
        times: `[W]` times or row numbers of the targets.
        targets: `[W]`, in physical units.
        predictions: name to `[W]`; the first is drawn boldly, the others as thin lines, `seasonal_naive` not at all.
        unit: what the values are.
        num_steps: how much to show.
    """
    middle = max((len(targets) - num_steps) // 2, 0)
    part = slice(middle, middle + num_steps)
    with rc_context(STYLE):
        figure, (above, below) = subplots(2, 1, figsize=(11, 6), sharex=True, height_ratios=(3, 1.3))
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
    """The distribution of the errors of each forecast, on a logarithmic count axis: tails matter.

    Args:
        path: the PNG to write.
        targets: `[W]`, in physical units.
        predictions: name to `[W]`; `seasonal_naive` is not drawn. The legend gives the root of the mean squared error
            and the mean error.
        unit: what the values are.
    """
    errors = {name: values - targets for name, values in _shown(predictions).items()}
    limit = max(np.quantile(np.abs(e), 0.999) for e in errors.values()) or 1.0
    bins = np.linspace(-limit, limit, 81).tolist()
    with rc_context(STYLE):
        figure, axes = subplots(figsize=(8, 4.5))
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
