"""A regular series of one or several columns, and how a file becomes one.

A value that was not measured is NaN and stays NaN: nothing is filled. Rows are put in order by the policy of
`rnn_jax.data.series.regularize`. `Series.repairs` has a sentence for each thing that was repaired or left out.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from os import PathLike
from pathlib import Path

import numpy as np
import pandas as pd

from rnn_jax.data.errors import NAMES, DataError
from rnn_jax.data.series import MAX_CELLS, MAX_FILE_BYTES
from rnn_jax.data.series.cells import check_columns
from rnn_jax.data.series.regularize import MAX_HOLE as MAX_HOLE
from rnn_jax.data.series.regularize import count, regularize
from rnn_jax.data.series.table import Table, read_table

MAX_CATEGORIES = 50
"""A column of text with more values than this is no category."""


@dataclass(frozen=True)
class Column:
    """What a column holds.

    Attributes:
        name: as the file has it.
        kind: `number`, `angle` (in degrees) or `category`.
        known: whether its future is known when a forecast is made, as that of a holiday or of a price that was set is.
        categories: of kind `category`: its value is the index in here.
    """

    name: str
    kind: str = "number"
    known: bool = False
    categories: tuple[str, ...] = ()


@dataclass(frozen=True, eq=False)
class Series:
    """Rows one regular step apart, but for the breaks; of one series, or of several, one after the other.

    Attributes:
        name: of the data set, for messages and results.
        values: `[N, F]` float64 in physical units, NaN where nothing was measured, the targets in the first columns.
        columns: the F columns.
        num_targets: M, how many columns are to be forecast.
        times: N times in UTC, ascending in each series, or None.
        breaks: `[N]` bool. True at t: row t does not follow row t-1 by one regular step, as it does not where another
            series begins. No window may hold both.
        repairs: sentences saying what was repaired or left out in reading, to be printed.
        ids: `[N]` int32, the number of the series that a row belongs to, ascending; None: all rows are of one series.
        id_names: the names of the series, by number.
        split_times: where the rows for training, validation and test end, in UTC, where the data set fixes it.
        split_rows: the same as numbers of rows; of one series only.
        season: the rows of the main cycle: 24 of hours, 7 of days, 52 of weeks, 12 of months, 4 of quarters; 1 where
            none is known.
        step: the regular step, with which `pd.date_range(last, periods=k + 1, freq=step)[1:]` are the k times after
            `last`: an offset alias of pandas (`1h`, `1D`, `1MS`, `1ME`), or a `pd.DateOffset` where the times are a
            fixed day of their month that is neither the first nor the last. None without times.
        best: `[N]` float64, the best possible forecast of column 0 one step ahead, of made-up series alone.
    """

    name: str
    values: np.ndarray
    columns: tuple[Column, ...]
    num_targets: int
    times: pd.DatetimeIndex | None
    breaks: np.ndarray
    repairs: tuple[str, ...] = ()
    ids: np.ndarray | None = None
    id_names: tuple[str, ...] = ()
    split_times: tuple[pd.Timestamp, pd.Timestamp, pd.Timestamp] | None = None
    split_rows: tuple[int, int, int] | None = None
    season: int = 1
    step: str | pd.DateOffset | None = None
    best: np.ndarray | None = None

    @property
    def num_series(self) -> int:
        """D, at least 1."""
        return max(len(self.id_names), 1)

    @property
    def numbers(self) -> np.ndarray:
        """The number of the series of each row, `[N]`: `ids`, or zeros."""
        return np.zeros(len(self.values), np.int32) if self.ids is None else self.ids


def read_file(
    path: str | PathLike[str],
    targets: Sequence[str],
    inputs: Sequence[str] = (),
    *,
    known_future: Sequence[str] = (),
    angles: Sequence[str] = (),
    time: str | None = None,
    series_id: str | None = None,
    name: str | None = None,
    max_file_bytes: int = MAX_FILE_BYTES,
    max_cells: int = MAX_CELLS,
) -> Series:
    """Reads columns of a CSV file, plain or `.gz`, or of a `.parquet` file.

    Args:
        path: the file.
        targets: the columns to forecast, at least one.
        inputs: more columns; `("all",)` stands for all others but those of `time` and `series_id`, `("none",)` for
            none. One that holds text is a category. One with the same value in all rows is left out.
        known_future: columns whose future is known; they are inputs, whether or not they are named there too.
        angles: those of the columns that are angles in degrees.
        time: the column of times; None takes the rows as they stand, one step apart.
        series_id: the column that says to which series a row belongs; None: all to one.
        name: of the series; by default the file's.
        max_file_bytes: the largest file that is read, unpacked.
        max_cells: the most cells of the columns that are read.

    Returns:
        A `Series`, the targets in the first columns, then the inputs (`("all",)`: in the order of the file), then those
        of `known_future` that no input has named.

    Raises:
        DataError: a file that is missing, empty or unreadable; a column that is missing or named twice; a cell of a
            target or an angle that is no finite number, or of `time` that is no time, with its line in the file; text
            that is too rare in a column of numbers or too varied to be a category; a target without any value; a file
            beyond a limit.
    """
    path, everything = Path(path), tuple(inputs) == ("all",)
    named = _named(path.name, targets, inputs, known_future)
    keys = [key for key in (time, series_id) if key is not None]
    twice = [column for column in keys if (named + keys).count(column) > 1]
    if twice:
        raise DataError(f"{path.name}: column {twice[0]!r} is named twice: name it once")
    for column in () if everything else angles:
        if column not in named:
            raise DataError(f"{path.name}: the angle {column!r} is neither a target nor an input: name it there too")
    table = read_table(
        path,
        None if everything else named,
        time,
        series_id,
        numbers=[*targets, *angles],
        max_file_bytes=max_file_bytes,
        max_cells=max_cells,
    )
    return from_table(table, targets, inputs, known_future=known_future, angles=angles, name=name)


def from_table(
    table: Table,
    targets: Sequence[str],
    inputs: Sequence[str] = (),
    *,
    known_future: Sequence[str] = (),
    angles: Sequence[str] = (),
    name: str | None = None,
) -> Series:
    """Makes a series of a table.

    Args:
        table: the cells in file order; `("all",)` as inputs stands for all of its columns that are no targets.
        targets, inputs, known_future, angles, name: as those of `read_file`.

    Raises:
        DataError: as `read_file`, in what concerns columns.
    """
    values, columns, notes = encode(table, targets, inputs, known_future=known_future, angles=angles)
    given = ~np.isnan(values)
    num_targets = len(targets)
    for k in range(num_targets):
        if not given[:, k].any():
            raise DataError(f"{table.name}: column {targets[k]!r} has no value in any row: take another column")
    measured = given[:, :num_targets].any(axis=1)
    ahead = given[:, [column.known for column in columns]].any(axis=1)
    rows = regularize(values, table.times, table.ids, measured, ahead)
    missing = [
        f"{column.name!r}: {np.sum(~had):,} of {count(len(values), 'value')} are missing"
        for column, had in zip(columns, given.T, strict=True)
        if not had.all()
    ]
    return Series(
        name or table.name,
        rows.values,
        columns,
        num_targets,
        rows.times,
        rows.breaks,
        tuple(f"{table.name}: {note}" for note in (*table.notes, *notes, *rows.notes, *first_few(missing))),
        rows.ids,
        rows.id_names,
        season=rows.season,
        step=rows.step,
    )


def encode(
    table: Table,
    targets: Sequence[str],
    inputs: Sequence[str] = (),
    *,
    known_future: Sequence[str] = (),
    angles: Sequence[str] = (),
) -> tuple[np.ndarray, tuple[Column, ...], tuple[str, ...]]:
    """The chosen columns of a table as numbers, in file order.

    Args:
        table, targets, inputs, known_future, angles: as those of `from_table`.

    Returns:
        `[N, F]` float64 with the targets in the first columns; the F columns; sentences about columns left out.

    Raises:
        DataError: as `read_file`, in what concerns columns.
    """
    chosen = _named(table.name, targets, inputs, known_future)
    if tuple(inputs) == ("all",):
        chosen = list(dict.fromkeys([*targets, *table.cells, *known_future]))
    check_columns(table.name, table.cells, chosen)
    check_columns(table.name, chosen, angles)
    values, columns, notes = [], [], []
    asked = {*targets, *inputs, *known_future}
    for column in chosen:
        cells = table.cells[column]
        categories: tuple[str, ...] = ()
        kind = "angle" if column in angles else "number"
        if cells.dtype == object:
            if column in targets or kind == "angle":
                raise DataError(f"{table.name}: column {column!r} holds text: a target or an angle must be a number")
            kind, categories = "category", tuple(sorted({cell for cell in cells if cell is not None}))
            if len(categories) > MAX_CATEGORIES:
                text = f"column {column!r} holds {len(categories):,} different texts, more than {MAX_CATEGORIES}"
                if column in asked:
                    raise DataError(f"{table.name}: {text}: leave it out")
                notes.append(f"left out {text}")
                continue
            index = {category: float(k) for k, category in enumerate(categories)}
            cells = np.array([index.get(cell, np.nan) for cell in cells])
        if column not in targets and _constant(cells):
            notes.append(f"left out column {column!r}: it is the same in all rows")
            continue
        values.append(cells)
        columns.append(Column(column, kind, column in known_future, categories))
    return np.stack(values, axis=1), tuple(columns), tuple(first_few(notes))


def first_few(sentences: Sequence[str]) -> list[str]:
    """A sentence for each column, or where there are very many columns for the first of them.

    >>> first_few(["'a': 1 value is missing"]), first_few(["'a': ..."] * 5000)[-1]
    (["'a': 1 value is missing"], '... and so in 4,980 columns more')
    """
    more = len(sentences) - NAMES
    return [*sentences[:NAMES], *([f"... and so in {count(more, 'column')} more"] if more > 0 else [])]


def _constant(cells: np.ndarray) -> bool:
    """A value that some rows have and others miss says something: a holiday, say."""
    return bool(np.isnan(cells).all() or (cells == cells[0]).all())


def _named(name: str, targets: Sequence[str], inputs: Sequence[str], known_future: Sequence[str]) -> list[str]:
    """The columns that are named, each once, or an error."""
    if not targets:
        raise DataError(f"{name}: no target: name a column to forecast")
    inputs = () if tuple(inputs) in (("all",), ("none",)) else inputs
    for names in ([*targets, *inputs], [*targets, *known_future]):
        twice = [column for column, times in Counter(names).items() if times > 1]
        if twice:
            raise DataError(f"{name}: column {twice[0]!r} is named twice: name it once")
    return list(dict.fromkeys([*targets, *inputs, *known_future]))
