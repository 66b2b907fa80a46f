"""Gradient flow, Jacobian products and terms of the gradient, where theory or brute force gives the number."""

import dataclasses
import itertools
import math
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from helpers.unrolls import THOROUGH
from jax.flatten_util import ravel_pytree
from numpy.testing import assert_allclose

from rnn_jax import cells
from rnn_jax.diagnostics.gates import gate_activations, gate_statistics
from rnn_jax.diagnostics.gradients import gradient_flow, gradient_terms
from rnn_jax.diagnostics.horizon import memory_horizon
from rnn_jax.diagnostics.jacobians import jacobian_norms, jacobian_singular_values
from rnn_jax.diagnostics.singular_values import _next_round, effective_rank, log_singular_values
from rnn_jax.diagnostics.steps import cell_step

T, B, I, H = 9, 4, 3, 5  # noqa: E741  # the axes' letters


def draw(name, dtype=jnp.float64, batch=()):
    cell = cells.get(name)
    params = cell.init_params(jax.random.key(0), I, H, dtype)
    carry = jax.tree.map(lambda c: 0.1 + c, cell.init_carry(batch, H, dtype))
    return cell, params, carry, jax.random.normal(jax.random.key(1), (T, *batch, I), dtype)


def step_jacobians(step, carry, xs):
    """dh_t/dh_{t-1} for t = 1..T, `[T, N, N]`."""
    vector, unravel = ravel_pytree(carry)
    flat = jax.jit(lambda v, x: ravel_pytree(step(unravel(v), x))[0])
    jacobian = jax.jit(jax.jacobian(flat))
    factors = []
    for x in xs:
        factors.append(np.asarray(jacobian(vector, x)))
        vector = flat(vector, x)
    return np.stack(factors)


def products_to_the_end(factors):
    """dh_T/dh_k for k = 0..T by brute force, `[T + 1, N, N]`."""
    products = [np.eye(factors.shape[-1])]
    for factor in factors[::-1]:
        products.append(products[-1] @ factor)
    return np.stack(products[::-1])


@pytest.mark.parametrize("name", THOROUGH)
def test_gradient_flow_equals_jacobians_by_brute_force(name):
    """A loss that reads the last state and, a little, every state before."""
    cell, params, carry, xs = draw(name)
    weights = jax.random.normal(jax.random.key(2), (T, H))
    step = cell_step(cell, params)
    flow = jax.jit(lambda: gradient_flow(step, carry, xs, lambda carries: jnp.vdot(weights, carries.h)))()
    size = len(carry) * H
    direct = np.zeros((T + 1, size))
    direct[1:, :H] = weights
    factors = step_jacobians(step, carry, xs)
    back_from = [products_to_the_end(factors[:t]) for t in range(T + 1)]
    for k in range(T + 1):
        total = direct[k].copy()
        for t in range(k + 1, T + 1):
            total += direct[t] @ back_from[t][k]
        for part, norms in enumerate(flow):
            wanted = np.linalg.norm(total[part * H : (part + 1) * H])
            assert_allclose(np.exp(norms[k]), wanted, rtol=1e-9, atol=1e-300)  # zero for c_T, which nothing reads


def test_gradient_flow_of_a_batch_is_that_of_its_entries():
    cell, params, carry, xs = draw("lstm", batch=(B,))
    step = cell_step(cell, params)
    flow = jax.jit(lambda carry, xs: gradient_flow(step, carry, xs, lambda carries: jnp.sum(carries.h[-1] ** 2)))
    together = flow(carry, xs)
    for row in range(B):
        alone = flow(type(carry)(*(c[row] for c in carry)), xs[:, row])
        for got, want in zip(together, alone, strict=True):
            assert_allclose(got[:, row], want, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("factor", [0.3, 1.0, 3.0])
def test_float32_logarithms_are_exact_where_float32_is_not(factor):
    """An orthogonal recurrence times a factor: log ||dL/dh_k|| = (T - k) log(factor), over 100,000 steps.

    Rounding: each step is off by about eps, which adds up to 100,000 eps = 0.012 at worst, and the logarithm itself,
    some 1e5, is known to eps relatively, 0.014. In plain float32 the gradient is 0 or inf after 100 steps.
    """
    num_steps = 100_000
    q = jnp.linalg.qr(jax.random.normal(jax.random.key(0), (H, H)))[0].astype(jnp.float32)
    start = jnp.zeros(H, jnp.float32)
    xs = jnp.zeros((num_steps, 0), jnp.float32)
    direction = jnp.zeros(H, jnp.float32).at[0].set(1.0)
    step = lambda h, x: factor * (q @ h)  # noqa: E731
    flow = jax.jit(lambda: gradient_flow(step, start, xs, lambda hs: jnp.vdot(direction, hs[-1])))()
    norms = jax.jit(lambda: jacobian_norms(step, start, xs).whole)()
    lags = np.arange(num_steps + 1)
    assert flow.dtype == norms.dtype == jnp.float32
    assert_allclose(flow[::-1], lags * math.log(factor), atol=0.03)
    assert_allclose(norms, lags * math.log(factor) + 0.5 * math.log(H), atol=0.03)


def test_no_gradient_is_minus_infinity():
    flow = gradient_flow(lambda h, x: 0.0 * h, jnp.ones(3), jnp.zeros((4, 0)), lambda hs: hs[-1].sum())
    assert_allclose(flow, [-np.inf] * 4 + [0.5 * math.log(3)])
    norms = jacobian_norms(lambda h, x: 0.0 * h, jnp.ones(3), jnp.zeros((4, 0)))
    assert_allclose(norms.whole, [0.5 * math.log(3)] + [-np.inf] * 4)


@pytest.mark.parametrize("name", ["rnn", "lstm", "gru", "lstm_peephole"])
def test_jacobian_norms_and_singular_values_equal_brute_force(name):
    cell, params, carry, xs = draw(name)
    step = cell_step(cell, params)
    products = products_to_the_end(step_jacobians(step, carry, xs))[::-1]  # by lag
    norms = jax.jit(partial(jacobian_norms, step))(carry, xs)
    assert_allclose(norms.whole, np.log(np.linalg.norm(products, axis=(1, 2))), rtol=1e-10, atol=1e-10)
    for part, got in enumerate(norms.parts):
        columns = products[:, :, part * H : (part + 1) * H]
        assert_allclose(got, np.log(np.linalg.norm(columns, axis=(1, 2))), rtol=1e-10, atol=1e-10)
    lags = [0, 1, 4, T]
    found = np.exp(jacobian_singular_values(step, carry, xs, lags))
    wanted = np.linalg.svd(products[lags], compute_uv=False)
    # NumPy's small singular values are off by eps times the largest.
    assert_allclose(found, wanted, rtol=1e-9, atol=1e-14)


def test_small_singular_values_are_as_exact_as_large_ones():
    """Of (a b^T + diag) to the 200th power, against 400 digits of exact rational arithmetic.

    [[2, 1], [1, 1]] has determinant 1 and singular values phi^2 and phi^-2, being symmetric: the product of 1,000 of
    them has phi^2000 and phi^-2000, 10^418 apart on either side.
    """
    matrix = jnp.array([[2.0, 1.0], [1.0, 1.0]])
    values = jacobian_singular_values(lambda h, x: matrix @ h, jnp.zeros(2), jnp.zeros((1000, 0)), [1, 10, 1000])
    phi = (1 + math.sqrt(5)) / 2
    for lag, found in zip((1, 10, 1000), values, strict=True):
        assert_allclose(found, [2 * lag * math.log(phi), -2 * lag * math.log(phi)], rtol=1e-12)


def test_singular_values_of_a_product_without_commuting_factors():
    """Random matrices, 60 of them: NumPy with 60 bits is lost, integers are not: the product of the singular values is
    the determinant's modulus, and the largest is the norm."""
    rng = np.random.default_rng(0)
    factors = rng.normal(size=(60, 6, 6))
    found = np.asarray(jacobian_singular_values(lambda h, m: m @ h, jnp.zeros(6), jnp.asarray(factors), [60]))[0]
    assert_allclose(found.sum(), np.linalg.slogdet(factors)[1].sum(), rtol=1e-12)
    product, scale = np.eye(6), 0.0
    for factor in factors:
        product = factor @ product
        scale += math.log(np.linalg.norm(product))
        product /= np.linalg.norm(product)
    assert_allclose(found[0], scale + math.log(np.linalg.svd(product)[1][0]), rtol=1e-12)
    # The two largest together: the norm of the second exterior power, which float64 gets right by itself.
    pairs = list(itertools.combinations(range(6), 2))
    power, scale = np.eye(15), 0.0
    for factor in factors:
        minors = np.array([[np.linalg.det(factor[np.ix_(rows, columns)]) for columns in pairs] for rows in pairs])
        power = minors @ power
        scale += math.log(np.linalg.norm(power))
        power /= np.linalg.norm(power)
    assert_allclose(found[:2].sum(), scale + math.log(np.linalg.svd(power)[1][0]), rtol=1e-10)


@pytest.mark.parametrize("size", [1, 2, 3, 8, 13])
def test_jacobi_equals_numpy_on_matrices_that_numpy_can_do(size):
    matrix = np.random.default_rng(size).normal(size=(size, size))
    scales = np.random.default_rng(1).normal(size=size)
    found = np.exp(log_singular_values(jnp.asarray(scales), jnp.asarray(matrix)))
    assert_allclose(found, np.linalg.svd(np.exp(scales)[:, None] * matrix, compute_uv=False), rtol=1e-11)


def test_jacobi_with_equal_and_missing_rows():
    found = log_singular_values(jnp.array([0.0, -jnp.inf, 0.0]), jnp.eye(3))
    assert_allclose(found, [0, 0, -np.inf])
    ones = log_singular_values(jnp.zeros(4), jnp.ones((4, 4)))
    assert_allclose(ones[0], math.log(4), rtol=1e-12)
    assert np.all(ones[1:] < math.log(4) - 30)


@pytest.mark.parametrize("size", [2, 4, 8, 14])
def test_rows_meet_once(size):
    order, standing, met = _next_round(size), np.arange(size), []
    for _ in range(size - 1):
        met += [frozenset(pair) for pair in zip(standing[: size // 2], standing[size // 2 :], strict=True)]
        standing = standing[order]
    assert len(set(met)) == len(met) == size * (size - 1) // 2


def test_lags_are_checked():
    for lags in ([2, 1], [0, 5], [-1]):
        with pytest.raises(ValueError, match=r"lags must be ascending in 0\.\.4"):
            jacobian_singular_values(lambda h, x: h, jnp.zeros(2), jnp.zeros((4, 0)), lags)
    with pytest.raises(ValueError, match="the carry must be floating-point"):
        jacobian_norms(lambda h, x: h, jnp.zeros(2, int), jnp.zeros((4, 0)))
    with pytest.raises(ValueError, match=r"xs must be arrays \[T, ...\] of one T"):
        jacobian_singular_values(lambda h, x: h, jnp.zeros(2), (jnp.zeros(3), jnp.zeros(4)), [0])


def test_effective_rank():
    assert_allclose(effective_rank(jnp.zeros((2, 7))), [7, 7], rtol=1e-12)
    assert_allclose(effective_rank(jnp.array([1000.0, -1000.0, -jnp.inf])), 1)
    shares = np.array([0.5, 0.3, 0.2])
    assert_allclose(effective_rank(jnp.log(7 * shares)), math.exp(-(shares * np.log(shares)).sum()))


@pytest.mark.parametrize("name", THOROUGH)
def test_terms_add_up_to_the_gradient_and_each_is_what_its_step_alone_does(name):
    cell, params, carry, xs = draw(name)
    weights = jax.random.normal(jax.random.key(2), (T, H))

    def step(params, carry, x):
        return cell.step(params, carry, x)[0]

    def loss_of(all_params):
        """With parameters of its own for every step."""

        def add(state, inputs):
            params, x, weight = inputs
            state = step(params, state, x)
            return state, jnp.vdot(weight, state.h)

        return jnp.sum(jax.lax.scan(add, carry, (all_params, xs, weights))[1])

    def terms_of(params, **options):
        return gradient_terms(step, params, carry, xs, lambda carries: jnp.vdot(weights, carries.h), **options)

    terms = jax.jit(terms_of)(params)
    wanted = jax.jit(jax.grad(loss_of))(jax.tree.map(lambda p: jnp.broadcast_to(p, (T, *p.shape)), params))
    for got, want in zip(terms, wanted, strict=True):
        assert_allclose(got, want, rtol=1e-10, atol=1e-13)
    norms = jax.jit(partial(terms_of, reduce=lambda term: jnp.sum(term.b**2)))(params)
    assert_allclose(norms, (np.asarray(terms.b) ** 2).reshape(T, -1).sum(1), rtol=1e-12)


def test_memory_horizon_of_jacobian_norms_in_a_jitted_function():
    cell, params, carry, xs = draw("rnn")
    norms = jacobian_norms(cell_step(cell, params), carry, xs)
    assert jax.jit(memory_horizon)(norms) == memory_horizon(np.asarray(norms.whole))


def test_memory_horizon():
    decay = np.arange(101) * math.log(0.9)
    assert memory_horizon(decay) == math.floor(1 / -math.log(0.9)) + 1
    assert memory_horizon(decay, 1000) == math.ceil(math.log(1000) / -math.log(0.9))
    assert memory_horizon(np.zeros(5)) == math.inf
    assert memory_horizon([0.0, -5.0, 0.0, -5.0]) == 3  # it comes back: the last time counts
    assert memory_horizon([0.0, -np.inf]) == 1
    for bad in (np.zeros((2, 2)), np.zeros(0)):
        with pytest.raises(ValueError, match=r"log_norms must be \[T \+ 1\]"):
            memory_horizon(bad)
    with pytest.raises(ValueError, match="factor must be above 1"):
        memory_horizon(decay, 1.0)


def test_gate_statistics():
    cell, params, carry, xs = draw("lstm", batch=(B,))
    params = params._replace(b=params.b.at[:H].set(-20.0).at[H : 2 * H].set(20.0))
    found = gate_statistics(gate_activations(cell, params, carry, xs))
    assert found["i"]["shut"] == found["f"]["open"] == 1
    assert found["i"]["open"] == found["f"]["shut"] == 0
    assert 0 < found["o"]["mean"] < 1
    assert set(found["g"]) == {"mean", "std", "saturated"}
    shown = gate_activations(cell, params, carry, xs)
    assert shown.f.shape == (T, B, H)
    with pytest.raises(ValueError, match="cell 'mute' shows no activations"):
        gate_activations(dataclasses.replace(cell, activations=None, name="mute"), (), (), xs)
