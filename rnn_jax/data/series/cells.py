"""Cells of a CSV or Parquet file as they stand there, up to limits, or an error that names the line."""

import csv
import importlib
import importlib.util
import io
import re
from collections import Counter
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from itertools import chain
from pathlib import Path
from typing import Any, TextIO

import numpy as np
import pandas as pd

from rnn_jax.data.errors import DataError, listed, shown
from rnn_jax.data.opening import check_regular, opened
from rnn_jax.data.series.regularize import count

LONGEST_LINE = 10_000_000
"""Characters of a CSV file's line, at most."""

LONGEST_NAME = 500
"""Characters of the name of a column or a series, at most."""

ROWS = 1 << 12
"""Of a Parquet file that are unpacked at once."""


def check_columns(name: str, header: Collection[str], columns: Collection[str]) -> None:
    """Raises `DataError` for a column that the header of a file called `name` has not, or has twice."""
    counts = Counter(list(header))  # of a mapping too the names
    for column in columns:
        if not counts[column]:
            raise DataError(f"{name} has no column {shown(column)}: take one of {listed(header)}")
        if counts[column] > 1:
            raise DataError(f"{name} has {counts[column]:,} columns called {column!r}: give them different names")


def _check_names(name: str, header: Sequence[str]) -> None:
    for place, column in enumerate(header, start=1):
        if len(column) > LONGEST_NAME:
            text = f"{name}: the name of column {place:,} is {shown(column)}"
            raise DataError(f"{text}, more than {LONGEST_NAME}: give a header line with a name for each column")


def _too_many_cells(path: Path, columns: int, max_cells: int) -> DataError:
    text = f"{path.name} has more than {max_cells:,} cells in {count(columns, 'column')} to read"
    return DataError(f"{text}: read fewer columns, take a shorter file, or set a larger max_cells={max_cells}")


def _advice(max_file_bytes: int) -> str:
    return f"take a smaller file, or set a larger max_file_bytes={max_file_bytes}"


def read_csv(
    path: Path, columns: list[str] | None, max_file_bytes: int, max_cells: int
) -> tuple[np.ndarray, dict[str, list[str]]]:
    """The cells of a CSV file.

    Args:
        path: the file, plain or gzipped, with a header.
        columns: those to read, or None: all.
        max_file_bytes, max_cells: as of `table.read_table`.

    Returns:
        The line of each row, `[N]`; for each column its N cells.

    Raises:
        DataError: a file that cannot be read, a column that is missing, a line that does not fit the header.
    """
    with _rows(path, max_file_bytes) as rows:
        _, header = next(rows, (0, []))
        header = [cell.strip() for cell in header]
        if not header:
            raise DataError(f"{path.name} is empty: give a CSV file with a header line and rows below it")
        _check_names(path.name, header)
        columns = header if columns is None else columns
        check_columns(path.name, header, columns)
        place_of = {column: place for place, column in enumerate(header)}
        places = [place_of[column] for column in columns]
        lines: list[int] = []
        cells: list[list[str]] = [[] for _ in places]
        most = max_cells // len(places)
        for line, row in rows:
            if line > most:  # of lines without a cell, too, there may be a billion
                raise _too_many_cells(path, len(places), max_cells)
            if not row or (len(row) == 1 and not row[0].strip()):
                if len(header) > 1:
                    continue
                row = [""]  # in a file of one column an empty line is a missing cell
            if len(row) != len(header):
                text = f"{path.name}, line {line}: {len(row)} cells under a header of {len(header)}"
                raise DataError(f"{text}: mend the line")
            lines.append(line)
            for cell, place in zip(cells, places, strict=True):
                cell.append(row[place])
    return np.array(lines, dtype=int), dict(zip(columns, cells, strict=True))


@contextmanager
def _rows(path: Path, max_file_bytes: int) -> Iterator[Iterator[tuple[int, list[str]]]]:
    """The rows of a CSV file, plain or gzipped, each with the number of its (last) line."""
    with io.TextIOWrapper(
        opened(path, max_file_bytes, _advice(max_file_bytes)), encoding="utf-8-sig", newline=""
    ) as file:
        lines = _lines(path.name, file)
        first = next(lines, "")
        delimiter = max(",;\t", key=first.count)
        # Strict, or a quote that is opened and never closed takes the rest of the file into one cell.
        reader = csv.reader(chain([first], lines), delimiter=delimiter, strict=True)
        yield _numbered(path.name, reader)


def _lines(name: str, file: TextIO) -> Iterator[str]:
    number = 0
    try:
        while line := file.readline(LONGEST_LINE + 1):
            number += 1
            if len(line) > LONGEST_LINE:
                raise DataError(f"{name}, line {number}: more than {LONGEST_LINE:,} characters: break the line")
            yield line
    except UnicodeDecodeError as error:
        number += 1 + len(re.findall(rb"\r\n|\r|\n", error.object[: error.start]))
        raise DataError(f"{name} is not UTF-8 text (line {number}): save it as UTF-8") from error


def _numbered(name: str, reader: Any) -> Iterator[tuple[int, list[str]]]:
    while True:
        begin = reader.line_num + 1
        try:
            row = next(reader, None)
        except csv.Error as error:
            raise DataError(f"{name}, line {begin}: {error}: mend the quotes of this line") from error
        if row is None:
            return
        yield reader.line_num, row


def read_parquet(
    path: Path, columns: list[str] | None, max_file_bytes: int, max_cells: int
) -> tuple[np.ndarray, dict[str, pd.Series]]:
    """As `read_csv`, of a Parquet file: the number of each row, from 1, in place of its line."""
    if check_regular(path) > max_file_bytes:
        raise DataError(f"{path} holds more than {max_file_bytes:,} bytes: {_advice(max_file_bytes)}")
    if importlib.util.find_spec("pyarrow") is None:
        raise DataError(f"{path.name}: reading Parquet needs pyarrow: pip install pyarrow")
    parquet: Any = importlib.import_module("pyarrow.parquet")
    try:
        with parquet.ParquetFile(path) as file:
            # Of an index without a name there is nothing to read; one with a name, of times often, is a column here.
            names = [name for name in file.schema_arrow.names if not re.fullmatch(r"__index_level_\d+__", name)]
            header = [name.strip() for name in names]
            _check_names(path.name, header)
            chosen = header if columns is None else columns
            check_columns(path.name, header, chosen)
            if file.metadata.num_rows * len(chosen) > max_cells:
                raise _too_many_cells(path, len(chosen), max_cells)
            name_of = dict(zip(header, names, strict=True))
            table = _unpacked(path, file, [name_of[column] for column in chosen], max_file_bytes)
        frame = table.to_pandas(ignore_metadata=True)
    except DataError:
        raise
    except Exception as error:  # a damaged file raises errors of all kinds
        reason = shown(" ".join(str(error).split()))
        raise DataError(f"{path.name} cannot be read ({reason}): fetch it again") from error
    return np.arange(1, len(frame) + 1), {column: frame[name_of[column]] for column in chosen}


def _unpacked(path: Path, file: Any, names: list[str], max_file_bytes: int) -> Any:
    """Some columns, by batches: a text of a megabyte that all rows have in common is there but once in the file."""
    batches, size = [], 0
    for batch in file.iter_batches(batch_size=ROWS, columns=names):
        size += batch.nbytes
        if size > max_file_bytes:
            raise DataError(f"{path.name} holds more than {max_file_bytes:,} bytes: {_advice(max_file_bytes)}")
        batches.append(batch)
    if not batches:
        return file.read(columns=names)
    return importlib.import_module("pyarrow").Table.from_batches(batches)
