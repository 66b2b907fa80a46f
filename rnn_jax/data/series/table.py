"""Cells of a CSV file to numbers and times, or an error that names the line."""

import csv
import gzip
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import TextIO

import numpy as np
import pandas as pd

from rnn_jax.data.errors import DataError

MISSING = frozenset({"", "na", "n/a", "#n/a", "nan", "-nan", "null", "none", "<na>"})
"""Cells that mean "no value", in any case."""

# After ISO 8601. Month first comes before day first: where both read every cell, the note says which was taken.
TIME_FORMATS = tuple(
    day + clock for day in ("%m/%d/%Y", "%d/%m/%Y", "%d.%m.%Y", "%d-%m-%Y") for clock in ("", " %H:%M", " %H:%M:%S")
)


@dataclass(frozen=True, eq=False)
class Table:
    """One column of a file, in file order.

    Attributes:
        name: the file's name, for messages.
        values: `[N]` float64, NaN where the cell is missing.
        times: N times in UTC, or None; NaT only where the value is missing too.
        notes: sentences about how the cells were read, without the file's name.
    """

    name: str
    values: np.ndarray
    times: pd.DatetimeIndex | None
    notes: tuple[str, ...]


def read_table(path: Path, target: str, time: str | None) -> Table:
    """Reads a column of values and, where one is named, the column of times. Lines without any cell are skipped.

    Args:
        path: a CSV file with a header, plain or `.gz`.
        target: the column of values.
        time: the column of times, or None.

    Raises:
        DataError: a file, column or cell that cannot be read, with its line.
    """
    wanted = [target] if time is None else [target, time]
    with _rows(path) as rows:
        _, header = next(rows, (0, []))
        header = [cell.strip() for cell in header]
        if not header:
            raise DataError(f"{path.name} is empty: give a CSV file with a header line and rows below it")
        places = [_place(path.name, header, column) for column in wanted]
        lines, cells = _cells(path.name, header, rows, places)
    if not lines:
        raise DataError(f"{path.name} holds a header and no rows: give a file with rows below the header")
    values = _numbers(path.name, target, lines, cells[0])
    if time is None:
        return Table(path.name, values, None, ())
    times, notes = _times(path.name, time, lines, cells[1], values)
    return Table(path.name, values, times, notes)


@contextmanager
def _rows(path: Path) -> Iterator[Iterator[tuple[int, list[str]]]]:
    """The rows of a CSV file, plain or gzipped, each with the number of its (last) line."""
    if not path.is_file():
        raise DataError(f"no file {path}: check the path")
    try:
        with _open(path) as file:
            first = file.readline()
            delimiter = max(",;\t", key=first.count)
            reader = csv.reader(chain([first], file), delimiter=delimiter)
            yield ((reader.line_num, row) for row in reader)
    except UnicodeDecodeError as error:
        raise DataError(f"{path.name} is not UTF-8 text: save it as UTF-8") from error
    except csv.Error as error:
        raise DataError(f"{path.name}, after line {reader.line_num}: {error}: mend the file") from error
    except (EOFError, zlib.error, OSError) as error:
        raise DataError(f"{path.name} cannot be read ({error}): fetch it again") from error


def _open(path: Path) -> TextIO:
    if path.suffix == ".gz":
        return gzip.open(path, "rt", encoding="utf-8-sig", newline="")
    return path.open(encoding="utf-8-sig", newline="")


def _place(name: str, header: list[str], column: str) -> int:
    count = header.count(column)
    if count == 0:
        raise DataError(f"{name} has no column {column!r}: take one of {', '.join(map(repr, header))}")
    if count > 1:
        raise DataError(f"{name} has {count} columns called {column!r}: give them different names")
    return header.index(column)


def _cells(
    name: str, header: list[str], rows: Iterator[tuple[int, list[str]]], places: list[int]
) -> tuple[list[int], list[list[str]]]:
    """The line numbers and, for each place, the cells there."""
    lines: list[int] = []
    cells: list[list[str]] = [[] for _ in places]
    for line, row in rows:
        if not row or (len(row) == 1 and not row[0].strip()):
            if len(header) > 1:
                continue
            row = [""]  # in a file of one column an empty line is a missing cell
        if len(row) != len(header):
            raise DataError(f"{name}, line {line}: {len(row)} cells under a header of {len(header)}: mend the line")
        lines.append(line)
        for column, place in zip(cells, places, strict=True):
            column.append(row[place])
    return lines, cells


def _numbers(name: str, column: str, lines: list[int], cells: list[str]) -> np.ndarray:
    values = np.empty(len(cells))
    for i, cell in enumerate(cells):
        try:
            if "_" in cell:  # float would take 1_000
                raise ValueError
            values[i] = float(cell)
        except ValueError:
            if cell.strip().lower() not in MISSING:
                text = f"{name}, line {lines[i]}, column {column!r}: {cell!r} is not a number"
                raise DataError(f"{text}: correct the cell or leave it empty") from None
            values[i] = np.nan
    infinite = np.flatnonzero(np.isinf(values))
    if infinite.size:
        i = infinite[0]
        text = f"{name}, line {lines[i]}, column {column!r}: {cells[i]!r} is infinite"
        raise DataError(f"{text}: correct the cell or leave it empty")
    return values


def _times(
    name: str, column: str, lines: list[int], cells: list[str], values: np.ndarray
) -> tuple[pd.DatetimeIndex, tuple[str, ...]]:
    cells = [cell.strip() for cell in cells]
    missing = np.array([cell.lower() in MISSING for cell in cells])
    expected = ~(missing & np.isnan(values))  # a row with neither time nor value is no row
    best, best_format, fewest = None, "", len(cells) + 1
    for time_format in ("ISO8601", *TIME_FORMATS):
        times = pd.DatetimeIndex(pd.to_datetime(cells, utc=True, format=time_format, errors="coerce"))
        failed = np.flatnonzero(times.isna() & expected)
        if failed.size < fewest:
            best, best_format, fewest, bad = times, time_format, failed.size, failed
        if fewest == 0:
            break
    if best is None or fewest:
        i = bad[0]
        text = f"{name}, line {lines[i]}, column {column!r}: {cells[i]!r} is not a time"
        raise DataError(f"{text}: write times as 2014-01-31 13:00")
    return best, () if best_format == "ISO8601" else (f"read the times of {column!r} as {best_format}",)
