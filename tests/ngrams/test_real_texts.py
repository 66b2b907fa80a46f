"""Perplexities that others published, and levels on real characters, where the files are at hand."""

import gzip
import os
import tarfile
from pathlib import Path

import numpy as np
import pytest

from rnn_jax import ngrams

FOLDER = Path(os.environ.get("RNN_JAX_DATA", ""))
TREEBANK, SHAKESPEARE = FOLDER / "ptb.tar.xz", FOLDER / "tinyshakespeare.txt.gz"


@pytest.fixture(scope="module")
def treebank():
    """The Penn Treebank: tokens to train on and to test on, the number of words, and that of `<eos>`."""
    if not TREEBANK.is_file():
        pytest.skip("RNN_JAX_DATA is not set or without the Penn Treebank")
    with tarfile.open(TREEBANK) as tar:
        lines = [tar.extractfile(f"ptb/ptb.{part}.txt").read().decode().splitlines() for part in ("train", "test")]
    train, test = ([word for line in part for word in (*line.split(), "<eos>")] for part in lines)
    numbers = {word: number for number, word in enumerate(sorted(set(train)))}
    return [numbers[word] for word in train], [numbers[word] for word in test], len(numbers), numbers["<eos>"]


@pytest.mark.parametrize(("order", "published"), [(3, 148.3), (5, 141.2)])
def test_the_penn_treebank(treebank, order, published):
    """Kneser-Ney 3 and 5 in Mikolov, "Statistical language models based on neural networks", 2012, made by SRILM."""
    train, test, num_tokens, end = treebank
    assert (len(train), len(test), num_tokens) == (929_589, 82_430, 10_000)
    model = ngrams.fit(train, order, num_tokens, end=end)
    assert round(np.exp(-model.log_probabilities(test).mean()), 1) == published


@pytest.mark.skipif(not SHAKESPEARE.is_file(), reason="RNN_JAX_DATA is not set or without tiny Shakespeare")
@pytest.mark.parametrize(("order", "nats"), [(3, 2.0381), (6, 1.5226)])
def test_characters(order, nats):
    with gzip.open(SHAKESPEARE) as file:
        characters, tokens = np.unique(np.frombuffer(file.read(), np.uint8), return_inverse=True)
    first = len(tokens) * 9 // 10
    model = ngrams.fit(tokens[:first], order, len(characters))
    np.testing.assert_allclose(-model.log_probabilities(tokens[first:]).mean(), nats, atol=2e-4)
