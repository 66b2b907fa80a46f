"""Covariant Lyapunov vectors: what they are by definition, and where one knows them otherwise."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from helpers.maps import LORENZ_STEP, henon, lorenz, velocity
from jax.flatten_util import ravel_pytree
from numpy.testing import assert_allclose

from rnn_jax import cells
from rnn_jax.diagnostics.covariant import covariant_vectors
from rnn_jax.diagnostics.lyapunov import lyapunov_spectrum
from rnn_jax.diagnostics.steps import cell_step


def cosines(a, b):
    """|cos| of the angles between rows of a and b, `[..., N]`."""
    return jnp.abs(jnp.sum(a * b, axis=-1)) / (jnp.linalg.norm(a, axis=-1) * jnp.linalg.norm(b, axis=-1))


def test_of_a_linear_map_they_are_its_eigenvectors():
    """Far from orthogonal, as this matrix is far from normal."""
    basis = np.random.default_rng(0).normal(size=(4, 4))
    basis /= np.linalg.norm(basis, axis=0)
    moduli = np.array([1.5, -0.9, 0.5, 0.01])
    matrix = jnp.asarray(basis @ np.diag(moduli) @ np.linalg.inv(basis))
    xs = jnp.zeros((200, 0))
    found = jax.jit(lambda: covariant_vectors(lambda h, x: matrix @ h, jnp.zeros(4), xs, warmup=90, cooldown=90))()
    assert_allclose(cosines(found.vectors, jnp.asarray(basis.T)), 1, atol=1e-12)
    assert_allclose(found.growth, jnp.broadcast_to(jnp.log(jnp.abs(moduli)), (20, 4)), atol=1e-9)


@pytest.mark.parametrize(("name", "num_vectors"), [("rnn", None), ("lstm", None), ("gru", 3), ("lru", 4)])
def test_a_step_takes_each_to_its_successor_and_lengthens_it_by_its_exponent(name, num_vectors):
    cell = cells.get(name)
    params = cell.init_params(jax.random.key(0), 3, 4, jnp.float64)
    step = cell_step(cell, params)
    xs = jax.random.normal(jax.random.key(1), (500, 3), jnp.float64)
    start = cell.init_carry((), 4, jnp.float64)
    found = jax.jit(lambda: covariant_vectors(step, start, xs, num_vectors=num_vectors, warmup=150, cooldown=150))()
    unravel = ravel_pytree(start)[1]
    before = jax.vmap(lambda carry: ravel_pytree(carry)[0])(found.carries)
    jacobians = jax.jit(jax.vmap(jax.jacfwd(lambda v, x: ravel_pytree(step(unravel(v), x))[0])))(before, xs[150:350])
    after = jnp.einsum("tmn,tin->tim", jacobians, found.vectors)
    assert_allclose(after[:-1], jnp.exp(found.growth[:-1])[..., None] * found.vectors[1:], atol=1e-10)
    assert_allclose(jnp.linalg.norm(found.vectors, axis=-1), 1, rtol=1e-12)
    spectrum = jax.jit(lambda: lyapunov_spectrum(step, start, xs[:350], num_exponents=num_vectors, warmup=150))()
    assert_allclose(found.exponents, spectrum.exponents, atol=0.02)
    assert (cosines(found.vectors[:, 0], found.vectors[:, 1]) > 1e-3).mean() > 0.9, "not those of a QR decomposition"


def test_they_do_not_depend_on_where_either_pass_began():
    def run(warmup, cooldown):
        xs = jnp.zeros((900, 0))
        return jax.jit(lambda: covariant_vectors(henon, (0.1, 0.1), xs, warmup=warmup, cooldown=cooldown))()

    some, more = run(100, 200), run(300, 100)
    assert_allclose(cosines(some.vectors[200:], more.vectors[:400]), 1, atol=1e-10)
    assert_allclose(some.growth[200:], more.growth[:400], atol=1e-9)


def test_of_the_map_of_henon_they_grow_by_its_exponents():
    run = jax.jit(lambda: covariant_vectors(henon, (0.1, 0.1), jnp.zeros((40_000, 0)), warmup=100, cooldown=100))
    assert_allclose(run().exponents, [0.4192, -1.6232], atol=0.012)


def test_of_a_flow_one_has_exponent_zero_and_points_along_it():
    """In the system of Lorenz differences along the trajectory neither grow nor shrink."""
    run = jax.jit(
        lambda: covariant_vectors(lorenz, jnp.array([1.0, 1.0, 20.0]), jnp.zeros((9000, 0)), warmup=2000, cooldown=2000)
    )
    found = run()
    assert_allclose(cosines(found.vectors[:, 1], jax.vmap(velocity)(found.carries)), 1, atol=1e-5)
    assert_allclose(found.exponents / LORENZ_STEP, [0.9056, 0, -14.57], atol=0.15)


def test_errors():
    for options, message in (
        ({"num_vectors": 3}, r"num_vectors must be in 1\.\.2, the size of the carry, got 3"),
        ({"warmup": 5, "cooldown": 5}, "warmup=5 and cooldown=5 must leave some of T=10 steps"),
        ({"warmup": -1}, "warmup=-1 and cooldown=0 must leave"),
    ):
        with pytest.raises(ValueError, match=message):
            covariant_vectors(
                lambda h, x: h, jnp.zeros(2), jnp.zeros((10, 0)), **{"warmup": 0, "cooldown": 0} | options
            )
