"""The Lyapunov spectrum of a whole model: how fast differences grow in each of its layers, on given inputs.

A layer's Jacobians are those of its own carry along its own inputs, which are what the layer below says: the Jacobian
of all layers at once is block-triangular, so that its exponents are those of the layers together.
"""

from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from rnn_jax import compose
from rnn_jax.compose import Directions
from rnn_jax.controls import StepMasks, controlled_step, entered_from_behind
from rnn_jax.diagnostics.lyapunov import lyapunov_spectrum
from rnn_jax.models.calls import Call, record_call
from rnn_jax.models.parameters import bind
from rnn_jax.models.recurrent import Recurrent
from rnn_jax.types import Array, Carry, Params, tree_map


def make_spectrum(model: nnx.Module, num_exponents: int, num_sequences: int) -> Callable[..., dict[str, Array]]:
    """A pure function `spectrum(params, *inputs) -> {name: [K]}`.

    Args:
        model: a module with its recurrent layers in `recurrent`, called as `model(*inputs)`.
        num_exponents: K, or the size of a layer's carry where that is smaller.
        num_sequences: so many of the batch are looked at, spread evenly.

    The function returns, for each layer and direction by name, the K largest Lyapunov exponents, descending, in nats
    per step: means over the steps of all sequences, padding apart, from a carry of zeros on. Of sequences of T steps
    they are exponents of finite time, off by the order of 1 / T; a reset, which forgets everything, makes them -inf.

    Example:

        >>> from rnn_jax.models import SequenceModel, pure
        >>> model = SequenceModel("rnn", 1, 4, output_size=1, rngs=nnx.Rngs(0))
        >>> spectrum = make_spectrum(model, num_exponents=3, num_sequences=2)
        >>> {name: values.shape for name, values in spectrum(pure(model)[1], jnp.ones((5, 7, 1))).items()}
        {'layer 0': (3,)}
    """
    with_params = bind(model)

    def spectrum(params: Params, *inputs: Any) -> dict[str, Array]:
        recurrent: Recurrent = with_params(params).recurrent
        call = record_call(with_params, params, inputs)
        batch = call.xs.shape[1]
        some = np.linspace(0, batch - 1, min(num_sequences, batch)).astype(int)
        call = tree_map(lambda leaf: leaf[:, some], call)
        params, reads = _layers(recurrent, call)
        carries = compose.zero_carries(recurrent.cell, params, (), recurrent.hidden_size)
        found = {}
        for number, (layer, carry, read) in enumerate(zip(params, carries, reads, strict=True)):
            given = call._replace(xs=read)
            if isinstance(layer, Directions):
                found[f"layer {number} forward"] = exponents(recurrent, layer.forward, carry.forward, given)
                found[f"layer {number} backward"] = exponents(recurrent, layer.backward, carry.backward, _turned(given))
            else:
                found[f"layer {number}"] = exponents(recurrent, layer, carry, given)
        return found

    def exponents(recurrent: Recurrent, params: Params, carry: Carry, call: Call) -> Array:
        growth = jax.vmap(partial(_growth, recurrent, params, carry, num_exponents), in_axes=1)(call)
        steps = call.xs.shape[0] * call.xs.shape[1] if call.valid is None else jnp.maximum(call.valid.sum(), 1)
        return jnp.sort(growth.sum(axis=0) / steps, descending=True)

    return spectrum


def _layers(recurrent: Recurrent, call: Call) -> tuple[tuple[Params, ...], list[Array]]:
    """The parameters of each layer, in float32 or wider, and what it reads, `[T, B, I]`."""

    def wide(leaf: Array) -> Array:
        return leaf.astype(jnp.promote_types(leaf.dtype, jnp.float32))

    params, reads = tree_map(wide, recurrent.params()), [wide(call.xs)]

    def between(layer: int, read: Array, ys: Array) -> Array:
        reads.append(recurrent.between(layer, read, ys))
        return reads[-1]

    compose.unroll_stack(
        recurrent.cell, params, reads[0], hidden_size=recurrent.hidden_size, mask=call.valid, resets=call.resets,
        zoneout_rate=recurrent.zoneout, between=between, backend="scan",
    )  # fmt: skip
    return params, reads[:-1]


def _turned(call: Call) -> Call:
    """The same from the last step to the first. Padding then comes first, and leaves the carry as it is."""
    resets = None if call.resets is None else entered_from_behind(call.resets, call.valid)
    return tree_map(lambda leaf: leaf[::-1], call._replace(resets=resets))


def _growth(recurrent: Recurrent, params: Params, carry: Carry, num_exponents: int, call: Call) -> Array:
    """By how much differences grow over one sequence, in which padding leaves them as they are: logarithms `[K]`."""
    zoneout = jnp.float32(recurrent.zoneout) if recurrent.zoneout else None

    def step(carry: Carry, now: Call) -> Carry:
        masks = StepMasks(valid=now.valid, reset=now.resets, zoneout=zoneout)
        return controlled_step(recurrent.cell, params, carry, recurrent.cell.project(params, now.xs), masks)[0]

    size = sum(leaf.size for leaf in jax.tree.leaves(carry))
    spectrum = lyapunov_spectrum(step, carry, call, num_exponents=min(num_exponents, size))
    return spectrum.growth.sum(axis=0)
