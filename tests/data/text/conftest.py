"""The real reviews, read once."""

import os

import pytest

from rnn_jax.data.text import imdb


@pytest.fixture(scope="session")
def real_imdb():
    """IMDB, where its files are at hand."""
    if "RNN_JAX_DATA" not in os.environ:
        pytest.skip("RNN_JAX_DATA is not set")
    return imdb.read(os.environ["RNN_JAX_DATA"])
