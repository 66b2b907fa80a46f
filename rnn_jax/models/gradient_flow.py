"""The gradient through time of a whole model: how far back each of its layers looks.

    log10 ||dy/dh_t||        y: a score of the model's output, h_t: the carry of one layer and direction after step t

By lag: how many steps the layer took after h_t, so that lag 0 is its last step on the sequence. For a cell alone, and
for logarithms below the range of floats, see `rnn_jax.diagnostics`.
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx

from rnn_jax import compose
from rnn_jax.compose import Directions
from rnn_jax.diagnostics.steps import log_norm
from rnn_jax.models.calls import read_shape
from rnn_jax.models.parameters import bind
from rnn_jax.models.recurrent import Recurrent
from rnn_jax.types import Array, Params

Flow = Callable[..., dict[str, Array]]


def make_gradient_flow(model: nnx.Module, score: Callable[[Array], Array]) -> Flow:
    """A pure function `flow(params, *inputs, lengths=None) -> {name: [T]}`.

    Args:
        model: a module with its recurrent layers in `recurrent`, called as `model(*inputs)` with a first input
            `[B, T, ...]`. Its back end must take perturbations: build it with `backend="scan"`, or "auto".
        score: of the model's output, to `[B]`.

    The function returns, for each layer and direction by name, the mean over the batch of log10 ||dy/dh_t|| at lag
    0..T-1; `lengths` `[B]` says where sequences end, and NaN stands where none is that long. A gradient of zero counts
    as the smallest float.

    It raises `ValueError` for a cell without `output`: a perturbation of its carry shows in no output of the same step.

    Example:

        >>> from rnn_jax.models import SequenceModel, pure
        >>> model = SequenceModel("rnn", 1, 4, output_size=1, backend="auto", rngs=nnx.Rngs(0))
        >>> flow = make_gradient_flow(model, lambda predictions: predictions[:, 0])
        >>> {name: values.shape for name, values in flow(pure(model)[1], jnp.ones((2, 7, 1))).items()}
        {'layer 0': (7,)}
    """
    with_params = bind(model)

    def apply(params: Params, perturbations: Any, inputs: tuple[Any, ...]) -> Array:
        bound = with_params(params)
        bound.recurrent.perturbations = nnx.data(perturbations)
        return score(bound(*inputs)).sum()

    def flow(params: Params, *inputs: Any, lengths: Array | None = None) -> dict[str, Array]:
        recurrent: Recurrent = with_params(params).recurrent
        if recurrent.cell.output is None:
            raise ValueError(f"cell {recurrent.cell.name!r} has outputs that do not follow from its carry")
        batch, num_steps = read_shape(with_params, params, inputs)
        perturbations = compose.zero_carries(
            recurrent.cell, recurrent.params(), (num_steps, batch), recurrent.hidden_size
        )
        slopes = jax.grad(apply, 1)(params, perturbations, inputs)
        steps = jnp.full(batch, num_steps) if lengths is None else lengths
        found = {}
        for number, layer in enumerate(slopes):
            if isinstance(layer, Directions):
                found[f"layer {number} forward"] = by_lag(layer.forward, steps)
                found[f"layer {number} backward"] = by_lag(layer.backward, steps, reverse=True)
            else:
                found[f"layer {number}"] = by_lag(layer, steps)
        return found

    return flow


def by_lag(slopes: Any, lengths: Array, reverse: bool = False) -> Array:
    """The mean over the batch of log10 of the norms of `slopes`, arrays `[T, B, ...]`, at lag 0..T-1: `[T]`.

    Args:
        slopes: a pytree; its arrays are taken together, as one vector per step and sequence.
        lengths: `[B]`: lag 0 is the last step within each length.
        reverse: lag 0 is the first step, where a pass from the end arrives last.
    """
    leaves = [
        leaf.astype(jnp.promote_types(leaf.dtype, jnp.float32)).reshape(*leaf.shape[:2], -1)
        for leaf in jax.tree.leaves(slopes)
    ]
    norms = log_norm(jnp.concatenate(leaves, axis=-1)) / jnp.log(10.0)
    num_steps = norms.shape[0]
    lags = jnp.arange(num_steps)[:, None]
    steps = lags if reverse else lengths - 1 - lags  # the step at each lag, of each sequence
    valid = lags < lengths
    picked = jnp.take_along_axis(norms, jnp.clip(steps, 0, num_steps - 1), axis=0)
    logs = jnp.maximum(picked, jnp.log10(jnp.finfo(norms.dtype).tiny))
    count = valid.sum(axis=1)
    return jnp.where(count > 0, jnp.where(valid, logs, 0).sum(axis=1) / jnp.maximum(count, 1), jnp.nan)
