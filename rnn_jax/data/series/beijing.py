"""Hourly fine dust (PM2.5) and weather in Beijing, China, 2010 to 2014.

Source: "Beijing PM2.5 Data", UCI Machine Learning Repository, file `pollution.csv`; Liang et al. (2015), "Assessing
Beijing's PM2.5 pollution", Proceedings of the Royal Society A 471, 20150257.

The hours are in order, without a hole and without a repeat. They are local time, which in these years had no summer
time; here they are taken as UTC. The dust is missing in 2,067 hours, in runs of up to 155, the first 24 hours among
them. `Iws`, `Is` and `Ir` are cumulated: of wind since its direction last changed, and of hours of snow and rain.
"""

from collections.abc import Sequence
from dataclasses import replace
from os import PathLike

import numpy as np
import pandas as pd

from rnn_jax.data.errors import DataError
from rnn_jax.data.find import find
from rnn_jax.data.series import DATASETS, check_protocol
from rnn_jax.data.series.series import Series, from_table
from rnn_jax.data.series.table import Table, read_table

NAME = "beijing_pm25"
FILE = "pollution.csv"
SOURCE = "the data set Beijing PM2.5 of the UCI Machine Learning Repository"
TARGET = "pm2.5"
CLOCK = ("year", "month", "day", "hour")
WEATHER = ("DEWP", "TEMP", "PRES", "cbwd", "Iws", "Is", "Ir")

SPLIT_TIMES = (
    pd.Timestamp("2013-01-01", tz="UTC"),
    pd.Timestamp("2014-01-01", tz="UTC"),
    pd.Timestamp("2015-01-01", tz="UTC"),
)
"""Of `clean`: rows for training, validation (2013) and test (2014) lie before these times."""

DROPPED = 24
"""Of `copied`: the rows at the beginning, all without dust, that the copies leave out."""

TRAIN_PAIRS = 365 * 24
"""Of `copied`: the pairs of an hour and the next that the copies train on. The target of the last one is row 8,760."""


def read(
    data_dir: str | PathLike[str], protocol: str, *, target: Sequence[str] = (), inputs: Sequence[str] = ()
) -> Series:
    """Reads `pollution.csv` or `pollution.csv.gz` of `data_dir`.

    `clean`: a missing value stays missing; trained before 2013, validated in 2013, tested in 2014.

    `copied`: as in the tutorial that much of what is on the web was copied from: the first 24 rows dropped, missing
    values set to 0, the first 8,760 pairs of neighbouring hours for training (here the last tenth of them for
    validation, which the copies do without) and all others for test. This is wrong: an air without any dust is learnt
    and scored in 4 of 100 hours. On its test pairs persistence has an RMSE of 26.559, a straight line through the last
    value 26.319; without the pairs that touch a missing value persistence has 23.447.

    Args:
        data_dir: the folder with the file.
        protocol: `clean` or `copied`.
        target: the columns to forecast, by default `pm2.5`.
        inputs: more columns, by default and with `("all",)` all others of `pm2.5`, `DEWP`, `TEMP`, `PRES`, `cbwd` (a
            category: the direction of the wind), `Iws`, `Is` and `Ir`; `("none",)`: none.

    Returns:
        A `Series`, hourly, season 24.

    Raises:
        DataError: an unknown protocol; a file that is missing, with where to get it, or that cannot be read; a column
            that is missing; `copied` and fewer than 8,762 rows.
    """
    check_protocol(protocol, DATASETS[NAME].protocols)
    target = tuple(target) or (TARGET,)
    chosen = tuple(inputs) or ("all",)
    if chosen == ("all",):
        chosen = tuple(name for name in (TARGET, *WEATHER) if name not in target)
    elif chosen == ("none",):
        chosen = ()
    columns = list(dict.fromkeys([*CLOCK, *target, *chosen]))
    table = read_table(find(data_dir, FILE, SOURCE), columns, None, numbers=(*CLOCK, *target))
    table = _with_times(table)
    if protocol == "clean":
        return replace(from_table(table, target, chosen, name=NAME), split_times=SPLIT_TIMES)
    rest = len(table.lines) - DROPPED
    if rest < TRAIN_PAIRS + 2:
        raise DataError(
            f"{table.name} holds {len(table.lines):,} rows, too few for protocol=copied: use protocol=clean"
        )
    cells = {name: column[DROPPED:] for name, column in table.cells.items()}
    empty = {name: np.isnan(column) for name, column in cells.items() if column.dtype != object}
    zeros = sum(int(missing.sum()) for missing in empty.values())
    cells |= {name: np.where(missing, 0.0, cells[name]) for name, missing in empty.items()}
    assert table.times is not None
    note = f"as the copies did: dropped the first {DROPPED} rows and set {zeros:,} missing values to 0"
    table = replace(
        table, cells=cells, times=table.times[DROPPED:], lines=table.lines[DROPPED:], notes=(*table.notes, note)
    )
    series = from_table(table, target, chosen, name=NAME)
    train = TRAIN_PAIRS * 9 // 10
    return replace(series, split_rows=(train + 1, TRAIN_PAIRS + 1, len(series.values)))


def _with_times(table: Table) -> Table:
    parts = {name: table.cells[name] for name in CLOCK}
    times = pd.DatetimeIndex(pd.to_datetime(pd.DataFrame(parts), errors="coerce", utc=True))
    for i in np.flatnonzero(times.isna()):
        text = ", ".join(f"{name} {parts[name][i]:g}" for name in CLOCK)
        raise DataError(f"{table.name}, line {table.lines[i]}: {text} is not a time: correct the line")
    return replace(table, cells={n: c for n, c in table.cells.items() if n not in CLOCK}, times=times)
