"""The Szeged file: finding it, the two protocols on a small imitation, and facts of the real file."""

import os

import numpy as np
import pandas as pd
import pytest

from rnn_jax.data.errors import DataError
from rnn_jax.data.series import szeged
from rnn_jax.data.series.series import Column

HEADER = (
    "Formatted Date,Summary,Precip Type,Temperature (C),Wind Bearing (degrees),Loud Cover,Pressure (millibars),"
    "Daily Summary\n"
)
real = pytest.mark.skipif("RNN_JAX_DATA" not in os.environ, reason="RNN_JAX_DATA is not set")


def row(time, temperature):
    sky, rain = ("Clear", "rain") if temperature % 2 else ("Foggy", "null" if temperature == 2 else "snow")
    return (
        f"{time}:00:00.000 +0200,{sky},{rain},{temperature},{temperature + 90},0,{temperature and 1000},Fine all day\n"
    )


@pytest.fixture
def imitation(tmp_path):
    """April before January, a repeated hour, a hole of three hours, the change to summer time."""
    april = [row(f"2006-04-01 {h:02}", h) for h in (0, 1, 2, 6, 7)]
    march = [row("2006-03-31 22", -2), row("2006-03-31 23", -1)]
    (tmp_path / "weatherHistory.csv").write_text(HEADER + "".join(april + march + april[:1]))
    return tmp_path


def test_clean(imitation):
    series = szeged.read(imitation, "clean")
    assert (series.name, series.split_times, series.split_rows) == ("szeged", szeged.SPLIT_TIMES, None)
    assert (series.columns, series.num_targets) == ((Column("Temperature (C)"),), 1)
    assert (series.season, series.step) == (24, "1h")
    np.testing.assert_array_equal(series.values[:, 0], [-2, -1, 0, 1, 2, np.nan, np.nan, np.nan, 6, 7])
    assert series.times[0] == pd.Timestamp("2006-03-31 20:00", tz="UTC")
    assert not series.breaks.any()
    assert len(series.repairs) == 3


def test_all_columns_but_the_constant_one_and_the_one_that_knows_the_future(imitation):
    series = szeged.read(imitation, "clean", inputs=("all",))
    assert series.columns == (
        Column("Temperature (C)"),
        Column("Summary", "category", categories=("Clear", "Foggy")),
        Column("Precip Type", "category", categories=("rain", "snow")),
        Column("Wind Bearing (degrees)", "angle"),
        Column("Pressure (millibars)"),
    )
    np.testing.assert_array_equal(series.values[2], [0, 1, 1, 90, np.nan])
    np.testing.assert_array_equal(series.values[4], [2, 1, np.nan, 92, 1000])
    assert np.isnan(series.values[5:8]).all()


def test_chosen_columns(imitation):
    series = szeged.read(imitation, "clean", target=("Pressure (millibars)", "Temperature (C)"), inputs=("Summary",))
    assert [column.name for column in series.columns] == ["Pressure (millibars)", "Temperature (C)", "Summary"]
    assert series.num_targets == 2


@pytest.mark.parametrize(
    ("protocol", "options", "message"),
    [
        ("honest", {}, r"^protocol=honest: take one of clean, lecture$"),
        ("clean", {"inputs": ("Daily Summary",)}, r"^dataset=szeged: 'Daily Summary' tells of hours to come: leave it"),
        ("clean", {"inputs": ("Humid",)}, r"^weatherHistory.csv has no column 'Humid': take one of 'Formatted Date', "),
        ("clean", {"target": ("Summary",)}, r"^weatherHistory.csv, line 2, column 'Summary': 'Foggy' is not a number"),
        ("lecture", {"inputs": ("all",)}, r"^dataset=szeged has one target and no inputs under protocol=lecture: use"),
        ("lecture", {"target": ("a", "b")}, r"^dataset=szeged has one target and no inputs under protocol=lecture"),
        (
            "lecture",
            {"target": ("Pressure (millibars)",)},
            r"^weatherHistory.csv has cells without a value, file order",
        ),
    ],
)
def test_refused(imitation, protocol, options, message):
    with pytest.raises(DataError, match=message):
        szeged.read(imitation, protocol, **options)


def test_lecture(imitation):
    series = szeged.read(imitation, "lecture")
    np.testing.assert_array_equal(series.values[:, 0], [0, 1, 2, 6, 7, -2, -1, 0])
    assert not series.breaks.any()
    assert (series.season, series.step, series.name) == (24, "1h", "szeged")
    assert series.repairs == (
        "weatherHistory.csv: kept in file order as the lecture did: 2 steps between neighbouring rows are not one hour",
    )


def test_absent(tmp_path):
    with pytest.raises(DataError) as error:
        szeged.read(tmp_path, "clean")
    assert str(error.value) == (
        f"no weatherHistory.csv in data_dir={tmp_path}: download the Kaggle data set budincsevity/szeged-weather "
        "and put its weatherHistory.csv there"
    )


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
    series = szeged.read(os.environ["RNN_JAX_DATA"], "clean", inputs=("all",))
    assert [len(column.categories) for column in series.columns] == [0, 27, 2, 0, 0, 0, 0, 0, 0]
    assert series.values.shape == (96_429 + 3, 9)
    assert series.times.equals(
        pd.date_range("2005-12-31 23:00", "2016-12-31 22:00", freq="h", tz="UTC").as_unit(series.times.unit)
    )
    assert not series.breaks.any()
    assert [note.split(": ", 1)[1] for note in series.repairs] == [
        "sorted 96,453 rows by time (451 steps went back)",
        "dropped 24 rows of a time that had occurred, 0 with another value (first kept)",
        "inserted 3 rows for 1 hole: they are missing values (regular step: 1h)",
        "'Precip Type': 517 of 96,453 values are missing",
        "'Pressure (millibars)': 1,288 of 96,453 values are missing",
    ]
    assert np.sqrt(np.nanmean(np.diff(series.values[:, 0]) ** 2)) == pytest.approx(1.401, abs=5e-4)
    inserted = series.times.get_indexer(pd.date_range("2014-07-13 22:00", periods=3, freq="h", tz="UTC"))
    np.testing.assert_array_equal(np.flatnonzero(np.isnan(series.values[:, 0])), inserted)
    assert np.nanmin(series.values[:, -1]) == 973.78
