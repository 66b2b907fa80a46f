"""Windows, runs and carried values against plain searches."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rnn_jax.data.errors import DataError
from rnn_jax.data.series.windows import carry_forward, gather, run_starts, window_starts


def test_worked_example():
    values, starts = np.arange(5.0)[:, None], window_starts(5, 3, 1)
    np.testing.assert_array_equal(gather(values, starts, 3)[..., 0], [[0, 1, 2], [1, 2, 3]])
    np.testing.assert_array_equal(gather(values, starts + 3, 1)[..., 0], [[3], [4]])


def test_worked_example_of_eleven_years():
    values, starts = np.arange(96_453.0)[:, None], window_starts(96_453, 64, 1)
    assert gather(values, starts, 64)[..., 0].shape == (96_389, 64)
    assert gather(values, starts + 64, 1)[..., 0].shape == (96_389, 1)


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
    values = np.arange(num_rows * features, dtype=np.float32).reshape(num_rows, features)
    rows = gather(values, starts, length)
    assert rows.shape == (len(starts), length, features)
    assert rows.dtype == np.float32
    for start, each in zip(starts, rows, strict=True):
        np.testing.assert_array_equal(each, values[start : start + length])


@given(st.lists(st.tuples(st.booleans(), st.booleans(), st.booleans()), min_size=1, max_size=25))
def test_runs_and_carried_values(drawn):
    breaks = np.array([row[0] for row in drawn])
    values = np.where([row[1:] for row in drawn], np.nan, np.arange(2.0 * len(drawn)).reshape(-1, 2))
    carried, age = carry_forward(values, breaks)
    first = 0
    last: list[int | None] = [None, None]
    for t in range(len(drawn)):
        if breaks[t]:
            first, last = t, [None, None]
        assert run_starts(breaks)[t] == first
        for column in range(2):
            if not np.isnan(values[t, column]):
                last[column] = t
            at = last[column]
            expected = (np.nan, t - first + 1) if at is None else (values[at, column], t - at)
            np.testing.assert_array_equal((carried[t, column], age[t, column]), expected)


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
