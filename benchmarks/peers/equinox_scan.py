"""Equinox's cells in a `lax.scan`, as its documentation shows, mapped over the batch. It has no Elman cell."""

import equinox as eqx
import jax
import jax.numpy as jnp

from benchmarks.peers.runner import JaxRunner
from benchmarks.problem import Problem


def make(problem: Problem, variant: str) -> JaxRunner:
    """The runner of `LSTMCell` or `GRUCell`, whose gates stand in our order."""
    del variant
    shape, dtype = problem.shape, jnp.dtype(problem.dtype)
    given = {name: jnp.asarray(array, dtype) for name, array in problem.params.items()}
    make_cell = {"lstm": eqx.nn.LSTMCell, "gru": eqx.nn.GRUCell}[problem.cell]
    cell = make_cell(shape.input_size, shape.hidden_size, dtype=dtype, key=jax.random.key(0))
    cell = eqx.tree_at(
        lambda cell: (cell.weight_ih, cell.weight_hh, cell.bias),
        cell,
        (given["w_ih"].T, given["w_hh"].T, given["b"]),
    )
    if problem.cell == "gru":
        cell = eqx.tree_at(lambda cell: cell.bias_n, cell, given["b_hn"])
    params, static = eqx.partition(cell, eqx.is_inexact_array)

    def apply(params, xs, lengths):
        del lengths  # the cells know none
        cell = jax.vmap(eqx.combine(params, static))
        zeros = jnp.zeros((xs.shape[1], shape.hidden_size), xs.dtype)

        def step(carry, x):
            carry = cell(x, carry)
            return carry, carry[0] if isinstance(carry, tuple) else carry

        return jax.lax.scan(step, (zeros, zeros) if problem.cell == "lstm" else zeros, xs)[1]

    def to_ours(gradient):
        found = {"w_ih": gradient.weight_ih.T, "w_hh": gradient.weight_hh.T, "b": gradient.bias}
        return found | ({"b_hn": gradient.bias_n} if problem.cell == "gru" else {})

    return JaxRunner(problem, apply, params, to_ours)
