"""The recurrent language model: against loops in NumPy, with every mask and penalty, in pieces and whole."""

from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from helpers import reference

from rnn_jax.backends import native
from rnn_jax.models import LanguageModel, Regularization, pure

V, D, H, B, T = 11, 3, 5, 2, 7  # all different, so that no axis can be taken for another
RNG = np.random.default_rng(0)
TEXT = jnp.asarray(RNG.integers(0, V, (B, T + 1)))
TOKENS, TARGETS = TEXT[:, :-1], TEXT[:, 1:]
RESETS = jnp.asarray([[0, 0, 1, 0, 0, 1, 1], [1, 0, 0, 0, 1, 0, 0]], bool)
HEADS = {
    "of_its_own": (D, {}),
    "tied_and_projected": (D, {"tied": True}),
    "tied": (H, {"tied": True}),
}
RATES = {
    "embedding_dropout": 0.3,
    "input_dropout": 0.3,
    "output_dropout": 0.4,
    "dropout": 0.3,
    "variational": True,
    "weight_drop": 0.3,
}


def make(cell="lstm", embedding_size=D, dtype=jnp.float64, **options):
    """With parameters that are not close to zero, biases too."""
    model = LanguageModel(V, embedding_size, cell, H, param_dtype=dtype, rngs=nnx.Rngs(0), **options)
    rng = np.random.default_rng(1)
    state = nnx.state(model, nnx.Param)
    drawn = jax.tree.map(lambda leaf: jnp.asarray(rng.normal(size=leaf.shape) / 2, leaf.dtype), state)
    nnx.update(model, drawn)
    return model


def arrays(model):
    """Its parameters by name."""
    return jax.tree.map(np.asarray, pure(model)[1])


def states_by_numpy(model, tokens, carry=None, resets=None):
    """The final carries, and the outputs of the top layer `[B, T, H]`."""
    params = arrays(model)
    layers = [SimpleNamespace(**layer) for layer in params["recurrent"]["layers"].values()]
    xs = params["embedding"]["table"][np.asarray(tokens)].swapaxes(0, 1)
    finals, ys = reference.stack("lstm", layers, xs, carry, resets=None if resets is None else np.asarray(resets).T)
    return finals, ys.swapaxes(0, 1)


def losses_by_numpy(model, tokens, targets, **options):
    """The final carries, the scores of every token, and the loss of each target."""
    params = arrays(model)
    finals, states = states_by_numpy(model, tokens, **options)
    head = params["head"]
    if "projection" in head:
        states = states @ head["projection"]["kernel"]
    weights = head["table"] if "table" in head else params["embedding"]["table"]
    scores = states @ weights.T + head["bias"]
    p = np.exp(scores) / np.exp(scores).sum(axis=-1, keepdims=True)
    losses = [[-np.log(p[b, t, targets[b, t]]) for t in range(tokens.shape[1])] for b in range(len(tokens))]
    return finals, scores, np.array(losses)


def assert_close(got, want, rtol=1e-9):
    got, want = jax.tree.leaves(got), jax.tree.leaves(want)
    assert len(got) == len(want) > 0
    for a, b in zip(got, want, strict=True):
        np.testing.assert_allclose(a, b, rtol=rtol, atol=rtol / 100)


class TestAgainstNumPy:
    @pytest.mark.parametrize("num_layers", [1, 2])
    @pytest.mark.parametrize("head", HEADS)
    def test_scores_losses_and_carries(self, head, num_layers):
        size, options = HEADS[head]
        model = make("lstm", size, num_layers=num_layers, **options)
        carries, scores, losses = losses_by_numpy(model, TOKENS, TARGETS)
        assert model(TOKENS).shape == (B, T, V)
        np.testing.assert_allclose(model(TOKENS), scores, rtol=1e-9)
        after, found = model.token_losses(TOKENS, TARGETS)
        np.testing.assert_allclose(found, losses, rtol=1e-9)
        assert_close(after, carries)
        value, (after, entropy) = model.loss(TOKENS, TARGETS)
        assert value == entropy
        np.testing.assert_allclose(value, losses.mean(), rtol=1e-6)
        assert_close(after, carries)

    def test_what_is_learnt(self):
        """A tied table is counted once, a projection only where sizes differ."""

        def shapes(head):
            size, options = HEADS[head]
            return {name: jax.tree.map(np.shape, part) for name, part in arrays(make("lstm", size, **options)).items()}

        assert shapes("of_its_own")["head"] == {"bias": (V,), "table": (V, H)}
        assert shapes("tied")["head"] == {"bias": (V,)}
        assert shapes("tied_and_projected")["head"] == {"bias": (V,), "projection": {"kernel": (H, D)}}
        assert all(shapes(head)["embedding"] == {"table": (V, HEADS[head][0])} for head in HEADS)

    def test_of_several_steps_and_one(self):
        model = make("lstm", num_layers=2, tied=True)
        carry = model.begin(B)
        scores = model(TOKENS)
        for t in range(T):
            carry, found = model.step(carry, TOKENS[:, t])
            np.testing.assert_allclose(found, scores[:, t], rtol=1e-9)
        assert_close(carry, model.read(TOKENS)[0])


class TestCarry:
    @pytest.mark.parametrize("cut", [0, 3, T])
    def test_two_pieces_are_the_whole(self, cut):
        model = make("gru", num_layers=2)
        carry, states = model.read(TOKENS)
        between, first = model.read(TOKENS[:, :cut])
        after, second = model.read(TOKENS[:, cut:], between)
        assert_close((after, jnp.concatenate((first, second), axis=1)), (carry, states))
        pieces = [model.token_losses(TOKENS[:, :cut], TARGETS[:, :cut])[1]]
        pieces.append(model.token_losses(TOKENS[:, cut:], TARGETS[:, cut:], between)[1])
        losses = model.token_losses(TOKENS, TARGETS)[1]
        np.testing.assert_allclose(jnp.concatenate(pieces, axis=1), losses, rtol=1e-9)
        value, (after, _) = model.loss(TOKENS[:, cut:], TARGETS[:, cut:], between)
        np.testing.assert_allclose(value, losses[:, cut:].mean() if cut < T else 0, rtol=1e-6)
        assert_close(after, carry)

    def test_a_reset_begins_a_text(self):
        """Every way to read, with a carry that counts until the first reset."""
        model = make("lstm", num_layers=2)
        start = jax.tree.map(lambda zeros: zeros + 0.7, model.begin(B))
        carries, scores, losses = losses_by_numpy(
            model, TOKENS, TARGETS, carry=[tuple(map(np.asarray, layer)) for layer in start], resets=RESETS
        )
        after, states = model.read(TOKENS, start, resets=RESETS)
        np.testing.assert_allclose(model.scores(states), scores, rtol=1e-9)
        assert_close(after, carries)
        after, found = model.token_losses(TOKENS, TARGETS, start, resets=RESETS)
        np.testing.assert_allclose(found, losses, rtol=1e-9)
        assert_close(after, carries)
        value, (after, _) = model.loss(TOKENS, TARGETS, start, resets=RESETS)
        np.testing.assert_allclose(value, losses.mean(), rtol=1e-6)
        assert_close(after, carries)
        alone = model.token_losses(TOKENS[:1, 2:5], TARGETS[:1, 2:5])[1]
        np.testing.assert_allclose(found[:1, 2:5], alone, rtol=1e-9)

    def test_of_a_class(self):
        model = make("lstm", num_layers=2, num_classes=3)
        assert_close(model.begin(B), jax.tree.map(np.zeros_like, model.begin(B)))
        labels = jnp.array([2, 0, 2])
        begun = jax.tree.leaves(model.begin(3, labels))
        assert [leaf.shape for leaf in begun] == [(3, H)] * 4
        for leaf in begun:
            np.testing.assert_array_equal(leaf[0], leaf[2])
            assert (leaf[0] != leaf[1]).all()
        assert all((a != b).all() for i, a in enumerate(begun) for b in begun[:i]), "h and c of each layer differ"

    def test_the_loss_of_a_document_reaches_its_class(self):
        loss_of, params = pure(make("lstm", num_classes=3), "document_loss")
        arguments = TOKENS, TARGETS, jnp.array([T, 2]), jnp.array([2, 0])
        gradient = jax.grad(lambda p: loss_of(p, *arguments)[0])(params)
        for table in gradient["classes"].values():
            assert (np.asarray(table["table"])[[0, 2]] != 0).all()
            assert (np.asarray(table["table"])[1] == 0).all()


class TestLoss:
    def test_padding_has_none(self):
        """Neither what stands there nor how much of it; a text may be empty."""
        loss_of, params = pure(make("lstm"), "loss")
        penalties = Regularization(0.5, 0.25)

        @jax.jit
        def run(tokens, targets, lengths):
            def loss(params):
                value, (carry, entropy) = loss_of(params, tokens, targets, lengths=lengths, regularization=penalties)
                return value, (carry, entropy)

            return jax.value_and_grad(loss, has_aux=True)(params)

        lengths = jnp.array([4, 0])
        (value, (carry, entropy)), gradient = run(TOKENS, TARGETS, lengths)
        losses = losses_by_numpy(make("lstm"), TOKENS, TARGETS)[2]
        np.testing.assert_allclose(entropy, losses[0, :4].mean(), rtol=1e-6)
        valid = jnp.arange(T) < lengths[:, None]
        other = run(jnp.where(valid, TOKENS, 9), jnp.where(valid, TARGETS, 9), lengths)
        assert_close(other, ((value, (carry, entropy)), gradient), 1e-9)
        longer = [jnp.pad(each, ((0, 0), (0, 3)), constant_values=8) for each in (TOKENS, TARGETS)]
        assert_close(run(*longer, lengths), ((value, (carry, entropy)), gradient), 1e-6)
        (nothing, _), gradient = run(TOKENS, TARGETS, jnp.zeros(B, jnp.int32))
        assert nothing == 0
        assert all((np.asarray(leaf) == 0).all() for leaf in jax.tree.leaves(gradient))

    @pytest.mark.parametrize("lengths", [None, [5, 1, 7]])
    def test_of_a_batch_it_is_the_mean_of_its_parts(self, lengths):
        """By their tokens, as devices that share a batch take it; to the precision of the computation."""
        loss_of, params = pure(make("lstm"), "loss")
        rng = np.random.default_rng(3)
        tokens, targets = (jnp.asarray(rng.integers(0, V, (3, T))) for _ in range(2))
        given = np.full(3, T) if lengths is None else np.asarray(lengths)

        def of(rows):
            of_rows = None if lengths is None else jnp.asarray(given[rows])

            def loss(params):
                return loss_of(
                    params, tokens[rows], targets[rows], lengths=of_rows, regularization=Regularization(0.5, 2.0)
                )[0]

            return jax.value_and_grad(loss)(params)

        parts, weights = [of(slice(0, 2)), of(slice(2, 3))], [given[:2].sum(), given[2]]
        mean = jax.tree.map(lambda a, b: (weights[0] * a + weights[1] * b) / sum(weights), *parts)
        assert_close(mean, of(slice(0, 3)), 1e-12)

    @pytest.mark.parametrize("lengths", [None, [5, 2]])
    def test_penalties(self, lengths):
        model = make("lstm", tied=True)
        _, states = states_by_numpy(model, TOKENS)
        rows = list(zip(states, lengths or [T] * B, strict=True))
        squares = np.concatenate([row[:length] ** 2 for row, length in rows]).mean()
        changes = np.concatenate([np.diff(row[:length], axis=0) ** 2 for row, length in rows])
        changes = changes.mean() if lengths is None else changes.sum(axis=0).mean() / sum(lengths)
        lengths = None if lengths is None else jnp.asarray(lengths)
        for penalties, want in (
            ((2.0, 0.0), 2 * squares),
            ((0.0, 3.0), 3 * changes),
            ((0.5, 0.5), (squares + changes) / 2),
        ):
            value, (_, entropy) = model.loss(
                TOKENS, TARGETS, lengths=lengths, regularization=Regularization(*penalties)
            )
            assert entropy == model.loss(TOKENS, TARGETS, lengths=lengths)[0]
            np.testing.assert_allclose(value - entropy, want, rtol=1e-5)

    def test_penalties_of_outputs_after_and_before_dropout(self):
        model = make("lstm", output_dropout=0.5)
        _, states = states_by_numpy(model, TOKENS)

        def penalty(*weights):
            regularization = Regularization(*weights)
            value, (_, entropy) = model.loss(TOKENS, TARGETS, regularization=regularization, rngs=nnx.Rngs(dropout=1))
            return float(value - entropy)

        assert penalty(0.0, 1.0) == pytest.approx((np.diff(states, axis=1) ** 2).mean(), rel=1e-5)
        shares = (states**2).sum(axis=1).ravel() / states.size  # of each sequence's features, kept or not
        found = [4 * sum(shares[i] for i in range(len(shares)) if kept >> i & 1) for kept in range(2 ** len(shares))]
        assert np.abs(np.array(found) - penalty(1.0, 0.0)).min() < 1e-5
        assert abs(found[-1] / 4 - penalty(1.0, 0.0)) > 1e-3

    def test_samples(self):
        """Of the vocabulary, in training alone."""
        model = make("lstm")
        exact = model.loss(TOKENS, TARGETS)[0]
        one, same, other = (
            float(model.loss(TOKENS, TARGETS, num_samples=4, rngs=nnx.Rngs(dropout=seed))[0]) for seed in (1, 1, 2)
        )
        assert one == same != other
        assert abs(one - exact) > 1e-3
        loss_of, params = pure(model, "loss")
        gradient = jax.grad(lambda p: loss_of(p, TOKENS, TARGETS, num_samples=4, rngs=nnx.Rngs(dropout=1))[0])(params)
        moved = (np.asarray(gradient["head"]["table"]) != 0).all(axis=1)
        assert moved[np.unique(TARGETS)].all()

    def test_bfloat16(self):
        """Layers computed in it; parameters, loss and gradient stay float32."""
        wide, narrow = make("lstm", dtype=jnp.float32), make("lstm", dtype=jnp.float32)
        narrow.recurrent.dtype = jnp.bfloat16
        loss_of, params = pure(narrow, "loss")
        (value, (carry, _)), gradient = jax.value_and_grad(lambda p: loss_of(p, TOKENS, TARGETS), has_aux=True)(params)
        assert carry[0].h.dtype == jnp.bfloat16
        assert {leaf.dtype for leaf in jax.tree.leaves((value, gradient))} == {jnp.dtype("float32")}
        expected = wide.loss(TOKENS, TARGETS)[0]
        assert value != expected
        np.testing.assert_allclose(value, expected, rtol=2e-2)


class TestDropout:
    def gradient(self, seed=1, rows=slice(None), **options):
        """Of the loss with respect to all parameters."""
        loss_of, params = pure(make("lstm", **options), "loss")
        return jax.grad(lambda p: loss_of(p, TOKENS[rows], TARGETS[rows], rngs=nnx.Rngs(dropout=seed))[0])(params)

    def test_whole_tokens(self):
        """Absent from all places at once."""
        moved = np.asarray(self.gradient(embedding_dropout=0.5)["embedding"]["table"]) != 0
        assert (moved == moved[:, :1]).all()
        occurring = moved[np.unique(TOKENS), 0]
        assert 0 < occurring.sum() < len(occurring)

    @pytest.mark.parametrize(("name", "part"), [("input_dropout", "embedding"), ("output_dropout", "head")])
    def test_features_of_a_whole_sequence(self, name, part):
        for rate, some in ((0.5, (0.2, 0.8)), (0.0, (0, 0))):
            absent = []
            for seed in (1, 2, 3):
                table = self.gradient(seed, slice(0, 1), **{name: rate})[part]["table"]
                moved = np.asarray(table)[np.unique(TOKENS[0] if part == "embedding" else TARGETS[0])] != 0
                assert (moved == moved[:1]).all(), "the same at every step"
                absent.append(~moved[0])
            assert some[0] <= np.mean(absent) <= some[1]

    def test_of_each_sequence_another(self):
        """Two copies of a text in a batch have different losses."""
        both = [jnp.concatenate((each[:1],) * 2) for each in (TOKENS, TARGETS)]
        for name in ("input_dropout", "output_dropout"):
            model = make("lstm", **{name: 0.5})
            _, (carry, _) = model.loss(*both, rngs=nnx.Rngs(dropout=2))
            values = [model.loss(*both, lengths=jnp.array(n), rngs=nnx.Rngs(dropout=2))[0] for n in ([T, 0], [0, T])]
            assert values[0] != values[1]
            assert (carry[0].h[0] != carry[0].h[1]).any() == (name == "input_dropout")

    @pytest.mark.parametrize("name", [name for name in RATES if name != "variational"])
    def test_each_acts_in_training_alone(self, name):
        options = {"num_layers": 2, name: RATES[name]}
        model, plain = make("lstm", **options), make("lstm", num_layers=2)
        expected = plain.loss(TOKENS, TARGETS)[0]
        assert model.loss(TOKENS, TARGETS)[0] == expected
        assert_close(model.token_losses(TOKENS, TARGETS), plain.token_losses(TOKENS, TARGETS))
        one, same, other = (float(model.loss(TOKENS, TARGETS, rngs=nnx.Rngs(dropout=seed))[0]) for seed in (1, 1, 2))
        assert one == same
        assert len({one, other, float(expected)}) == 3
        assert plain.loss(TOKENS, TARGETS, rngs=nnx.Rngs(dropout=1))[0] == expected

    def test_all_of_them_on_every_back_end(self):
        backends = ["scan", "manual", *(["native"] if native.vector_width() is not None else [])]
        found = {}
        for backend in backends:
            model = make("lstm", dtype=jnp.float32, num_layers=2, tied=True, backend=backend, **RATES)
            loss_of, params = pure(model, "loss")

            @jax.jit
            def run(params, loss_of=loss_of):
                def loss(p):
                    penalties = Regularization(0.5, 0.5)
                    return loss_of(p, TOKENS, TARGETS, regularization=penalties, rngs=nnx.Rngs(dropout=1))

                return jax.value_and_grad(loss, has_aux=True)(params)

            found[backend] = run(params)
        for backend in backends[1:]:
            for a, b in zip(jax.tree.leaves(found[backend]), jax.tree.leaves(found["scan"]), strict=True):
                assert a.dtype == b.dtype == jnp.float32
                np.testing.assert_allclose(a, b, rtol=1e-3, atol=1e-5, err_msg=backend)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"bidirectional": True}, "a language model reads in one direction"),
        ({"embedding_dropout": 1.0}, r"embedding_dropout must be in \[0, 1\), got 1.0"),
        ({"input_dropout": -0.1}, r"input_dropout must be in \[0, 1\), got -0.1"),
        ({"output_dropout": 1.5}, r"output_dropout must be in \[0, 1\), got 1.5"),
        ({"weight_drop": 1.0}, r"weight_drop must be in \[0, 1\), got 1.0"),
    ],
)
def test_bad_options(options, message):
    with pytest.raises(ValueError, match=message):
        LanguageModel(V, D, "lstm", H, rngs=nnx.Rngs(0), **options)
