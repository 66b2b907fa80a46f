"""Plots of gradients through time."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from rnn_jax.plotting.style import STYLE, rc_context, save, subplots


def by_lag(path: Path, title: str, curves: Mapping[str, tuple[np.ndarray, np.ndarray]], ylabel: str) -> None:
    """log10 of a gradient's norm against the lag, a line for each name, lags on a logarithmic axis from 1 on.

    What lies below 1e-45 or above 1e45 is out of the picture; the smallest normal float32 is drawn as a dotted line.

    Args:
        path: the PNG to write.
        title: of the picture.
        curves: name to lags `[K]` and the log10 of the norms there `[K]`, -inf where the gradient is zero.
        ylabel: what the norm is of.
    """
    from matplotlib import colormaps  # with the first figure, see `rnn_jax.plotting.style`

    with rc_context(STYLE):
        figure, axes = subplots(figsize=(9, 5))
        colours = colormaps["viridis" if len(curves) > 10 else "tab10"]
        for number, (name, (lags, values)) in enumerate(curves.items()):
            colour = colours(number / max(len(curves) - 1, 1) if len(curves) > 10 else number)
            axes.plot(lags, values, color=colour, linewidth=1.4, label=name)
        low, high = -45.0, 45.0
        axes.set_xscale("log")
        axes.set_xlim(1, max(lags[-1] for lags, _ in curves.values()))  # also where nothing of a curve is above zero
        every = np.concatenate([values[np.isfinite(values)] for _, values in curves.values()])
        axes.set_ylim(max(every.min(initial=0), low) - 1, min(every.max(initial=0), high) + 1)
        axes.axhline(np.log10(np.finfo(np.float32).tiny), color="black", linestyle=":", linewidth=1)
        axes.set(xlabel="lag, steps", ylabel=ylabel, title=title)
        axes.legend(fontsize=8, ncols=1 + len(curves) // 12)
        save(figure, path)


def heat_map(path: Path, title: str, steps: Sequence[int], flow: np.ndarray) -> None:
    """log10 of a gradient's norm by training step and lag, as colours from 1e-40 on.

    Args:
        path: the PNG to write.
        title: of the picture.
        steps: `[N]`, ascending.
        flow: `[N, T]`, log10 of the norm at each step and lag; NaN leaves a hole.
    """
    with rc_context(STYLE | {"axes.grid": False}):
        figure, axes = subplots(figsize=(9, 4.5))
        shown = np.maximum(np.nan_to_num(flow, nan=np.nan), -40)  # -inf becomes a number
        mesh = axes.pcolormesh(np.arange(flow.shape[1]), np.asarray(steps), shown, shading="nearest", cmap="magma")
        figure.colorbar(mesh, ax=axes, label="log10 of the gradient's norm")
        axes.set(xlabel="lag, steps before the end", ylabel="training step", title=title)
        save(figure, path)


def flow_from_log(path: Path, records: Sequence[Mapping[str, Any]], name: str = "gradient_flow") -> None:
    """A heat map for each layer and direction of what a run logged, `<stem of path>_<layer>.png`; none without any.

    Args:
        path: the PNG to write, but for the layer.
        records: of `metrics.jsonl`; in some of them `name` gives for each layer log10 norms `[T]` by lag, None for NaN.
        name: under which they were logged.
    """
    logged = [record for record in records if name in record]
    for layer in logged[0][name] if logged else ():
        rows = [[np.nan if x is None else x for x in record[name][layer]] for record in logged]
        file = path.with_name(f"{path.stem}_{layer.replace(' ', '_')}.png")
        heat_map(file, f"Gradient through time, {layer}", [r["step"] for r in logged], np.asarray(rows))
