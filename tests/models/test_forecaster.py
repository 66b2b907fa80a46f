"""The forecaster against plain loops, and what its forms promise."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from rnn_jax.models import (
    Forecaster,
    Gaussian,
    Point,
    Quantiles,
    SequenceModel,
    abstract,
    last_output,
    num_params,
    pure,
)
from rnn_jax.models.decoders import DECODERS
from rnn_jax.models.forecaster import NORMALIZATIONS

B, LAG, AHEAD, M, OTHERS, K, H = 3, 6, 4, 2, 1, 2, 5
I = M + OTHERS + K  # noqa: E741
UNIT = [[0.5, 1.5], [0.7, 1.1], [0.9, 0.6], [1.3, 0.8]]
OUTPUTS = [Point(), Gaussian(), Quantiles((0.1, 0.5, 0.9))]


def draw(*shape, seed=0):
    return jnp.asarray(np.random.default_rng(seed).normal(size=shape))


def windows(known=K, others=OTHERS, seed=0):
    return draw(B, LAG, M + others + known, seed=seed), draw(B, AHEAD, known, seed=seed + 1)


def make(cell="lstm", known=K, others=OTHERS, rngs=None, **options):
    return Forecaster(
        cell,
        M + others + known,
        H,
        num_targets=M,
        lag=LAG,
        ahead=AHEAD,
        num_known=known,
        rngs=rngs or nnx.Rngs(0),
        **{"param_dtype": jnp.float64, **options},
    )


class TestShapes:
    @pytest.mark.parametrize("decoder", DECODERS)
    def test_of_every_form(self, decoder):
        forms = itertools.product(["rnn", "lstm", "gru"], OUTPUTS, [False, True], [1, 2])
        for form, normalize in zip(forms, itertools.cycle([*NORMALIZATIONS, "none"]), strict=False):
            cell, output, separate, segment = form
            if decoder == "recursive" and segment > 1:
                continue
            options = {"output": output, "separate": separate, "segment": segment, "normalize": normalize}
            options |= {"decoder": decoder, "line": "full", "dtype": jnp.bfloat16, "param_dtype": jnp.float32}
            model = abstract(lambda rngs, cell=cell, options=options: make(cell, rngs=rngs, **options))
            apply, params = pure(model)
            sizes = (jax.ShapeDtypeStruct((B, n, i), jnp.float32) for n, i in ((LAG, I), (AHEAD, K)))
            found = jax.eval_shape(apply, params, *sizes)
            assert (found.shape, found.dtype) == ((B, AHEAD, M, output.size), jnp.float32), (cell, separate, normalize)

    def test_two_directions(self):
        model = make("gru", bidirectional=True, num_layers=2)
        past, future = windows()
        _, ys = model.recurrent(past)
        state = jnp.concatenate([ys[:, -1, :H], ys[:, 0, H:]], axis=-1)
        read = jnp.concatenate([state, future.reshape(B, -1)], axis=-1)
        expected = model.decoder.head(read).reshape(B, AHEAD, M, 1)
        np.testing.assert_allclose(model(past, future), expected, rtol=1e-12)
        residual = make("gru", bidirectional=True, num_layers=2, residual=True)
        _, ys = residual.recurrent(past)
        state = jnp.concatenate([ys[:, -1, :H], ys[:, 0, H:]], axis=-1)
        read = jnp.concatenate([state, future.reshape(B, -1)], axis=-1)
        np.testing.assert_allclose(residual(past, future)[..., 0].reshape(B, -1), residual.decoder.head(read))

    def test_the_same_as_a_sequence_model(self):
        """Of one target and nothing else it is the read-out of the last state, with the same draws."""
        sizes = {"num_targets": 1, "lag": 24, "ahead": 8}
        large = [
            abstract(lambda rngs: Forecaster("lstm", 1, 400, rngs=rngs, **sizes)),
            abstract(lambda rngs: SequenceModel("lstm", 1, 400, 8, rngs=rngs)),
        ]
        assert [num_params(model) for model in large] == [646_408, 646_408]
        small = Forecaster("lstm", 1, 7, rngs=nnx.Rngs(3), **sizes), SequenceModel("lstm", 1, 7, 8, rngs=nnx.Rngs(3))
        xs = draw(2, 24, 1).astype(jnp.float32)
        np.testing.assert_array_equal(small[0](xs, jnp.zeros((2, 8, 0)))[..., 0, 0], small[1](xs))


def channels(model, past, future):
    """What each run of the layers reads and may know: all targets at once, or each by itself."""
    for targets in [[m] for m in range(M)] if model.separate else [list(range(M))]:
        own, others = np.asarray(past)[..., targets], np.asarray(past)[..., M:]
        base, spread = np.zeros((B, 1, len(targets))), np.ones((B, 1, len(targets)))
        if model.normalize in ("last", "change"):
            base = own[:, -1:]
        if model.normalize == "mean":
            base, spread = own.mean(axis=1, keepdims=True), np.sqrt(own.var(axis=1, keepdims=True) + 1e-5)
        read = own if model.normalize == "change" else (own - base) / spread
        yield targets, base, spread, np.concatenate([read, others], axis=-1)


def naive(model, past, future, teacher=None):
    """A Python loop over rows, of a decoder that reads its own forecasts."""
    decoder, found = model.decoder, np.zeros((B, AHEAD, M))
    sequence = hasattr(decoder, "layers")
    layers = decoder.layers if sequence else model.recurrent
    for targets, base, spread, read in channels(model, past, future):
        carry, _ = model.recurrent(jnp.asarray(read))
        unit = np.asarray(model.unit if model.unit else np.ones((AHEAD, M)))[:, targets]
        if sequence:
            zero = np.zeros((B, len(targets)))
            carry, y = layers.step(carry, jnp.concatenate([zero, future[:, 0]], axis=-1))
        else:
            y = last_output(model.recurrent.cell, carry)
        for step in range(AHEAD):
            forecast = unit[step] * np.asarray(decoder.head(y))
            found[:, step, targets] = base[:, 0] + spread[:, 0] * forecast
            if step == AHEAD - 1:
                break
            if teacher is not None:
                true = (np.asarray(teacher)[:, step, targets] - base[:, 0]) / spread[:, 0]
                forecast = np.where(np.isnan(true), forecast, true)
            if sequence:
                row = [forecast, future[:, step + 1]]
            else:
                shift = base[:, 0] if model.normalize == "change" else 0
                row = [forecast + shift, read[:, -1, len(targets) : -K], future[:, step]]
            carry, y = layers.step(carry, jnp.concatenate([jnp.asarray(part) for part in row], axis=-1))
    return found


class TestOneByOne:
    @pytest.mark.parametrize("decoder", ["recursive", "sequence"])
    @pytest.mark.parametrize("separate", [False, True])
    @pytest.mark.parametrize(
        ("normalize", "cell", "unit"), [("none", "rnn", None), *((n, "lstm", UNIT) for n in NORMALIZATIONS[1:])]
    )
    def test_a_plain_loop(self, decoder, separate, normalize, cell, unit):
        model = make(cell, decoder=decoder, separate=separate, normalize=normalize, unit=unit)
        past, future = windows()
        free = model(past, future)
        np.testing.assert_allclose(free[..., 0], naive(model, past, future), rtol=1e-9, atol=1e-12)
        teacher = jnp.where(draw(B, AHEAD, M, seed=5) > 0.8, jnp.nan, 3 * draw(B, AHEAD, M, seed=6))
        taught = model(past, future, teacher=teacher)
        np.testing.assert_allclose(taught[..., 0], naive(model, past, future, teacher), rtol=1e-9, atol=1e-12)
        np.testing.assert_array_equal(taught[:, 0], free[:, 0])
        assert float(jnp.abs(taught - free).max()) > 1e-3
        again = model(past, future, teacher=free[..., 0])
        np.testing.assert_allclose(again, free, rtol=1e-9, atol=1e-12)
        np.testing.assert_array_equal(model(past, future, teacher=jnp.full((B, AHEAD, M), jnp.nan)), free)

    @pytest.mark.parametrize("output", OUTPUTS[1:])
    def test_what_is_read_is_the_location(self, output):
        model = make(decoder="recursive", output=output, normalize="change", unit=UNIT)
        past, future = windows()
        free = model(past, future)
        np.testing.assert_allclose(model(past, future, teacher=output.location(free)), free, rtol=1e-9)

    def test_residual_layers_begin_as_they_go_on(self):
        """The first row is forecast from what the later ones are: the outputs of the layers, sums included."""
        model = make("gru", decoder="recursive", num_layers=2, residual=True)
        past, future = windows()
        _, ys = model.recurrent(past)
        np.testing.assert_allclose(model(past, future)[:, 0, :, 0], model.decoder.head(ys[:, -1]), rtol=1e-12)


class TestParallel:
    @pytest.mark.parametrize("separate", [False, True])
    def test_one_step_for_each_segment(self, separate):
        model = make("gru", decoder="parallel", segment=2, separate=separate, normalize="last", unit=UNIT)
        past, future = windows()
        found = np.zeros((B, AHEAD, M))
        decoder = model.decoder
        for targets, base, _, read in channels(model, past, future):
            carry, _ = model.recurrent(jnp.asarray(read).reshape(B, LAG // 2, -1))
            for at in range(AHEAD // 2):
                parts = [decoder.positions[...][at]] + ([decoder.channels[...][targets[0]]] if separate else [])
                row = jnp.broadcast_to(jnp.concatenate(parts), (B, H))
                known = future[:, 2 * at : 2 * at + 2].reshape(B, -1)
                _, y = decoder.layers.step(carry, jnp.concatenate([row, known], axis=-1))
                raw = decoder.head(y).reshape(B, 2, len(targets))
                unit = np.asarray(UNIT)[2 * at : 2 * at + 2, targets]
                found[:, 2 * at : 2 * at + 2, targets] = base + unit * raw
        np.testing.assert_allclose(model(past, future)[..., 0], found, rtol=1e-9, atol=1e-12)

    def test_the_number_of_a_segment_matters(self):
        model = make("rnn", known=0, decoder="parallel", segment=2)
        past, future = windows(known=0)
        apart = model(past, future)[..., 0].reshape(B, 2, 2, M)
        assert float(jnp.abs(apart[:, 0] - apart[:, 1]).min()) > 1e-4
        model.decoder.positions[...] = jnp.zeros_like(model.decoder.positions[...])
        same = model(past, future)[..., 0].reshape(B, 2, 2, M)
        np.testing.assert_allclose(same[:, 0], same[:, 1], rtol=1e-12)


class TestFrames:
    @pytest.mark.parametrize("decoder", DECODERS)
    @pytest.mark.parametrize(("normalize", "factor"), [("last", 1.0), ("mean", 7.0)])
    def test_forecasts_move_with_the_window(self, decoder, normalize, factor):
        model = make("gru", decoder=decoder, normalize=normalize, unit=UNIT, output=Quantiles((0.25, 0.5)))
        past, future = windows()
        past = past.at[..., :M].multiply(100.0)
        shift = jnp.array([30.0, -8.0])
        moved = model(past.at[..., :M].set(factor * past[..., :M] + shift), future)
        np.testing.assert_allclose(moved, factor * model(past, future) + shift[:, None], rtol=1e-6)

    def test_a_change_is_added_to_the_last_value(self):
        past, future = windows()
        plain, change = (make(normalize=each, unit=UNIT)(past, future) for each in ("none", "change"))
        np.testing.assert_allclose(change - plain, jnp.broadcast_to(past[:, -1:, :M, None], plain.shape), rtol=1e-9)

    def test_units(self):
        past, future = windows()
        one, other = (make(unit=unit)(past, future)[..., 0] for unit in (None, UNIT))
        np.testing.assert_allclose(other, one * jnp.asarray(UNIT), rtol=1e-12)

    def test_a_constant_window(self):
        past, future = windows()
        model = make(normalize="mean")
        apply, params = pure(model)
        past = past.at[..., :M].set(3.0)
        gradient = jax.grad(lambda p: apply(params, p, future).sum())(past)
        assert np.isfinite(gradient).all()
        np.testing.assert_allclose(apply(params, past, future), 3.0, atol=0.02)


class TestSeparate:
    def test_targets_in_another_order(self):
        past, future = windows(others=0)
        model = make("lstm", others=0, separate=True, normalize="last")
        swapped = model(past[..., jnp.array([1, 0, 2, 3])], future)
        np.testing.assert_allclose(swapped, model(past, future)[:, :, ::-1], rtol=1e-12)
        named = make("lstm", others=0, separate=True, decoder="parallel")
        difference = named(past[..., jnp.array([1, 0, 2, 3])], future) - named(past, future)[:, :, ::-1]
        assert float(jnp.abs(difference).min()) > 1e-8, "the parallel decoder knows which target it forecasts"

    def test_a_target_reads_no_other(self):
        past, future = windows()
        model = make("gru", separate=True, decoder="recursive", normalize="change")
        other = model(past.at[..., 1].add(5.0), future)
        np.testing.assert_array_equal(other[:, :, 0], model(past, future)[:, :, 0])


class TestOrigins:
    @pytest.mark.parametrize(
        "options",
        [
            {},
            {"cell": "gru", "normalize": "change", "unit": UNIT, "separate": True},
            {"cell": "gru", "num_layers": 2, "residual": True, "output": Quantiles((0.1, 0.5, 0.9))},
        ],
        ids=["plain", "separate", "residual"],
    )
    def test_each_is_a_forecast_of_its_own(self, options):
        model = make(**options)
        past, future = windows()
        several = model.from_origins(past, future, 4)
        assert several.shape == (B, 4, AHEAD, M, model.output.size)
        np.testing.assert_allclose(several[:, -1], model(past, future), rtol=1e-12)
        rows = jnp.concatenate([past[..., -K:], future], axis=1)
        for place, end in enumerate(range(LAG - 3, LAG + 1)):
            # A window of fewer rows: the layers begin with the same first row.
            model.lag = end
            expected = model(past[:, :end], rows[:, end : end + AHEAD])
            np.testing.assert_allclose(several[:, place], expected, rtol=1e-9, atol=1e-12)
        model.lag = LAG

    def test_none_knows_later_rows(self):
        model = make("gru", normalize="change")
        past, future = windows()
        later = past.at[:, -2:, :-K].add(10.0)
        one, other = (model.from_origins(each, future, 4) for each in (past, later))
        np.testing.assert_array_equal(one[:, :2], other[:, :2])
        assert float(jnp.abs(one[:, 2:] - other[:, 2:]).min()) > 1e-3

    @pytest.mark.parametrize(
        "options",
        [
            {"decoder": "recursive"},
            {"segment": 2},
            {"normalize": "last"},
            {"normalize": "mean"},
            {"bidirectional": True},
        ],
        ids=str,
    )
    def test_refused(self, options):
        with pytest.raises(ValueError, match="several origins take decoder 'direct'"):
            make(**options).from_origins(*windows(), 2)


class TestLine:
    def build(self, share, form="full", **options):
        model = make(line=form, normalize="change", **options)
        for name, seed in (("past", 1), ("future", 2), ("bias", 3)):
            if name == "future" and form == "shared":
                continue
            param = getattr(model.line, name)
            param[...] = draw(*param[...].shape, seed=seed)
        model.line.share[...] = jnp.full((AHEAD, M), share)
        return model

    @pytest.mark.parametrize("form", ["shared", "full"])
    def test_shares(self, form):
        past, future = windows()
        network = make(normalize="change")(past, future)[..., 0]
        line = self.build(1.0, form).line(past, future)
        for share in (0.0, 1.0, 0.3):
            found = self.build(share, form)(past, future)[..., 0]
            np.testing.assert_allclose(found, (1 - share) * network + share * line, rtol=1e-9, atol=1e-12)

    def test_full_by_hand(self):
        past, future = windows()
        line = self.build(1.0).line
        expected = np.asarray(line.bias[...]) + np.zeros((B, 1, 1))
        for at, row in np.ndindex(LAG, M + OTHERS):
            expected = expected + past[:, at, row, None, None] * line.past[...][at, row]
        for at, row in np.ndindex(AHEAD, K):
            expected = expected + future[:, at, row, None, None] * line.future[...][at, row]
        np.testing.assert_allclose(line(past, future), expected, rtol=1e-9, atol=1e-12)

    def test_quantiles_move_together(self):
        model = self.build(0.4, output=OUTPUTS[2])
        past, future = windows()
        blended = model(past, future)
        plain = make(normalize="change", output=OUTPUTS[2])(past, future)
        np.testing.assert_allclose(jnp.diff(blended), jnp.diff(plain), rtol=1e-9, atol=1e-12)
        middle = 0.6 * plain[..., 1] + 0.4 * model.line(past, future)
        np.testing.assert_allclose(blended[..., 1], middle, rtol=1e-9)

    @pytest.mark.parametrize("form", ["shared", "full"])
    def test_no_gradient(self, form):
        apply, params = pure(self.build(0.5, form))
        past, future = windows()
        gradients = jax.grad(lambda params: jnp.sum(apply(params, past, future) ** 2))(params)
        assert set(gradients["line"]) == {"past", "bias", "share", *(["future"] if form == "full" else [])}
        for name, gradient in gradients["line"].items():
            np.testing.assert_array_equal(gradient, 0, err_msg=name)
        assert float(jnp.abs(gradients["decoder"]["head"]["kernel"]).max()) > 0


class TestGradients:
    @pytest.mark.parametrize("decoder", DECODERS)
    def test_reach_every_parameter_and_no_missing_target(self, decoder):
        model = make("gru", decoder=decoder, separate=decoder == "parallel", output=Gaussian(), normalize="change")
        apply, params = pure(model)
        past, future = windows()
        targets = draw(B, AHEAD, M, seed=4).at[0].set(jnp.nan).at[:, 1, 0].set(jnp.nan)

        @jax.jit
        def loss(params, past):
            outputs = apply(params, past, future, teacher=targets)
            return model.output.loss(outputs, targets, jnp.ones((AHEAD, M)))

        gradients, to_past = jax.grad(loss, argnums=(0, 1))(params, past)
        for path, gradient in jax.tree_util.tree_leaves_with_path(gradients):
            assert np.isfinite(gradient).all(), path
            assert float(jnp.abs(gradient).max()) > 0, path
        np.testing.assert_array_equal(to_past[0], 0)
        assert float(jnp.abs(to_past[1:]).max(axis=(1, 2)).min()) > 0

    def test_dropout_draws_in_training_alone(self):
        model = make(head_dropout=0.5)
        past, future = windows()
        one, two = (model(past, future, rngs=nnx.Rngs(dropout=seed)) for seed in (1, 2))
        assert float(jnp.abs(one - two).max()) > 1e-3
        np.testing.assert_array_equal(model(past, future), make()(past, future))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"decoder": "forward"}, "unknown decoder 'forward': take one of direct, recursive, sequence, parallel"),
        ({"normalize": "first"}, "unknown normalize 'first': take one of none, change, last, mean"),
        ({"line": "half"}, "unknown line 'half': take one of none, shared, full"),
        ({"segment": 4}, "segment 4 does not divide lag 6"),
        (
            {"decoder": "parallel", "segment": 3},
            "decoder 'parallel' forecasts whole segments: segment 3 does not divide 4",
        ),
        (
            {"decoder": "recursive", "segment": 2},
            "decoder 'recursive' reads row after row: take segment 1 and one direction",
        ),
        (
            {"decoder": "recursive", "bidirectional": True},
            "decoder 'recursive' reads row after row: take segment 1 and one direction",
        ),
        *(
            (
                {"decoder": decoder, "bidirectional": True},
                "this decoder goes on from the carry of one direction: take bidirectional=False",
            )
            for decoder in ("sequence", "parallel")
        ),
        ({"dropout": 1.5, "num_layers": 2}, "dropout"),
    ],
)
def test_errors(options, message):
    with pytest.raises(ValueError, match=message):
        make(**options)
