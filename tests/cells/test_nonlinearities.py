"""Other nonlinearities, and limits to sums and states: against Keras's and ONNX's words, in NumPy."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from numpy.testing import assert_allclose

from rnn_jax import cells, unroll
from rnn_jax.cells import Nonlinearities, gru, lstm

T, B, I, H = 7, 4, 3, 5  # noqa: E741
BY = Nonlinearities(jax.nn.hard_sigmoid, jax.nn.soft_sign, jax.nn.relu, clip=1.5, clip_state=0.4)


def hard_sigmoid(z):
    return np.clip(z / 6 + 0.5, 0, 1)


def softsign(z):
    return z / (1 + abs(z))


def clipped(z):
    return np.clip(z, -1.5, 1.5)


def lstm_loop(params, xs):
    h = c = np.zeros((B, H))
    for x in xs:
        i, f, g, o = np.split(clipped(x @ params.w_ih + h @ params.w_hh + params.b), 4, axis=-1)
        c = np.clip(hard_sigmoid(f) * c + hard_sigmoid(i) * softsign(g), -0.4, 0.4)
        h = hard_sigmoid(o) * np.maximum(c, 0)
    return h


def gru_loop(params, xs):
    h = np.zeros((B, H))
    for x in xs:
        (x_r, x_z, x_n), (h_r, h_z, h_n) = (np.split(a, 3, -1) for a in (x @ params.w_ih + params.b, h @ params.w_hh))
        r, z = hard_sigmoid(clipped(x_r + h_r)), hard_sigmoid(clipped(x_z + h_z))
        n = softsign(clipped(x_n + r * (h_n + params.b_hn)))
        h = np.clip((1 - z) * n + z * h, -0.4, 0.4)
    return h


@pytest.mark.parametrize(("make", "loop"), [(lstm.make, lstm_loop), (gru.make, gru_loop)])
def test_against_a_loop(make, loop):
    cell = make(BY)
    params = jax.tree.map(lambda a: 2 * a, cell.init_params(jax.random.key(0), I, H, jnp.float64))
    xs = np.random.default_rng(0).normal(size=(T, B, I))
    final, ys = unroll(cell, params, jnp.asarray(xs))
    assert_allclose(ys[-1], loop(jax.tree.map(np.asarray, params), xs), rtol=1e-12, atol=1e-14)
    assert abs(jax.tree.leaves(final)[-1]).max() == 0.4, "nothing was cut: the test shows nothing"


def test_the_standard_ones_are_the_cell_itself():
    assert lstm.make(Nonlinearities()) == cells.get("lstm")
    with pytest.raises(ValueError, match="clip_state must be above 0, got 0"):
        gru.make(Nonlinearities(clip_state=0))
