"""Windows: `lag` rows that are read, followed by `ahead` rows that are forecast. No window crosses a break."""

import numpy as np

from rnn_jax.data.errors import DataError


def window_starts(num_rows: int, lag: int, ahead: int, breaks: np.ndarray | None = None) -> np.ndarray:
    """First rows of all windows that hold no break inside, ascending: `[W]` int32.

    A window may begin at a break. Without breaks W = num_rows - lag - ahead + 1; with them W may be 0.

    Args:
        num_rows: N.
        lag: rows read, at least 1.
        ahead: rows forecast, at least 1.
        breaks: `[N]` bool, True where row t does not follow row t-1.

    Raises:
        DataError: lag or ahead below 1, or fewer rows than one window has.

        >>> window_starts(5, lag=3, ahead=1)
        array([0, 1], dtype=int32)
        >>> window_starts(5, lag=1, ahead=1, breaks=np.array([False, False, True, False, False]))
        array([0, 2, 3], dtype=int32)
    """
    for name, value in (("lag", lag), ("ahead", ahead)):
        if value < 1:
            raise DataError(f"{name}={value}: must be at least 1")
    length = lag + ahead
    if num_rows < length:
        raise DataError(
            f"{num_rows} rows are too few for a window of lag {lag} + ahead {ahead} = {length} rows: "
            "take a smaller lag or ahead, or a longer series"
        )
    starts = np.arange(num_rows - length + 1, dtype=np.int32)
    if breaks is None:
        return starts
    breaks_so_far = np.cumsum(breaks)
    return starts[breaks_so_far[starts + length - 1] == breaks_so_far[starts]]


def gather(values: np.ndarray, starts: np.ndarray, length: int) -> np.ndarray:
    """Rows of windows: `[W, length, F]`, of the type of the values.

    Args:
        values: `[N, F]`.
        starts: `[W]`, first rows.
        length: rows of each.

    >>> gather(np.arange(5.0)[:, None], np.array([0, 2]), 3)[..., 0].tolist()
    [[0.0, 1.0, 2.0], [2.0, 3.0, 4.0]]
    """
    return values[np.asarray(starts)[:, None] + np.arange(length)]


def run_starts(breaks: np.ndarray) -> np.ndarray:
    """For each row the first row of its run, the stretch without a break that it lies in: `[N]` bool to `[N]` int64.

    >>> run_starts(np.array([False, False, True, False]))
    array([0, 0, 2, 2])
    """
    rows = np.arange(len(breaks))
    return np.maximum.accumulate(np.where(breaks, rows, 0))


def carry_forward(values: np.ndarray, breaks: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The last value that was measured, within a run, and how long ago that was.

    Args:
        values: `[N, F]`, NaN where nothing was measured.
        breaks: `[N]` bool: nothing is carried over a break.

    Returns:
        `[N, F]` values, NaN where none has been measured yet, and `[N, F]` int64 rows since, 0 for a measured value;
        counted from the row before the run where there is none.

    >>> values = np.array([[np.nan], [1.0], [np.nan], [np.nan]])
    >>> [part[:, 0].tolist() for part in carry_forward(values, np.array([False, False, False, True]))]
    [[nan, 1.0, 1.0, nan], [1, 0, 1, 1]]
    """
    rows = np.arange(len(values))[:, None]
    first = run_starts(breaks)[:, None]
    last = np.maximum.accumulate(np.where(np.isnan(values), -1, rows), axis=0)
    seen = last >= first
    carried = np.where(seen, np.take_along_axis(values, np.maximum(last, 0), axis=0), np.nan)
    return carried, np.where(seen, rows - last, rows - first + 1)
