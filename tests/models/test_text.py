"""Pooling and the text classifiers."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from rnn_jax.models import last_output, pure
from rnn_jax.models.pooling import FINAL, POOLS, pool_steps
from rnn_jax.models.text import UNK, BagClassifier, FlattenClassifier, TextClassifier, drop_words

V, D, H, C = 11, 3, 4, 2
LENGTHS = np.array([5, 0, 3, 1])
TOKENS = np.random.default_rng(0).integers(2, V, (4, 5))


def classifier(pool="last", bidirectional=False, seed=0, **options):
    return TextClassifier(
        V,
        D,
        "lstm",
        H,
        C,
        pool=pool,
        bidirectional=bidirectional,
        rngs=nnx.Rngs(seed),
        param_dtype=jnp.float64,
        **options,
    )


class TestPooling:
    ys = np.random.default_rng(1).normal(size=(5, 4, 3)) - 2  # below zero, so that a padding of zeros would win

    @pytest.mark.parametrize("pool", POOLS[len(FINAL) :])
    def test_over_valid_steps_only(self, pool):
        found = np.asarray(pool_steps(jnp.asarray(self.ys), jnp.asarray(LENGTHS), pool))
        for b, length in enumerate(LENGTHS):
            valid = self.ys[:length, b]
            mean, largest = (valid.mean(0), valid.max(0)) if length else (np.zeros(3), np.zeros(3))
            want = {"mean": mean, "max": largest, "mean_max": np.r_[mean, largest]}[pool]
            np.testing.assert_allclose(found[b], want, rtol=1e-12)

    @pytest.mark.parametrize("pool", POOLS[len(FINAL) :])
    def test_what_the_padding_holds_does_not_matter(self, pool):
        valid = (np.arange(5)[:, None] < LENGTHS)[..., None]

        def value_and_gradient(padding):
            ys = jnp.asarray(np.where(valid, self.ys, padding))
            return jax.value_and_grad(lambda ys: jnp.sin(pool_steps(ys, jnp.asarray(LENGTHS), pool)).sum())(ys)

        (a, da), (b, db) = value_and_gradient(0.0), value_and_gradient(1e3)
        assert a == b
        np.testing.assert_array_equal(da, db)
        assert np.isfinite(da).all()
        assert not np.asarray(da)[~np.broadcast_to(valid, da.shape)].any()

    def test_no_steps(self):
        assert pool_steps(jnp.zeros((0, 2, 3)), jnp.zeros(2, jnp.int32), "mean_max").tolist() == [[0.0] * 6] * 2

    def test_narrow_outputs_are_pooled_in_float32(self):
        ys = jnp.full((300, 1, 1), 1.01, jnp.bfloat16)
        pooled = pool_steps(ys, jnp.array([300]), "mean")
        assert pooled.dtype == jnp.float32
        np.testing.assert_allclose(pooled, float(ys[0, 0, 0]), rtol=1e-6)

    @pytest.mark.parametrize(
        ("pool", "shape", "message"),
        [("last", (5, 4, 3), "unknown pool 'last'"), ("mean", (5, 3, 3), r"got \(5, 3, 3\) and \(4,\)")],
    )
    def test_bad_input(self, pool, shape, message):
        with pytest.raises(ValueError, match=message):
            pool_steps(jnp.zeros(shape), jnp.asarray(LENGTHS), pool)


class TestTextClassifier:
    @pytest.mark.parametrize(
        ("pool", "bidirectional"), [*((pool, True) for pool in FINAL), *((pool, False) for pool in POOLS)]
    )
    def test_padding_changes_neither_scores_nor_gradient(self, pool, bidirectional):
        apply, params = pure(classifier(pool, bidirectional, num_layers=2))

        @jax.jit
        def run(tokens):
            return jax.value_and_grad(lambda p: (apply(p, tokens, jnp.asarray(LENGTHS)) ** 2).sum())(params)

        other = np.where(np.arange(5) < LENGTHS[:, None], TOKENS, 7)
        longer = np.pad(other, ((0, 0), (0, 3)), constant_values=9)
        value, gradient = run(jnp.asarray(TOKENS))
        for tokens in (other, longer):
            again, same = run(jnp.asarray(tokens))
            np.testing.assert_allclose(again, value, rtol=1e-12)
            jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-9, atol=1e-14), gradient, same)

    def test_last_joins_both_directions_and_last_backward_reads_one(self):
        """Erratum D5: `hidden[-1]` of a bidirectional network is the backward direction alone."""
        both, one = classifier("last", True), classifier("last_backward", True)
        assert both.head.kernel.shape == (2 * H, C)
        assert one.head.kernel.shape == (H, C)
        carry, _ = both.recurrent(both.embedding(jnp.asarray(TOKENS)), lengths=jnp.asarray(LENGTHS))
        joined, backward = (
            last_output(both.recurrent.cell, carry),
            last_output(both.recurrent.cell, carry, only_backward=True),
        )
        np.testing.assert_array_equal(joined[:, H:], backward)
        assert (joined[0, :H] != backward[0]).any()

    def test_a_first_adam_step_moves_the_rows_that_occur(self):
        """A5: by the learning rate, and no other row."""
        import optax

        apply, params = pure(classifier())
        gradient = jax.grad(lambda p: (apply(p, jnp.asarray(TOKENS), jnp.asarray(LENGTHS)) ** 2).sum())(params)
        optimizer = optax.adam(1e-3, eps=1e-30)
        updates, _ = optimizer.update(gradient, optimizer.init(params))
        moved = np.abs(np.asarray(updates["embedding"]["table"]))
        seen = np.unique(TOKENS[np.arange(5) < LENGTHS[:, None]])
        np.testing.assert_allclose(moved[seen], 1e-3, rtol=1e-6)
        assert not np.delete(moved, seen, axis=0).any()

    def test_dropout_is_for_training(self):
        model = classifier("mean_max", word_dropout=0.3, embedding_dropout=0.3, head_dropout=0.3)
        plain = classifier("mean_max")
        arguments = jnp.asarray(TOKENS), jnp.asarray(LENGTHS)
        np.testing.assert_array_equal(model(*arguments), plain(*arguments))
        drawn = [np.asarray(model(*arguments, rngs=nnx.Rngs(dropout=seed))) for seed in (1, 1, 2)]
        np.testing.assert_array_equal(drawn[0], drawn[1])
        assert (drawn[0] != drawn[2]).any()
        np.testing.assert_array_equal(plain(*arguments, rngs=nnx.Rngs(dropout=1)), plain(*arguments))

    @pytest.mark.parametrize("rate", ["word_dropout", "embedding_dropout", "head_dropout"])
    def test_each_dropout_has_an_effect(self, rate):
        model, arguments = classifier("mean_max", **{rate: 0.5}), (jnp.asarray(TOKENS), jnp.asarray(LENGTHS))
        assert (model(*arguments, rngs=nnx.Rngs(dropout=1)) != model(*arguments)).any()

    def test_features_stand_beside_the_words(self):
        model = classifier("mean_max", num_features=2)
        features = jnp.asarray(np.random.default_rng(3).normal(size=(4, 5, 2)))
        scores = model(jnp.asarray(TOKENS), jnp.asarray(LENGTHS), features)
        xs = jnp.concatenate((model.embedding(jnp.asarray(TOKENS).T), features.swapaxes(0, 1)), axis=-1)
        _, ys = model.recurrent(xs, lengths=jnp.asarray(LENGTHS), time_major=True)
        np.testing.assert_allclose(scores, model.head(pool_steps(ys, jnp.asarray(LENGTHS), "mean_max")), rtol=1e-12)

    def test_drop_words(self):
        tokens = jnp.full((200, 50), 5)
        dropped = np.asarray(drop_words(jax.random.key(0), tokens, 0.2))
        assert set(np.unique(dropped)) == {UNK, 5}
        assert abs((dropped == UNK).mean() - 0.2) < 0.02

    @pytest.mark.parametrize(
        ("options", "message"),
        [({"pool": "sum"}, "unknown pool 'sum'"), ({"word_dropout": 1.0}, r"dropout must be in")],
    )
    def test_bad_options(self, options, message):
        with pytest.raises(ValueError, match=message):
            classifier(**options)


class TestWithoutRecurrence:
    def test_bag_is_the_mean_of_the_words(self):
        model = BagClassifier(V, D, C, rngs=nnx.Rngs(0))
        table = np.asarray(model.embedding.table[...])
        scores = np.asarray(model(jnp.asarray(TOKENS), jnp.asarray(LENGTHS)))
        for b, length in enumerate(LENGTHS):
            mean = table[TOKENS[b, :length]].mean(0) if length else np.zeros(D)
            np.testing.assert_allclose(scores[b], mean @ model.head.kernel[...] + model.head.bias[...], rtol=1e-4)

    def test_flatten_has_a_weight_per_place(self):
        model = FlattenClassifier(V, D, 8, C, rngs=nnx.Rngs(0))
        table, kernel = np.asarray(model.embedding.table[...]), np.asarray(model.head.kernel[...]).reshape(8, D, C)
        scores = np.asarray(model(jnp.asarray(TOKENS), jnp.asarray(LENGTHS)))
        for b, length in enumerate(LENGTHS):
            want = np.einsum("ti,tic->c", table[TOKENS[b, :length]], kernel[:length])
            np.testing.assert_allclose(scores[b], want + model.head.bias[...], rtol=1e-4, atol=1e-6)
