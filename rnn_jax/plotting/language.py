"""Plots of language models: how far each model gets, and what a longer context is worth."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from rnn_jax.plotting.style import COLOURS, STYLE, rc_context, save, subplots

if TYPE_CHECKING:
    from matplotlib.axes import Axes


def ladder(path: Path, losses: Mapping[str, float], unit: str, limit: float | None = None) -> None:
    """A bar for each model, the best at the bottom.

    Args:
        path: the PNG to write.
        losses: by name of the model.
        unit: of the losses, in words.
        limit: the loss of a perfect model, where it is known.
    """
    ordered = sorted(losses.items(), key=lambda item: item[1], reverse=True)
    names, values = [name for name, _ in ordered], np.array([value for _, value in ordered])
    with rc_context(STYLE):
        figure, axes = subplots(figsize=(8, 1.2 + 0.4 * len(names)))
        places = np.arange(len(names))[::-1]
        axes.barh(places, values, color=[COLOURS["-gram" in name] for name in names], height=0.7)
        for place, value in zip(places, values, strict=True):
            axes.text(value, place, f" {value:.3f}", va="center", fontsize=9)
        if limit is not None:
            axes.axvline(limit, color="black", linestyle=":", linewidth=1, label=f"a perfect model: {limit:.3f}")
            axes.legend(loc="lower right")
        axes.set_yticks(places, names)
        axes.set(xlabel=unit, title="The ladder of models, on the same held-out text", xlim=(0, values.max() * 1.15))
        axes.grid(axis="y", visible=False)
        save(figure, path)


def context_panel(
    axes: "Axes",
    curves: Mapping[str, tuple[Sequence[int], Sequence[float]]],
    used: Mapping[str, int],
    tokens: str,
    unit: str,
) -> None:
    """The loss against how many tokens before it a model was given, on `axes`.

    Args:
        axes: where to draw.
        curves: by name of the model the numbers of tokens, ascending, and the losses.
        used: by name of the model, which of these numbers is marked: what it uses.
        tokens: what a token is, in the plural.
        unit: of the losses, in words.
    """
    for number, ((name, (lengths, losses)), colour) in enumerate(zip(curves.items(), COLOURS, strict=False)):
        label = f"{name}: uses {used[name]}, {losses[-1]:.3f} with {lengths[-1]}"
        axes.plot(lengths, losses, "o-", color=colour, markersize=3, linewidth=1.4, label=label)
        place = (used[name], losses[list(lengths).index(used[name])])
        size = 7 + 4 * number  # rings around the same place, of which none hides another
        axes.plot(*place, "o", color="none", markeredgecolor=colour, markersize=size)
    ticks = sorted({length for lengths, _ in curves.values() for length in lengths})
    axes.set_xscale("log", base=2)
    axes.set_xticks(ticks, [f"{tick:,}" for tick in ticks])
    axes.set(xlabel=f"{tokens} of context given", ylabel=unit, title="What is a longer context worth?")
    axes.legend()


def loss_by_context(path: Path, *shown: Any) -> None:
    """Writes the PNG `path` with what `context_panel` is given after its axes."""
    with rc_context(STYLE):
        figure, axes = subplots(figsize=(8, 4.5))
        context_panel(axes, *shown)
        save(figure, path)
