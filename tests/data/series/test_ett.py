"""The transformers: the rows and columns of the protocol on a made-up file, and facts of the real one."""

import os
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from rnn_jax.data import series as table
from rnn_jax.data.errors import DataError
from rnn_jax.data.series import ett

FOLDER = Path(os.environ.get("RNN_JAX_DATA", "."))


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("ett")
    times = pd.date_range("2016-07-01", periods=14_500, freq="h")
    frame = pd.DataFrame({"date": times} | {name: np.arange(14_500) * 10 + k for k, name in enumerate(ett.COLUMNS)})
    frame.to_csv(folder / "ETTh1.csv", index=False)
    frame[:14_400].to_csv(folder / "ETTh2.csv.gz", index=False)
    return folder


@pytest.mark.parametrize("name", ["etth1", "etth2"])
def test_the_rows_of_the_protocol(folder, name):
    series = table.read(name, folder, "clean")
    assert (series.name, series.num_targets, series.season, series.step) == (name, 7, 24, "1h")
    assert tuple(column.name for column in series.columns) == ett.COLUMNS
    np.testing.assert_array_equal(series.values, np.arange(14_400)[:, None] * 10 + np.arange(7))
    assert len(series.times) == len(series.breaks) == 14_400
    assert series.split_rows == (8640, 11_520, 14_400)
    note = "ETTh1.csv: left out the last 100 rows, in no split"
    assert series.repairs == ((note,) if name == "etth1" else ())


@pytest.mark.parametrize(
    ("options", "columns"),
    [
        ({"target": ("OT",)}, ["OT"]),
        ({"target": ("OT",), "inputs": ("all",)}, ["OT", *ett.COLUMNS[:-1]]),
        ({"target": ("OT", "HULL"), "inputs": ("LULL",)}, ["OT", "HULL", "LULL"]),
    ],
)
def test_columns(folder, options, columns):
    series = table.read("etth2", folder, "clean", **options)
    assert [column.name for column in series.columns] == columns
    assert series.num_targets == len(options["target"])


def test_refused(folder, tmp_path):
    with pytest.raises(DataError, match=r"^no ETTh2.csv in data_dir=.*zhouhaoyi/ETDataset, .* put its ETTh2.csv there"):
        table.read("etth2", tmp_path, "clean")
    with pytest.raises(DataError, match=r"^protocol=lecture: take one of clean$"):
        ett.read(folder, "lecture", station=1)
    (tmp_path / "ETTh1.csv").write_text("\n".join((folder / "ETTh1.csv").read_text().splitlines()[:1000]))
    with pytest.raises(DataError, match=r"^ETTh1.csv holds 999 hours, fewer than 14,400: fetch the whole file$"):
        table.read("etth1", tmp_path, "clean")


@pytest.mark.skipif(not (FOLDER / "ETTh1.csv.gz").exists(), reason="RNN_JAX_DATA is not set or has no ETTh1.csv.gz")
def test_facts_of_the_file():
    series = table.read("etth1", FOLDER, "clean")
    assert series.times[0] == pd.Timestamp("2016-07-01", tz="UTC")
    assert series.times[-1] == pd.Timestamp("2018-02-20 23:00", tz="UTC")
    assert series.repairs == ("ETTh1.csv.gz: left out the last 3,020 rows, in no split",)
    assert not series.breaks.any()
    assert np.isfinite(series.values).all()
    assert series.values[0, -1] == 30.5310001373291
