"""The network of a fixed context: against loops in NumPy, and in pieces."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from rnn_jax.models import FeedForwardLanguageModel, pure

V, D, N, H, B, T = 11, 3, 4, 5, 2, 7
TEXT = jnp.asarray(np.random.default_rng(0).integers(1, V, (B, T + 1)))
TOKENS, TARGETS = TEXT[:, :-1], TEXT[:, 1:]


def make(context=N, **options):
    model = FeedForwardLanguageModel(V, D, context, H, param_dtype=jnp.float64, rngs=nnx.Rngs(0), **options)
    rng = np.random.default_rng(1)
    state = nnx.state(model, nnx.Param)
    nnx.update(model, jax.tree.map(lambda leaf: jnp.asarray(rng.normal(size=leaf.shape) / 2), state))
    return model


def by_numpy(model, context, direct):
    """Scores of every token, and the loss of each target, a token at a time."""
    params = jax.tree.map(np.asarray, pure(model)[1])
    scores, losses = np.zeros((B, T, V)), np.zeros((B, T))
    for b in range(B):
        for t in range(T):
            before = [int(TOKENS[b, i]) if i >= 0 else 0 for i in range(t - context + 1, t + 1)]
            x = np.concatenate([params["embedding"]["table"][token] for token in before])
            a = np.tanh(x @ params["hidden"]["kernel"] + params["hidden"]["bias"])
            features = np.concatenate((a, x)) if direct else a
            if "projection" in params["head"]:
                features = features @ params["head"]["projection"]["kernel"]
            table = params["head"].get("table", params["embedding"]["table"])
            scores[b, t] = table @ features + params["head"]["bias"]
            losses[b, t] = np.log(np.exp(scores[b, t]).sum()) - scores[b, t, TARGETS[b, t]]
    return scores, losses


@pytest.mark.parametrize("tied", [False, True])
@pytest.mark.parametrize(("context", "direct"), [(N, True), (N, False), (1, True), (T + 2, True)])
def test_against_numpy(context, direct, tied):
    model = make(context, direct=direct, tied=tied)
    scores, losses = by_numpy(model, context, direct)
    np.testing.assert_allclose(model(TOKENS), scores, rtol=1e-9)
    np.testing.assert_allclose(model.token_losses(TOKENS, TARGETS)[1], losses, rtol=1e-9)
    value, (carry, entropy) = model.loss(TOKENS, TARGETS)
    assert value == entropy
    np.testing.assert_allclose(value, losses.mean(), rtol=1e-6)
    read = np.concatenate((np.zeros((B, context - 1), int), TOKENS), axis=1)
    np.testing.assert_array_equal(carry, read[:, read.shape[1] - context + 1 :])


@pytest.mark.parametrize("cuts", [(2,), (1, 2, 6), (0, 5)])
def test_pieces_are_the_whole(cuts):
    """Some of them shorter than the context."""
    model = make()
    expected = model.token_losses(TOKENS, TARGETS)
    carry, found = model.begin(B), []
    for tokens, targets in zip(*(jnp.split(each, cuts, axis=1) for each in (TOKENS, TARGETS)), strict=True):
        carry, losses = model.token_losses(tokens.astype(jnp.uint8), targets, carry, resets=tokens == 3)
        assert (carry.shape, carry.dtype) == ((B, N - 1), jnp.int32)
        found.append(losses)
    np.testing.assert_allclose(jnp.concatenate(found, axis=1), expected[1], rtol=1e-9)
    np.testing.assert_array_equal(carry, expected[0])


def test_gradient_reaches_every_parameter():
    loss_of, params = pure(make(), "loss")
    gradient = jax.grad(lambda p: loss_of(p, TOKENS, TARGETS)[0])(params)
    for name, leaf in (("table", gradient["head"]["table"]), ("hidden", gradient["hidden"]["kernel"])):
        assert (np.asarray(leaf) != 0).all(), name
    moved = (np.asarray(gradient["embedding"]["table"]) != 0).all(axis=1)
    assert moved.tolist() == [token in {0, *np.unique(TOKENS).tolist()} for token in range(V)]


def test_dropout_and_samples_are_for_training():
    model, plain = make(input_dropout=0.5), make()
    exact = float(plain.loss(TOKENS, TARGETS)[0])
    assert model.loss(TOKENS, TARGETS)[0] == exact
    np.testing.assert_array_equal(model(TOKENS), plain(TOKENS))

    def drawn(model, seed, **options):
        return float(model.loss(TOKENS, TARGETS, rngs=nnx.Rngs(dropout=seed), **options)[0])

    assert drawn(plain, 1) == exact
    for values in (
        [drawn(model, seed) for seed in (1, 1, 2)],
        [drawn(plain, seed, num_samples=4) for seed in (1, 1, 2)],
    ):
        assert values[0] == values[1]
        assert len({*values, exact}) == 3


def test_dropout_of_what_is_read_and_of_the_hidden_layer():
    """What is absent gives the scores of a single step no gradient."""
    loss_of, params = pure(make(input_dropout=0.5, output_dropout=0.5), "loss")
    gradient = jax.grad(lambda p: loss_of(p, TOKENS[:1, :1], TARGETS[:1, :1], rngs=nnx.Rngs(dropout=1))[0])(params)
    moved = np.asarray(gradient["head"]["table"]) != 0
    assert (moved == moved[0]).all()
    for part in (moved[0, :H], moved[0, H:]):
        assert 0 < part.sum() < len(part)


def test_tokens_that_are_absent():
    """Wherever one stands in a call, and in every place of the context: its row gets no gradient."""
    loss_of, params = pure(make(embedding_dropout=0.5), "loss")
    gradient = jax.grad(lambda p: loss_of(p, TOKENS, TARGETS, rngs=nnx.Rngs(dropout=1))[0])(params)
    moved = np.asarray(gradient["embedding"]["table"]) != 0
    read = np.unique(np.append(TOKENS, 0))  # 0 stands before a text
    assert (moved == moved[:, :1]).all()
    assert 0 < moved[read, 0].sum() < len(read)


def test_one_table():
    """Of the size of the hidden layer there is no projection."""
    model = FeedForwardLanguageModel(V, H, 2, H, direct=False, tied=True, rngs=nnx.Rngs(0))
    assert set(pure(model)[1]["head"]) == {"bias"}


@pytest.mark.parametrize(
    ("context", "options", "message"),
    [
        (0, {}, "context must be at least 1 token, got 0"),
        (2, {"input_dropout": 1.0}, r"input_dropout must be in \[0, 1\)"),
    ],
)
def test_bad_options(context, options, message):
    with pytest.raises(ValueError, match=message):
        FeedForwardLanguageModel(V, D, context, H, rngs=nnx.Rngs(0), **options)
