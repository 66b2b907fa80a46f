"""The cells outside the tables of `test_cells`: their contract, their parameters, their number formats.

That values and gradients equal the reference, with all controls at once, is in `test_unroll`.
"""

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from helpers.unrolls import FURTHER, H, I, assert_trees_close, draw, quick_jit
from numpy.testing import assert_allclose

from rnn_jax import cells, compose, models, unroll
from rnn_jax.cells import lru, lstm_projection, mingru, minlstm
from rnn_jax.cells.cell import Sizes
from rnn_jax.cells.contract import check

P = H // 2
PARAMS = {  # a contract: saved parameters have these names, in this order, and these shapes
    "lstm_projection": {"w_ih": (I, 4 * H), "w_hh": (P, 4 * H), "b": (4 * H,), "w_hr": (H, P)},
    "gru_reset_before": {"w_ih": (I, 3 * H), "w_hh": (H, 3 * H), "b": (3 * H,)},
    "mingru": {"w_ih": (I, 2 * H), "b": (2 * H,)},
    "minlstm": {"w_ih": (I, 3 * H), "b": (3 * H,)},
    "indrnn": {"w_ih": (I, H), "w_hh": (H,), "b": (H,)},
    "mgu": {"w_ih": (I, 2 * H), "w_hh": (H, 2 * H), "b": (2 * H,)},
    "slstm": {"w_ih": (I, 4 * H), "w_hh": (H, 4 * H), "b": (4 * H,)},
    "cornn": {"w_ih": (I, H), "w_hh": (H, H), "w_zh": (H, H), "b": (H,)},
    "lem": {"w_ih": (I, 4 * H), "w_hh": (H, 3 * H), "w_zh": (H, H), "b": (4 * H,)},
    "lru": dict.fromkeys(("nu_log", "theta_log", "gamma_log"), (H,))
    | dict.fromkeys(("b_re", "b_im"), (I, H))
    | dict.fromkeys(("c_re", "c_im"), (H, H))
    | {"d": (I, H)},
}
CARRIES = {  # and in bfloat16 the parts that are sums over time are float32
    "lstm_projection": {"h": ((P,), "bfloat16"), "c": ((H,), "float32")},
    **{name: {"h": ((H,), "bfloat16")} for name in ("gru_reset_before", "mingru", "minlstm", "indrnn", "mgu")},
    "slstm": {"h": ((H,), "bfloat16")} | dict.fromkeys("cnm", ((H,), "float32")),
    "cornn": dict.fromkeys("hz", ((H,), "float32")),
    "lem": {"h": ((H,), "bfloat16"), "z": ((H,), "float32")},
    "lru": dict.fromkeys(("re", "im"), ((H,), "float32")),
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


@pytest.mark.parametrize("module", [mingru, minlstm, lru], ids=["mingru", "minlstm", "lru"])
def test_all_steps_at_once(module):
    """300 steps, where products of decays are as small as they come: values and gradients of the steps one by one."""
    cell = module.make()
    arguments = draw(cell, 300, (2,))

    def loss(run, params, xs, carry):
        final, ys = run(params, xs, carry)
        return jnp.sum(jnp.sin(ys)) + sum(jnp.sum(jnp.cos(part)) for part in final), (final, ys)

    def one_by_one(params, xs, carry):
        return unroll(cell, params, xs, carry=carry, backend="scan")

    def at_once(params, xs, carry):
        return module.parallel(params, carry, xs)

    def both(run):
        return quick_jit(jax.grad(lambda *arguments: loss(run, *arguments), (0, 1, 2), has_aux=True))(*arguments)

    assert_trees_close(both(at_once), both(one_by_one), rtol=1e-10, atol=1e-11)


def test_gates_that_are_both_shut_still_share():
    """In float32 sigmoid(-200) is 0, and 0 / 0 is no share of anything."""
    params = cells.MinLSTMParams(jnp.zeros((1, 3), jnp.float32), jnp.array([-200.0, -200.0, 3.0], jnp.float32))
    carry = cells.MinLSTMCarry(jnp.ones(1, jnp.float32))
    step = cells.get("minlstm").step
    assert step(params, carry, jnp.zeros(1, jnp.float32))[1] == 2
    gradient = jax.grad(lambda p: step(p, carry, jnp.zeros(1, jnp.float32))[1].sum())(params)
    assert_allclose(gradient.b, [0.5, -0.5, 0.5])


@pytest.mark.parametrize("preference", [-300.0, 300.0])
def test_exponential_gates_neither_over_nor_underflow(preference):
    """exp(300) is no float32 and exp(-300) is 0: h is still the weighted mean of the candidates, and learns."""
    cell = cells.get("slstm")
    b = jnp.array([preference, 400.0, 0.0, 0.0], jnp.float32)  # i, f (nothing is forgotten), g, o
    params = cells.SLSTMParams(jnp.zeros((1, 4), jnp.float32).at[0, 2].set(1.0), jnp.zeros((1, 4), jnp.float32), b)
    xs = jnp.array([[1.0], [2.0], [-0.5]], jnp.float32)

    def last(params, xs):
        return unroll(cell, params, xs)[1][-1].sum()

    assert_allclose(last(params, xs), 0.5 * np.tanh(xs).mean(), rtol=1e-5)
    gradients = jax.grad(last, (0, 1))(params, xs)
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(gradients))
    assert np.abs(gradients[1]).min() > 0.01


def test_eigenvalues_lie_in_the_ring():
    cell = cells.get("lru")
    params = cell.init_params(jax.random.key(0), I, 1000, r_min=0.4, r_max=0.9, max_phase=0.5)
    real, imaginary = lru.eigenvalues(params)
    modulus = np.hypot(real, imaginary)
    assert 0.4 <= modulus.min() < 0.45
    assert 0.85 < modulus.max() <= 0.9
    assert 0 < np.arctan2(imaginary, real).max() <= 0.5
    assert_allclose(np.exp(params.gamma_log), np.sqrt(1 - modulus**2), rtol=1e-4)
    with pytest.raises(ValueError, match=r"r_min and r_max must rise within 0..1, got 0.9 and 0.5"):
        cell.init_params(jax.random.key(0), I, H, r_min=0.9, r_max=0.5)


def test_the_last_output_of_a_cell_whose_outputs_do_not_follow_from_its_carry():
    """From the outputs, at the last valid step of each sequence; of a backward pass at the first."""
    ys = jnp.arange(24.0).reshape(3, 2, 4)
    carry = (compose.Directions((), ()),)
    cell = cells.get("lru")
    assert models.last_output(cell, carry, ys=ys, lengths=jnp.array([3, 1])).tolist() == [[16, 17, 2, 3], [4, 5, 6, 7]]
    assert models.last_output(cell, carry, True, ys).tolist() == [[2, 3], [6, 7]]
    assert models.last_output(cell, ((),), ys=ys).tolist() == ys[-1].tolist()
    with pytest.raises(ValueError, match="cell 'lru' has no output, the function from its carry to y: give ys"):
        models.last_output(cell, carry)
