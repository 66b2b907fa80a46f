"""Recurrent weights that are absent: one mask for all steps, and the same on every back end."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from rnn_jax import cells
from rnn_jax.backends import native
from rnn_jax.dropout import drop_weights
from rnn_jax.models import Recurrent, pure

B, T, F, H = 4, 6, 3, 5
BACKENDS = ["scan", "manual", *(["native"] if native.vector_width() is not None else [])]
STRUCTURES = {
    "two_layers_both_ways": ("lstm", {"num_layers": 2, "bidirectional": True}),
    "beside_other_masks": ("gru", {"num_layers": 2, "dropout": 0.3, "variational": True}),
}


def draw(*shape, dtype=jnp.float32):
    return jnp.asarray(np.random.default_rng(0).normal(size=shape), dtype)


def make(cell, rate=0.4, **options):
    return Recurrent(cell, F, H, weight_drop=rate, rngs=nnx.Rngs(0), **options)


def value_and_gradient(module, seed=3):
    """Of a sum over outputs and final carries, with the masks that a seed draws."""
    apply, params = pure(module)
    xs, lengths = draw(B, T, F), jnp.array([T, 0, 3, 1])

    @jax.jit
    def run(params):
        def loss(params):
            outputs = apply(params, xs, lengths=lengths, rngs=nnx.Rngs(dropout=seed))
            return sum(jnp.sum(jnp.sin(leaf + number)) for number, leaf in enumerate(jax.tree.leaves(outputs)))

        return jax.value_and_grad(loss)(params)

    return run(params)


class TestDropWeights:
    @pytest.mark.parametrize("rate", [0.25, 0.5, 0.9])
    def test_a_share_is_zero_and_the_others_are_larger(self, rate):
        weights = 1 + jnp.abs(draw(100, 300))
        params = cells.RNNParams(jnp.ones((1, 300)), weights, jnp.ones(300))
        dropped = drop_weights(jax.random.key(0), params, rate)
        absent = np.asarray(dropped.w_hh == 0)
        assert abs(absent.mean() - rate) < 0.01
        np.testing.assert_allclose(dropped.w_hh, np.where(absent, 0, weights / (1 - rate)), rtol=1e-6)
        assert (dropped.w_ih == 1).all()
        assert (dropped.b == 1).all()
        assert dropped.w_hh.dtype == jnp.float32
        for lines in (absent.mean(axis=0), absent.mean(axis=1)):
            assert ((lines > 0) & (lines < 1)).all(), "each weight is drawn by itself"

    def test_none_at_a_rate_of_zero(self):
        params = cells.get("gru").init_params(jax.random.key(0), F, H)
        assert drop_weights(jax.random.key(1), params, 0.0).w_hh is params.w_hh

    def test_by_the_key(self):
        params = cells.get("lstm").init_params(jax.random.key(0), F, H)
        one, same, other = (drop_weights(jax.random.key(seed), params, 0.5).w_hh for seed in (1, 1, 2))
        np.testing.assert_array_equal(one, same)
        assert (one != other).any()

    @pytest.mark.parametrize("rate", [-0.1, 1.0, 1.5])
    def test_a_rate_outside(self, rate):
        with pytest.raises(ValueError, match=rf"weight_drop must be in \[0, 1\), got {rate}"):
            drop_weights(jax.random.key(0), cells.RNNParams(*map(jnp.ones, ((1, 4), (4, 4), 4))), rate)
        with pytest.raises(ValueError, match=r"weight_drop must be in"):
            make("rnn", rate)

    @pytest.mark.parametrize("name", ["mingru", "minlstm", "lru"])
    def test_cells_without_recurrent_weights(self, name):
        """Those of the back end `associative`; evaluation has nothing to drop."""
        xs = draw(B, T, F)
        module = make(name, backend="associative")
        with pytest.raises(ValueError, match=r"weight_drop needs recurrent weights w_hh, and \w+Params has none"):
            module(xs, rngs=nnx.Rngs(dropout=1))
        np.testing.assert_array_equal(module(xs)[1], make(name, 0.0, backend="associative")(xs)[1])


class TestRecurrent:
    def test_one_mask_for_all_steps_and_sequences(self):
        """A linear cell without inputs has multiplied its state by the dropped weights, once more at every step."""
        module = Recurrent("rnn_identity", F, H, weight_drop=0.5, param_dtype=jnp.float64, rngs=nnx.Rngs(0))
        module.layers[0].b[...] = jnp.zeros(H)
        start = (cells.RNNCarry(jnp.eye(H)),)
        xs = jnp.zeros((H, 3, F))
        _, ys = module(xs, carry=start, rngs=nnx.Rngs(dropout=1))
        weights, dropped = module.params()[0].w_hh, ys[:, 0]
        absent = np.asarray(dropped == 0)
        assert 0 < absent.sum() < absent.size
        np.testing.assert_allclose(dropped, np.where(absent, 0, 2 * weights), rtol=1e-12)
        np.testing.assert_allclose(ys[:, 1], dropped @ dropped, rtol=1e-12)
        np.testing.assert_allclose(ys[:, 2], dropped @ dropped @ dropped, rtol=1e-12)

    def test_masks_of_layers_and_directions_differ(self):
        """A weight that is absent has no gradient."""
        gradient = value_and_gradient(make("gru", num_layers=2, bidirectional=True))[1]["layers"]
        masks = [np.asarray(layer[way]["w_hh"] == 0) for layer in gradient.values() for way in ("forward", "backward")]
        assert len(masks) == 4
        assert all(0.2 < mask.mean() < 0.6 for mask in masks)
        assert all((a != b).any() for i, a in enumerate(masks) for b in masks[:i])

    @pytest.mark.parametrize("structure", STRUCTURES)
    def test_the_same_on_every_back_end(self, structure):
        cell, options = STRUCTURES[structure]
        value, gradient = value_and_gradient(make(cell, backend="scan", **options))
        for backend in BACKENDS[1:]:
            found, slopes = value_and_gradient(make(cell, backend=backend, **options))
            np.testing.assert_allclose(found, value, rtol=1e-4, err_msg=backend)
            jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-3, atol=1e-4), slopes, gradient)

    def test_only_in_training(self):
        xs, plain = draw(B, T, F), make("lstm", 0.0)
        module = make("lstm")
        np.testing.assert_array_equal(module(xs)[1], plain(xs)[1])
        first, same, other = (module(xs, rngs=nnx.Rngs(dropout=seed))[1] for seed in (1, 1, 2))
        np.testing.assert_array_equal(first, same)
        assert (first != other).any()
        assert (first != module(xs)[1]).any()
        module.train()
        with pytest.raises(ValueError, match="dropout, zoneout and weight_drop draw in training mode: give rngs"):
            module(xs)
        module.eval()
        np.testing.assert_array_equal(module(xs, rngs=nnx.Rngs(dropout=1))[1], plain(xs)[1])
