"""The cells outside the tables of `test_cells`: their contract, their parameters, their number formats.

That values and gradients equal the reference, with all controls at once, is in `test_unroll`.
"""

import chex
import jax
import jax.numpy as jnp
import pytest
from helpers.unrolls import FURTHER, H, I, draw
from numpy.testing import assert_allclose

from rnn_jax import cells, compose
from rnn_jax.cells import lstm_projection
from rnn_jax.cells.cell import Sizes
from rnn_jax.cells.contract import check

P = H // 2
PARAMS = {  # a contract: saved parameters have these names, in this order, and these shapes
    "lstm_projection": {"w_ih": (I, 4 * H), "w_hh": (P, 4 * H), "b": (4 * H,), "w_hr": (H, P)},
    "gru_reset_before": {"w_ih": (I, 3 * H), "w_hh": (H, 3 * H), "b": (3 * H,)},
}
CARRIES = {  # and in bfloat16 the parts that are sums over time are float32
    "lstm_projection": {"h": ((P,), "bfloat16"), "c": ((H,), "float32")},
    "gru_reset_before": {"h": ((H,), "bfloat16")},
}


@pytest.mark.parametrize("name", cells.CELLS)
def test_every_cell_keeps_the_contract(name):
    check(cells.get(name), Sizes(I, H))


@pytest.mark.parametrize("name", FURTHER)
def test_names_shapes_and_dtypes(name):
    """As they are made, and as they come out of a step in bfloat16; y has the type of the parameters."""
    cell = cells.get(name)

    def both():
        params = cell.init_params(jax.random.key(0), I, H, jnp.bfloat16)
        carry = cell.init_carry((4,), H, jnp.bfloat16)
        return params, carry, *cell.step(params, carry, jnp.zeros((4, I), jnp.bfloat16))

    params, carry, after, y = jax.eval_shape(both)
    assert {field: array.shape for field, array in params._asdict().items()} == PARAMS[name]
    assert list(params._fields) == list(PARAMS[name])
    assert {array.dtype for array in params} == {jnp.dtype("bfloat16")}
    assert {field: (part.shape[1:], part.dtype.name) for field, part in carry._asdict().items()} == CARRIES[name]
    chex.assert_trees_all_equal_shapes_and_dtypes(after, carry)
    assert y.dtype == jnp.bfloat16
    assert cell.output is None or cell.output(after).shape == y.shape


def test_a_projection_of_any_size_and_layers_of_it():
    """Layer 1 reads the projections of both directions."""
    cell = lstm_projection.make(proj_size=4)
    layers = jax.eval_shape(lambda: compose.init_stack(jax.random.key(0), cell, I, H, 2, bidirectional=True))
    assert layers[1].backward.w_ih.shape == (8, 4 * H)
    finals, ys = jax.eval_shape(lambda p: compose.unroll_stack(cell, p, jnp.ones((7, 2, I)), zoneout_rate=0.1), layers)
    assert ys.shape == (7, 2, 8)
    assert finals[1].forward.h.shape == (2, 4)
    with pytest.raises(ValueError, match="proj_size must be at least 1, got 0"):
        lstm_projection.make(0)


def test_an_open_reset_gate_makes_no_difference():
    """Before or after the product is one and the same where the reset gate is 1."""
    params, xs, carry = draw(cells.get("gru_reset_before"), 1, (4,))
    params = params._replace(b=params.b.at[:H].set(100.0))
    after = cells.GRUParams(*params, jnp.zeros(H))
    want = cells.get("gru").step(after, carry, xs[0])[1]
    assert_allclose(cells.get("gru_reset_before").step(params, carry, xs[0])[1], want, rtol=1e-12)
