"""A model that writes, against a loop of steps: the likeliest tokens, where texts end, in pieces."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from rnn_jax.models import LanguageModel, abstract, make_writer, pure

V, D, H, B, T = 11, 3, 5, 4, 9
SEED = 15
FIRST = jnp.array([3, 0, 7, 1])
KEY = jax.random.key(0)


def make(rngs):
    return LanguageModel(V, D, "lstm", H, num_layers=2, num_classes=3, rngs=rngs)


def drawn(seed):
    """With parameters far from zero, or it would write one token over and over."""
    model, rng = make(nnx.Rngs(0)), np.random.default_rng(seed)
    state = nnx.state(model, nnx.Param)
    nnx.update(model, jax.tree.map(lambda leaf: jnp.asarray(1.5 * rng.normal(size=leaf.shape), leaf.dtype), state))
    return model


MODEL = drawn(SEED)
PARAMS = pure(MODEL)[1]
START = MODEL.begin(B, jnp.array([0, 2, 1, 1]))


def likeliest(stop=None):
    """Tokens, lengths and the carries that have read all tokens but the last, one step at a time."""
    carry, token, going = START, np.asarray(FIRST), np.ones(B, bool)
    tokens, lengths = [], np.zeros(B, int)
    for _ in range(T):
        after, scores = MODEL.step(carry, jnp.asarray(token))
        token = np.where(going, np.asarray(scores).argmax(axis=1), token)
        carry = jax.tree.map(lambda new, old, g=going: np.where(g[:, None], new, old), after, carry)
        tokens.append(token)
        lengths += going
        going = going & (token != stop)
    return np.stack(tokens, axis=1), lengths, carry


@pytest.fixture(scope="module")
def plain():
    return likeliest()


def write(num_tokens=T, carry=START, first=FIRST, key=KEY, **options):
    return make_writer(MODEL, num_tokens, **options)(PARAMS, carry, first, key)


def assert_same_carry(found, want):
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-6), found, want)


def test_the_likeliest_tokens(plain):
    tokens, _, carry = plain
    assert len(np.unique(tokens)) > 2, "or nothing has been tested"
    found = write(temperature=0.0)
    np.testing.assert_array_equal(found.tokens, tokens)
    assert found.lengths.tolist() == [T] * B
    assert_same_carry(found.carry, carry)


def test_the_form_alone_makes_a_writer(plain):
    found = make_writer(abstract(make), T, top_k=1)(PARAMS, START, FIRST, KEY)
    np.testing.assert_array_equal(found.tokens, plain[0])


def test_in_two_calls(plain):
    first = write(4, temperature=0.0)
    second = write(T - 4, first.carry, first.tokens[:, -1], temperature=0.0)
    np.testing.assert_array_equal(np.concatenate((first.tokens, second.tokens), axis=1), plain[0])
    assert_same_carry(second.carry, plain[2])


def test_a_text_ends(plain):
    """With the token that stops it; then it stays as it is, and its neighbours go on."""
    stop = next(token for token in range(V) if 0 < (plain[0][:, :-1] == token).any(axis=1).sum() < B)
    tokens, lengths, carry = likeliest(stop)
    assert lengths.min() < T == lengths.max()
    found = write(temperature=0.0, stop=stop)
    np.testing.assert_array_equal(found.tokens, tokens)
    np.testing.assert_array_equal(found.lengths, lengths)
    for row, length in enumerate(lengths):
        assert (found.tokens[row, length - 1 :] == tokens[row, length - 1]).all()
        assert (found.tokens[row, : length - 1] != stop).all()
    assert_same_carry(found.carry, carry)


def test_a_stop_in_the_last_place_counts_as_an_end():
    stop = int(likeliest()[0][0, 0])
    found = write(1, temperature=0.0, stop=stop)
    assert found.tokens.shape == (B, 1)
    assert found.lengths.tolist() == [1] * B


def test_the_key_draws():
    draw = make_writer(MODEL, T, temperature=1.5)
    one, same, other = (draw(PARAMS, START, FIRST, jax.random.key(seed)) for seed in (1, 1, 2))
    np.testing.assert_array_equal(one.tokens, same.tokens)
    assert (one.tokens != other.tokens).any()
    rows = draw(PARAMS, jax.tree.map(lambda leaf: leaf[:1].repeat(B, 0), START), FIRST[:1].repeat(B), KEY).tokens
    assert len(np.unique(rows, axis=0)) > 1, "texts of one beginning differ"
    assert 0 <= rows.min() <= rows.max() < V


def test_tokens_follow_the_probabilities_of_the_model():
    """The first token of many texts, against softmax(scores / temperature)."""
    count = 4000
    carry = jax.tree.map(lambda leaf: leaf[:1].repeat(count, 0), START)
    tokens = np.asarray(write(1, carry, FIRST[:1].repeat(count), temperature=2.0).tokens)[:, 0]
    scores = np.asarray(MODEL.step(jax.tree.map(lambda leaf: leaf[:1], START), FIRST[:1])[1][0], np.float64) / 2
    p = np.exp(scores) / np.exp(scores).sum()
    np.testing.assert_allclose(np.bincount(tokens, minlength=V) / count, p, atol=4 * np.sqrt(0.25 / count))
    assert p.max() - p.min() > 0.1


def test_filters_arrive():
    count = 200
    carry = jax.tree.map(lambda leaf: leaf[:1].repeat(count, 0), START)
    scores = np.asarray(MODEL.step(jax.tree.map(lambda leaf: leaf[:1], START), FIRST[:1])[1][0], np.float64)
    p = np.exp(scores) / np.exp(scores).sum()
    order = np.argsort(-p)
    upto = np.cumsum(p[order])
    kept = {
        "top_k": (2, order[:2]),
        "top_p": (0.6, order[: np.searchsorted(upto, 0.6) + 1]),
        "min_p": (0.4, np.flatnonzero(p >= 0.4 * p.max())),
    }
    for name, (value, allowed) in kept.items():
        assert len(allowed) < V
        found = write(1, carry, FIRST[:1].repeat(count), **{name: value}).tokens
        assert set(np.unique(found).tolist()) <= set(allowed.tolist()), name


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"temperature": -1.0}, "temperature=-1.0"),
        ({"top_k": 0}, "top_k=0"),
        ({"top_p": 1.5}, "top_p=1.5"),
        ({"min_p": 0.0}, "min_p=0.0"),
    ],
)
def test_what_cannot_be_drawn(options, message):
    with pytest.raises(ValueError, match=message):
        make_writer(MODEL, T, **options)
