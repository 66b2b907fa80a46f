"""Plots of the long-memory tasks: arrays in, a PNG out."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from rnn_jax.plotting.style import COLOURS, STYLE, rc_context, save, subplots


def learning_curve(path: Path, records: Sequence[Mapping[str, Any]], measure: str, level: float) -> None:
    """Training loss and the same measure of the validation split against the step, and the level without a memory.

    Args:
        path: the PNG to write.
        records: of `metrics.jsonl`.
        measure: what the loss is: `mse` or `cross_entropy`.
        level: its value for the answer without a memory.
    """
    frame = pd.DataFrame(records)
    with rc_context(STYLE):
        figure, axes = subplots(figsize=(8, 4.5))
        axes.plot(frame["step"], frame["loss"], color=COLOURS[0], label="training")
        if f"validation_{measure}" in frame:
            seen = frame.dropna(subset=[f"validation_{measure}"])
            axes.plot(
                seen["step"], seen[f"validation_{measure}"], "o-", color=COLOURS[1], markersize=3, label="validation"
            )
        axes.axhline(level, color="black", linestyle=":", linewidth=1, label=f"without a memory: {level:.4g}")
        axes.set(xlabel="step", ylabel=f"{measure.replace('_', ' ')} (mean over seeds)", yscale="log", title="Learning")
        axes.legend()
        save(figure, path)


def metric_by_length(
    path: Path, by_length: Mapping[int, Mapping[str, Any]], measure: str, name: str, trained: int
) -> None:
    """A measure of the test split against its length, with the spread over seeds, and of the answer without a memory.

    Args:
        path: the PNG to write.
        by_length: T to `{"metrics": {measure: {mean, std}}, "baselines": {"trivial": the same}}`.
        measure: which to draw.
        name: of the model.
        trained: the T of training, marked by a line.
    """
    lengths = sorted(by_length)
    ours = [by_length[length]["metrics"][measure] for length in lengths]
    trivial = [by_length[length]["baselines"]["trivial"][measure]["mean"] for length in lengths]
    with rc_context(STYLE):
        figure, axes = subplots(figsize=(8, 4.5))
        means, stds = [each["mean"] for each in ours], [each["std"] for each in ours]
        axes.errorbar(lengths, means, yerr=stds, marker="o", capsize=3, color=COLOURS[0], label=name)
        axes.plot(lengths, trivial, "o:", color="black", linewidth=1, markersize=3, label="without a memory")
        axes.set_xlim(lengths[0] / 1.5, 1.5 * lengths[-1])  # one length alone has no limits of its own
        axes.axvline(trained, color=COLOURS[2], linewidth=1, label="length of training")
        axes.set(
            xlabel="length T of the test sequences",
            ylabel=measure.replace("_", " "),
            xscale="log",
            yscale="log",
            title="Beyond the length of training",
        )
        axes.legend()
        save(figure, path)
