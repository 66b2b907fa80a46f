"""The Szeged file: finding it, the two protocols on a small imitation, and facts of the real file."""

import os

import numpy as np
import pandas as pd
import pytest

from rnn_jax.data.errors import DataError
from rnn_jax.data.series import szeged

HEADER = "Formatted Date,Summary,Temperature (C)\n"
real = pytest.mark.skipif("RNN_JAX_DATA" not in os.environ, reason="RNN_JAX_DATA is not set")


@pytest.fixture
def imitation(tmp_path):
    """April before January, a repeated hour, a hole of three hours, the change to summer time."""
    april = [f"2006-04-01 {h:02}:00:00.000 +0200,Clear,{h}\n" for h in (0, 1, 2, 6, 7)]
    march = ["2006-03-31 22:00:00.000 +0200,Clear,-2\n", "2006-03-31 23:00:00.000 +0200,Clear,-1\n"]
    (tmp_path / "weatherHistory.csv").write_text(HEADER + "".join(april + march + april[:1]))
    return tmp_path


def test_clean(imitation):
    series = szeged.read(imitation, "clean")
    assert series.name == "szeged"
    assert series.split_times == szeged.SPLIT_TIMES
    assert series.columns == ("Temperature (C)",)
    np.testing.assert_array_equal(series.values[:, 0], range(-2, 8))
    assert series.times[0] == pd.Timestamp("2006-03-31 20:00", tz="UTC")
    assert not series.breaks.any()
    assert len(series.repairs) == 3


def test_lecture(imitation):
    series = szeged.read(imitation, "lecture")
    np.testing.assert_array_equal(series.values[:, 0], [0, 1, 2, 6, 7, -2, -1, 0])
    assert not series.breaks.any()
    assert series.repairs == (
        "weatherHistory.csv: kept in file order as the lecture did: 2 steps between neighbouring rows are not one hour",
    )


def test_lecture_needs_every_value(tmp_path):
    (tmp_path / "weatherHistory.csv").write_text(
        HEADER + "2006-04-01 00:00 +0200,Clear,\n2006-04-01 01:00 +0200,Clear,1\n"
    )
    with pytest.raises(DataError, match=r"^weatherHistory.csv has cells without a value, .*: use protocol=clean$"):
        szeged.read(tmp_path, "lecture")


def test_absent(tmp_path):
    with pytest.raises(DataError) as error:
        szeged.read(tmp_path, "clean")
    assert str(error.value) == (
        f"no weatherHistory.csv in data_dir={tmp_path}: download the Kaggle data set budincsevity/szeged-weather "
        "and put its weatherHistory.csv there"
    )


def test_unknown_protocol(imitation):
    with pytest.raises(DataError, match=r"^protocol=honest: take one of clean, lecture$"):
        szeged.read(imitation, "honest")


@real
def test_facts_of_the_file_in_file_order():
    series = szeged.read(os.environ["RNN_JAX_DATA"], "lecture")
    assert series.values.shape == (96_453, 1)
    assert series.times[0] == pd.Timestamp("2006-04-01 00:00 +0200")
    assert series.times[-1] == pd.Timestamp("2016-09-09 23:00 +0200")
    assert "903 steps between neighbouring rows are not one hour" in series.repairs[0]
    assert (series.values.min(), series.values.max()) == pytest.approx((-21.82, 39.91), abs=0.005)
    assert series.values.mean() == pytest.approx(11.933, abs=5e-4)
    assert series.values.std() == pytest.approx(9.550, abs=2e-3)
    assert np.sqrt(np.mean(np.diff(series.values[:, 0]) ** 2)) == pytest.approx(1.557, abs=5e-4)


@real
def test_facts_of_the_file_in_time_order():
    series = szeged.read(os.environ["RNN_JAX_DATA"], "clean")
    assert len(series.values) == 96_429 + 3
    assert series.times.equals(
        pd.date_range("2005-12-31 23:00", "2016-12-31 22:00", freq="h", tz="UTC").as_unit(series.times.unit)
    )
    assert not series.breaks.any()
    assert series.repairs == (
        f"{source()}: sorted 96,453 rows by time (451 steps went back)",
        f"{source()}: dropped 24 rows of a time that had occurred, 0 with another value (first kept)",
        f"{source()}: filled 1 hole of at most 3 steps by linear interpolation "
        "(3 rows inserted; regular step: 01:00:00)",
    )
    assert np.sqrt(np.mean(np.diff(series.values[:, 0]) ** 2)) == pytest.approx(1.401, abs=5e-4)
    inserted = series.times.get_indexer(pd.date_range("2014-07-13 22:00", periods=3, freq="h", tz="UTC"))
    np.testing.assert_allclose(
        series.values[inserted, 0],
        np.interp([1, 2, 3], [0, 4], series.values[[inserted[0] - 1, inserted[-1] + 1], 0]),
    )


def source():
    return next(f for f in szeged.FILES if os.path.exists(os.path.join(os.environ["RNN_JAX_DATA"], f)))
