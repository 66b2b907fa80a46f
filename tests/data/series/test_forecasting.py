"""Tasks: which windows are in which split, what they have to forecast, and the way back to physical units."""

import os
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rnn_jax.data.errors import DataError
from rnn_jax.data.series import szeged
from rnn_jax.data.series.forecasting import SPLITS, make_task, split_bounds, usable_starts
from rnn_jax.data.series.series import Column, Series

NAN = np.nan
HOURS = pd.date_range("2020-01-01", periods=100, freq="h", tz="UTC")


def series_of(num_rows, breaks=(), times=None, holes=0.0, seed=0, **fields):
    flags = np.isin(np.arange(num_rows), list(breaks))
    rng = np.random.default_rng(seed)
    values = rng.normal(5, 3, (num_rows, 3))
    values[rng.random(values.shape) < holes] = NAN
    columns = (Column("x"), Column("y"), Column("z"))
    return replace(Series("some.csv", values, columns, 2, times, flags), **fields)


def without(columns, first, end):
    """A series that was not measured in some rows."""
    series = series_of(100)
    series.values[first:end, columns] = NAN
    return series


def test_fields():
    series = series_of(100)
    task = make_task(series, "clean", lag=4, ahead=3)
    assert (task.num_targets, task.target_names, task.lag, task.ahead) == (2, ("x", "y"), 4, 3)
    for split in SPLITS:
        assert task.starts(split) is getattr(task, split)
        assert task.starts(split).dtype == np.int32
    assert task.targets(task.test).shape == (len(task.test), 3, 2)
    np.testing.assert_array_equal(task.targets(task.test)[1], series.values[task.test[1] + 4 : task.test[1] + 7, :2])
    np.testing.assert_array_equal(task.train_rows, np.arange(100) < 70)
    np.testing.assert_array_equal(task.scaled, task.features[:, :2])
    with pytest.raises(DataError, match=r"^unknown split 'training': take one of train, validation, test$"):
        task.starts("training")


def test_fingerprint():
    series = series_of(100)
    first = make_task(series, "clean", 4, 1).fingerprint()
    assert first == make_task(series_of(100), "clean", 4, 1).fingerprint()
    values = series.values.copy()
    values[-1, 0] += 1e-3
    others = [
        make_task(replace(series, values=values), "clean", 4, 1),
        make_task(series, "lecture", 4, 1),
        make_task(series, "other", 4, 1),
        make_task(series, "clean", 5, 1),
        make_task(series, "clean", 4, 1, scaling=["robust"]),
        make_task(series_of(100, breaks=[90]), "clean", 4, 1),
    ]
    assert len({first, *(task.fingerprint() for task in others)}) == 7


@settings(deadline=None)
@given(
    st.integers(50, 90),
    st.sets(st.integers(1, 89), max_size=4),
    st.integers(1, 9),
    st.integers(1, 4),
    st.sampled_from([0.0, 0.5]),
)
def test_against_a_plain_search(num_rows, breaks, lag, ahead, holes):
    """A window is of the split of what it forecasts, reads what lies before, and crosses no break."""
    bounds = [0, num_rows * 7 // 10, num_rows * 8 // 10, num_rows]
    series = series_of(num_rows, breaks, holes=holes)
    known = ~np.isnan(series.values[:, :2])
    expected = [[], [], []]
    for start in range(num_rows - lag - ahead + 1):
        first, last = start + lag, start + lag + ahead
        if any(row in breaks for row in range(start + 1, last)) or not known[first:last].any():
            continue
        run = max([0, *(row for row in breaks if row <= start)])
        if not known[run:first].any(axis=0).all():
            continue
        for k in range(3):
            if bounds[k] <= first and last <= bounds[k + 1]:
                expected[k].append(start)
    if not all(expected):
        with pytest.raises(DataError, match="without a break"):
            make_task(series, "clean", lag, ahead)
        return
    task = make_task(series, "clean", lag, ahead)
    assert [task.starts(split).tolist() for split in SPLITS] == expected


@pytest.mark.parametrize(
    ("num_rows", "frequency", "lag", "ahead", "sizes"),
    [(144, "1MS", 24, 12, (65, 4, 18)), (1500, "1D", 365, 28, (658, 123, 273))],
)
def test_a_lag_longer_than_a_split(num_rows, frequency, lag, ahead, sizes):
    times = pd.date_range("2010-01-01", periods=num_rows, freq=frequency, tz="UTC")
    task = make_task(series_of(num_rows, times=times), "clean", lag, ahead, cycles=["year"])
    assert tuple(len(task.starts(split)) for split in SPLITS) == sizes
    bounds = [0, num_rows * 7 // 10, num_rows * 8 // 10, num_rows]
    for k, split in enumerate(SPLITS):
        first = max(bounds[k], lag)
        assert (task.starts(split)[0] + lag, task.starts(split)[-1] + lag + ahead) == (first, bounds[k + 1])


def test_unmeasured_targets():
    values = np.arange(120.0).reshape(40, 3)
    values[[0, 1], 0] = values[[10, 11, 12], 0] = values[[11, 12, 39], 1] = NAN
    series = replace(series_of(40), values=values)
    starts = usable_starts(series, 2, 2).tolist()
    assert starts == [1, *range(2, 9), *range(10, 37)]  # of x there is nothing in rows 0 and 1; 11 and 12 are empty
    task = make_task(series, "clean", 2, 2)
    np.testing.assert_array_equal(task.targets(np.array([8, 36])), [[[NAN, 31], [NAN, NAN]], [[114, 115], [117, NAN]]])
    np.testing.assert_array_equal(task.carried[[1, 12]], [[NAN, 4], [27, 31]])
    np.testing.assert_array_equal(np.isnan(task.scaled_targets(task.test)), np.isnan(task.targets(task.test)))


def several(**fields):
    """Two series of 30 and 50 rows."""
    ids = np.repeat([0, 1], [30, 50]).astype(np.int32)
    series = series_of(80, breaks=[30], ids=ids, id_names=("a", "b"))
    return replace(series, values=series.values * np.where(ids, 100.0, 1.0)[:, None], **fields)


def test_no_window_holds_rows_of_two_series():
    series = several()
    task = make_task(series, "clean", 4, 2)
    np.testing.assert_array_equal(split_bounds(series), [[0, 21, 24, 30], [30, 65, 70, 80]])
    np.testing.assert_array_equal(np.flatnonzero(task.train_rows), [*range(21), *range(30, 65)])
    np.testing.assert_array_equal(task.train, [*range(16), *range(30, 60)])
    np.testing.assert_array_equal(task.validation, [17, 18, *range(61, 65)])
    np.testing.assert_array_equal(task.test, [*range(20, 25), *range(66, 75)])


def test_units_of_each_series():
    series = several()
    task = make_task(series, "clean", 4, 2, scaling=["standard", "robust", "none"])
    starts = np.array([3, 70, 20])
    center, scale = task.constants(starts)
    np.testing.assert_array_equal(center[:, 0], task.encoder.center[[0, 1, 0], :2])
    np.testing.assert_array_equal(scale[:, 0], task.encoder.scale[[0, 1, 0], :2])
    np.testing.assert_allclose(task.in_units(task.scaled_targets(starts), starts), task.targets(starts), rtol=1e-12)
    quantiles = np.float32(np.stack([task.scaled_targets(starts)] * 5))
    found = task.in_units(quantiles, starts)
    assert found.dtype == np.float64
    np.testing.assert_allclose(found[3], task.targets(starts), rtol=1e-4, atol=1e-4)


def test_splits_by_rows_and_by_times():
    by_rows = make_task(series_of(100, split_rows=(40, 60, 90)), "clean", 5, 2)
    by_times = make_task(series_of(100, times=HOURS, split_times=tuple(HOURS[[40, 60, 90]])), "clean", 5, 2)
    for task in (by_rows, by_times):
        np.testing.assert_array_equal(split_bounds(task.series), [[0, 40, 60, 90]])
        np.testing.assert_array_equal(task.train, np.arange(34))
        np.testing.assert_array_equal(task.validation, np.arange(35, 54))
        np.testing.assert_array_equal(task.test, np.arange(55, 84))


def test_given_bounds():
    series = several()
    task = make_task(series, "clean", 4, 2, bounds=np.array([[0, 10, 20, 25], [35, 50, 60, 70]]))
    np.testing.assert_array_equal(np.flatnonzero(task.train_rows), [*range(10), *range(35, 50)])
    np.testing.assert_array_equal(task.train, [*range(5), *range(31, 45)])
    np.testing.assert_array_equal(task.validation, [*range(6, 15), *range(46, 55)])
    np.testing.assert_array_equal(task.test, [*range(16, 20), *range(56, 65)])
    np.testing.assert_allclose(task.encoder.center[1], series.values[35:50].mean(axis=0))


def test_lecture_windows_follow_one_another():
    series = series_of(1006)
    task = make_task(series, "lecture", lag=5, ahead=2)
    assert [len(task.starts(split)) for split in SPLITS] == [700, 100, 200]
    np.testing.assert_array_equal(np.concatenate([task.starts(split) for split in SPLITS]), np.arange(1000))
    np.testing.assert_allclose(task.encoder.center[0], series.values[: 699 + 7].mean(axis=0))


def test_szeged_is_split_by_date():
    times = pd.date_range("2013-12-30", "2016-12-31 23:00", freq="h", tz="UTC")
    task = make_task(series_of(len(times), times=times, split_times=szeged.SPLIT_TIMES), "clean", lag=24, ahead=6)
    first = [times[task.starts(split)[0] + 24] for split in SPLITS]
    last = [times[task.starts(split)[-1] + 24 + 6 - 1] for split in SPLITS]
    assert [str(t)[:16] for t in first] == ["2013-12-31 00:00", "2014-01-01 00:00", "2015-01-01 00:00"]
    assert [str(t)[:16] for t in last] == ["2013-12-31 23:00", "2014-12-31 23:00", "2016-10-31 23:00"]
    np.testing.assert_allclose(task.encoder.center[0], task.series.values[:48].mean(axis=0))


@pytest.mark.parametrize(
    ("series", "protocol", "lag", "ahead", "message"),
    [
        (
            series_of(100),
            "clean",
            4,
            11,
            "some.csv: the validation split of protocol 'clean' has no window of lag 4 + ahead 11 rows without a break "
            "(100 rows in all): take a smaller lag or ahead, or a longer series",
        ),
        (
            series_of(100, breaks=range(1, 70)),
            "clean",
            4,
            1,
            "some.csv: the train split of protocol 'clean' has no window of lag 4 + ahead 1 rows without a break "
            "(100 rows in all): take a smaller lag or ahead, or a longer series",
        ),
        (
            series_of(7),
            "lecture",
            6,
            1,
            "some.csv: the train split of protocol 'lecture' has no window of lag 6 + ahead 1 rows without a break "
            "(7 rows in all): take a smaller lag or ahead, or a longer series",
        ),
        (
            without(1, 0, 70),
            "clean",
            4,
            1,
            "some.csv: column 'y' has no value in the 70 rows of the train split: take another column or a longer "
            "series",
        ),
        (
            without(slice(2), 70, 80),
            "clean",
            4,
            1,
            "some.csv: column 'x' has no value in the 10 rows of the validation split: take another column or a longer "
            "series",
        ),
        (
            series_of(8),
            "clean",
            8,
            1,
            "8 rows are too few for a window of lag 8 + ahead 1 = 9 rows: "
            "take a smaller lag or ahead, or a longer series",
        ),
        (series_of(8), "clean", 0, 1, "lag=0: must be at least 1"),
        (
            series_of(100, times=HOURS[::-1]),
            "clean",
            4,
            1,
            "some.csv: its rows are not in time order, which this protocol needs",
        ),
    ],
)
def test_errors(series, protocol, lag, ahead, message):
    with pytest.raises(DataError) as error:
        make_task(series, protocol, lag, ahead)
    assert str(error.value) == message


@pytest.mark.skipif("RNN_JAX_DATA" not in os.environ, reason="RNN_JAX_DATA is not set")
def test_sizes_on_the_real_file():
    data_dir = os.environ["RNN_JAX_DATA"]
    lecture = make_task(szeged.read(data_dir, "lecture"), "lecture", lag=64, ahead=1)
    assert [len(lecture.starts(split)) for split in SPLITS] == [67_472, 9_639, 19_278]
    assert sum(len(lecture.starts(split)) for split in SPLITS) == 96_389
