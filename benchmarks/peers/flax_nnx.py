"""Flax's `nnx.RNN` around `SimpleCell`, `LSTMCell`, `OptimizedLSTMCell` or `GRUCell`, time-major."""

from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx

from benchmarks.peers.runner import JaxRunner
from benchmarks.problem import Problem
from rnn_jax import cells
from rnn_jax.convert.flax import from_flax, to_flax

CELLS = {
    ("rnn", "plain"): nnx.SimpleCell,
    ("lstm", "plain"): nnx.LSTMCell,
    ("lstm", "optimized"): nnx.OptimizedLSTMCell,
    ("gru", "plain"): nnx.GRUCell,
}


def make(problem: Problem, variant: str) -> JaxRunner:
    """The runner; `variant` is `plain` or `optimized` (one product for all four gates of an LSTM)."""
    shape, dtype = problem.shape, jnp.dtype(problem.dtype)
    options: dict[str, Any] = {"dtype": dtype, "param_dtype": dtype, "rngs": nnx.Rngs(0)}
    options["recurrent_kernel_init"] = nnx.initializers.zeros  # the orthogonal default fails in bfloat16
    cell = CELLS[problem.cell, variant](shape.input_size, shape.hidden_size, **options)
    ours = cells.get(problem.cell)
    kind = type(jax.eval_shape(lambda: ours.init_params(jax.random.key(0), 1, 1)))
    to_flax(kind(**{name: jnp.asarray(array, dtype) for name, array in problem.params.items()}), cell)
    graph, params, rest = nnx.split(nnx.RNN(cell, time_major=True), nnx.Param, ...)  # type: ignore[misc]

    def apply(params, xs, lengths):
        # Made here, as those of `rest` cannot be drawn from inside a `jit`; the carry begins at zero either way.
        return nnx.merge(graph, params, rest)(xs, seq_lengths=lengths, rngs=nnx.Rngs(0))

    def to_ours(gradient):
        found = from_flax(nnx.merge(graph, gradient, rest).cell)._asdict()
        found.pop("b_hn", None)  # which Flax has not
        return found

    return JaxRunner(problem, apply, params, to_ours)
