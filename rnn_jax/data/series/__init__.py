"""Series of numbers: reading, repairing, windows, splits, baselines.

A new data set is a file here with a function `read(data_dir, protocol, **options)` that returns a `Series`, and its row
in `DATASETS`. The file is imported when it is read: to list the data sets takes none of what the readers need.
"""

import importlib
from os import PathLike
from typing import TYPE_CHECKING, Any, NamedTuple

from rnn_jax.data.errors import DataError
from rnn_jax.extras import need

if TYPE_CHECKING:
    from rnn_jax.data.series.series import Series

need(__name__, "pandas")

PROTOCOLS = ("clean", "lecture")
"""How rows are ordered and split: `clean`, honestly in time; `lecture`, as the lectures of the source material did."""


class Dataset(NamedTuple):
    """A row of the table.

    Attributes:
        about: a phrase for a list of the data sets.
        module: the file here whose `read` reads it.
        options: the keyword arguments of its `read`.
    """

    about: str
    module: str
    options: tuple[str, ...] = ()


DATASETS = {
    "synthetic": Dataset("a made-up hourly temperature", "synthetic", ("num_hours",)),
    "szeged": Dataset("the hourly temperature in Szeged, Hungary, 2006 to 2016", "szeged"),
    "csv": Dataset("a column of a CSV file", "csv_file", ("csv", "target", "time")),
}


def read(name: str, data_dir: str | PathLike[str], protocol: str, **options: Any) -> "Series":
    """Reads a data set of `DATASETS`.

    Args:
        name: a key of `DATASETS`.
        data_dir: the folder with data files; `synthetic` and `csv` do without.
        protocol: one of `PROTOCOLS`.
        options: those of the data set.

    Returns:
        The series, `[N, F]` float64 in physical units, the target in column 0.

    Raises:
        DataError: an unknown name or protocol; a file that is missing or that cannot be read, with what to do.
        TypeError: an option that the data set does not have.

    >>> read("synthetic", "", "clean", num_hours=48).values.shape
    (48, 1)
    """
    if name not in DATASETS:
        raise DataError(f"dataset={name}: take one of {', '.join(DATASETS)}")
    check_protocol(protocol)
    return importlib.import_module(f"{__name__}.{DATASETS[name].module}").read(data_dir, protocol, **options)


def check_protocol(protocol: str) -> None:
    """Raises `DataError` for a protocol that there is not."""
    if protocol not in PROTOCOLS:
        raise DataError(f"protocol={protocol}: take one of {', '.join(PROTOCOLS)}")
