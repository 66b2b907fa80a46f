"""Plots of a training: losses and norms against the step."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from rnn_jax.plotting.style import COLOURS, STYLE, rc_context, save, spans_decade, subplots


def loss_curves(path: Path, records: Sequence[Mapping[str, Any]]) -> None:
    """Training and validation loss, and beside them the norms of gradient and update, against the step.

    Args:
        path: the PNG to write.
        records: of `metrics.jsonl`, those with a `loss`: `step`, `loss`, `grad_norm`, `update_norm` and in some
            `validation_loss`.
    """
    frame = pd.DataFrame(records)
    with rc_context(STYLE):
        figure, (left, right) = subplots(1, 2, figsize=(11, 4.2))
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
        left.set(xlabel="step", ylabel="loss (mean over seeds)", title="Loss")
        if spans_decade([value for line in left.lines for value in line.get_ydata()]):
            left.set_yscale("log")
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

    Args:
        path: the PNG to write.
        curves: name to any number of points, each the mean over an equal share of `num_steps`.
        levels: name to an error.
        num_steps: of the training.
    """
    with rc_context(STYLE):
        figure, axes = subplots(figsize=(8, 4.5))
        for (name, values), colour in zip(curves.items(), COLOURS, strict=False):
            axes.plot((np.arange(len(values)) + 0.5) * num_steps / len(values), values, color=colour, label=name)
        for name, level in levels.items():
            axes.axhline(level, color="black", linestyle=":", linewidth=1, label=f"{name}: {level}")
        axes.set(xlabel="step", ylabel="mean squared standardized error", yscale="log", title="Training error")
        axes.legend()
        save(figure, path)
