"""The table of series: what it says is true of the readers, and reading it takes none of what they need."""

import importlib
import inspect

import numpy as np
import pytest
from helpers.imports import third_party_imports

from rnn_jax.data import series
from rnn_jax.data.errors import DataError
from rnn_jax.data.series import synthetic
from rnn_jax.data.series.series import Column

FILE = "a,b\n1,10\n2,20\n3,30\n"


@pytest.mark.parametrize("name", series.DATASETS)
def test_row(name):
    row = series.DATASETS[name]
    assert row.about
    parameters = inspect.signature(importlib.import_module(f"rnn_jax.data.series.{row.module}").read).parameters
    assert set(parameters) == {"data_dir", "protocol", *row.options, *row.fixed}
    assert row.protocols
    assert set(row.protocols) <= set(series.PROTOCOLS)
    for protocol in set(series.PROTOCOLS) - set(row.protocols):
        with pytest.raises(DataError, match=rf"^protocol={protocol}: take one of {', '.join(row.protocols)}$"):
            series.read(name, "", protocol)


def test_read_synthetic(tmp_path):
    read = series.read("synthetic", tmp_path, "clean", num_hours=50)
    np.testing.assert_array_equal(read.values, synthetic.hourly_temperature(50, seed=0).values)
    assert len(series.read("synthetic", tmp_path, "clean").values) == 3 * 365 * 24 + 24


def test_read_szeged(tmp_path):
    """Through the table to the reader that the row names, with the folder and the protocol it was given."""
    time, target = "Formatted Date", "Temperature (C)"
    rows = "2014-01-01 01:00:00.000 +0100,2\n2014-01-01 00:00:00.000 +0100,1\n"
    (tmp_path / "weatherHistory.csv").write_text(f"{time},{target}\n{rows}")
    assert series.read("szeged", tmp_path, "clean").values[:, 0].tolist() == [1, 2]
    assert series.read("szeged", tmp_path, "lecture").values[:, 0].tolist() == [2, 1]


def test_read_csv(tmp_path):
    (tmp_path / "some.csv").write_text(FILE)
    options = {"csv": str(tmp_path / "some.csv"), "target": ("b",)}
    read = series.read("csv", tmp_path, "clean", **options)
    assert (read.name, read.values[:, 0].tolist(), read.times) == ("some.csv", [10, 20, 30], None)
    assert series.read("csv", tmp_path, "clean", time="", series_id="", **options).times is None
    read = series.read("csv", tmp_path, "clean", inputs=("all",), known_future=("a",), angles=("a",), **options)
    assert read.columns == (Column("b"), Column("a", "angle", known=True))
    assert series.read("csv", tmp_path, "clean", series_id="a", **options).id_names == ("1", "2", "3")
    with pytest.raises(DataError, match="'c'"):
        series.read("csv", tmp_path, "clean", time="c", **options)


@pytest.mark.parametrize("given", [{}, {"csv": "some.csv"}, {"target": ("a",)}])
def test_csv_needs_a_file_and_a_column(given, tmp_path):
    with pytest.raises(DataError, match=r"^dataset=csv needs csv=FILE and target=COLUMN$"):
        series.read("csv", tmp_path, "clean", **given)


def test_refused(tmp_path):
    with pytest.raises(
        DataError, match=r"^dataset=beijing: take one of synthetic, szeged, beijing_pm25, etth1, etth2, csv$"
    ):
        series.read("beijing", tmp_path, "clean")
    with pytest.raises(DataError, match=r"^protocol=fair: take one of clean, lecture$"):
        series.read("synthetic", tmp_path, "fair")
    with pytest.raises(DataError, match=r"^num_hours=0: must be at least 1$"):
        series.read("synthetic", tmp_path, "clean", num_hours=0)
    with pytest.raises(TypeError, match="num_texts"):
        series.read("synthetic", tmp_path, "clean", num_texts=8)


def test_imports():
    assert third_party_imports("rnn_jax.data.series") == set()
