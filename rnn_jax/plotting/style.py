"""What all plots share: colours, style, and how a figure becomes a PNG file.

Figures are made without `pyplot`: nothing here chooses a matplotlib back end, opens a window or keeps a figure alive.
Matplotlib is imported with the first figure, as whoever trains before would wait for it.
"""

from collections.abc import Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["COLOURS", "STYLE", "rc_context", "save", "spans_decade", "subplots"]

COLOURS = ("#1b6ca8", "#d1495b", "#8a8a8a", "#66a182", "#edae49", "#5c4d7d")
"""Of the curves of a plot, in the order in which they are drawn."""

STYLE: Any = {
    "figure.dpi": 120,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.alpha": 0.3,
    "axes.titlelocation": "left",
    "legend.frameon": False,
}
"""Settings of Matplotlib for every plot, for `rc_context`."""


def rc_context(settings: Any) -> AbstractContextManager[None]:
    """Settings of Matplotlib, by name, for what is drawn inside its `with`: `matplotlib.rc_context`."""
    import matplotlib

    return matplotlib.rc_context(settings)


def subplots(rows: int = 1, columns: int = 1, *, figsize: tuple[float, float], **options: Any) -> tuple["Figure", Any]:
    """A figure and its axes, as `pyplot.subplots`; call it inside `rc_context(STYLE)`.

    Args:
        rows, columns: of the grid of axes.
        figsize: in inches.
        options: of `Figure.subplots` (`sharex`, `height_ratios`, ...).
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=figsize)
    FigureCanvasAgg(figure)
    return figure, figure.subplots(rows, columns, **options)


def spans_decade(values: Sequence[float]) -> bool:
    """Whether positive numbers reach over a decade: only then a logarithmic axis has ticks that say where they are."""
    return min(values) > 0 and max(values) >= 10 * min(values)


def save(figure: "Figure", path: Path) -> None:
    """Writes the figure as a PNG to this path; makes the folder. Raises `OSError` where that cannot be."""
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.tight_layout()
    figure.set_layout_engine(None)  # as long as there is one, even one that is through, `savefig` draws twice
    figure.savefig(path)
