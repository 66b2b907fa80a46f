"""Hourly weather in Szeged, Hungary, 2006 to 2016.

Source: "Weather in Szeged 2006-2016", Kaggle data set budincsevity/szeged-weather, file `weatherHistory.csv`.

The file has traps. Inside a year its months stand in alphabetical order and inside a month its days in text order, so
neighbouring rows may be months apart; the 24 hours of 2010-08-02 occur twice; three hours of 2014-07-14 are missing;
a pressure of 0 means that there is none; and November and December 2016 are filler, one day repeated with small
changes.
"""

from collections.abc import Sequence
from dataclasses import replace
from os import PathLike

import numpy as np
import pandas as pd

from rnn_jax.data.errors import DataError
from rnn_jax.data.find import find
from rnn_jax.data.series import DATASETS, check_protocol
from rnn_jax.data.series.series import Series, encode, from_table
from rnn_jax.data.series.table import Table, read_table

NAME = "szeged"
FILE = "weatherHistory.csv"
SOURCE = "the Kaggle data set budincsevity/szeged-weather"
TARGET = "Temperature (C)"
TIME = "Formatted Date"
PRESSURE = "Pressure (millibars)"
ANGLE = "Wind Bearing (degrees)"

# The summary of a day is written when the day is over: at noon it would tell of the evening.
KNOWS_THE_FUTURE = "Daily Summary"
# The first is constant: 0 in every row.
LEFT_OUT = ("Loud Cover", KNOWS_THE_FUTURE)

SPLIT_TIMES = (
    pd.Timestamp("2014-01-01", tz="UTC"),
    pd.Timestamp("2015-01-01", tz="UTC"),
    pd.Timestamp("2016-11-01", tz="UTC"),
)
"""Rows for training, validation and test lie before these times. What follows the last is filler."""


def read(
    data_dir: str | PathLike[str], protocol: str, *, target: Sequence[str] = (), inputs: Sequence[str] = ()
) -> Series:
    """Reads `weatherHistory.csv` or `weatherHistory.csv.gz` of `data_dir`.

    `clean`: in UTC, sorted, repeated hours dropped, the three missing hours as rows without values. The filler at the
    end stays in the series; the splits leave it out.

    `lecture`: one target, the 96,453 rows in file order with no break marked. This is wrong: 903 of the steps between
    neighbouring rows are not one hour, so that windows jump through time, and a day that occurs twice may be learnt and
    tested. It is kept because published figures were measured so, and can be compared in no other way.

    Args:
        data_dir: the folder with the file.
        protocol: `clean` or `lecture`.
        target: the columns to forecast, by default the temperature.
        inputs: more columns; `("all",)`: all others but `Loud Cover`, which is constant, and `Daily Summary`, which
            knows the rest of the day. `Summary` and `Precip Type` are categories, the bearing of the wind is an angle.

    Returns:
        A `Series`, hourly, season 24.

    Raises:
        DataError: an unknown protocol; a file that is missing, with where to get it, or that cannot be read; a column
            that is missing or knows the future; `lecture` with more than one column or a missing value.
    """
    check_protocol(protocol, DATASETS[NAME].protocols)
    target = tuple(target) or (TARGET,)
    if KNOWS_THE_FUTURE in (*target, *inputs):
        raise DataError(f"dataset={NAME}: {KNOWS_THE_FUTURE!r} tells of hours to come: leave it out")
    everything = tuple(inputs) == ("all",)
    if protocol == "lecture" and (len(target) > 1 or tuple(inputs) not in ((), ("none",))):
        raise DataError(f"dataset={NAME} has one target and no inputs under protocol=lecture: use protocol=clean")
    named = [*target] if tuple(inputs) == ("none",) else [*target, *inputs]
    columns = None if everything else list(dict.fromkeys(named))
    table = read_table(find(data_dir, FILE, SOURCE), columns, TIME, numbers=target)
    cells = {name: column for name, column in table.cells.items() if not (everything and name in LEFT_OUT)}
    if PRESSURE in cells:
        cells[PRESSURE] = np.where(cells[PRESSURE] == 0, np.nan, cells[PRESSURE])
    table = replace(table, cells=cells)
    if protocol == "lecture":
        return _in_file_order(table, target)
    series = from_table(table, target, inputs, angles=[ANGLE] if ANGLE in cells else [], name=NAME)
    return replace(series, split_times=SPLIT_TIMES)


def _in_file_order(table: Table, target: Sequence[str]) -> Series:
    values, columns, _ = encode(table, target)
    if np.isnan(values).any():
        raise DataError(f"{table.name} has cells without a value, file order cannot be kept: use protocol=clean")
    assert table.times is not None
    hour = np.timedelta64(1, "h")
    jumps = int(np.sum(np.diff(table.times.tz_localize(None).to_numpy()) != hour))
    note = f"kept in file order as the lecture did: {jumps:,} steps between neighbouring rows are not one hour"
    repairs = tuple(f"{table.name}: {sentence}" for sentence in (*table.notes, note))
    breaks = np.zeros(len(values), dtype=bool)
    return Series(NAME, values, columns, 1, table.times, breaks, repairs, split_times=SPLIT_TIMES, season=24, step="1h")
