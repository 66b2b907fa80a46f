"""Columns of any CSV or Parquet file as a data set."""

from collections.abc import Sequence
from os import PathLike

from rnn_jax.data.errors import DataError
from rnn_jax.data.series import MAX_CELLS, MAX_FILE_BYTES
from rnn_jax.data.series.series import Series, read_file


def read(
    data_dir: str | PathLike[str],
    protocol: str,
    *,
    csv: str = "",
    target: Sequence[str] = (),
    inputs: Sequence[str] = (),
    known_future: Sequence[str] = (),
    angles: Sequence[str] = (),
    time: str | None = None,
    series_id: str | None = None,
    max_file_bytes: int = MAX_FILE_BYTES,
    max_cells: int = MAX_CELLS,
) -> Series:
    """Reads columns of a file, see `series.read_file`.

    Args:
        data_dir: not used: the file lies where its path says.
        protocol: not used: the rows are put in order under every one.
        csv: the path of the file.
        target: the columns to forecast.
        inputs: more columns; `("all",)`: all others.
        known_future: the columns whose future is known.
        angles: the columns that are angles in degrees.
        time: the column of times; without it the rows are one step apart.
        series_id: the column that says to which series a row belongs; without it all belong to one.
        max_file_bytes, max_cells: of `series.read_file`.

    Returns:
        A `Series`.

    Raises:
        DataError: no file or no column is named; else as `read_file`.
    """
    if not csv or not target:
        raise DataError("dataset=csv needs csv=FILE and target=COLUMN")
    return read_file(
        csv,
        target,
        inputs,
        known_future=known_future,
        angles=angles,
        time=time or None,
        series_id=series_id or None,
        max_file_bytes=max_file_bytes,
        max_cells=max_cells,
    )
