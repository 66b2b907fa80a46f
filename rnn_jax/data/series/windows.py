"""Windows: `lag` rows that are read, followed by `ahead` rows that are forecast."""

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


def gather(values: np.ndarray, starts: np.ndarray, lag: int, ahead: int) -> tuple[np.ndarray, np.ndarray]:
    """Cuts windows.

    Args:
        values: `[N, F]`.
        starts: `[W]`, first rows of the windows.
        lag: rows read.
        ahead: rows forecast.

    Returns:
        X `[W, lag, F]` and Y `[W, ahead, F]`, of the type of the values.

    >>> X, Y = gather(np.arange(5.0)[:, None], np.array([0, 1]), lag=3, ahead=1)
    >>> X[..., 0].tolist(), Y[..., 0].tolist()
    ([[0.0, 1.0, 2.0], [1.0, 2.0, 3.0]], [[3.0], [4.0]])
    """
    windows = np.lib.stride_tricks.sliding_window_view(values, lag + ahead, axis=0)
    rows = np.swapaxes(windows[starts], 1, 2)
    return rows[:, :lag], rows[:, lag:]
