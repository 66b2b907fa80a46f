"""Tasks: which rows are in which split, and that nothing of the test rows leaks."""

import hashlib
import os
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rnn_jax.data.errors import DataError
from rnn_jax.data.series import szeged
from rnn_jax.data.series.forecasting import SPLITS, make_task
from rnn_jax.data.series.series import Series


def series_of(num_rows, breaks=(), times=None, name="some.csv"):
    flags = np.zeros(num_rows, dtype=bool)
    flags[list(breaks)] = True
    values = np.random.default_rng(0).normal(5, 3, (num_rows, 1))
    return Series(name, values, ("x",), times, flags, ("some.csv: a repair",))


def test_fields():
    series = series_of(100)
    task = make_task(series, "clean", lag=4, ahead=2)
    assert (task.dataset, task.protocol, task.columns, task.lag, task.ahead) == ("some.csv", "clean", ("x",), 4, 2)
    assert task.repairs == ("some.csv: a repair",)
    assert task.values is series.values
    for split in SPLITS:
        assert task.starts(split) is getattr(task, split)
        assert task.starts(split).dtype == np.int32
    assert task.targets(task.test).shape == (len(task.test), 2)
    np.testing.assert_array_equal(task.targets(task.test)[0], series.values[task.test[0] + 4 : task.test[0] + 6, 0])
    with pytest.raises(DataError, match=r"^unknown split 'training': take one of train, validation, test$"):
        task.starts("training")


def test_fingerprint():
    series = series_of(100)
    first = make_task(series, "clean", 4, 1).fingerprint()
    assert first == make_task(series_of(100), "clean", 4, 1).fingerprint()
    values = series.values.copy()
    values[-1] += 1e-3
    others = [
        make_task(replace(series, values=values), "clean", 4, 1),
        make_task(series, "lecture", 4, 1),
        make_task(series_of(100, breaks=[90]), "clean", 4, 1),
    ]
    assert len({first, *(task.fingerprint() for task in others)}) == 4


@pytest.mark.parametrize("protocol", ["clean", "lecture"])
def test_fingerprint_as_it_was(protocol):
    """Run folders hold it: what it is made of may not change."""
    series = replace(series_of(100, breaks=[40]), values=np.arange(300.0).reshape(100, 3) / 7)
    task = make_task(replace(series, columns=("x", "y", "z")), protocol, 4, 2)
    sha = hashlib.sha256(protocol.encode())
    for array in (task.values.astype(np.float32), task.train, task.validation, task.test):
        sha.update(f"{array.dtype}{array.shape}".encode() + array.tobytes())
    assert task.fingerprint() == sha.hexdigest()


def test_scaling_is_that_of_the_training_rows():
    series = series_of(100)
    task = make_task(series, "clean", lag=4, ahead=1)
    np.testing.assert_allclose(task.mean, series.values[:70].mean(axis=0))
    np.testing.assert_allclose(task.scale, series.values[:70].std(axis=0))
    assert task.standardized.dtype == np.float32
    np.testing.assert_allclose(task.standardized[:70].mean(), 0, atol=1e-6)
    np.testing.assert_allclose(task.in_units(task.standardized[:, 0]), series.values[:, 0], rtol=1e-5)
    assert task.in_units(np.float32([[0.0]])).dtype == np.float64


@settings(deadline=None)
@given(st.integers(40, 90), st.sets(st.integers(1, 89), max_size=4), st.integers(1, 4), st.integers(1, 3))
def test_clean_windows_cross_no_split_and_no_break(num_rows, breaks, lag, ahead):
    breaks = {b for b in breaks if b < num_rows}
    bounds = [0, num_rows * 7 // 10, num_rows * 8 // 10, num_rows]
    expected = [
        [s for s in range(a, b - lag - ahead + 1) if not any(row in breaks for row in range(s + 1, s + lag + ahead))]
        for a, b in pairwise(bounds)
    ]
    series = series_of(num_rows, breaks)
    if not all(expected):
        with pytest.raises(DataError, match="without a break"):
            make_task(series, "clean", lag, ahead)
        return
    task = make_task(series, "clean", lag, ahead)
    assert [task.starts(split).tolist() for split in SPLITS] == expected


def test_lecture_windows_follow_one_another():
    series = series_of(1006)
    task = make_task(series, "lecture", lag=5, ahead=2)
    assert [len(task.starts(split)) for split in SPLITS] == [700, 100, 200]
    np.testing.assert_array_equal(np.concatenate([task.starts(split) for split in SPLITS]), np.arange(1000))
    np.testing.assert_allclose(task.mean, series.values[: 699 + 7].mean(axis=0))


@pytest.mark.parametrize("protocol", ["clean", "lecture"])
def test_test_rows_do_not_leak(protocol):
    series = series_of(300, breaks=[50])
    task = make_task(series, protocol, lag=5, ahead=2)
    for split in ("validation", "test"):
        first = task.starts(split)[0] + (task.lag + 1 if protocol == "lecture" else 0)
        changed = series.values.copy()
        changed[first:] += 1000.0
        other = make_task(replace(series, values=changed), protocol, lag=5, ahead=2)
        np.testing.assert_array_equal(other.mean, task.mean)
        np.testing.assert_array_equal(other.scale, task.scale)
        np.testing.assert_array_equal(other.train, task.train)
        rows = task.train[:, None] + np.arange(task.lag + task.ahead)
        np.testing.assert_array_equal(other.standardized[rows], task.standardized[rows])


def test_szeged_is_split_by_date():
    times = pd.date_range("2013-12-30", "2016-12-31 23:00", freq="h", tz="UTC")
    series = replace(series_of(len(times), times=times), split_times=szeged.SPLIT_TIMES)
    task = make_task(series, "clean", lag=24, ahead=6)
    first = [times[task.starts(split)[0]] for split in SPLITS]
    last = [times[task.starts(split)[-1] + 24 + 6 - 1] for split in SPLITS]
    assert [str(t)[:16] for t in first] == ["2013-12-30 00:00", "2014-01-01 00:00", "2015-01-01 00:00"]
    assert [str(t)[:16] for t in last] == ["2013-12-31 23:00", "2014-12-31 23:00", "2016-10-31 23:00"]
    np.testing.assert_allclose(task.mean, task.values[:48].mean(axis=0))


def test_a_file_of_that_name_is_not_szeged():
    times = pd.date_range("2020-01-01", periods=100, freq="h", tz="UTC")
    task = make_task(series_of(100, times=times, name="szeged"), "clean", lag=2, ahead=1)
    assert task.test[0] == 80


@pytest.mark.parametrize(
    ("series", "protocol", "lag", "message"),
    [
        (series_of(100), "honest", 4, "protocol=honest: take one of clean, lecture"),
        (
            series_of(100),
            "clean",
            10,
            "some.csv: the validation split of protocol 'clean' has no run of lag 10 + ahead 1 = 11 rows without a "
            "break (100 rows in all): take a smaller lag or ahead, or a longer series",
        ),
        (
            series_of(100, breaks=range(1, 70)),
            "clean",
            4,
            "some.csv: the train split of protocol 'clean' has no run of lag 4 + ahead 1 = 5 rows without a "
            "break (100 rows in all): take a smaller lag or ahead, or a longer series",
        ),
        (
            series_of(7),
            "lecture",
            6,
            "some.csv: the train split of protocol 'lecture' has no run of lag 6 + ahead 1 = 7 rows without a "
            "break (7 rows in all): take a smaller lag or ahead, or a longer series",
        ),
        (
            series_of(8),
            "clean",
            8,
            "8 rows are too few for a window of lag 8 + ahead 1 = 9 rows: "
            "take a smaller lag or ahead, or a longer series",
        ),
        (
            replace(series_of(100), values=np.append(np.full(80, 0.1), np.arange(20.0))[:, None]),
            "clean",
            4,
            "some.csv: column 'x' is 0.1 in all 70 training rows, there is nothing to learn: "
            "take another column or a longer series",
        ),
        (
            series_of(100, times=pd.date_range("2020-01-01", periods=100, freq="h", tz="UTC")[::-1]),
            "clean",
            4,
            "some.csv: its rows are not in time order, which protocol 'clean' needs: read it so too",
        ),
    ],
)
def test_errors(series, protocol, lag, message):
    with pytest.raises(DataError) as error:
        make_task(series, protocol, lag, 1)
    assert str(error.value) == message


@pytest.mark.skipif("RNN_JAX_DATA" not in os.environ, reason="RNN_JAX_DATA is not set")
def test_sizes_on_the_real_file():
    data_dir = os.environ["RNN_JAX_DATA"]
    lecture = make_task(szeged.read(data_dir, "lecture"), "lecture", lag=64, ahead=1)
    assert [len(lecture.starts(split)) for split in SPLITS] == [67_472, 9_639, 19_278]
    assert sum(len(lecture.starts(split)) for split in SPLITS) == 96_389
    clean = make_task(szeged.read(data_dir, "clean"), "clean", lag=48, ahead=1)
    hours = [70_129, 8_760, 8_760 + 24 * (366 - 61)]  # 2006 begins an hour early in UTC, 2016 is a leap year
    assert [len(clean.starts(split)) for split in SPLITS] == [h - 48 for h in hours]
