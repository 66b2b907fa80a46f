"""Windows against a plain search."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rnn_jax.data.errors import DataError
from rnn_jax.data.series.windows import gather, window_starts


def test_worked_example():
    X, Y = gather(np.arange(5.0)[:, None], window_starts(5, 3, 1), 3, 1)
    assert X.shape == (2, 3, 1)
    assert Y.shape == (2, 1, 1)
    np.testing.assert_array_equal(X[..., 0], [[0, 1, 2], [1, 2, 3]])
    np.testing.assert_array_equal(Y[..., 0], [[3], [4]])


def test_worked_example_of_eleven_years():
    values = np.arange(96_453.0)[:, None]
    X, Y = gather(values, window_starts(96_453, 64, 1), 64, 1)
    assert X[..., 0].shape == (96_389, 64)
    assert Y[..., 0].shape == (96_389, 1)


@given(st.lists(st.booleans(), min_size=2, max_size=30), st.integers(1, 6), st.integers(1, 4), st.integers(1, 3))
def test_against_a_plain_search(breaks, lag, ahead, features):
    num_rows, length = len(breaks), lag + ahead
    if num_rows < length:
        with pytest.raises(DataError):
            window_starts(num_rows, lag, ahead, np.array(breaks))
        return
    starts = window_starts(num_rows, lag, ahead, np.array(breaks))
    assert starts.dtype == np.int32
    assert starts.tolist() == [s for s in range(num_rows - length + 1) if not any(breaks[s + 1 : s + length])]
    assert len(window_starts(num_rows, lag, ahead)) == num_rows - lag - ahead + 1
    values = np.arange(num_rows * features, dtype=float).reshape(num_rows, features)
    X, Y = gather(values, starts, lag, ahead)
    assert X.shape == (len(starts), lag, features)
    assert Y.shape == (len(starts), ahead, features)
    for start, x, y in zip(starts, X, Y, strict=True):
        np.testing.assert_array_equal(x, values[start : start + lag])
        np.testing.assert_array_equal(y, values[start + lag : start + length])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            (7, 6, 2),
            "7 rows are too few for a window of lag 6 + ahead 2 = 8 rows: "
            "take a smaller lag or ahead, or a longer series",
        ),
        ((7, 0, 2), "lag=0: must be at least 1"),
        ((7, 2, -1), "ahead=-1: must be at least 1"),
    ],
)
def test_errors(arguments, message):
    with pytest.raises(DataError) as error:
        window_starts(*arguments)
    assert str(error.value) == message
