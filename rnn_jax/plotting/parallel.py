"""The plot of time in parallel: iterations of Newton's method against the largest Lyapunov exponent."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rnn_jax.plotting.style import COLOURS, STYLE, rc_context, save, subplots

if TYPE_CHECKING:
    from matplotlib.axes import Axes

MARKERS = "osD^v<>ph*"


def panel(axes: "Axes", rows: Sequence[Mapping[str, Any]], most: int) -> None:
    """Predicted (crosses) and measured (filled) iterations against the exponent: a colour per length, a form per cell.

    What was measured of a trained network has a black edge.

    Args:
        axes: where to draw.
        rows: each with `cell`, `trained`, `length`, `lyapunov_exponent`, `predicted` and `measured`, None where it took
            more than `most`.
        most: the most iterations that were measured.
    """
    lengths = sorted({row["length"] for row in rows})
    cells = list(dict.fromkeys(row["cell"] for row in rows))
    axes.axvline(0, color="black", linewidth=0.8, linestyle="--")
    axes.axhline(most, color="grey", linewidth=0.8, linestyle=":")
    for row in rows:
        style: Any = {"color": COLOURS[lengths.index(row["length"]) % len(COLOURS)], "linestyle": ""}
        edge: Any = {"markeredgecolor": "black", "markersize": 7, "zorder": 3} if row["trained"] else {"markersize": 5}
        marker = MARKERS[cells.index(row["cell"]) % len(MARKERS)]
        axes.plot(row["lyapunov_exponent"], row["predicted"], "x", markersize=7, **style)
        if row["measured"] is not None:
            axes.plot(row["lyapunov_exponent"], row["measured"], marker, **style, **edge)
    for at, length in enumerate(lengths):
        axes.plot([], [], color=COLOURS[at % len(COLOURS)], linewidth=3, label=f"T {length:,}")
    for at, cell in enumerate(cells):
        axes.plot([], [], MARKERS[at % len(MARKERS)], color="black", linestyle="", label=f"{cell}, measured")
    if any(row["trained"] for row in rows):
        axes.plot([], [], "o", color="none", markeredgecolor="black", linestyle="", label="of these trained")
    axes.plot([], [], "x", color="black", linestyle="", label="predicted")
    axes.set(yscale="log", xlabel="largest Lyapunov exponent, nats per step", ylabel="iterations")
    axes.set_title("Newton's method over all steps at once: where it pays, and where it does not")
    axes.legend(fontsize=8)


def iterations(path: Path, rows: Sequence[Mapping[str, Any]], most: int) -> None:
    """The `panel` as a picture of its own: the PNG at `path`."""
    with rc_context(STYLE):
        figure, axes = subplots(1, 1, figsize=(7.5, 4.8))
        panel(axes, rows, most)
        save(figure, path)
