"""One column of any CSV file as a data set."""

from os import PathLike

from rnn_jax.data.errors import DataError
from rnn_jax.data.series.series import Series, read_csv


def read(
    data_dir: str | PathLike[str], protocol: str, *, csv: str = "", target: str = "", time: str | None = None
) -> Series:
    """Reads one column of a CSV file, see `series.read_csv`.

    Args:
        data_dir: not used: the file lies where its path says.
        protocol: not used: the rows are put in order under every one.
        csv: the path of the file.
        target: the column to forecast.
        time: the column of times; without it the rows are one step apart.

    Returns:
        A `Series` with F = 1.

    Raises:
        DataError: no file or no column is named; else as `read_csv`.
    """
    if not csv or not target:
        raise DataError("dataset=csv needs csv=FILE and target=COLUMN")
    return read_csv(csv, target, time or None)
