"""A file read as the rows of an earlier series were: the same columns, categories and numbers of series."""

from os import PathLike
from pathlib import Path

import numpy as np

from rnn_jax.data.errors import DataError, listed, shown
from rnn_jax.data.series import MAX_CELLS, MAX_FILE_BYTES
from rnn_jax.data.series.features import Encoder
from rnn_jax.data.series.regularize import regularize
from rnn_jax.data.series.series import Column, Series
from rnn_jax.data.series.table import read_table


def read_like(
    path: str | PathLike[str],
    encoder: Encoder,
    time: str | None,
    series_id: str | None,
    max_file_bytes: int = MAX_FILE_BYTES,
    max_cells: int = MAX_CELLS,
) -> Series:
    """Reads the columns of an encoder from a file, whatever others it has.

    A text that is no category of its column counts as missing, with a sentence in `repairs`.

    Args:
        path: CSV or Parquet.
        encoder: of a finished run.
        time, series_id: the columns of times and of names of series, or None.
        max_file_bytes, max_cells: of `table.read_table`.

    Raises:
        DataError: a column that is missing, or holds text where numbers were; a series that the encoder does not know;
            no value of any target; what `table.read_table` raises.
    """
    names = [column.name for column in encoder.columns]
    texts = [column.name for column in encoder.columns if column.kind == "category"]
    numbers = [name for name in names if name not in texts]
    table = read_table(Path(path), names, time, series_id, numbers, texts, max_file_bytes, max_cells)
    notes = list(table.notes)
    values = np.stack([_numbers(column, table.cells[column.name], notes) for column in encoder.columns], axis=1)
    measured = ~np.isnan(values[:, : encoder.num_targets]).all(axis=1)
    if not measured.any():
        raise DataError(
            f"{table.name}: no value of {listed(names[: encoder.num_targets])} in any row: there is no past to read"
        )
    for column, cells in zip(encoder.columns, values.T, strict=True):
        if np.isnan(cells).all():
            notes.append(f"column {column.name!r} has no value in any row")
    known = ~np.isnan(values[:, [column.known for column in encoder.columns]]).all(axis=1)
    rows = regularize(values, table.times, table.ids, measured, known)
    ids = rows.ids
    if encoder.id_names:
        unknown = [name for name in rows.id_names if name not in encoder.id_names]
        if unknown or ids is None:
            raise DataError(
                f"{table.name}: series {listed(unknown[:1])} is none that was trained on: take out its rows"
            )
        ids = np.asarray([encoder.id_names.index(name) for name in rows.id_names], np.int32)[ids]
    return Series(
        table.name,
        rows.values,
        encoder.columns,
        encoder.num_targets,
        rows.times,
        rows.breaks,
        tuple(f"{table.name}: {note}" for note in (*notes, *rows.notes)),
        ids,
        encoder.id_names,
        season=rows.season,
        step=rows.step,
    )


def _numbers(column: Column, cells: np.ndarray, notes: list[str]) -> np.ndarray:
    if column.kind != "category":
        return cells.astype(np.float64)
    index = {name: float(place) for place, name in enumerate(column.categories)}
    found = np.array([index.get(cell, np.nan) for cell in cells])
    strange = {cell for cell in cells if cell is not None} - set(column.categories)
    if strange:
        notes.append(f"column {column.name!r}: {shown(min(strange))} was not seen in training, and counts as missing")
    return found
