"""What comes after the rows of a file, by a finished run: a CSV file and a picture."""

import json
from pathlib import Path
from typing import Any

import jax
import numpy as np
import pandas as pd
from tabulate import tabulate

from experiments.common import digests
from experiments.common.flags import UsageError
from experiments.common.plots import draw
from experiments.common.restore import Restored, restore
from experiments.forecast.flags import Config
from experiments.forecast.report import ENCODER
from experiments.forecast.scores import Bands
from experiments.forecast.task import make_output
from rnn_jax import models
from rnn_jax.data.errors import DataError
from rnn_jax.data.series.features import Encoder, encode
from rnn_jax.data.series.future import with_future
from rnn_jax.data.series.like import read_like
from rnn_jax.data.series.series import Series
from rnn_jax.data.series.windows import carry_forward, gather, run_starts
from rnn_jax.plotting import forecast as plots

SHOWN = 24
"""Rows of the table that is printed."""

SUFFIXES = ("", " lower", " upper")
"""Of a target's name: the forecast and the ends of its interval."""


def predict(config: Config, folder: Path) -> None:
    """Forecasts the rows after the last one of `--csv`, for each series in it.

    Writes `FILE.forecast.csv`, with a row for each series and step: its time or number and for every target the
    forecast and the ends of its interval; and `FILE.forecast.png`, of the first series and target; both in the run's
    folder, named after the file.

    Raises: `UsageError` for a folder without a forecast; `DataError` for a file whose columns differ from those of the
    run, by name, or that has fewer rows than the model reads.
    """
    restored = restore(folder, "workdir")
    if restored.name != "forecast":
        raise UsageError(f"--workdir={folder}: a run of {restored.name}, which forecasts nothing")
    encoder = load_encoder(folder)
    sizes = restored.results["model"]
    if (encoder.num_features, encoder.num_known) != (sizes.get("input_size"), sizes.get("num_known")):
        raise UsageError(f"--workdir={folder}: {ENCODER} there is of another run; put it back, or train anew")
    time, series_id = config.time or restored.config.time, config.series_id or restored.config.series_id
    if encoder.cycles and not time:
        raise UsageError(f"--time: the run reads the calendar ({','.join(encoder.cycles)}); name the column of times")
    if series_id and not encoder.id_names:
        raise UsageError(f"--series_id={series_id}: the run was trained on a single series; leave it out")
    series = read_like(config.csv, encoder, time or None, series_id or None, config.max_file_bytes, config.max_cells)
    for sentence in series.repairs:
        print(f"data: {sentence}")
    lag, ahead = sizes["lag"], restored.config.ahead
    extended, origins = with_future(series, ahead)
    starts = origins - lag
    _check_rows(extended, starts, lag)
    outputs = forecast(restored, encoder, extended, starts)
    band = load_band(restored)
    parts = (np.asarray(make_output(restored.config).location(outputs)), *band.of(outputs))
    ids = np.zeros(len(starts), np.int64) if extended.ids is None else extended.ids[starts]
    center, scale = (each[ids][:, None, : encoder.num_targets] for each in (encoder.center, encoder.scale))
    value, lower, upper = (part * scale + center for part in parts)

    table = as_table(extended, encoder, origins, (value, lower, upper))
    stem = folder / f"{Path(config.csv).name.split('.')[0]}.forecast"
    table.to_csv(f"{stem}.csv", index=False)
    rows = np.arange(max(starts[0], origins[0] - 3 * ahead - 24), origins[0] + ahead)
    times: Any = rows if extended.times is None else extended.times[rows]
    draw(
        plots.fan_chart,
        Path(f"{stem}.png"),
        times[:-ahead],
        extended.values[rows[:-ahead], 0],
        times[-ahead:],
        value[0, :, 0],
        [(band.level, lower[0, :, 0], upper[0, :, 0])],
        encoder.columns[0].name,
    )
    print(tabulate(table.head(SHOWN).to_dict("list"), headers="keys", showindex=False, floatfmt=".4g"))
    print(f"\n{len(table)} rows with intervals of {band.level:.0%}: {stem}.csv, {stem}.png")


def load_encoder(folder: Path) -> Encoder:
    """That of a run. Raises `UsageError` where its file is missing or damaged."""
    digests.check(folder, ENCODER)
    try:
        return Encoder.from_json(json.loads((folder / ENCODER).read_text(encoding="utf-8")))
    except (OSError, ValueError, LookupError, TypeError, AttributeError, RecursionError) as error:
        raise UsageError(f"--workdir={folder}: {ENCODER} there cannot be read ({error}); train it anew") from error


def load_band(restored: Restored) -> Bands:
    """The intervals of a run's forecasts. Raises `UsageError` for results of another version."""
    intervals = restored.result("intervals", dict)
    try:
        if intervals["radius"] is None:
            return Bands(float(intervals["level"]), None)
        shape = (restored.config.ahead, restored.results["model"]["num_targets"])
        return Bands(float(intervals["level"]), np.asarray(intervals["radius"], np.float64).reshape(shape))
    except (LookupError, TypeError, ValueError) as error:
        raise UsageError(f"{restored.where}: results.json there has no intervals; train it anew") from error


def _check_rows(series: Series, starts: np.ndarray, lag: int) -> None:
    carried = carry_forward(series.values[:, : series.num_targets], series.breaks)[0]
    for start, begin in zip(starts, run_starts(series.breaks)[starts + lag - 1], strict=True):
        have = int(start + lag - begin)
        whose = f" of {series.id_names[int(series.ids[start + lag])]!r}" if series.ids is not None else ""
        if have < lag:
            raise DataError(
                f"{series.name}: {have} rows{whose} without a break before the rows to forecast, the model reads "
                f"{lag}: give it {lag} or more"
            )
        for place in np.flatnonzero(np.isnan(carried[start + lag - 1])):
            raise DataError(
                f"{series.name}: column {series.columns[place].name!r} has no value in the {have} rows{whose} without "
                "a break before the rows to forecast: give it one"
            )


def forecast(restored: Restored, encoder: Encoder, series: Series, starts: np.ndarray) -> np.ndarray:
    """Scaled outputs `[D, ahead, M, P]` of the windows at `starts` `[D]`."""
    sizes, ahead = restored.results["model"], restored.config.ahead
    apply, _ = models.pure(restored.model)
    rows = gather(encode(encoder, series), starts, sizes["lag"] + ahead).astype(np.float32)
    past, future = rows[:, : sizes["lag"]], rows[:, sizes["lag"] :, rows.shape[-1] - sizes["num_known"] :]
    return np.asarray(jax.jit(apply)(jax.device_put(restored.params), past, future), np.float64)


def as_table(
    series: Series, encoder: Encoder, origins: np.ndarray, parts: tuple[np.ndarray, np.ndarray, np.ndarray]
) -> pd.DataFrame:
    """A row for each series and step ahead: of its targets the forecast, lower and upper end, `[D, A, M]` each."""
    ahead = parts[0].shape[1]
    rows = (origins[:, None] + np.arange(ahead)).ravel()
    found: dict[str, Any] = {}
    names = [column.name + suffix for column in encoder.columns[: encoder.num_targets] for suffix in SUFFIXES]

    def free(name: str) -> str:
        return f"{name} of forecast" if name in names else name

    if series.id_names:
        assert series.ids is not None
        found[free("series")] = np.repeat([series.id_names[number] for number in series.ids[origins]], ahead)
    found[free("time" if series.times is not None else "step")] = (
        series.times[rows] if series.times is not None else np.tile(np.arange(1, ahead + 1), len(origins))
    )
    ends = [part[..., place].ravel() for place in range(encoder.num_targets) for part in parts]
    found |= zip(names, ends, strict=True)
    return pd.DataFrame(found)
