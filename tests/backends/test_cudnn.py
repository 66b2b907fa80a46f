"""What we hand to cuDNN and make of its answer, with JAX's own reference of the same function in its place."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from helpers.unrolls import H, I, assert_trees_close, case, draw_like, problem, quick_jit
from jax import lax
from jax.experimental import rnn

from rnn_jax import cells, unroll
from rnn_jax.backends import cudnn, device

T, B = 7, 4
LENGTHS = [T, 0, 4, 1]


@pytest.fixture
def asked(monkeypatch, traced_anew):
    """Puts the reference in place of the library; what it was called with."""
    calls = []

    def lstm(x, h_0, c_0, weights, seq_lengths, input_size, hidden_size, num_layers, dropout, bidirectional, precision):
        calls.append((input_size, hidden_size, num_layers, dropout, bidirectional, precision))
        parts = rnn.unpack_lstm_weights(weights, input_size, hidden_size, num_layers, bidirectional)
        options = (input_size, hidden_size, num_layers, dropout, bidirectional)
        return rnn.lstm_ref(x, h_0, c_0, *parts, seq_lengths, *options)

    monkeypatch.setattr(rnn, "lstm", lstm)
    monkeypatch.setattr(device, "kind", lambda: "cuda")
    return calls


@pytest.mark.parametrize("reverse", [False, True], ids=["forward", "reverse"])
@pytest.mark.parametrize(
    ("lengths", "carry"),
    [(None, False), (None, True), (LENGTHS, True), ([3, 2, 1, 5], True)],
    ids=["zeros", "full", "lengths", "short"],
)
def test_the_same_as_the_scan(asked, lengths, reverse, carry):
    """Values, final carry, and the gradient in parameters, inputs and the initial carry, with cotangents of all."""
    lengths = {} if lengths is None else {"lengths": lengths}
    arguments, options, cotangents = problem("lstm", case(carry=carry, reverse=reverse, **lengths))
    arguments, cotangents = jax.tree.map(lambda a: a.astype(jnp.float32), (arguments, cotangents))

    def both(backend):
        def outputs(params, xs, carry=None):
            return unroll(cells.get("lstm"), params, xs, carry=carry, backend=backend, **options)

        @quick_jit
        def run(arguments, cotangents):
            values, pullback = jax.vjp(outputs, *arguments)
            return values, pullback(cotangents)

        return run(arguments, cotangents)

    assert_trees_close(both("cudnn"), both("scan"), rtol=2e-5, atol=2e-6)
    assert asked == [(I, H, 1, 0.0, False, lax.Precision.HIGHEST)]


def test_segments_of_recomputation(asked):
    """With and without a remainder; short sequences have segments without a step of theirs."""
    arguments, options, cotangents = problem("lstm", case(carry=True, lengths=LENGTHS))
    arguments, cotangents = jax.tree.map(lambda a: a.astype(jnp.float32), (arguments, cotangents))

    def gradient(backend, every):
        def loss(params, xs, carry):
            outputs = unroll(
                cells.get("lstm"), params, xs, carry=carry, backend=backend, checkpoint_every=every, **options
            )
            return sum(jnp.vdot(o, c) for o, c in zip(*map(jax.tree.leaves, (outputs, cotangents)), strict=True))

        return quick_jit(jax.grad(loss, (0, 1, 2)))(*arguments)

    wanted = gradient("scan", None)
    for every in (1, 3):
        assert_trees_close(gradient("cudnn", every), wanted, rtol=2e-5, atol=2e-6)


def test_what_the_padding_holds_does_not_matter(asked):
    (params, xs), options, _ = problem("lstm", case(lengths=LENGTHS))
    params, xs = jax.tree.map(lambda a: a.astype(jnp.float32), (params, xs))
    padding = np.arange(T)[:, None] >= np.array(LENGTHS)

    def run(contents):
        def loss(params, xs):
            return jnp.sum(unroll(cells.get("lstm"), params, xs, backend="cudnn", **options)[1] ** 2)

        return quick_jit(jax.grad(loss, (0, 1)))(params, jnp.where(padding[..., None], contents, xs))

    wanted = run(0.0)
    assert_trees_close(run(np.nan), wanted, rtol=0)
    np.testing.assert_array_equal(wanted[1][padding], 0)


def test_flat_weights_are_unpacked_as_they_were():
    params = draw_like(cells.get("lstm").init_params(jax.random.key(0), I, H, jnp.float32), seed=0)
    w_ih, w_hh, b_ih, b_hh = rnn.unpack_lstm_weights(cudnn.flat_weights(params), I, H, 1, False)
    np.testing.assert_array_equal(w_ih[0].T, params.w_ih)
    np.testing.assert_array_equal(w_hh[0].T, params.w_hh)
    np.testing.assert_array_equal(b_ih[0], params.b)
    np.testing.assert_array_equal(b_hh[0], 0)


@pytest.mark.parametrize(
    ("setting", "allowed"),
    [
        (None, False),
        ("highest", False),
        ("float32", False),
        ("high", True),
        ("tensorfloat32", True),
        ("default", True),
        ("bfloat16", True),
        ("TF32_TF32_F32", True),
        ("F32_F32_F32", False),
    ],
)
def test_tf32_has_to_be_asked_for(setting, allowed):
    with jax.default_matmul_precision(setting):
        assert rnn._lstm_cudnn_allow_tf32(cudnn.precision()) == allowed
