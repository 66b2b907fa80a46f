"""Hourly temperature in Szeged, Hungary, 2006 to 2016.

Source: "Weather in Szeged 2006-2016", Kaggle data set budincsevity/szeged-weather, file `weatherHistory.csv`.

The file has traps. Inside a year its months stand in alphabetical order and inside a month its days in text order, so
neighbouring rows may be months apart; the 24 hours of 2010-08-02 occur twice; three hours of 2014-07-14 are missing;
and November and December 2016 are filler, one day repeated with small changes.
"""

from dataclasses import replace
from os import PathLike
from pathlib import Path

import numpy as np
import pandas as pd

from rnn_jax.data.errors import DataError
from rnn_jax.data.series import check_protocol
from rnn_jax.data.series.series import Series, regularize
from rnn_jax.data.series.table import Table, read_table

NAME = "szeged"
FILES = ("weatherHistory.csv", "weatherHistory.csv.gz")
TARGET = "Temperature (C)"
TIME = "Formatted Date"

SPLIT_TIMES = (
    pd.Timestamp("2014-01-01", tz="UTC"),
    pd.Timestamp("2015-01-01", tz="UTC"),
    pd.Timestamp("2016-11-01", tz="UTC"),
)
"""Rows for training, validation and test lie before these times. What follows the last is filler."""


def read(data_dir: str | PathLike[str], protocol: str) -> Series:
    """Reads `weatherHistory.csv` or `weatherHistory.csv.gz` of `data_dir`: the temperature, F = 1.

    `clean`: in UTC, sorted, repeated hours dropped, the hole of three hours filled. The filler at the end stays in the
    series; the splits leave it out.

    `lecture`: the 96,453 rows in file order with no break marked. This is wrong: 903 of the steps between neighbouring
    rows are not one hour, so that windows jump through time, and a day that occurs twice may be learnt and tested. It
    is kept because published figures were measured so, and can be compared in no other way.

    Args:
        data_dir: the folder with the file.
        protocol: `clean` or `lecture`.

    Raises:
        DataError: an unknown protocol; a file that is missing, with where to get it, or that cannot be read.
    """
    check_protocol(protocol)
    table = read_table(_find(Path(data_dir)), TARGET, TIME)
    series = _in_file_order(table) if protocol == "lecture" else regularize(table, TARGET)
    return replace(series, name=NAME, split_times=SPLIT_TIMES)


def _in_file_order(table: Table) -> Series:
    if np.isnan(table.values).any():
        raise DataError(f"{table.name} has cells without a value, file order cannot be kept: use protocol=clean")
    assert table.times is not None
    hour = np.timedelta64(1, "h")
    jumps = int(np.sum(np.diff(table.times.tz_localize(None).to_numpy()) != hour))
    note = f"kept in file order as the lecture did: {jumps:,} steps between neighbouring rows are not one hour"
    repairs = tuple(f"{table.name}: {sentence}" for sentence in (*table.notes, note))
    breaks = np.zeros(len(table.values), dtype=bool)
    return Series(table.name, table.values[:, None], (TARGET,), table.times, breaks, repairs)


def _find(data_dir: Path) -> Path:
    for file in FILES:
        if (data_dir / file).is_file():
            return data_dir / file
    raise DataError(
        f"no {FILES[0]} in data_dir={data_dir}: download the Kaggle data set budincsevity/szeged-weather "
        f"and put its {FILES[0]} there"
    )
