"""Plots of gradients through long sequences: what they cost, and what cutting them short leaves out."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from rnn_jax.plotting.style import COLOURS, STYLE, rc_context, save, subplots

MARKERS = {"scan": "o-", "manual": "s--"}


def costs(path: Path, rows: Sequence[Mapping[str, Any]]) -> None:
    """Memory and time against T, one line per back end and method.

    Args:
        path: the PNG to write.
        rows: each with `length`, `backend`, `method`, `predicted_bytes` and, if it ran, `seconds`.
    """
    lines: dict[tuple[str, str], list[Mapping[str, Any]]] = {}
    for row in sorted(rows, key=lambda row: row["length"]):
        lines.setdefault((row["backend"], row["method"]), []).append(row)
    methods = list(dict.fromkeys(method for _, method in lines))
    with rc_context(STYLE):
        figure, (left, right) = subplots(1, 2, figsize=(11, 4.5))
        for (backend, method), points in lines.items():
            style: Any = {"color": COLOURS[methods.index(method) % len(COLOURS)], "markersize": 4}
            for axes, name, unit in ((left, "predicted_bytes", 2**20), (right, "seconds", 1)):
                known = [(row["length"], row[name] / unit) for row in points if name in row]
                axes.plot(*zip(*known, strict=True) if known else ([], []), MARKERS.get(backend, "^:"), **style)
            left.plot([], [], MARKERS.get(backend, "^:"), label=f"{backend}, {method}", **style)
        left.set(xscale="log", yscale="log", xlabel="T", ylabel="MiB", title="Memory that the compiler plans for")
        right.set(xscale="log", yscale="log", xlabel="T", ylabel="seconds", title="Time of one gradient")
        left.legend(fontsize=8)
        save(figure, path)


def truncation_bias(path: Path, curves: Mapping[str, Mapping[str, np.ndarray]], num_steps: int) -> None:
    """The relative error and 1 - cosine of truncated gradients against the truncation length.

    Args:
        path: the PNG to write.
        curves: name to `lengths [K]`, `relative_error [K, S]` and `cosine [K, S]`; means over S seeds are drawn, and of
            the error the range as well. Zeros have no place on a logarithmic axis and are left out.
        num_steps: T, for the title.
    """
    with rc_context(STYLE):
        figure, (left, right) = subplots(1, 2, figsize=(11, 4.5))
        for (name, curve), colour in zip(curves.items(), COLOURS * len(curves), strict=False):
            errors, angles = np.asarray(curve["relative_error"]), 1 - np.asarray(curve["cosine"]).mean(1)
            lengths, some = np.asarray(curve["lengths"]), errors.min(1) > 0
            left.plot(lengths[some], errors[some].mean(1), "o-", color=colour, markersize=3, label=name)
            left.fill_between(lengths[some], errors[some].min(1), errors[some].max(1), color=colour, alpha=0.15)
            some &= angles > 0
            right.plot(lengths[some], angles[some], "o-", color=colour, markersize=3)
        left.set(
            xscale="log", yscale="log", xlabel="k", title=f"Relative error of the truncated gradient, T = {num_steps}"
        )
        right.set(xscale="log", yscale="log", xlabel="k", title="1 - cosine")
        left.legend(fontsize=8)
        save(figure, path)
