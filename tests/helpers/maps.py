"""Chaotic systems whose exponents and dimensions the literature gives, as steps `(state, _) -> state`."""

import jax.numpy as jnp

LORENZ_STEP = 0.01
"""Units of time in one step of `lorenz`."""


def henon(state, _):
    """The map of Henon, 1976, a = 1.4 and b = 0.3, of a pair of numbers."""
    x, y = state
    return 1 - 1.4 * x**2 + y, 0.3 * x


def velocity(state):
    """The right side of the equations of Lorenz, 1963, sigma = 10, rho = 28 and beta = 8/3, `[3]`."""
    x, y, z = state
    return jnp.stack([10 * (y - x), x * (28 - z) - y, x * y - 8 / 3 * z])


def lorenz(state, _):
    """One fourth-order Runge-Kutta step along `velocity`."""
    dt = LORENZ_STEP
    k1 = velocity(state)
    k2 = velocity(state + dt / 2 * k1)
    k3 = velocity(state + dt / 2 * k2)
    k4 = velocity(state + dt * k3)
    return state + dt / 6 * (k1 + 2 * k2 + 2 * k3 + k4)
