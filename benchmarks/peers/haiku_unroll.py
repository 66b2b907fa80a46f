"""Haiku's cores under `hk.dynamic_unroll`, time-major.

Its LSTM has the gates i, g, f, o and adds 1 to f. Two of its cores are other functions than ours, and are not ranked:
`VanillaRNN` is a ReLU, and `GRU` (z, r, a) resets before the recurrent product and weighs the candidate by z.
"""

from typing import Any

import haiku as hk
import jax
import jax.numpy as jnp
import numpy as np

from benchmarks.peers.runner import JaxRunner, columns
from benchmarks.problem import Problem

GATES = (0, 2, 1, 3)
"""i, f, g, o to i, g, f, o, and back."""


def make(problem: Problem, variant: str) -> JaxRunner:
    """The runner of `VanillaRNN`, `LSTM` or `GRU`."""
    del variant
    shape, given = problem.shape, problem.params
    lstm, gru = problem.cell == "lstm", problem.cell == "gru"
    hidden_size = shape.hidden_size

    def core():
        if lstm:
            return hk.LSTM(hidden_size)
        return hk.GRU(hidden_size) if gru else hk.VanillaRNN(hidden_size, double_bias=False)

    def unrolled(xs):
        cell = core()
        initial = jax.tree.map(lambda zeros: zeros.astype(xs.dtype), cell.initial_state(xs.shape[1]))
        return hk.dynamic_unroll(cell, xs, initial)[0]

    if lstm:
        bias = given["b"].astype(np.float64)
        bias[hidden_size : 2 * hidden_size] -= 1
        weights = {"w": np.concatenate((given["w_ih"], given["w_hh"])), "b": bias}
        params = {"lstm/linear": {name: columns(array, GATES) for name, array in weights.items()}}
    elif gru:
        weights = {"w_i": given["w_ih"], "w_h": given["w_hh"], "b": given["b"]}
        params = {"gru": {name: columns(array, (1, 0, 2)) for name, array in weights.items()}}
    else:
        inputs = {"w": given["w_ih"], "b": given["b"]}
        params = {"vanilla_rnn/linear": inputs, "vanilla_rnn/linear_1": {"w": given["w_hh"]}}

    def to_ours(gradient):
        if lstm:
            found = {name: columns(array, GATES) for name, array in gradient["lstm/linear"].items()}
            return {"w_ih": found["w"][: shape.input_size], "w_hh": found["w"][shape.input_size :], "b": found["b"]}
        if gru:
            found = {name: columns(array, (1, 0, 2)) for name, array in gradient["gru"].items()}
            return {"w_ih": found["w_i"], "w_hh": found["w_h"], "b": found["b"]}
        inputs, recurrent = (gradient[f"vanilla_rnn/{name}"] for name in ("linear", "linear_1"))
        return {"w_ih": inputs["w"], "b": inputs["b"], "w_hh": recurrent["w"]}

    run: Any = hk.without_apply_rng(hk.transform(unrolled))
    params = jax.tree.map(lambda array: jnp.asarray(array, problem.dtype), params)
    return JaxRunner(problem, lambda params, xs, lengths: run.apply(params, xs), params, to_ours)
