"""The table of labelled texts: what it says is true of the readers, and reading it takes none of what they need."""

import importlib
import inspect
import re

import numpy as np
import pytest
from helpers.imports import third_party_imports

from rnn_jax.data import text
from rnn_jax.data.errors import DataError
from rnn_jax.data.text import synthetic_reviews
from rnn_jax.data.text.reviews import fingerprint


@pytest.mark.parametrize("name", text.DATASETS)
def test_row(name):
    row = text.DATASETS[name]
    assert row.about
    assert row.cleaning in text.CLEANING
    module = importlib.import_module(f"rnn_jax.data.text.{row.module}")
    assert name == module.NAME
    parameters = inspect.signature(module.read).parameters
    assert set(row.options) <= set(parameters)
    assert next(iter(parameters)) == "data_dir"


def test_read_made_up_reviews(tmp_path):
    data = text.read("synthetic_reviews", tmp_path, num_texts=41)
    assert fingerprint(data) == fingerprint(synthetic_reviews.generate(40, 10))
    assert len(text.read("synthetic_reviews", tmp_path).train.texts) == 4_000


def test_read_files(tmp_path):
    """Through the table to the reader that the row names, with the folder it was given."""
    with pytest.raises(DataError, match=re.escape(str(tmp_path / "here"))):
        text.read("ntc_scv", tmp_path / "here")


def test_refused(tmp_path):
    with pytest.raises(DataError, match=r"^dataset=yelp: take one of imdb, ntc_scv, synthetic_reviews$"):
        text.read("yelp", tmp_path)
    with pytest.raises(DataError, match=r"^num_texts=7: take at least 8$"):
        text.read("synthetic_reviews", tmp_path, num_texts=7)
    with pytest.raises(TypeError, match="num_hours"):
        text.read("synthetic_reviews", tmp_path, num_hours=7)


def test_smallest(tmp_path):
    data = text.read("synthetic_reviews", tmp_path, num_texts=8)
    assert [len(data.train.texts), len(data.test.texts)] == [8, 2]
    np.testing.assert_array_equal(np.sort(data.train.labels), [0] * 4 + [1] * 4)


def test_imports():
    assert third_party_imports("rnn_jax.data.text") == set()
    assert third_party_imports("rnn_jax.data.text.vocabulary", "rnn_jax.data.text.count_ratios") <= {"numpy"}
