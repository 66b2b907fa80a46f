"""Filters against a loop over sorted tokens, draws against the probabilities that these leave."""

import itertools
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

from rnn_jax import sampling
from rnn_jax.sampling import filter_logits, sample

FILTERS = [
    {name: value for name, value in zip(("top_k", "top_p", "min_p"), values, strict=True) if value is not None}
    for values in [*itertools.product((None, 4), (None, 0.7), (None, 0.2)), (1, 0.05, 1.0), (500, 1.0, None)]
]


def kept_by_loop(logits, top_k=None, top_p=None, min_p=None):
    """Which tokens of one row stay, in float64: the likeliest first, of equals the first, until a filter says no."""
    p = np.exp(np.float64(logits) - np.max(logits))
    order = sorted((token for token in range(len(p)) if p[token] > 0), key=lambda token: (-p[token], token))[:top_k]
    whole, so_far, kept = sum(p[token] for token in order), 0.0, np.zeros(len(p), bool)
    for token in order:
        if top_p is not None and top_p < 1 and so_far / whole >= top_p - 1e-9:
            break
        so_far += p[token]
        kept[token] = min_p is None or p[token] >= min_p * p[order[0]] * (1 - 1e-9)
    return kept


draw = jax.jit(sample, static_argnames=("temperature", "top_k", "top_p", "min_p"))


def rows(seed, shape):
    return jnp.asarray(np.random.default_rng(seed).normal(size=shape) * 2, jnp.float32)


@pytest.mark.parametrize("filters", FILTERS, ids=str)
@pytest.mark.parametrize("size", [1, 2, 65])
def test_filters(filters, size):
    logits = rows(size, (3, 5, size))
    found = jax.jit(partial(filter_logits, **filters))(logits)
    assert (found.shape, found.dtype) == (logits.shape, jnp.float32)
    kept = np.array([kept_by_loop(row, **filters) for row in logits.reshape(-1, size)]).reshape(logits.shape)
    np.testing.assert_array_equal(found, np.where(kept, logits, -np.inf))


@pytest.mark.parametrize(
    ("p", "filters", "kept"),
    [
        ([0.5, 0.3, 0.2], {"top_p": 0.5}, [0]),
        ([0.5, 0.3, 0.2], {"top_p": 0.8}, [0, 1]),
        ([0.2, 0.3, 0.5], {"top_p": 0.81}, [0, 1, 2]),
        ([0.2, 0.3, 0.5], {"top_p": 1e-6}, [2]),
        ([0.2, 0.3, 0.5], {"top_p": 1e-300, "min_p": 1e-300}, [2]),
        ([0.1, 0.2, 0.4, 0.3], {"min_p": 0.5}, [1, 2, 3]),
        ([0.1, 0.2, 0.4, 0.3], {"min_p": 0.51}, [2, 3]),
        ([0.25] * 4, {"top_k": 3}, [0, 1, 2]),
        ([0.25] * 4, {"top_p": 0.5}, [0, 1]),
        ([0.25] * 4, {"min_p": 1.0}, [0, 1, 2, 3]),
        ([0.4, 0.0, 0.2, 0.4], {"top_k": 1}, [0]),
        ([0.4, 0.0, 0.2, 0.4], {"top_p": 1.0}, [0, 2, 3]),
        ([0.3, 0.4, 0.0, 0.3], {"top_k": 4}, [0, 1, 3]),
        # of what top_k leaves top_p takes its share: 0.4 of 0.7 reaches 0.55, and 0.4 of 1 does not
        ([0.4, 0.3, 0.2, 0.1], {"top_k": 2, "top_p": 0.55}, [0]),
        ([0.4, 0.3, 0.2, 0.1], {"top_p": 0.55}, [0, 1]),
        # top_p is of what there was before min_p: 0.4 does not reach 0.55 of 1, and would of the 0.7 that min_p leaves
        ([0.4, 0.3, 0.2, 0.1], {"top_p": 0.55, "min_p": 0.7}, [0, 1]),
    ],
)
def test_cases(p, filters, kept):
    with np.errstate(divide="ignore"):
        logits = jnp.asarray(np.log(p), jnp.float32)
    assert np.flatnonzero(np.isfinite(filter_logits(logits, **filters))).tolist() == kept
    drawn = draw(jnp.tile(logits, (400, 1)), jax.random.key(1), **filters)
    assert np.unique(drawn).tolist() == kept


@pytest.mark.parametrize("temperature", [1.0, 2.5])
@pytest.mark.parametrize("filters", FILTERS, ids=str)
def test_draws_are_of_the_filtered_distribution(filters, temperature):
    """Temperature comes before the filters."""
    logits, count = rows(7, 23), 2000
    drawn = draw(jnp.broadcast_to(logits, (4, count // 4, 23)), jax.random.key(5), temperature=temperature, **filters)
    assert (drawn.shape, drawn.dtype) == ((4, count // 4), jnp.int32)
    cooled = np.float64(logits) / temperature
    expected = np.where(kept_by_loop(cooled, **filters), np.exp(cooled), 0)
    expected *= count / expected.sum()
    counts = np.bincount(np.ravel(drawn), minlength=23)
    assert not counts[expected == 0].any()
    often = expected >= 5
    seen, awaited = [*counts[often], counts[~often].sum()], [*expected[often], expected[~often].sum()]
    if awaited[-1] < 5:
        seen, awaited = counts[often], expected[often]
        awaited = awaited * seen.sum() / awaited.sum()
    if len(seen) > 1:
        assert stats.chisquare(seen, awaited).pvalue > 1e-4


@pytest.mark.parametrize("size", [1, 2, 3, 5, 9, 10, 65, 10_000])
def test_every_token_is_drawn_from_its_place(size):
    """Where one token has all the probability."""
    hot = np.unique(np.linspace(0, size - 1, 60).astype(int))
    logits = jnp.where(jnp.arange(size) == hot[:, None], 0.0, -jnp.inf)
    for options in ({}, {"top_k": 3}, {"top_p": 0.4}, {"temperature": 0.0}):
        np.testing.assert_array_equal(draw(logits, jax.random.key(2), **options), hot)


@pytest.mark.parametrize("options", [{}, {"top_p": 0.9}], ids=str)
def test_a_large_vocabulary(options):
    """The logarithm of a token's rank is about even in a Zipf distribution of 10,000 words, mixed."""
    size, count = 10_000, 1000
    order = np.random.default_rng(6).permutation(size)
    p = (1 / np.arange(1, size + 1))[order]
    drawn = draw(jnp.broadcast_to(jnp.log(jnp.asarray(p, jnp.float32)), (count, size)), jax.random.key(8), **options)
    p = np.where(kept_by_loop(np.log(p), **options), p, 0)
    group = np.log2(order + 1).astype(int)
    counts, expected = np.bincount(group[drawn], minlength=14), np.bincount(group, p / p.sum() * count)
    assert p[drawn].min() > 0
    assert stats.chisquare(counts[expected > 0], expected[expected > 0]).pvalue > 1e-4
    assert len(np.unique(drawn)) > 300


def test_equally_likely_tokens_of_a_nucleus():
    drawn = draw(jnp.zeros((600, 12)), jax.random.key(4), top_p=0.5)
    counts = np.bincount(drawn, minlength=6)
    assert len(counts) == 6
    assert stats.chisquare(counts).pvalue > 1e-4


def test_few_rounds_find_a_small_nucleus(monkeypatch):
    """Each round leaves about half of the tokens; drawing from all of them again would take 1,000 rounds."""
    rounds, fold_in = [], jax.random.fold_in
    monkeypatch.setattr(jax.random, "fold_in", lambda key, number: rounds.append(int(number)) or fold_in(key, number))
    with jax.disable_jit():
        assert sample(jnp.zeros(1000), jax.random.key(1), top_p=0.001) == 0
    assert rounds == list(range(len(rounds)))
    assert len(rounds) < 30


class Uniforms:
    """`jax.random.uniform` that always says the same."""

    def __init__(self, value):
        self.value = jnp.float32(value)

    def __call__(self, key, shape, dtype):
        return jnp.full(shape, self.value, dtype)


@pytest.mark.parametrize("uniform", [0.0, 1e-7, 0.3, 0.5, 0.999, 1 - 2**-23, 1 - 2**-24])
def test_a_token_of_probability_zero_is_never_drawn(uniform, monkeypatch):
    """At both ends of the uniform numbers and between, wherever the zeros are."""
    monkeypatch.setattr(jax.random, "uniform", Uniforms(uniform))
    logits = np.array(rows(3, (40, 1000)) * 5)
    zeros = np.random.default_rng(4).random(logits.shape) < np.linspace(0, 0.998, 40)[:, None]
    zeros[:, 500] = False
    logits[zeros] = -np.inf
    logits[:20, :100] = logits[10:30, 900:] = -200.0  # whose exponential is 0 in float32
    drawn = np.array(sample(jnp.asarray(logits), jax.random.key(0)))
    assert np.all(np.take_along_axis(logits, drawn[:, None], 1) > -150)


@pytest.mark.parametrize("uniform", [0.0, 0.5, 1 - 2**-24])
def test_sums_that_are_rounded_up_where_p_is_zero(uniform, monkeypatch):
    """As those of a parallel scan may be: by a rounding, at any place."""
    p = jnp.asarray([0, 0.3, 0, 0, 0.5, 0, 0.2, 0, 0], jnp.float32)
    exact = jnp.cumsum(p)
    for place in range(9):
        for change in (-1e-6, 1e-6):
            sums = exact.at[place].add(change)
            monkeypatch.setattr(jnp, "cumsum", lambda _, axis, sums=sums: sums)
            assert p[sampling._inverse(p, jnp.float32(uniform))] > 0


@pytest.mark.parametrize("shape", [(65,), (1, 65), (3, 4, 77), (2, 1)])
def test_temperature_zero_is_argmax(shape):
    logits = rows(9, shape)
    drawn = sample(logits, jax.random.key(0), temperature=0, top_k=2)
    assert (drawn.shape, drawn.dtype) == (shape[:-1], jnp.int32)
    np.testing.assert_array_equal(drawn, np.argmax(logits, axis=-1))
    assert sample(jnp.asarray([1.0, 3.0, 2.0, 3.0, 3.0]), jax.random.key(0), temperature=0) == 1


@pytest.mark.parametrize("temperature", [1e-3, 1e-30])
@pytest.mark.parametrize("filters", [{}, {"top_k": 3}, {"top_p": 0.9}, {"min_p": 0.1}], ids=str)
def test_low_temperatures_and_large_logits_do_not_overflow(temperature, filters):
    logits = rows(11, (6, 65)).at[:, 3].set(-jnp.inf) * 1e4
    drawn = draw(logits, jax.random.key(0), temperature=temperature, **filters)
    np.testing.assert_array_equal(drawn, np.argmax(logits, axis=-1))


@pytest.mark.parametrize("filters", [{}, {"top_k": 3}, {"top_p": 0.5}, {"top_p": 0.5, "min_p": 0.1}], ids=str)
def test_one_by_one_under_vmap(filters):
    logits, keys = rows(13, (6, 29)), jax.random.split(jax.random.key(1), 6)
    together = jax.vmap(lambda row, key: sample(row, key, **filters))(logits, keys)
    alone = [int(draw(row, key, **filters)) for row, key in zip(logits, keys, strict=True)]
    assert together.tolist() == alone
    assert len(set(alone)) > 1


@pytest.mark.parametrize("filters", [{}, {"top_k": 3}, {"top_p": 0.5}, {"min_p": 0.1}, {"temperature": 0}], ids=str)
def test_logits_that_are_not_numbers_come_to_an_end(filters):
    assert 0 <= sample(jnp.full(65, jnp.nan), jax.random.key(0), **filters) < 65


@pytest.mark.parametrize("dtype", [jnp.bfloat16, jnp.float16, jnp.float64])
def test_any_float_is_computed_in_float32(dtype):
    logits = rows(17, (900, 40)).astype(dtype)
    same = logits.astype(jnp.float32)
    assert filter_logits(logits, top_p=0.6).dtype == jnp.float32
    np.testing.assert_array_equal(filter_logits(logits, top_p=0.6), filter_logits(same, top_p=0.6))
    for options in ({}, {"temperature": 0.7, "top_k": 9}):
        np.testing.assert_array_equal(
            draw(logits, jax.random.key(0), **options), draw(same, jax.random.key(0), **options)
        )


def test_nothing_is_sorted_and_few_random_numbers_are_made():
    """Nor with `top_p`; `top_k` becomes the custom call that does not sort all."""

    def compiled(**filters):
        return jax.jit(lambda x, key: sample(x, key, **filters)).lower(rows(0, (2, 900)), jax.random.key(0))

    for filters in ({}, {"top_p": 0.9}, {"min_p": 0.1}, {"top_p": 0.9, "min_p": 0.1, "temperature": 0.5}):
        assert "sort(" not in compiled(**filters).compile().as_text()
    if jax.default_backend() == "cpu":
        text = compiled(top_k=40, top_p=0.9).compile().as_text()
        assert "TopK" in text
        assert "sort(" not in text
    with pytest.MonkeyPatch.context() as patch:
        shapes = []
        patch.setattr(jax.random, "uniform", lambda key, shape, dtype: shapes.append(shape) or jnp.zeros(shape, dtype))
        sample(rows(0, (2, 3, 900)), jax.random.key(0))
    assert shapes == [(2, 2, 3)]


@pytest.mark.parametrize(
    "call", [filter_logits, lambda logits, **filters: sample(logits, jax.random.key(0), **filters)]
)
@pytest.mark.parametrize(
    ("filters", "message"),
    [
        ({"top_k": 0}, "top_k=0: must be at least 1"),
        ({"top_p": 0.0}, r"top_p=0\.0: must be above 0 and at most 1"),
        ({"top_p": 1.01}, r"top_p=1\.01"),
        ({"min_p": -0.5}, r"min_p=-0\.5"),
        ({"min_p": float("nan")}, "min_p=nan"),
    ],
)
def test_bad_filters(call, filters, message):
    with pytest.raises(ValueError, match=message):
        call(jnp.zeros(5), **filters)


@pytest.mark.parametrize("temperature", [-0.1, float("inf"), float("nan")])
def test_bad_temperature(temperature):
    with pytest.raises(ValueError, match=f"temperature={temperature}: must be at least 0, and finite"):
        sample(jnp.zeros(5), jax.random.key(0), temperature=temperature)
