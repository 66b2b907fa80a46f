"""`unroll` of this library, by back end."""

import jax
import jax.numpy as jnp

from benchmarks.peers.runner import JaxRunner
from benchmarks.problem import Problem
from rnn_jax import cells, unroll


def make(problem: Problem, backend: str) -> JaxRunner:
    """The runner of a back end."""
    cell = cells.get(problem.cell)
    kind = type(jax.eval_shape(lambda: cell.init_params(jax.random.key(0), 1, 1)))
    params = kind(**{name: jnp.asarray(array, problem.dtype) for name, array in problem.params.items()})

    def apply(params, xs, lengths):
        return unroll(cell, params, xs, lengths=lengths, backend=backend)[1]

    return JaxRunner(problem, apply, params, lambda gradient: gradient._asdict())
