"""The loops that are timed against PyTorch's train the same model on the same batches."""

import dataclasses
import doctest

import numpy as np
import pytest

from benchmarks import children
from benchmarks.imdb_epoch import MODELS, prepare, random_reviews

SIZES = {"vocab_size": 50, "embedding_size": 3, "hidden_size": 4, "max_tokens": 20, "num_lengths": 2, "batch_size": 8}
STEPS = 3


@pytest.mark.parametrize("model", MODELS)
def test_first_losses_of_the_imdb_classifiers(model):
    pytest.importorskip("torch")
    from benchmarks.imdb_pytorch import VARIANTS, Training

    given, train = prepare(dataclasses.replace(MODELS[model], **SIZES), reviews=32, num_devices=1)
    lengths = given["lengths"][given["order"]]
    assert (lengths.min(axis=1) < lengths.max(axis=1)).all()  # so that there is padding to leave out
    losses = {"ours": [float(train(step, 1)) for step in range(STEPS)]}
    assert len(set(losses["ours"])) == STEPS
    for variant in VARIANTS:
        losses[variant] = [loss.item() for loss in Training(given, variant).train(STEPS)]
    assert children.largest_difference(losses) < 1e-5


def test_the_random_reviews():
    """As many as asked for, all words known, as long as IMDB's: half of them have more than 181 words."""
    corpus = random_reviews(MODELS["lstm"], 1000)
    assert np.median(corpus.tokens.lengths) == pytest.approx(181, abs=1)
    assert corpus.tokens.lengths.max() == 400
    assert (corpus.tokens.values.min(), corpus.tokens.values.max()) == (2, 29_999)
    assert len(corpus.bounds.lengths) == 8


@pytest.mark.parametrize("theirs", [[1.0, 2.01], [1.0, float("nan")]])
def test_losses_that_differ(theirs):
    with pytest.raises(RuntimeError, match=r"do not compute the same.*theirs"):
        children.largest_difference({"ours": [1.0, 2.0], "theirs": theirs})


def test_a_child_that_ends():
    with (
        pytest.raises(RuntimeError, match="no_such_module ended with status 1"),
        children.started({"absent": ["no_such_module"]}),
    ):
        pass


def test_the_examples():
    assert doctest.testmod(children).failed == 0
