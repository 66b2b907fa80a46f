"""Series of numbers: reading, repairing, windows, splits, baselines.

A new data set is a file here with a function `read(data_dir, protocol, **options)` that returns a `Series`, and its row
in `DATASETS`. The file is imported when it is read: to list the data sets takes none of what the readers need.
"""

import importlib
from collections.abc import Mapping
from os import PathLike
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, NamedTuple

from rnn_jax.data.errors import DataError
from rnn_jax.extras import need

if TYPE_CHECKING:
    from rnn_jax.data.series.series import Series

need(__name__, "pandas")

PROTOCOLS = ("clean", "lecture", "copied")
"""How rows are ordered and split: `clean`, honestly in time; `lecture`, as the lectures of the source material did;
`copied`, as the tutorial did that others copied from."""

SCALINGS = ("standard", "robust", "none")
"""(value - mean) / standard deviation; (value - median) / (interquartile range / 1.349); the value itself."""

CYCLES = ("hour", "weekday", "year")
"""The cycles of the calendar: the time of day, the day of the week, the day of the year, all in UTC."""

MAX_FILE_BYTES = 1_000_000_000
"""The largest file that is read, unpacked, unless told."""

MAX_CELLS = 20_000_000
"""The most cells of the columns that are read, unless told: as text each takes some 60 bytes of memory."""


class Dataset(NamedTuple):
    """A row of the table.

    Attributes:
        about: a phrase for a list of the data sets.
        module: the file here whose `read` reads it.
        options: the keyword arguments of its `read`.
        fixed: further keyword arguments, which this row fixes.
        protocols: those of `PROTOCOLS` that it has.
    """

    about: str
    module: str
    options: tuple[str, ...] = ()
    fixed: Mapping[str, Any] = MappingProxyType({})
    protocols: tuple[str, ...] = ("clean",)


DATASETS = {
    "synthetic": Dataset("a made-up hourly temperature", "synthetic", ("num_hours",), protocols=("clean", "lecture")),
    "szeged": Dataset(
        "the hourly weather in Szeged, Hungary, 2006 to 2016",
        "szeged",
        ("target", "inputs"),
        protocols=("clean", "lecture"),
    ),
    "beijing_pm25": Dataset(
        "hourly fine dust and weather in Beijing, China, 2010 to 2014",
        "beijing",
        ("target", "inputs"),
        protocols=("clean", "copied"),
    ),
    "etth1": Dataset(
        "hourly load and oil temperature of an electricity transformer", "ett", ("target", "inputs"), {"station": 1}
    ),
    "etth2": Dataset("the same of another transformer", "ett", ("target", "inputs"), {"station": 2}),
    "csv": Dataset(
        "columns of a CSV or Parquet file",
        "csv_file",
        (
            *("csv", "target", "inputs", "known_future", "angles", "time", "series_id"),
            *("max_file_bytes", "max_cells"),
        ),
        protocols=("clean", "lecture"),
    ),
}


def read(name: str, data_dir: str | PathLike[str], protocol: str, **options: Any) -> "Series":
    """Reads a data set of `DATASETS`.

    Args:
        name: a key of `DATASETS`.
        data_dir: the folder with data files; `synthetic` and `csv` do without.
        protocol: one of `PROTOCOLS` that the data set has.
        options: those of the data set.

    Returns:
        The series, `[N, F]` float64 in physical units, NaN where a value is missing, the targets in the first columns.

    Raises:
        DataError: an unknown name or protocol; a file that is missing or that cannot be read, with what to do.
        TypeError: an option that the data set does not have.

    >>> read("synthetic", "", "clean", num_hours=48).values.shape
    (48, 1)
    """
    if name not in DATASETS:
        raise DataError(f"dataset={name}: take one of {', '.join(DATASETS)}")
    row = DATASETS[name]
    check_protocol(protocol, row.protocols)
    module = importlib.import_module(f"{__name__}.{row.module}")
    return module.read(data_dir, protocol, **row.fixed, **options)


def check_protocol(protocol: str, protocols: tuple[str, ...] = PROTOCOLS) -> None:
    """Raises `DataError` for a protocol that is none of `protocols`."""
    if protocol not in protocols:
        raise DataError(f"protocol={protocol}: take one of {', '.join(protocols)}")
