"""Plots of gradients through time and of Lyapunov exponents."""

from collections.abc import Iterator, Mapping, Sequence
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
    for layer, steps, flow in _logged(records, name):
        heat_map(_of_layer(path, layer), f"Gradient through time, {layer}", steps, flow)


def exponents_by_step(path: Path, title: str, steps: Sequence[int], exponents: np.ndarray) -> None:
    """Lyapunov exponents by training step, a line for each, the largest darkest; chaos begins at the dashed zero.

    Args:
        path: the PNG to write.
        title: of the picture.
        steps: `[N]`, ascending.
        exponents: `[N, K]`, nats per step; NaN leaves a hole.
    """
    from matplotlib import colormaps

    with rc_context(STYLE):
        figure, axes = subplots(figsize=(9, 4.5))
        count = exponents.shape[1]
        for number, values in reversed(list(enumerate(exponents.T))):
            label = f"exponent {number + 1}" if number in (0, count - 1) else None
            axes.plot(steps, values, color=colormaps["viridis"](0.9 * number / count), linewidth=1.4, label=label)
        axes.axhline(0, color="black", linestyle="--", linewidth=1)
        axes.set(xlabel="training step", ylabel="Lyapunov exponents, nats per step", title=title)
        axes.legend(fontsize=8, reverse=True, frameon=True, framealpha=1, edgecolor="none")  # over the line at 0
        save(figure, path)


def spectrum_from_log(path: Path, records: Sequence[Mapping[str, Any]], name: str = "spectrum") -> None:
    """`exponents_by_step` for each layer and direction of what a run logged; files and arguments of `flow_from_log`."""
    for layer, steps, exponents in _logged(records, name):
        exponents_by_step(_of_layer(path, layer), f"Lyapunov exponents in training, {layer}", steps, exponents)


def _logged(records: Sequence[Mapping[str, Any]], name: str) -> Iterator[tuple[str, list[int], np.ndarray]]:
    """Of each layer that was looked at: its name, the training steps, and what was seen, NaN for None."""
    looks = [record for record in records if name in record]
    for layer in looks[0][name] if looks else ():
        rows = [[np.nan if x is None else x for x in record[name][layer]] for record in looks]
        yield layer, [record["step"] for record in looks], np.asarray(rows)


def _of_layer(path: Path, layer: str) -> Path:
    return path.with_name(f"{path.stem}_{layer.replace(' ', '_')}.png")
