"""The forecaster, a module as a pure function, and the summary."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import nnx

from rnn_jax import cells, compose
from rnn_jax.models import SequenceModel, last_output, num_params, pure, summary

B, T, F, H, AHEAD = 4, 7, 3, 5, 2


def draw(*shape, seed=0, dtype=jnp.float64):
    return jnp.asarray(np.random.default_rng(seed).normal(size=shape), dtype)


def make(cell="lstm", seed=0, **options):
    return SequenceModel(cell, F, H, AHEAD, rngs=nnx.Rngs(seed), **({"param_dtype": jnp.float64} | options))


class TestForecaster:
    @pytest.mark.parametrize("cell", ["rnn", "lstm", "gru"])
    @pytest.mark.parametrize("num_layers", [1, 2])
    def test_reads_the_last_hidden_state(self, cell, num_layers):
        model = make(cell, num_layers=num_layers)
        xs = draw(B, T, F)
        params = tuple(layer.tree() for layer in model.recurrent.layers)
        ys = compose.unroll_stack(cells.get(cell), params, jnp.swapaxes(xs, 0, 1))[1]
        expected = ys[-1] @ model.head.kernel[...] + model.head.bias[...]
        np.testing.assert_allclose(model(xs), expected, rtol=1e-12)
        assert model(xs).shape == (B, AHEAD)

    def test_both_directions_have_read_everything(self):
        model = make("gru", bidirectional=True)
        xs = draw(B, T, F)
        carry, ys = model.recurrent(xs)
        np.testing.assert_array_equal(
            last_output(model.recurrent.cell, carry), jnp.concatenate((ys[:, -1, :H], ys[:, 0, H:]), axis=-1)
        )
        for feature in (0, -1):
            sensitivity = jax.grad(
                lambda xs, f=feature: last_output(model.recurrent.cell, model.recurrent(xs)[0])[0, f]
            )(xs)[0]
            assert float(jnp.abs(sensitivity).max(axis=-1).min()) > 0, "each direction has read every step"

    def test_residual_adds_the_last_value_of_the_target(self):
        xs = draw(B, T, F)
        plain, residual = (make(residual=each)(xs) for each in (False, True))
        np.testing.assert_allclose(residual - plain, jnp.repeat(xs[:, -1, :1], AHEAD, axis=1), rtol=1e-12)

    def test_the_seed_draws_the_parameters(self):
        xs = draw(B, T, F)
        np.testing.assert_array_equal(make(seed=1)(xs), make(seed=1)(xs))
        assert float(jnp.abs(make(seed=1)(xs) - make(seed=2)(xs)).min()) > 1e-6

    @pytest.mark.parametrize("backend", ["scan", "manual"])
    def test_bfloat16(self, backend):
        """The recurrence is computed in bfloat16, the prediction in float32."""
        xs = draw(B, T, F, dtype=jnp.float32)
        wide = make(param_dtype=jnp.float32)(xs)
        narrow = make(param_dtype=jnp.float32, dtype=jnp.bfloat16, backend=backend)(xs)
        assert narrow.dtype == jnp.float32
        assert 0 < float(jnp.abs(narrow - wide).max()) < 0.03

    def test_dropout_only_with_rngs(self):
        model, xs = make(num_layers=2, dropout=0.5), draw(B, T, F)
        np.testing.assert_array_equal(model(xs), make(num_layers=2)(xs))
        assert float(jnp.abs(model(xs, rngs=nnx.Rngs(dropout=0)) - model(xs)).max()) > 1e-4

    def test_learns_to_copy_the_first_value(self):
        model = SequenceModel("gru", 1, 16, 1, rngs=nnx.Rngs(0))
        apply, params = pure(model)
        optimizer = optax.adam(0.02)

        @jax.jit
        def train(params, key):
            def step(state, key):
                params, opt_state = state
                xs = jax.random.normal(key, (32, 5, 1), jnp.float32)
                loss, grads = jax.value_and_grad(lambda p: jnp.mean((apply(p, xs) - xs[:, 0]) ** 2))(params)
                updates, opt_state = optimizer.update(grads, opt_state, params)
                return (optax.apply_updates(params, updates), opt_state), loss

            return jax.lax.scan(step, (params, optimizer.init(params)), jax.random.split(key, 300))[1]

        losses = train(params, jax.random.key(0))
        assert float(losses[:10].mean()) > 0.8
        assert float(losses[-10:].mean()) < 0.1


class TestPure:
    def test_is_the_model(self):
        model, xs = make(num_layers=2, dropout=0.5), draw(B, T, F)
        apply, params = pure(model)
        np.testing.assert_array_equal(apply(params, xs), model(xs))
        np.testing.assert_array_equal(apply(params, xs, rngs=nnx.Rngs(dropout=3)), model(xs, rngs=nnx.Rngs(dropout=3)))

    def test_takes_other_parameters_and_keeps_the_model_as_it_is(self):
        model, other, xs = make(seed=1), make(seed=2), draw(B, T, F)
        apply, params = pure(model)
        before = model(xs)
        np.testing.assert_array_equal(apply(pure(other)[1], xs), other(xs))
        doubled = jax.tree.map(lambda p: 2 * p, params)
        assert float(jnp.abs(apply(doubled, xs) - before).min()) > 1e-6
        np.testing.assert_array_equal(model(xs), before)
        np.testing.assert_array_equal(apply(params, xs), before)

    def test_parameters_are_nested_dicts_of_arrays(self):
        _, params = pure(make(num_layers=2))
        assert sorted(params) == ["head", "recurrent"]
        assert sorted(params["recurrent"]["layers"]) == [0, 1]
        assert params["recurrent"]["layers"][0]["w_ih"].shape == (F, 4 * H)
        assert all(isinstance(leaf, jax.Array) for leaf in jax.tree.leaves(params))

    def test_transformations(self):
        """jit, grad and vmap over several sets of parameters."""
        xs = draw(B, T, F)
        models = [make(seed=seed) for seed in range(3)]
        apply, _ = pure(models[0])
        stacked = jax.tree.map(lambda *leaves: jnp.stack(leaves), *(pure(model)[1] for model in models))
        together = jax.jit(jax.vmap(apply, in_axes=(0, None)))(stacked, xs)
        for predictions, model in zip(together, models, strict=True):
            np.testing.assert_allclose(predictions, model(xs), rtol=1e-10)
        gradient = jax.grad(lambda p: jnp.sum(apply(p, xs) ** 2))(pure(models[0])[1])
        assert jax.tree.structure(gradient) == jax.tree.structure(pure(models[0])[1])
        expected = nnx.to_pure_dict(nnx.grad(lambda m: jnp.sum(m(xs) ** 2))(models[0]))
        np.testing.assert_allclose(gradient["head"]["kernel"], expected["head"]["kernel"], rtol=1e-10)


class TestSummary:
    @pytest.mark.parametrize(
        ("cell", "gates", "extra"), [("rnn", 1, 0), ("lstm", 4, 0), ("gru", 3, H)], ids=["rnn", "lstm", "gru"]
    )
    @pytest.mark.parametrize("directions", [1, 2])
    def test_counts(self, cell, gates, extra, directions):
        """g H (F + H + 1) for each direction of each layer, and the GRU's second bias of n."""
        model = make(cell, num_layers=2, bidirectional=directions == 2)
        first = directions * (gates * H * (F + H + 1) + extra)
        second = directions * (gates * H * (directions * H + H + 1) + extra)
        head = AHEAD * (directions * H + 1)
        totals = {name: count for name, shape, count in summary(model) if shape == ""}
        assert totals == {"recurrent": first + second, "head": head, "total": first + second + head}
        assert num_params(model) == first + second + head

    def test_a_row_for_every_array(self):
        model = make(num_layers=2)
        rows = summary(model)
        arrays = [(name, shape, count) for name, shape, count in rows if shape]
        assert ("recurrent.layers.1.w_hh", "5 x 20", 100) in arrays
        assert ("head.kernel", "5 x 2", 10) in arrays
        assert len(arrays) == len(jax.tree.leaves(pure(model)[1]))
        assert sum(count for *_, count in arrays) == rows[-1][2]
        assert [name for name, shape, _ in rows if not shape] == ["recurrent", "head", "total"], "in this order"
