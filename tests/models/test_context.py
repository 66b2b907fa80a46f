"""What context is worth: the loss of the same tokens, given more and more of what stands before them."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from numpy.testing import assert_allclose, assert_array_equal

from rnn_jax.models import LanguageModel, abstract, pure
from rnn_jax.models.context import make_context_losses

N, C, V, D = 6, 9, 11, 4
MODELS = {
    "rnn": {"cell": "rnn", "hidden_size": 5, "tied": True},
    "stacked lstm": {"cell": "lstm", "hidden_size": 3, "num_layers": 2, "layer_norm": True},
    "zoneout": {"cell": "gru", "hidden_size": 7, "zoneout": 0.3, "output_dropout": 0.5},
}


def make(name, rngs=None):
    return LanguageModel(V, D, **MODELS[name], embedding_scale=2.0, rngs=rngs or nnx.Rngs(1))


def windows(seed=0):
    return np.random.default_rng(seed).integers(V, size=(N, C + 1))


def naive(model, rows, length, reset_at=None):
    """One window at a time, from the tokens of its context alone; of these from the last `reset_at` on."""
    found = []
    for row in rows:
        context = list(row[C - length : C])
        if reset_at in context:
            context = context[len(context) - 1 - context[::-1].index(reset_at) :]
        scores = np.asarray(model(jnp.array([context]))[0, -1], np.float64)
        found.append(np.log(np.exp(scores).sum()) - scores[row[C]])
    return found


@pytest.mark.parametrize("reset_at", [None, 3])
@pytest.mark.parametrize("name", MODELS)
def test_is_the_loss_of_reading_the_context_alone(name, reset_at):
    model, rows, lengths = make(name), windows(), [1, 2, 5, C]
    assert (rows[:, :C] == 3).any()
    of = make_context_losses(abstract(lambda rngs: make(name, rngs)), lengths, reset_at=reset_at)
    found = jax.jit(of)(pure(model)[1], rows.astype(np.uint8))
    assert found.shape == (4, N)
    for length, losses in zip(lengths, found, strict=True):
        assert_allclose(losses, naive(model, rows, length, reset_at), rtol=1e-5)
    assert (np.abs(np.diff(found, axis=0)).max(axis=1) > 1e-3).all(), "the model does not use its context"


@pytest.mark.parametrize("length", [1, 4])
def test_what_stands_before_the_context_does_not_count(length):
    rows, others = windows(), windows(1)
    others[:, C - length :] = rows[:, C - length :]
    assert (others[:, C - length - 1] != rows[:, C - length - 1]).any()
    model = make("rnn")
    losses = jax.jit(make_context_losses(model, [length, length + 1]))
    found, moved = losses(pure(model)[1], rows), losses(pure(model)[1], others)
    assert_array_equal(found[0], moved[0])
    assert (found[1] != moved[1]).any()


@pytest.mark.parametrize("lengths", [[], [0, 2], [-1]])
def test_lengths_begin_with_one_token(lengths):
    with pytest.raises(ValueError, match=r"lengths must be at least one, and none below 1 token, got \["):
        make_context_losses(make("rnn"), lengths)


def test_a_length_beyond_the_windows():
    losses = make_context_losses(make("rnn"), [1, C + 1])
    with pytest.raises(ValueError, match=r"windows \(6, 10\) have contexts of 9 tokens, lengths are \[1, 10\]"):
        losses({}, windows())
