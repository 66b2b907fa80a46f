"""The cell that is wrong on purpose: right values, and the gradient of a lecture that forgets dc."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from helpers.unrolls import B, H, T, draw
from numpy.testing import assert_allclose

from rnn_jax import bptt, cells, unroll
from rnn_jax.backends import manual
from rnn_jax.controls import StepMasks


@pytest.mark.parametrize("reverse", [False, True], ids=["forward", "reverse"])
def test_without_dc_values_are_right_and_the_gradient_is_the_lectures(reverse):
    """The lecture's backward pass, written out: the hand-derived step with a dc of zero put in and thrown away."""
    cell = cells.get("lstm")
    params, xs, _ = draw(cell, T, (B,))
    rule = bptt.RULES["lstm"]
    weights = jnp.asarray(np.random.default_rng(4).normal(size=(T, B, H)))

    def gradient(cell, backend):
        def loss(params, xs):
            return jnp.vdot(weights, unroll(cell, params, xs, backend=backend, reverse=reverse)[1])

        return jax.value_and_grad(loss, (0, 1))(params, xs)

    def step_of_the_lecture(params, local, dcarry):
        dbefore, dz = rule.step(params, local, dcarry._replace(c=jnp.zeros_like(dcarry.c)))
        return dbefore._replace(c=jnp.zeros_like(dbefore.c)), dz

    start = cell.init_carry((B,), H, jnp.float64)
    _, _, carries = manual.forward(cell, reverse, params, start, xs, StepMasks())
    lecture = rule._replace(step=step_of_the_lecture)
    printed = bptt.backward(lecture, params, xs, start, carries, weights, start, StepMasks(), reverse)

    value, wrong = gradient(cells.get("lstm_without_dc"), "auto")
    right_value, right = gradient(cell, "manual")
    assert_allclose(value, right_value, rtol=1e-13)
    for got, want, true in zip(*map(jax.tree.leaves, (wrong, (printed.params, printed.xs), right)), strict=True):
        assert_allclose(got, want, rtol=1e-10, atol=1e-13)
        assert np.abs(got - true).max() > 0.05 * np.abs(true).max()


def test_without_dc_has_no_hand_derived_rule():
    cell = cells.get("lstm_without_dc")
    params, xs, _ = draw(cell, T, (B,))
    with pytest.raises(ValueError, match="no hand-derived rule for this cell, 'lstm_without_dc'"):
        unroll(cell, params, xs, backend="manual")
