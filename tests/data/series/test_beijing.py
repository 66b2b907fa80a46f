"""The Beijing file: the two protocols on a made-up file, and facts and published figures of the real one."""

import os

import numpy as np
import pandas as pd
import pytest

from rnn_jax.data.errors import DataError
from rnn_jax.data.series import beijing
from rnn_jax.data.series.series import Column

COLUMNS = ["pm2.5", "DEWP", "TEMP", "PRES", "cbwd", "Iws", "Is", "Ir"]
real = pytest.mark.skipif("RNN_JAX_DATA" not in os.environ, reason="RNN_JAX_DATA is not set")


def write(folder, hours):
    """Dust `t`, missing on the first day and at the hours 30, 60, 90."""
    times = pd.date_range("2010-01-01", periods=hours, freq="h")
    lines = [
        f"{t + 1},{time.year},{time.month},{time.day},{time.hour},{'NA' if t < 24 or t in (30, 60, 90) else t}"
        f",{t % 9},{t % 7},{t % 5},{('SE', 'NW', 'cv', 'NE')[t % 4]},{t % 3},{t % 2},{t % 11}"
        for t, time in enumerate(times)
    ]
    header = "No,year,month,day,hour,pm2.5,DEWP,TEMP,PRES,cbwd,Iws,Is,Ir"
    (folder / "pollution.csv").write_text("\r\n".join([header, *lines]))
    return folder


def test_clean(tmp_path):
    series = beijing.read(write(tmp_path, 100), "clean")
    assert (series.name, series.num_targets) == ("beijing_pm25", 1)
    assert [column.name for column in series.columns] == COLUMNS
    assert series.columns[4] == Column("cbwd", "category", categories=("NE", "NW", "SE", "cv"))
    assert list(series.times) == list(pd.date_range("2010-01-02", periods=76, freq="h", tz="UTC"))
    expected = np.arange(24.0, 100)
    expected[[6, 36, 66]] = np.nan
    np.testing.assert_array_equal(series.values[:, 0], expected)
    np.testing.assert_array_equal(series.values[:4, 4], [2, 1, 3, 0])
    assert not series.breaks.any()
    assert (series.season, series.step, series.split_rows) == (24, "1h", None)
    assert [str(time) for time in series.split_times] == [f"{year}-01-01 00:00:00+00:00" for year in (2013, 2014, 2015)]
    assert series.repairs[1] == "pollution.csv: 'pm2.5': 27 of 100 values are missing"


@pytest.mark.parametrize(
    ("options", "columns"),
    [
        ({"inputs": ("none",)}, ["pm2.5"]),
        ({"inputs": ("all",)}, COLUMNS),
        ({"inputs": ("TEMP",)}, ["pm2.5", "TEMP"]),
        ({"target": ("TEMP", "pm2.5"), "inputs": ("cbwd",)}, ["TEMP", "pm2.5", "cbwd"]),
        ({"target": ("TEMP",)}, ["TEMP", "pm2.5", "DEWP", "PRES", "cbwd", "Iws", "Is", "Ir"]),
    ],
)
def test_columns(tmp_path, options, columns):
    series = beijing.read(write(tmp_path, 100), "clean", **options)
    assert [column.name for column in series.columns] == columns
    assert series.num_targets == len(options.get("target", ["pm2.5"]))


def test_copied(tmp_path):
    series = beijing.read(write(tmp_path, 9000), "copied")
    expected = np.arange(24.0, 9000)
    expected[[6, 36, 66]] = 0
    np.testing.assert_array_equal(series.values[:, 0], expected)
    assert (series.split_rows, series.split_times) == ((7885, 8761, 8976), None)
    assert series.repairs == (
        "pollution.csv: as the copies did: dropped the first 24 rows and set 3 missing values to 0",
    )


def test_refused(tmp_path):
    with pytest.raises(DataError, match=r"^no pollution.csv in data_dir=.*: download .* put its pollution.csv there$"):
        beijing.read(tmp_path, "clean")
    write(tmp_path, 100)
    with pytest.raises(DataError, match=r"^protocol=lecture: take one of clean, copied$"):
        beijing.read(tmp_path, "lecture")
    with pytest.raises(DataError, match=r"^pollution.csv holds 100 rows, too few for protocol=copied: use protocol="):
        beijing.read(tmp_path, "copied")
    file = tmp_path / "pollution.csv"
    file.write_text(file.read_text().replace("\n3,2010,1,1,2,", "\n3,2010,2,30,2,"))
    with pytest.raises(DataError, match=r"line 4: year 2010, month 2, day 30, hour 2 is not a time: correct the line$"):
        beijing.read(tmp_path, "clean")


@real
def test_facts_of_the_file():
    series = beijing.read(os.environ["RNN_JAX_DATA"], "clean")
    assert series.values.shape == (43_824 - 24, 8)
    assert series.times[0] == pd.Timestamp("2010-01-02", tz="UTC")
    assert series.times[-1] == pd.Timestamp("2014-12-31 23:00", tz="UTC")
    assert [note.split(": ", 1)[1] for note in series.repairs] == [
        "dropped 24 rows before the first or after the last one with a target",
        "'pm2.5': 2,067 of 43,824 values are missing",
    ]
    dust = series.values[:, 0]
    assert np.nanmax(dust) == 994
    missing = np.isnan(dust)
    assert np.sum(np.diff(missing.astype(int)) == 1) == 214 - 1
    assert [int(missing[series.times.year == year].sum()) for year in range(2010, 2015)] == [669 - 24, 728, 489, 82, 99]
    assert not np.isnan(series.values[:, 1:]).any()


@real
def test_published_figures_of_the_copied_protocol():
    series = beijing.read(os.environ["RNN_JAX_DATA"], "copied")
    clean = beijing.read(os.environ["RNN_JAX_DATA"], "clean").values[:, 0]
    dust, end = series.values[:, 0], series.split_rows[1]
    last, target = dust[end - 1 : -1], dust[end:]
    assert len(target) == 43_800 - 1 - 8760
    slope, start = np.polyfit(dust[: end - 1], dust[1:end], 1)
    errors = [last - target, slope * last + start - target, clean[end - 1 : -1] - clean[end:]]
    assert [f"{np.sqrt(np.nanmean(error**2)):.3f}" for error in errors] == ["26.559", "26.319", "23.447"]
