"""Stacks, two directions and dropout, against the NumPy reference and against what they are made of."""

from functools import partial
from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from helpers import reference
from numpy.testing import assert_allclose, assert_array_equal

from rnn_jax import cells, compose, unroll
from rnn_jax.compose import Directions, init_stack, unroll_bidirectional, unroll_stack
from rnn_jax.dropout import dropout

T, B, I, H = 7, 4, 3, 5  # noqa: E741  # the letters of the axes
LENGTHS = np.array([T, 0, 4, 1], np.int32)

QUICK = {"xla_backend_optimization_level": 0, "xla_llvm_disable_expensive_passes": True}
quick_jit = partial(jax.jit, compiler_options=QUICK)
"""`jit` that skips optimization: compilation is what takes the time here, and the answers are the same."""


def fill(shapes, seed=0):
    """A tree of arrays of these shapes, every entry random."""
    rng = np.random.default_rng(seed)
    return jax.tree.map(lambda a: jnp.asarray(0.5 * rng.normal(size=a.shape)), shapes)


def draw(name, num_layers, two_ways):
    """Parameters, inputs, resets, and carries, one per layer and direction."""
    cell, rng = cells.get(name), np.random.default_rng(1)
    shapes = jax.eval_shape(lambda: init_stack(jax.random.key(0), cell, I, H, num_layers, two_ways))
    start = cell.init_carry((B,), H)
    carries = tuple(Directions(start, start) if two_ways else start for _ in range(num_layers))
    return fill(shapes), jnp.asarray(rng.normal(size=(T, B, I))), rng.random((T, B)) < 0.3, fill(carries, 2)


def to_numpy(params):
    if hasattr(params, "w_ih"):
        return SimpleNamespace(**{k: np.asarray(v) for k, v in params._asdict().items()})
    return tuple(to_numpy(part) for part in params)


def assert_leaves_close(actual, desired, **tolerances):
    for a, d in zip(jax.tree.leaves(actual), jax.tree.leaves(desired), strict=True):
        assert_allclose(a, d, **tolerances)


@pytest.mark.parametrize("options", ["plain", "lengths", "lengths_resets"])
@pytest.mark.parametrize("two_ways", [False, True], ids=["one_way", "two_ways"])
@pytest.mark.parametrize(("name", "num_layers"), [("rnn", 3), ("lstm", 2), ("gru", 2)])
def test_stacks_equal_the_reference(name, num_layers, two_ways, options):
    params, xs, resets, carries = draw(name, num_layers, two_ways)
    given = {}
    if options != "plain":
        given["lengths"] = LENGTHS
    if options == "lengths_resets":
        given["resets"] = resets
    carries = None if options == "plain" else carries
    backend = "scan" if options == "lengths" else "manual"
    run = quick_jit(lambda p, x, c: unroll_stack(cells.get(name), p, x, carry=c, backend=backend, **given))
    finals, ys = run(params, xs, carries)
    wanted = reference.stack(
        name, to_numpy(params), np.asarray(xs), jax.tree.map(np.asarray, carries), two_ways=two_ways, **given
    )
    assert ys.shape == (T, B, H * (1 + two_ways))
    assert len(finals) == num_layers
    assert all(isinstance(final, Directions) == two_ways for final in finals)
    assert_leaves_close((finals, ys), wanted, rtol=1e-11, atol=1e-12)


def test_gradients_of_a_stack_agree_between_back_ends():
    params, xs, resets, carries = draw("gru", 2, True)
    weights = jnp.asarray(np.random.default_rng(3).normal(size=(T, B, 2 * H)))

    def loss(params, xs, carries, backend):
        options = {"lengths": LENGTHS, "resets": resets, "backend": backend}
        finals, ys = unroll_stack(cells.get("gru"), params, xs, carry=carries, **options)
        return jnp.sum(ys * weights) + sum(jnp.sum(jnp.sin(leaf)) for leaf in jax.tree.leaves(finals))

    scan, manual = (
        quick_jit(jax.grad(partial(loss, backend=backend), (0, 1, 2)))(params, xs, carries)
        for backend in ("scan", "manual")
    )
    assert_leaves_close(manual, scan, rtol=1e-10, atol=1e-11)
    assert all(jnp.any(leaf != 0) for leaf in jax.tree.leaves(scan))


@pytest.mark.parametrize("name", ["rnn", "lstm", "gru"])
def test_packed_segments_do_not_see_each_other(name):
    """Two segments packed behind each other, with a reset where each begins, give what they give alone."""
    (params,), xs, _, _ = draw(name, 1, True)
    first = 4
    resets = np.zeros((T, B), bool)
    resets[[0, first]] = True
    cell = cells.get(name)
    finals, ys = unroll_bidirectional(cell, params, xs, resets=jnp.asarray(resets))
    alone = [unroll_bidirectional(cell, params, part) for part in (xs[:first], xs[first:])]
    assert_allclose(ys, jnp.concatenate([y for _, y in alone]), rtol=1e-12, atol=1e-13)
    assert_leaves_close(finals, Directions(alone[1][0].forward, alone[0][0].backward), rtol=1e-12, atol=1e-13)
    _, connected = unroll_bidirectional(cell, params, xs)
    assert jnp.abs(connected - ys).max() > 1e-3


def test_two_directions_are_two_unrolls():
    """Forward features first; the backward ones of x reversed are those of a forward pass."""
    (params,), xs, _, _ = draw("lstm", 1, True)
    cell = cells.get("lstm")
    finals, ys = unroll_bidirectional(cell, params, xs)
    forward, ahead = unroll(cell, params.forward, xs)
    backward, behind = unroll(cell, params.backward, xs[::-1])
    assert_allclose(ys, jnp.concatenate((ahead, behind[::-1]), -1), rtol=1e-12, atol=1e-14)
    assert_leaves_close(finals, Directions(forward, backward), rtol=1e-12, atol=1e-14)
    assert_array_equal(finals.backward.h, ys[0, :, H:])  # its last step is the first of time
    assert_array_equal(finals.forward.h, ys[-1, :, :H])


@pytest.mark.parametrize("two_ways", [False, True], ids=["one_way", "two_ways"])
def test_init_stack_sizes_and_independent_draws(two_ways):
    layers = init_stack(jax.random.key(0), cells.get("gru"), I, H, 3, two_ways, jnp.float32, init="glorot_orthogonal")
    assert len(layers) == 3
    parts = [part for layer in layers for part in (layer if two_ways else (layer,))]
    wide = H * (1 + two_ways)
    assert [part.w_ih.shape for part in parts] == [
        (size, 3 * H) for size in (I, wide, wide) for _ in range(1 + two_ways)
    ]
    for k, part in enumerate(parts):
        assert part.w_hh.dtype == jnp.float32
        assert not part.b.any()  # the option reached every layer
        for other in parts[:k]:
            assert jnp.abs(part.w_hh - other.w_hh).max() > 0.05


def test_init_stack_passes_the_forget_bias_on():
    layers = init_stack(jax.random.key(0), cells.get("lstm"), I, H, 2, True, forget_bias=1.0)
    for layer in layers:
        for part in layer:
            assert_array_equal(part.b[H : 2 * H], 1)


class TestDropout:
    values = jnp.ones((50, 40, 10))

    @pytest.mark.parametrize("variational", [False, True])
    def test_zeros_or_scaled_and_the_mean_stays(self, variational):
        dropped = np.asarray(dropout(jax.random.key(0), self.values, 0.25, variational))
        assert set(np.unique(dropped.round(6))) == {0.0, round(4 / 3, 6)}
        draws = 400 if variational else 20_000
        assert abs(dropped.mean() - 1) < 4 * np.sqrt(1 / 3 / draws)

    def test_one_mask_per_sequence(self):
        dropped = np.asarray(dropout(jax.random.key(0), self.values, 0.5, variational=True))
        assert_array_equal(dropped, np.broadcast_to(dropped[:1], dropped.shape))
        masks = dropped[0] > 0
        assert len(np.unique(masks, axis=0)) > 30  # of 40 sequences with 10 features each

    def test_one_mask_per_step(self):
        masks = np.asarray(dropout(jax.random.key(0), self.values, 0.5)) > 0
        assert len(np.unique(masks.reshape(50, -1), axis=0)) == 50

    def test_rate_zero_is_none(self):
        values = jax.random.normal(jax.random.key(1), (T, B, I))
        assert_array_equal(dropout(jax.random.key(0), values, 0.0), values)

    def test_keeps_the_dtype(self):
        assert dropout(jax.random.key(0), self.values.astype(jnp.bfloat16), 0.5).dtype == jnp.bfloat16

    @pytest.mark.parametrize("rate", [-0.1, 1.0, 1.5])
    def test_rate_out_of_range(self, rate):
        with pytest.raises(ValueError, match=rf"dropout must be in \[0, 1\), got {rate}"):
            dropout(jax.random.key(0), self.values, rate)


class TestDropoutInAStack:
    def run(self, num_layers=3, seed=0, **options):
        params, xs, _, _ = draw("rnn", num_layers, False)
        key = None if seed is None else jax.random.key(seed)
        return np.asarray(unroll_stack(cells.get("rnn"), params, xs, key=key, **options)[1])

    def test_between_layers_only(self):
        """By hand: layer, dropout, layer, dropout with another mask, layer."""
        params, xs, _, _ = draw("rnn", 3, False)
        key = jax.random.key(0)
        for k, layer in enumerate(params):
            if k > 0:
                xs = dropout(jax.random.fold_in(key, k), xs, 0.5)
            _, xs = unroll(cells.get("rnn"), layer, xs)
        assert_allclose(self.run(dropout_rate=0.5), xs, rtol=1e-12)
        assert np.abs(self.run(dropout_rate=0.5) - self.run()).max() > 1e-3

    def test_not_around_a_single_layer(self):
        assert_array_equal(self.run(1, dropout_rate=0.9), self.run(1))

    def test_layers_have_masks_of_their_own(self):
        """With the same mask for both, two equal layers of zeros-or-twos would drop the same features."""
        masks = [dropout(jax.random.fold_in(jax.random.key(0), k), jnp.ones((T, B, H)), 0.5) for k in (1, 2)]
        assert jnp.any(masks[0] != masks[1])

    def test_no_key_or_no_rate_is_no_dropout(self):
        plain = self.run(seed=None)
        assert_array_equal(self.run(seed=None, dropout_rate=0.5), plain)
        assert_array_equal(self.run(seed=0, dropout_rate=0.0), plain)

    def test_the_key_decides(self):
        assert_array_equal(self.run(seed=0, dropout_rate=0.5), self.run(seed=0, dropout_rate=0.5))
        assert np.abs(self.run(seed=0, dropout_rate=0.5) - self.run(seed=1, dropout_rate=0.5)).max() > 1e-3

    def test_variational_reaches_the_layers(self):
        """Equal inputs at every step and no recurrence: with one mask for all steps, all outputs are equal."""
        params, xs, _, _ = draw("rnn", 2, False)
        params = tuple(layer._replace(w_hh=jnp.zeros((H, H))) for layer in params)
        xs = jnp.broadcast_to(xs[:1], xs.shape)
        run = partial(unroll_stack, cells.get("rnn"), params, xs, dropout_rate=0.5, key=jax.random.key(0))
        _, constant = run(variational=True)
        _, changing = run()
        assert_allclose(constant, jnp.broadcast_to(constant[:1], constant.shape), rtol=1e-12)
        assert jnp.abs(changing - changing[:1]).max() > 1e-3


def test_error_no_layers():
    with pytest.raises(ValueError, match="num_layers must be at least 1, got 0"):
        init_stack(jax.random.key(0), cells.get("rnn"), I, H, 0)


def test_error_carries_and_layers_differ():
    params, xs, _, carries = draw("rnn", 2, False)
    with pytest.raises(ValueError, match="carry has 1 layers, params have 2"):
        unroll_stack(cells.get("rnn"), params, xs, carry=carries[:1])


def test_error_from_unroll_comes_through():
    params, xs, _, _ = draw("rnn", 2, True)
    with pytest.raises(ValueError, match="truncate_every must be at least 1, got 0"):
        unroll_stack(cells.get("rnn"), params, xs, truncate_every=0)


def test_a_bidirectional_layer_has_no_reverse():
    params = compose.init_stack(jax.random.key(0), cells.get("rnn"), 3, 5, bidirectional=True)
    with pytest.raises(ValueError, match="reverse goes with one direction"):
        compose.unroll_stack(cells.get("rnn"), params, jnp.ones((4, 2, 3), jnp.float32), reverse=True)
