"""`unroll` of this library, by back end."""

import jax
import jax.numpy as jnp

from benchmarks.peers.runner import JaxRunner, NotHere, products
from benchmarks.problem import Problem
from rnn_jax import cells, unroll
from rnn_jax.backends import BACKENDS, FALL_BACK, device
from rnn_jax.backends.native import library
from rnn_jax.controls import StepMasks


def make(problem: Problem, backend: str) -> JaxRunner:
    """The runner of a back end. Raises: `NotHere` where another one would run in its place, or an interpreted one."""
    cell = cells.get(problem.cell)
    kind = type(jax.eval_shape(lambda: cell.init_params(jax.random.key(0), 1, 1)))
    params = kind(**{name: jnp.asarray(array, problem.dtype) for name, array in problem.params.items()})

    resets = None if problem.resets is None else jnp.asarray(problem.resets)
    if backend in FALL_BACK:
        xs = jnp.asarray(problem.xs, problem.dtype)
        carry = cell.init_carry(xs.shape[1:2], params.w_hh.shape[0], xs.dtype)
        with products(problem):
            refusal = BACKENDS[backend].refusal(cell, params, carry, xs, StepMasks(reset=resets))
        if refusal is not None:
            raise NotHere(refusal.reason)
        if backend == "pallas" and device.kind() == "cpu":
            raise NotHere("is interpreted on a CPU, which says nothing about its speed")

    def apply(params, xs, lengths):
        return unroll(cell, params, xs, lengths=lengths, resets=resets, backend=backend)[1]

    runner = JaxRunner(problem, apply, params, lambda gradient: gradient._asdict())
    if backend == "native":
        runner.instruction_set = library.instruction_set()
    return runner
