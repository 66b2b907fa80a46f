"""The pictures of the documentation, drawn by `python -m docs.tables`.

A picture that is drawn from files of measured figures carries a fingerprint of what it shows, so that a picture of
older figures is noticed.
"""

import json
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from docs.figures import Files
from docs.of_benchmarks import BOTH, PEERS, SHAPES, contests, fastest
from docs.of_gradients import row_of
from experiments.vanishing import context
from rnn_jax import models
from rnn_jax.data.series.baselines import persistence
from rnn_jax.files import fingerprint
from rnn_jax.plotting import parallel
from rnn_jax.plotting.language import context_panel
from rnn_jax.plotting.style import COLOURS, STYLE, rc_context, subplots

FOLDER = Path(__file__).resolve().parent / "pictures"
WIDTH = 6.7
"""In inches, 804 pixels."""
MARK = "Comment"
"""The text in a PNG that holds the fingerprint of what it shows."""


def grid(height: float, rows: int = 1, columns: int = 1, **options: Any) -> tuple[Figure, Any]:
    """A figure of the pictures' width, `height` inches high, and its axes, which make room for all labels."""
    figure, axes = subplots(rows, columns, figsize=(WIDTH, height), **options)
    figure.set_layout_engine("constrained")
    return figure, axes


class Picture(NamedTuple):
    """A picture of measured figures.

    Attributes:
        data: from the parsed files by name, what it shows: dictionaries, lists and numbers.
        draw: the figure of that.
    """

    data: Callable[[Files], Any]
    draw: Callable[[Any], Figure]


LINES = {
    "LSTM, forget bias 2": ("lstm", "forget_2", COLOURS[4]),
    "GRU, chrono biases": ("gru", "chrono", COLOURS[3]),
    "LSTM, chrono biases": ("lstm", "chrono", COLOURS[0]),
    "LSTM, forget bias 1": ("lstm", "forget_1", COLOURS[5]),
    "Elman, orthogonal": ("rnn", "orthogonal", COLOURS[2]),
    "LSTM, PyTorch's start": ("lstm", "pytorch", COLOURS[1]),
}
"""Cell, initialization and colour by label, from the top of the picture down."""


def gradient_curves(files: Files) -> dict[str, list[list[float]]]:
    """By label, what is left of the gradient after T steps: T, log10 of the share."""
    rows = {label: row_of(files["vanishing"], cell, init) for label, (cell, init, _) in LINES.items()}
    return {label: [[int(n), left] for n, left in row["log10_gradient"].items()] for label, row in rows.items()}


def gradient_by_lag(curves: Mapping[str, Sequence[Sequence[float]]]) -> Figure:
    """What is left of the gradient after T steps; between two measured T it falls by the same factor at each step."""
    low, high = -12.0, 3.0
    with rc_context(STYLE):
        figure, axes = grid(3.5)
        longest = max(points[-1][0] for points in curves.values())
        lags = np.geomspace(1, longest, 600)
        for label, points in curves.items():
            colour = LINES[label][-1]
            steps, left = np.array([(0, 0.0), *points]).T
            axes.plot(lags, np.interp(lags, steps, left), color=colour, linewidth=2, label=label)
            axes.plot(steps[1:], left[1:], "o", color=colour, markersize=4)
        axes.set(xscale="log", xlim=(1, longest), ylim=(low, high))
        axes.set_xticks([10**k for k in range(6)], [f"{10**k:,}" for k in range(6)])
        axes.set_yticks([0, -3, -6, -9, -12], ["all of it", "1/1,000", "1e-6", "1e-9", "1e-12"])
        axes.set(xlabel="steps back in time", ylabel="gradient that is left")
        axes.set_title("How far back does a gradient reach before training?", fontsize=11)
        axes.text(0.9 * longest, high - 0.4, "explodes", ha="right", va="top", fontsize=9, style="italic")
        axes.text(1.1, low + 0.4, "vanishes", va="bottom", fontsize=9, style="italic")
        axes.legend(fontsize=8, loc="lower right")
    return figure


CELLS = {"lstm": "LSTM", "gru": "GRU", "rnn": "Elman"}
BARS = {"rnn_jax": COLOURS[0], "PyTorch": COLOURS[1], "Flax": "#b8b8b8", "Equinox": COLOURS[3]}
"""Who is shown, and the colour."""
TASKS = {
    "S1": "temperature\nT 64, H 32",
    "S2": "reviews, padded\nT 500, H 64",
    "S3": "a wide state\nT 24, H 400",
    "S4": "long and wide\nT 1,000, H 256",
    "S7": "reviews, unequal\nT up to 400, H 64",
}


def speed_ratios(files: Files) -> dict[str, dict[str, list[float | None]]]:
    """By cell and peer, how many times as long as here its gradient takes, a figure for each of `SHAPES`."""
    found = contests(files["layer_lstm"], files["layer_gru_rnn"])

    def ratio(cell: str, shape: str, name: str) -> float | None:
        row = fastest(found[cell, shape], PEERS[name])
        return None if row is None else row[BOTH]["ratio"]

    peers = [name for name in BARS if name in PEERS]
    return {cell: {name: [ratio(cell, shape, name) for shape in SHAPES] for name in peers} for cell in CELLS}


def speed(ratios: Mapping[str, Mapping[str, Sequence[float | None]]]) -> Figure:
    """How long a gradient takes elsewhere, in units of the time here: a panel per cell, a group of bars per shape."""
    longest, height = 5.5, 0.2
    with rc_context(STYLE | {"axes.grid": False}):
        figure, panels = grid(4.4, 1, len(ratios), sharey=True)
        for axes, (cell, by_peer) in zip(panels, ratios.items(), strict=True):
            for at, (name, colour) in enumerate(BARS.items()):
                where = np.arange(len(SHAPES)) + at * height
                values = by_peer.get(name, [1.0] * len(SHAPES))
                times = np.array([np.nan if value is None else value for value in values])
                axes.barh(where, times.clip(max=longest), height, color=colour, label=name)
                for y, time in zip(where, times, strict=True):
                    if name in by_peer and np.isfinite(time):
                        style: Any = {"ha": "right", "color": "white"} if time > longest else {}
                        x = min(time, longest) + (-0.1 if style else 0.1)
                        axes.text(x, y, f"{time:.1f}", va="center_baseline", fontsize=7, **style)
            axes.set_title(CELLS[cell], fontsize=10)
            axes.set(xlim=(0, longest), xticks=[0, 1, 2, 3, 4, 5])
            axes.tick_params(left=False)
        panels[0].set_yticks(np.arange(len(SHAPES)) + 1.5 * height, [TASKS[shape] for shape in SHAPES], fontsize=8)
        panels[0].invert_yaxis()
        figure.supxlabel("time of one layer's gradient, rnn_jax = 1 (shorter is faster)", fontsize=10)
        figure.legend(*panels[0].get_legend_handles_labels(), ncols=len(BARS), fontsize=9, loc="outside upper center")
    return figure


def iteration_counts(files: Files) -> dict[str, Any]:
    """What `parallel` predicted and measured, without the times."""
    names = ("cell", "trained", "length", "lyapunov_exponent", "predicted", "measured")
    rows = [{name: row[name] for name in names} for row in files["parallel"]["rows"]]
    return {"rows": rows, "most": files["parallel"]["max_iterations"]}


def iterations(found: Mapping[str, Any]) -> Figure:
    """Iterations of Newton's method against the largest Lyapunov exponent."""
    with rc_context(STYLE):
        figure, axes = grid(4.0)
        parallel.panel(axes, found["rows"], found["most"])
        axes.set_title("All steps at once by Newton's method: where it pays", fontsize=11)
    return figure


def context_losses(files: Files) -> dict[str, Any]:
    """What `vanishing` measured of a language model's run."""
    found: dict[str, Any] = files["context"]["context"]
    return found


def worth_of_context(found: Mapping[str, Any]) -> Figure:
    """The loss of the same tokens by how many before them the networks were given."""
    with rc_context(STYLE):
        figure, axes = grid(4.2)
        context_panel(axes, *context.shown(found))
    return figure


PICTURES = {
    "context": Picture(context_losses, worth_of_context),
    "gradient_by_lag": Picture(gradient_curves, gradient_by_lag),
    "speed": Picture(speed_ratios, speed),
    "iterations": Picture(iteration_counts, iterations),
}
"""Those that show measured figures."""


def forecast(folder: Path) -> Figure:
    """Some days of the test split and what the network of a finished run said of each hour one hour before.

    Args:
        folder: of a run of `launch.py forecast` on the synthetic series.

    Raises: `UsageError` where there is no such run; `ValueError` for another series, which is not ours to show.
    """
    from experiments.common import restore
    from experiments.forecast.run import read
    from experiments.forecast.task import device_data, make_output, predict

    run = restore.restore(folder, "run")
    if run.results["dataset"] != "synthetic":
        raise ValueError(f"run={folder} is of {run.results['dataset']}: the picture shows the synthetic series alone")
    config, task = read(run.config)
    starts = task.test[len(task.test) // 2 :][: 4 * 24]
    apply, _ = models.pure(run.model)
    data = jax.device_put(device_data(config, task))
    predicted = predict(config, run.results["model"], apply, run.params, data, jnp.asarray(starts))
    location = np.asarray(make_output(config).location(predicted))
    real, ours = (each[:, 0, 0] for each in (task.targets(starts), task.in_units(location, starts)))
    naive = persistence(task, starts)[:, 0, 0]
    days, cell = np.arange(len(starts)) / 24, run.config.cell.upper()
    with rc_context(STYLE):
        figure, (above, below) = grid(3.9, 2, 1, sharex=True, height_ratios=(2.2, 1))
        above.plot(days, real, color="black", linewidth=1.2, label="what came")
        above.plot(days, ours, "o", color=COLOURS[0], markersize=3.5, label=f"the {cell}'s forecast, one hour before")
        above.set(ylabel="temperature, °C", ylim=(real.min() - 1, real.max() + 3))
        above.set_title("A made-up temperature, forecast one hour ahead", fontsize=11)
        below.axhline(0, color="black", linewidth=0.6)
        below.plot(days, naive - real, color=COLOURS[1], linewidth=1, label='error of "the next hour is like this one"')
        below.plot(days, ours - real, color=COLOURS[0], linewidth=1.6, label=f"error of the {cell}")
        lowest = min((naive - real).min(), (ours - real).min())
        below.set(xlabel="days of the test split", ylabel="°C", xlim=(0, 4), ylim=(lowest - 1.2, None))
        for axes, corner in ((above, "upper right"), (below, "lower right")):
            axes.set_xticks(range(5))
            axes.legend(fontsize=8, ncols=2, loc=corner)
    return figure


def trained(folder: Path) -> Path:
    """A run of `launch.py forecast` without flags, in an empty folder."""
    command = [sys.executable, "launch.py", "forecast", f"--workdir={folder}"]
    subprocess.run(command, cwd=FOLDER.parent.parent, check=True, stdout=subprocess.DEVNULL)
    return folder


def mark_of(data: Any) -> str:
    """The fingerprint of what a picture shows."""
    return fingerprint(json.dumps(data))


def write(figure: Figure, name: str, mark: str = "") -> None:
    """Writes the picture `name` with its mark, in 64 colours, which takes a third of the bytes."""
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    notes = PngInfo()
    notes.add_text(MARK, mark)
    image = Image.fromarray(np.asarray(canvas.buffer_rgba())).convert("RGB").quantize(64)
    FOLDER.mkdir(exist_ok=True)
    image.save(FOLDER / f"{name}.png", optimize=True, pnginfo=notes)


def draw_all(files: Files, run: Path | None) -> None:
    """Draws every picture; the forecast is that of a run or, without one, of a new one."""
    for name, picture in PICTURES.items():
        data = picture.data(files)
        write(picture.draw(data), name, mark_of(data))
    with tempfile.TemporaryDirectory() as folder:
        write(forecast(run or trained(Path(folder))), "forecast")


def differing(files: Files) -> list[str]:
    """The pictures that show other figures than the parsed files, by name, and those that are not there."""
    found = []
    for name, picture in PICTURES.items():
        path = FOLDER / f"{name}.png"
        with Image.open(path) as image:
            mark = image.info.get(MARK)
        if mark != mark_of(picture.data(files)):
            found.append(f"docs/pictures/{name}.png")
    return found
