"""Cells of a CSV or Parquet file to numbers, categories and times, or an error that names the line."""

import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from rnn_jax.data.errors import DataError, shown
from rnn_jax.data.series import MAX_CELLS, MAX_FILE_BYTES
from rnn_jax.data.series.cells import LONGEST_NAME, check_columns, read_csv, read_parquet
from rnn_jax.data.series.regularize import count

MISSING = frozenset({"", "na", "n/a", "#n/a", "nan", "-nan", "null", "none", "<na>"})
"""Cells that mean "no value", in any case."""

# After ISO 8601. Month first comes before day first: where both read every cell, the note says which was taken.
TIME_FORMATS = tuple(
    day + clock for day in ("%m/%d/%Y", "%d/%m/%Y", "%d.%m.%Y", "%d-%m-%Y") for clock in ("", " %H:%M", " %H:%M:%S")
)

FEW = 0.05
"""A column in which a smaller part of the cells than this is text is one of numbers with a mistake in it."""

LARGEST = 1e30
"""A number beyond it is a mistake, and its square more than float32 holds."""

YEARS = (1000, 2999)
"""The first and the last year of a time: what lies outside stands for a time that is not known, as 9999-12-31 does."""


@dataclass(frozen=True, eq=False)
class Table:
    """Columns of a file, in file order. A row that has neither a time nor a value is not among them.

    Attributes:
        name: the file's name, for messages.
        cells: by the column's name: `[N]` float64, NaN where the cell is missing, if all others are numbers; else `[N]`
            object, stripped strings and None where the cell is missing.
        times: N times in UTC, or None.
        ids: N names of series, or None.
        notes: sentences about how the cells were read, without the file's name.
        lines: `[N]` int, the line of each row in a CSV file (the header is line 1) or its number in a Parquet file,
            from 1.
    """

    name: str
    cells: dict[str, np.ndarray]
    times: pd.DatetimeIndex | None
    ids: list[str] | None
    notes: tuple[str, ...]
    lines: np.ndarray


def read_table(
    path: Path,
    columns: Sequence[str] | None,
    time: str | None,
    series_id: str | None = None,
    numbers: Collection[str] = (),
    texts: Collection[str] = (),
    max_file_bytes: int = MAX_FILE_BYTES,
    max_cells: int = MAX_CELLS,
) -> Table:
    """Reads columns of values and, where they are named, those of times and of ids.

    Args:
        path: a CSV file with a header, plain or `.gz`, or a `.parquet` file. The delimiter of a CSV file is the comma,
            the semicolon or the tab, whichever its header has most of. Lines without any cell are skipped.
        columns: the columns of values; None takes all but those of `time` and `series_id`.
        time: the column of times, or None. Times may be ISO 8601 or one of `TIME_FORMATS`; those with an offset are
            converted to UTC, those without one are taken as UTC.
        series_id: the column that says to which series a row belongs, or None.
        numbers: the columns that must hold numbers. Any other one with text in it is a category, unless the text is so
            rare (`FEW`) that it is a mistake.
        texts: the columns that are text, even if it looks like numbers.
        max_file_bytes: the largest file that is read, unpacked.
        max_cells: the most cells of the chosen columns.

    Raises:
        DataError: a file, column or cell that cannot be read, with its line; a file beyond a limit.
    """
    keys = [name for name in (time, series_id) if name is not None]
    read = read_parquet if path.suffix == ".parquet" else read_csv
    chosen = None if columns is None else [*dict.fromkeys([*columns, *keys])]
    lines, raw = read(path, chosen, max_file_bytes, max_cells)
    check_columns(path.name, raw, (*keys, *numbers))
    if not len(lines):
        raise DataError(f"{path.name} holds a header and no rows: give a file with rows below the header")
    where = f"{path.name}, {'row' if path.suffix == '.parquet' else 'line'}"
    cells = {
        name: _texts(column) if name in texts else _values(where, name, lines, column, name in numbers)
        for name, column in raw.items()
        if name not in keys
    }
    empty = np.all([pd.isna(column) for column in cells.values()], axis=0) & bool(cells)
    times: pd.DatetimeIndex | None = None
    notes: tuple[str, ...] = ()
    unkeyed = np.zeros(len(lines), dtype=bool)
    if time is not None:
        times, notes = _times(where, time, lines, raw[time], empty)
        unkeyed |= np.asarray(times.isna())
    ids = None if series_id is None else np.array([_text(cell) for cell in raw[series_id]], dtype=object)
    if ids is not None:
        nameless = np.array([cell.lower() in MISSING for cell in ids])
        if (nameless & ~empty).any():
            text = f"{where} {lines[np.argmax(nameless & ~empty)]}, column {series_id!r}: no id"
            raise DataError(f"{text}: name the series of this row")
        for line, cell in zip(lines, ids, strict=True):
            if len(cell) > LONGEST_NAME:
                text = f"{where} {line}, column {series_id!r}: {shown(cell)}, more than {LONGEST_NAME}"
                raise DataError(f"{text}: give the series a shorter name")
        unkeyed |= nameless
    if unkeyed.any():
        notes = (*notes, f"dropped {count(unkeyed.sum(), 'row')} without {' and '.join(keys)} and without a value")
    return Table(
        path.name,
        {name: column[~unkeyed] for name, column in cells.items()},
        None if times is None else times[~unkeyed],
        None if ids is None else list(ids[~unkeyed]),
        notes,
        lines[~unkeyed],
    )


def _text(cell: object) -> str:
    """A cell as a CSV file would have it, without blanks around it."""
    if isinstance(cell, str):
        return cell.strip()
    return "" if pd.api.types.is_scalar(cell) and pd.isna(cell) else str(cell)  # type: ignore[call-overload]


def _texts(cells: list[str] | pd.Series) -> np.ndarray:
    """The cells as stripped strings, None where they are missing."""
    texts = [_text(cell) for cell in cells]
    return np.array([None if text.lower() in MISSING else text for text in texts], dtype=object)


def _values(where: str, column: str, lines: np.ndarray, cells: list[str] | pd.Series, number: bool) -> np.ndarray:
    bad: list[int] = []
    if isinstance(cells, pd.Series) and pd.api.types.is_numeric_dtype(cells) and cells.dtype.kind in "iuf":
        values = cells.to_numpy(dtype=np.float64, na_value=np.nan)
    else:
        texts = [_text(cell) for cell in cells]
        values, bad = _parsed(texts)
        missing = [cell.lower() in MISSING for cell in texts]
        if bad and not number and len(bad) >= FEW * (len(texts) - sum(missing)):
            return _texts(cells)
    for i in [*bad, *np.flatnonzero(np.abs(values) > LARGEST)]:
        what = "not a number" if bad else "infinite" if np.isinf(values[i]) else f"beyond {LARGEST:g}"
        text = f"{where} {lines[i]}, column {column!r}: {shown(_text(list(cells)[i]))} is {what}"
        raise DataError(f"{text}: correct the cell or leave it empty")
    return values


def _parsed(cells: list[str]) -> tuple[np.ndarray, list[int]]:
    """The cells as numbers, NaN where they are none, and the places of those that are neither numbers nor missing."""
    values = np.full(len(cells), np.nan)
    bad: list[int] = []
    for i, cell in enumerate(cells):
        try:
            if "_" in cell:  # float would take 1_000
                raise ValueError
            values[i] = float(cell)
        except ValueError:
            if cell.lower() not in MISSING:
                bad.append(i)
    return values, bad


def _times(
    where: str, column: str, lines: np.ndarray, raw: list[str] | pd.Series, empty: np.ndarray
) -> tuple[pd.DatetimeIndex, tuple[str, ...]]:
    if isinstance(raw, pd.Series) and pd.api.types.is_datetime64_any_dtype(raw):
        raw = list(pd.to_datetime(raw, utc=True).map(lambda cell: "" if pd.isna(cell) else cell.isoformat()))
    cells = [_text(cell) for cell in raw]
    missing = np.array([cell.lower() in MISSING for cell in cells])
    timeless = np.array([not re.search(r"\d", cell) for cell in cells])  # pandas knows `now` and `today`
    best, best_format, fewest = None, "", len(cells) + 1
    for time_format in ("ISO8601", *TIME_FORMATS):
        times = pd.DatetimeIndex(pd.to_datetime(cells, utc=True, format=time_format, errors="coerce"))
        # A row with neither time nor value is no row.
        failed = np.flatnonzero((times.isna() | timeless) & ~(missing & empty))
        if failed.size < fewest:
            best, best_format, fewest, bad = times, time_format, failed.size, failed
        if fewest == 0:
            break
    if best is None or fewest:
        text = f"{where} {lines[bad[0]]}, column {column!r}: {shown(cells[bad[0]])} is not a time"
        raise DataError(f"{text}: write times as 2014-01-31 13:00")
    for i in np.flatnonzero((best.year < YEARS[0]) | (best.year > YEARS[1])):
        text = (
            f"{where} {lines[i]}, column {column!r}: {shown(cells[i])} lies outside the years {YEARS[0]} to {YEARS[1]}"
        )
        raise DataError(f"{text}: correct the time, or take out the row")
    return best, () if best_format == "ISO8601" else (f"read the times of {column!r} as {best_format}",)
