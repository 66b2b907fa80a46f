"""Every derivative that JAX can take, through the back ends whose backward pass is by hand: the same as the scan's."""

from dataclasses import replace
from functools import cache

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from helpers.unrolls import draw_like

from rnn_jax import cells, unroll
from rnn_jax.backends import derivatives, manual, native, scan
from rnn_jax.controls import StepMasks

NATIVE = pytest.param("native", marks=pytest.mark.skipif(not native.vector_width(), reason="no compiler"))
BACKENDS = ["manual", "newton", NATIVE]
LENGTHS = jnp.array([7, 3])


def point(name, dtype):
    cell = cells.get(name)
    params = cell.init_params(jax.random.key(0), 3, 5, dtype)
    return cell, params, draw_like(jnp.zeros((7, 2, 3), dtype), 1)


def loss(cell, backend, **options):
    def of(params, xs):
        final, ys = unroll(cell, params, xs, backend=backend, **options)
        return (ys**2).sum() + sum(jnp.sin(part).sum() for part in jax.tree.leaves(final))

    return of


def squares(tree):
    return sum((leaf**2).sum() for leaf in jax.tree.leaves(tree))


DERIVATIVES = {
    "jvp": lambda f, at, to: jax.jvp(f, at, to),
    "linearize": lambda f, at, to: jax.linearize(f, *at)[1](*to),
    "jvp_of_grad": lambda f, at, to: jax.jvp(jax.grad(f, (0, 1)), at, to),
    "grad_of_jvp": lambda f, at, to: jax.grad(lambda *at: jax.jvp(f, at, to)[1], (0, 1))(*at),
    "grad_of_grad": lambda f, at, to: jax.grad(lambda *at: squares(jax.grad(f, (0, 1))(*at)), (0, 1))(*at),
    "jvp_of_jvp": lambda f, at, to: jax.jvp(lambda *at: jax.jvp(f, at, to)[1], at, to),
    "hessian": lambda f, at, to: jax.hessian(lambda b: f(at[0]._replace(b=b), at[1]))(at[0].b),
    "vmapped_jvp": lambda f, at, to: jax.vmap(lambda xs, dxs: jax.jvp(lambda x: f(at[0], x), (xs,), (dxs,)))(
        jnp.stack((at[1], 2 * at[1])), jnp.stack((to[1], -to[1]))
    ),
    "vmapped_grad": lambda f, at, to: jax.vmap(jax.grad(f, (0, 1)), (0, None))(
        jax.tree.map(lambda a: jnp.stack((a, 2 * a)), at[0]), at[1]
    ),
    "rematerialized": lambda f, at, to: jax.grad(jax.checkpoint(f), (0, 1))(*at),
}


@cache
def found_by(backend, name, derivative, dtype):
    """The derivative by one back end, computed in `dtype` at a point that float32 holds."""
    cell, params, xs = point(name, jnp.float32)
    at, to = jax.tree.map(lambda a: a.astype(dtype), ((params, xs), draw_like((params, xs), 2)))
    options = {"lengths": LENGTHS, "checkpoint_every": 3 if derivative == "grad_of_jvp" else None}
    return jax.jit(lambda *args: DERIVATIVES[derivative](loss(cell, backend, **options), *args))(at, to)


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize(("name", "derivative"), [("lstm", each) for each in DERIVATIVES] + [("gru", "jvp_of_grad")])
def test_the_same_as_the_scan(name, derivative, backend):
    expected = found_by("scan", name, derivative, "float64")
    found = found_by(backend, name, derivative, "float32" if backend == "native" else "float64")
    tolerance = 1e-4 if backend == "native" else 1e-10
    for a, b in zip(jax.tree.leaves(expected), jax.tree.leaves(found), strict=True):
        np.testing.assert_allclose(b, a, rtol=tolerance, atol=tolerance * float(jnp.abs(a).max() + 1))


@pytest.mark.parametrize("derivative", ["jvp", "grad_of_grad"])
def test_the_kernel_too(derivative):
    cell, params, xs = point("gru", jnp.float64)
    at, to = (params, xs), draw_like((params, xs), 2)
    expected, found = (
        jax.jit(lambda *args, b=b: DERIVATIVES[derivative](loss(cell, b), *args))(at, to) for b in ("scan", "pallas")
    )
    for a, b in zip(jax.tree.leaves(expected), jax.tree.leaves(found), strict=True):
        np.testing.assert_allclose(b, a, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("backend", BACKENDS)
def test_jacobians_both_ways(backend):
    cell, params, xs = point("gru", jnp.float32)

    def ys(xs):
        return unroll(cell, params, xs, backend=backend)[1]

    np.testing.assert_allclose(jax.jit(jax.jacfwd(ys))(xs), jax.jit(jax.jacrev(ys))(xs), atol=1e-5)


def test_reverse_mode_does_not_compute_the_tangent():
    """The definition's derivative is traced where forward mode asks for it, and there alone."""
    cell, params, xs = point("lstm", jnp.float64)
    calls = []
    counted = replace(cell, recur=lambda *args: calls.append(1) or cell.recur(*args))
    passes = derivatives.Passes(
        lambda args, masks: scan.run(counted, False, *args, masks),
        lambda args, masks, save: manual.saving(cell, False, args, masks, save),
        lambda *args: manual.back(cell, False, *args),
    )
    carry = cell.init_carry((2,), 5, jnp.float64)

    def f(params, xs):
        return derivatives.by_hand(passes, (params, carry, xs), StepMasks())[1].sum()

    jax.jit(jax.grad(f)).lower(params, xs)
    assert not calls
    jax.jit(lambda *at: jax.jvp(f, at, at)).lower(params, xs)
    assert calls
