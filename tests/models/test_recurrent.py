"""The NNX modules: our pure functions with the same parameters, at a batch-major border."""

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from rnn_jax import cells, compose, unroll
from rnn_jax.compose import Directions
from rnn_jax.convert import load_torch, to_torch
from rnn_jax.models.recurrent import GRU, LSTM, RNN, FlaxCell, Recurrent, Weights

B, T, F, H = 4, 7, 3, 5  # all different, so that no axis can be taken for another
KINDS = {
    "rnn": (RNN, {}),
    "rnn_relu": (RNN, {"activation": "relu"}),
    "rnn_identity": (RNN, {"activation": "identity"}),
    "lstm": (LSTM, {}),
    "gru": (GRU, {}),
}
LENGTHS = jnp.array([T, 0, 4, 1])


def draw(*shape, seed=0, dtype=jnp.float64):
    return jnp.asarray(np.random.default_rng(seed).normal(size=shape), dtype)


def make(kind, seed=0, **options):
    cls, own = KINDS[kind]
    return cls(F, H, rngs=nnx.Rngs(seed), **({"param_dtype": jnp.float64} | own | options))


def params_of(module):
    return tuple(layer.tree() for layer in module.layers)


def assert_close(got, want, rtol=1e-12):
    assert jax.tree.structure(got) == jax.tree.structure(want)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=rtol, atol=rtol / 10), got, want)


class TestAgainstThePureFunctions:
    @pytest.mark.parametrize("backend", ["scan", "manual"])
    @pytest.mark.parametrize(
        ("kind", "bidirectional"), [("rnn", False), ("lstm", False), ("lstm", True), ("gru", True)]
    )
    def test_layers_and_directions(self, kind, bidirectional, backend):
        module = make(kind, num_layers=2, bidirectional=bidirectional, backend=backend)
        xs, resets = draw(B, T, F), jnp.asarray(np.random.default_rng(1).random((B, T)) < 0.3)
        finals, ys = module(xs, lengths=LENGTHS, resets=resets)
        expected_finals, expected = compose.unroll_stack(
            cells.get(kind), params_of(module), jnp.swapaxes(xs, 0, 1), lengths=LENGTHS, resets=resets.T
        )
        assert ys.shape == (B, T, H * (1 + bidirectional))
        assert_close(ys, jnp.swapaxes(expected, 0, 1))
        assert_close(finals, expected_finals)

    @pytest.mark.parametrize("kind", KINDS)
    def test_one_layer_is_the_unroll(self, kind):
        module = make(kind)
        xs = draw(B, T, F)
        (final,), ys = module(xs)
        (params,) = params_of(module)
        expected_final, expected = unroll(cells.get(kind), params, jnp.swapaxes(xs, 0, 1))
        assert_close(ys, jnp.swapaxes(expected, 0, 1))
        assert_close(final, expected_final)

    def test_parameters_are_those_of_init_stack(self):
        module = LSTM(F, H, num_layers=2, bidirectional=True, forget_bias=3.0, init="identity", rngs=nnx.Rngs(4))
        expected = compose.init_stack(
            nnx.Rngs(4).params(), cells.get("lstm"), F, H, 2, True, forget_bias=3.0, init="identity"
        )
        chex.assert_trees_all_equal(params_of(module), expected)
        assert isinstance(module.layers[1].tree(), Directions)
        for layer in params_of(module):
            for direction in layer:
                assert direction.b[H : 2 * H].tolist() == [3.0] * H

    @pytest.mark.parametrize("option", ["checkpoint_every", "truncate_every"])
    def test_options_reach_the_unroll(self, option):
        xs = draw(B, T, F)

        def gradient(**options):
            module = make("gru", **options)
            return nnx.grad(lambda m: jnp.sum(m(xs)[1] ** 2))(module)

        plain, changed = gradient(), gradient(**{option: 2})
        differs = float(jnp.abs(plain["layers"][0]["w_hh"][...] - changed["layers"][0]["w_hh"][...]).max())
        assert differs > 1e-3 if option == "truncate_every" else differs < 1e-12

    def test_errors(self):
        with pytest.raises(ValueError, match="unknown cell 'lstmm'"):
            Recurrent("lstmm", F, H, rngs=nnx.Rngs(0))
        with pytest.raises(ValueError, match="num_layers must be at least 1, got 0"):
            LSTM(F, H, num_layers=0, rngs=nnx.Rngs(0))
        with pytest.raises(ValueError, match="has 3 features, the parameters of 'lstm' take 4"):
            LSTM(4, H, rngs=nnx.Rngs(0))(draw(B, T, F))
        with pytest.raises(ValueError, match="unknown backend 'cuda'"):
            LSTM(F, H, backend="cuda", rngs=nnx.Rngs(0))(draw(B, T, F))


class TestBorder:
    @pytest.mark.parametrize("kind", ["rnn", "lstm"])
    def test_batch_major_and_time_major(self, kind):
        module = make(kind, num_layers=2)
        xs, resets = draw(B, T, F), jnp.asarray(np.random.default_rng(1).random((B, T)) < 0.3)
        finals, ys = module(xs, lengths=LENGTHS, resets=resets)
        time_finals, time_ys = module(
            jnp.swapaxes(xs, 0, 1), lengths=LENGTHS, resets=jnp.swapaxes(resets, 0, 1), time_major=True
        )
        assert time_ys.shape == (T, B, H)
        assert_close(jnp.swapaxes(time_ys, 0, 1), ys)
        assert_close(time_finals, finals)

    @pytest.mark.parametrize("kind", ["lstm", "gru"])
    def test_sequences_of_a_batch_do_not_meet(self, kind):
        module = make(kind)
        xs = draw(B, T, F)
        whole = module(xs)[1]
        for index in range(B):
            assert_close(module(xs[index : index + 1])[1], whole[index : index + 1])

    def test_padding_changes_nothing(self):
        module = make("lstm", num_layers=2, bidirectional=True)
        xs = draw(B, T, F)
        valid = jnp.arange(T) < LENGTHS[:, None]
        finals, ys = module(xs, lengths=LENGTHS)
        changed = jnp.where(valid[..., None], xs, jnp.nan)
        assert_close(module(changed, lengths=LENGTHS), (finals, ys))
        assert float(jnp.abs(jnp.where(valid[..., None], 0, ys)).max()) == 0
        for index, length in enumerate(LENGTHS.tolist()):
            if length:
                alone_finals, alone = module(xs[index : index + 1, :length])
                assert_close(alone[0], ys[index, :length])
                assert_close(jax.tree.map(lambda c, i=index: c[i : i + 1], finals), alone_finals)


class TestCarry:
    @pytest.mark.parametrize(("kind", "num_layers"), [("rnn", 1), ("lstm", 1), ("lstm", 2), ("gru", 2)])
    def test_two_parts_are_the_whole(self, kind, num_layers):
        module = make(kind, num_layers=num_layers)
        xs = draw(B, T, F)
        finals, ys = module(xs)
        between, first = module(xs[:, :3])
        last, second = module(xs[:, 3:], carry=between)
        assert_close(jnp.concatenate((first, second), axis=1), ys)
        assert_close(last, finals)
        without = module(xs[:, 3:])[1]
        assert float(jnp.abs(without - second).max()) > 1e-3, "the carry must matter"

    def test_a_wrong_number_of_layers(self):
        module = make("gru", num_layers=2)
        between, _ = module(draw(B, T, F))
        with pytest.raises(ValueError, match="carry has 1 layers, params have 2"):
            module(draw(B, T, F), carry=between[:1])


class TestChunksOfTwoDirections:
    def test_a_backward_carry_of_an_earlier_chunk_is_refused(self):
        module, xs = make("lstm", num_layers=2, bidirectional=True), draw(B, T, F)
        between, _ = module(xs)
        with pytest.raises(ValueError, match=r"carry has a backward direction.*Directions\(forward, None\)"):
            module(xs, carry=between)
        forward_alone = tuple(Directions(each.forward, None) for each in between)
        whole, _ = module(xs, carry=between, whole=True)
        assert_close(whole[0].forward, module(xs, carry=forward_alone)[0][0].forward)

    def test_a_reset_in_the_padding_begins_nothing(self):
        """At t = length it would wipe what the backward direction begins with."""
        module = make("gru", bidirectional=True)
        xs, resets = draw(B, T, F), jnp.zeros((B, T), bool).at[:, 4].set(True)
        carry = jax.tree.map(jnp.ones_like, module.init_carry(B))
        found, expected = (
            module(xs, lengths=jnp.full(B, 4), resets=each, carry=carry, whole=True) for each in (resets, None)
        )
        assert_close(found, expected)


class TestStreaming:
    @pytest.mark.parametrize("options", [{}, {"residual": True, "layer_norm": True, "zoneout": 0.2}])
    def test_step_by_step_is_the_call(self, options):
        module = make("lstm", num_layers=2, **options)
        xs = draw(B, T, F)
        final, ys = module(xs)
        carry = module.init_carry(B)
        for t in range(T):
            carry, y = module.step(carry, xs[:, t])
            assert_close(y, ys[:, t], rtol=1e-9)
        assert_close(carry, final, rtol=1e-9)

    def test_two_directions_cannot(self):
        module = make("lstm", bidirectional=True)
        with pytest.raises(ValueError, match="a step has one direction"):
            module.step(module.init_carry(B), draw(B, F))


class TestBetweenLayers:
    def test_sizes_norms_projections_and_residuals(self):
        """By hand, layer by layer."""
        module = Recurrent(
            "gru", F, (4, 6, 6), num_layers=3, layer_norm=True, projection=6, residual=True, rngs=nnx.Rngs(0)
        )
        xs = draw(B, T, F, dtype=jnp.float32)
        assert [layer.w_hh.shape[0] for layer in module.layers] == [4, 6, 6]
        read, cell = jnp.swapaxes(xs, 0, 1), cells.get("gru")
        for number, params in enumerate(module.params()):
            _, ys = unroll(cell, params, read)
            ys = ys + read if number else ys
            if number < 2:
                centred = ys - ys.mean(-1, keepdims=True)
                ys = centred / jnp.sqrt((centred**2).mean(-1, keepdims=True) + 1e-6)
                ys = ys @ module.projections[number].kernel[...]
            read = ys
        np.testing.assert_allclose(module(xs)[1], jnp.swapaxes(read, 0, 1), rtol=1e-3, atol=1e-4)
        assert module.output_size == 6

    @pytest.mark.parametrize(
        ("options", "message"),
        [
            ({"residual": True, "hidden_size": (4, 5)}, r"they have \[4\] and \[5\] features"),
            ({"hidden_size": (4, 5, 6)}, r"hidden_size \(4, 5, 6\) is for 3 layers, num_layers is 2"),
        ],
    )
    def test_sizes_that_do_not_fit(self, options, message):
        with pytest.raises(ValueError, match=message):
            Recurrent("rnn", F, num_layers=2, rngs=nnx.Rngs(0), **options)


class TestLoad:
    @pytest.mark.parametrize("bidirectional", [False, True])
    def test_from_and_to_pytorch(self, bidirectional):
        one, other = (LSTM(F, H, num_layers=2, bidirectional=bidirectional, rngs=nnx.Rngs(n)) for n in (0, 1))
        load_torch(other, to_torch(one))
        chex.assert_trees_all_equal(other.params(), one.params())

    def test_of_other_sizes(self):
        module = LSTM(F, H, rngs=nnx.Rngs(0))
        before = module.params()
        with pytest.raises(ValueError, match=r"parameters must be .*\(3, 20\).*, got .*\(3, 24\)"):
            load_torch(module, to_torch(LSTM(F, H + 1, rngs=nnx.Rngs(0))))
        chex.assert_trees_all_equal(module.params(), before)


class TestDropout:
    def test_training_mode_without_keys_is_an_error(self):
        module = make("lstm", num_layers=2, dropout=0.5)
        xs, rngs = draw(B, T, F), nnx.Rngs(dropout=1)
        evaluated = module(xs)[1]
        module.train()
        with pytest.raises(ValueError, match="draw in training mode: give rngs"):
            module(xs)
        assert float(jnp.abs(module(xs, rngs=rngs)[1] - evaluated).max()) > 1e-3
        module.eval()
        assert_close(module(xs, rngs=rngs)[1], evaluated)

    @pytest.mark.parametrize("variational", [False, True])
    def test_only_with_rngs(self, variational):
        module = make("lstm", num_layers=2, dropout=0.5, variational=variational)
        xs = draw(B, T, F)
        evaluated = module(xs)[1]
        assert_close(module(xs)[1], evaluated)
        assert_close(make("lstm", num_layers=2)(xs)[1], evaluated)
        first, same, other = (module(xs, rngs=nnx.Rngs(dropout=seed))[1] for seed in (1, 1, 2))
        assert_close(first, same)
        assert float(jnp.abs(first - evaluated).max()) > 1e-3
        assert float(jnp.abs(first - other).max()) > 1e-3

    def test_a_stream_gives_another_mask_at_each_call(self):
        module, rngs = make("rnn", num_layers=2, dropout=0.5), nnx.Rngs(dropout=1)
        xs = draw(B, T, F)
        assert float(jnp.abs(module(xs, rngs=rngs)[1] - module(xs, rngs=rngs)[1]).max()) > 1e-3

    def test_variational_keeps_one_mask_over_time(self):
        """Two layers of the identity that copies its inputs through: what is dropped shows in the outputs."""
        dropped = {}
        for variational in (False, True):
            module = RNN(
                H, H, activation="identity", num_layers=2, dropout=0.5, variational=variational, rngs=nnx.Rngs(0)
            )
            for layer in module.layers:
                layer.w_ih[...] = jnp.eye(H, dtype=jnp.float32)
                layer.w_hh[...] = jnp.zeros((H, H), jnp.float32)
                layer.b[...] = jnp.zeros(H, jnp.float32)
            ys = module(jnp.ones((B, T, H), jnp.float32), rngs=nnx.Rngs(dropout=3))[1]
            assert set(np.unique(ys)) == {0.0, 2.0}
            dropped[variational] = np.asarray(ys == 0)
        assert (dropped[True] == dropped[True][:, :1]).all()
        assert not (dropped[False] == dropped[False][:, :1]).all()
        assert 0.2 < dropped[False].mean() < 0.8

    def test_not_behind_the_last_layer(self):
        module = make("rnn", num_layers=1, dropout=0.9)
        xs = draw(B, T, F)
        assert_close(module(xs, rngs=nnx.Rngs(dropout=1))[1], module(xs)[1])

    def test_a_rate_of_zero_takes_no_key(self):
        module, rngs = make("rnn", num_layers=2), nnx.Rngs(dropout=1)
        module(draw(B, T, F), rngs=rngs)
        assert int(rngs.dropout.count[...]) == 0


class TestTransformations:
    @pytest.mark.parametrize("backend", ["scan", "manual"])
    def test_jit_and_grad(self, backend):
        module = make("lstm", num_layers=2, backend=backend)
        xs = draw(B, T, F)

        @nnx.jit
        def loss_and_gradient(module, xs):
            return nnx.value_and_grad(lambda m: jnp.sum(m(xs, lengths=LENGTHS)[1] ** 2))(module)

        loss, gradient = loss_and_gradient(module, xs)

        def pure_loss(params):
            ys = compose.unroll_stack(cells.get("lstm"), params, jnp.swapaxes(xs, 0, 1), lengths=LENGTHS)[1]
            return jnp.sum(ys**2)

        expected_loss, expected = jax.value_and_grad(pure_loss)(params_of(module))
        np.testing.assert_allclose(loss, expected_loss, rtol=1e-12)
        for index, layer in enumerate(expected):
            for name, value in layer._asdict().items():
                np.testing.assert_allclose(gradient["layers"][index][name][...], value, rtol=1e-10, atol=1e-12)

    def test_jit_traces_once(self):
        module = make("gru")

        @nnx.jit
        @chex.assert_max_traces(1)
        def apply(module, xs):
            return module(xs)[1]

        for seed in range(3):
            apply(module, draw(B, T, F, seed=seed))

    def test_split_and_merge(self):
        module = make("lstm", num_layers=2, bidirectional=True)
        graph, state = nnx.split(module)
        assert_close(nnx.merge(graph, state)(draw(B, T, F)), module(draw(B, T, F)))
        names = {jax.tree_util.keystr(path) for path, _ in jax.tree_util.tree_leaves_with_path(nnx.to_pure_dict(state))}
        assert "['layers'][1]['backward']['w_hh']" in names
        assert len(names) == 2 * 2 * 3


class TestTypes:
    def test_parameters_are_float32_by_default(self):
        module = LSTM(F, H, rngs=nnx.Rngs(0))
        assert {leaf.dtype for leaf in jax.tree.leaves(nnx.state(module))} == {jnp.dtype("float32")}
        assert module(draw(B, T, F, dtype=jnp.float32))[1].dtype == jnp.float32

    @pytest.mark.parametrize(
        ("kind", "backend"), [("rnn", "scan"), ("lstm", "scan"), ("lstm", "manual"), ("gru", "manual")]
    )
    def test_bfloat16(self, kind, backend):
        """Computed in bfloat16, close to float32; parameters and gradients stay float32, and so does c."""
        wide = make(kind, param_dtype=jnp.float32)
        narrow = make(kind, param_dtype=jnp.float32, dtype=jnp.bfloat16, backend=backend)
        xs = draw(B, T, F, dtype=jnp.float32)
        carry, ys = narrow(xs)
        assert ys.dtype == jnp.bfloat16
        assert all(layer.h.dtype == jnp.bfloat16 for layer in carry)
        assert all(layer.c.dtype == jnp.float32 for layer in carry if kind == "lstm")
        expected = wide(xs)[1]
        scale = float(jnp.abs(expected).max())
        error = float(jnp.abs(ys.astype(jnp.float32) - expected).max()) / scale
        assert 0 < error < 0.05
        gradient = nnx.grad(lambda m: jnp.sum(m(xs)[1].astype(jnp.float32) ** 2))(narrow)
        assert {leaf.dtype for leaf in jax.tree.leaves(gradient)} == {jnp.dtype("float32")}
        assert all(bool(jnp.isfinite(leaf).all()) for leaf in jax.tree.leaves(gradient))


class TestFlaxCell:
    @pytest.mark.parametrize(("kind", "lengths"), [*((kind, None) for kind in KINDS), ("lstm", [T, 2, 4, 1])])
    def test_in_the_loop_of_flax(self, kind, lengths):
        cell = FlaxCell(kind, F, H, dtype=jnp.float64, rngs=nnx.Rngs(0))
        module = make(kind)
        for name, value in cell.weights.tree()._asdict().items():
            getattr(module.layers[0], name)[...] = value
        xs, lengths = draw(B, T, F), None if lengths is None else jnp.array(lengths)
        carry, ys = nnx.RNN(cell, return_carry=True)(xs, seq_lengths=lengths)
        (expected_carry,), expected = module(xs, lengths=lengths)
        valid = jnp.arange(T) < (T if lengths is None else lengths[:, None])  # past it Flax goes on computing
        assert_close(jnp.where(valid[..., None], ys, 0), expected)
        assert_close(carry, expected_carry)

    def test_reverse_in_flax(self):
        cell = FlaxCell("gru", F, H, dtype=jnp.float64, rngs=nnx.Rngs(0))
        xs = draw(B, T, F)
        ys = nnx.RNN(cell, reverse=True, keep_order=True)(xs)
        expected = unroll(cell.cell, cell.weights.tree(), jnp.swapaxes(xs, 0, 1), reverse=True)[1]
        assert_close(ys, jnp.swapaxes(expected, 0, 1))

    def test_one_step(self):
        cell = FlaxCell("lstm", F, H, dtype=jnp.float64, forget_bias=2.0, rngs=nnx.Rngs(0))
        x = draw(B, F)
        carry = cell.initialize_carry((B, F))
        chex.assert_trees_all_equal(carry, cells.get("lstm").init_carry((B,), H, jnp.float64))
        assert_close(cell(carry, x), cells.get("lstm").step(cell.weights.tree(), carry, x))
        assert cell.weights.b[...][H : 2 * H].tolist() == [2.0] * H
        assert cell.num_feature_axes == 1

    def test_a_carry_that_is_drawn(self):
        cell = FlaxCell("lstm", F, H, dtype=jnp.float64, rngs=nnx.Rngs(0))
        carry = cell.initialize_carry((B, F), nnx.Rngs(carry=1), nnx.initializers.normal(1.0))
        assert carry.h.shape == carry.c.shape == (B, H)
        assert carry.h.dtype == jnp.float64
        assert float(jnp.abs(carry.h - carry.c).min()) > 0, "h and c are drawn apart"

    def test_gradient(self):
        cell = FlaxCell("gru", F, H, dtype=jnp.float64, rngs=nnx.Rngs(0))
        xs = draw(B, T, F)
        gradient = nnx.grad(lambda c: jnp.sum(nnx.RNN(c)(xs) ** 2))(cell)
        params = cell.weights.tree()
        expected = jax.grad(lambda p: jnp.sum(unroll(cell.cell, p, jnp.swapaxes(xs, 0, 1))[1] ** 2))(params)
        for name, value in expected._asdict().items():
            np.testing.assert_allclose(gradient["weights"][name][...], value, rtol=1e-10, atol=1e-12)


class TestWeights:
    @pytest.mark.parametrize("kind", KINDS)
    def test_there_and_back(self, kind):
        params = cells.get(kind).init_params(jax.random.key(0), F, H, jnp.float32)
        weights = Weights(params)
        assert type(weights.tree()) is type(params)
        chex.assert_trees_all_equal(weights.tree(), params)
        assert {leaf.dtype for leaf in weights.tree(jnp.bfloat16)} == {jnp.dtype("bfloat16")}
