"""The rows after the end of a series: their times, what is known of them, what is not there."""

import numpy as np
import pandas as pd
import pytest

from rnn_jax.data.errors import DataError
from rnn_jax.data.series.future import with_future
from rnn_jax.data.series.series import Column, Series

NAN = np.nan
COLUMNS = (Column("x"), Column("y"), Column("day", known=True))


def series_of(values, breaks=(), columns=COLUMNS, **fields):
    values = np.asarray(values, np.float64).reshape(-1, len(columns))
    times, flags = fields.pop("times", None), np.isin(np.arange(len(values)), breaks)
    return Series("some.csv", values, columns, 1, times, flags, **fields)


def test_known_columns_are_taken_from_later_rows():
    series = series_of([[1, 5, 0], [2, 6, 1], [NAN, 7, 0], [NAN, NAN, 1], [NAN, NAN, 0]])
    extended, origins = with_future(series, 2)
    assert origins.tolist() == [2]
    np.testing.assert_array_equal(extended.values, [[1, 5, 0], [2, 6, 1], [NAN, NAN, 0], [NAN, NAN, 1]])
    assert extended.times is None
    assert not extended.breaks.any()


@pytest.mark.parametrize(
    ("step", "start", "expected"),
    [
        ("1h", "2020-12-31 22:00", ["2020-12-31 23:00", "2021-01-01 00:00", "2021-01-01 01:00", "2021-01-01 02:00"]),
        ("1MS", "2020-11-01", ["2020-12-01", "2021-01-01", "2021-02-01", "2021-03-01"]),
        ("3ME", "2020-02-29", ["2020-05-31", "2020-08-31", "2020-11-30", "2021-02-28"]),
        (pd.DateOffset(months=1), "2020-11-15", ["2020-12-15", "2021-01-15", "2021-02-15", "2021-03-15"]),
    ],
)
def test_times(step, start, expected):
    times = pd.DatetimeIndex([start, expected[0]], tz="UTC")
    series = series_of([[3.0], [4.0]], columns=COLUMNS[:1], times=times, step=step)
    extended, origins = with_future(series, 3)
    assert origins.tolist() == [2]
    assert extended.times.tolist() == [pd.Timestamp(each, tz="UTC") for each in [start, *expected]]


def test_several_series():
    ids = np.array([0, 0, 0, 2, 2], np.int32)
    series = series_of(np.arange(5.0), [3], COLUMNS[:1], ids=ids, id_names=("a", "b", "c"), split_rows=(1, 2, 3))
    series.values[2] = NAN
    extended, origins = with_future(series, 2)
    np.testing.assert_array_equal(extended.values[:, 0], [0, 1, NAN, NAN, 3, 4, NAN, NAN])
    np.testing.assert_array_equal(extended.ids, [0, 0, 0, 0, 2, 2, 2, 2])
    np.testing.assert_array_equal(np.flatnonzero(extended.breaks), [4])
    assert origins.tolist() == [2, 6]
    assert extended.split_rows is None


MISSING = (
    "some.csv: column 'day' is known of the future, and has no value in each of the 2 rows to forecast: "
    "add these rows, with this column, to the file"
)
HOURS = pd.date_range("2020-01-01", periods=3, freq="h", tz="UTC")


@pytest.mark.parametrize(
    ("series", "message"),
    [
        (series_of([[1, 2, 3], [4, 5, 6], [NAN, NAN, 7]]), MISSING),
        (series_of([[1, 2, 3], [NAN, NAN, NAN], [NAN, NAN, 7]]), MISSING),
        (series_of([[1, 2, 3], [NAN, NAN, 6], [NAN, NAN, 7]], [2]), MISSING),
        (
            series_of([1.0, 2.0, 3.0], (), COLUMNS[:1], times=HOURS),
            "some.csv: its step is not known, and so not the times to forecast",
        ),
    ],
)
def test_errors(series, message):
    with pytest.raises(DataError) as error:
        with_future(series, 2)
    assert str(error.value) == message
