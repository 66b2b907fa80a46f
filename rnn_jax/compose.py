"""Layers from cells: two directions side by side, layers on top of each other.

Parameters and carries follow the structure: a pair for two directions, a tuple with one entry per layer.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from rnn_jax.cells.cell import Cell
from rnn_jax.types import Array, Carry, Key, Params
from rnn_jax.unroll import unroll


class Directions(NamedTuple):
    """What belongs to the pass from first step to last, and to the one from last to first."""

    forward: Params
    backward: Params


def init_stack(
    key: Key,
    cell: Cell,
    input_size: int,
    hidden_size: int,
    num_layers: int = 1,
    bidirectional: bool = False,
    dtype: jnp.dtype = jnp.float32,
    **options,
) -> tuple[Params, ...]:
    """Draws the parameters of a stack; `options` (`init`, `forget_bias`) go to every layer and direction.

    Layer 0 reads I features, the others D * H, the outputs of both directions of the layer below.

    Returns: a tuple with, for each layer, the cell's parameters or `Directions` of them.
    Raises: `ValueError` for fewer than one layer.
    """
    if num_layers < 1:
        raise ValueError(f"num_layers must be at least 1, got {num_layers}")
    layers = []
    for layer_key in jax.random.split(key, num_layers):
        keys = jax.random.split(layer_key)
        drawn = [cell.init_params(k, input_size, hidden_size, dtype, **options) for k in keys[: 1 + bidirectional]]
        layers.append(Directions(*drawn) if bidirectional else drawn[0])
        input_size = hidden_size * (1 + bidirectional)
    return tuple(layers)


def unroll_bidirectional(
    cell: Cell,
    params: Directions,
    xs: Array,
    *,
    carry: Directions | None = None,
    resets: Array | None = None,
    perturbations: Directions | None = None,
    **options,
) -> tuple[Directions, Array]:
    """One pass each way over xs `[T, *batch, I]`.

    Args:
        cell: the cell of both directions.
        params: `Directions` of the cell's parameters.
        xs: inputs `[T, *batch, I]`.
        carry: `Directions` of carries before each pass; None: zeros.
        resets: `[T, *batch]` bool, True where a new segment begins: no pass carries anything across its border.
        perturbations: `Directions` of the perturbations of `unroll`.
        options: further arguments of `unroll`, for both passes (`lengths`, `backend`, ...).

    Returns: `Directions` of final carries, and ys `[T, *batch, 2H]`, forward features first. y_t of the backward pass
    has read x_t and what comes after it.

    Raises: `ValueError` for `reverse` among the options, and whatever `unroll` raises.

    Source: Schuster and Paliwal, "Bidirectional recurrent neural networks", 1997.
    """
    if "reverse" in options:
        raise ValueError("reverse goes with one direction; a bidirectional layer runs both")
    carry = carry if carry is not None else Directions(None, None)
    perturbations = perturbations if perturbations is not None else Directions(None, None)
    backward_resets = None
    if resets is not None:  # coming from behind, a segment is entered at its last step
        backward_resets = jnp.concatenate((resets[1:], jnp.zeros_like(resets[:1])))
    finals, ys = zip(
        unroll(
            cell, params.forward, xs, carry=carry.forward, resets=resets, perturbations=perturbations.forward, **options
        ),
        unroll(
            cell,
            params.backward,
            xs,
            carry=carry.backward,
            resets=backward_resets,
            perturbations=perturbations.backward,
            reverse=True,
            **options,
        ),
        strict=True,
    )
    return Directions(*finals), jnp.concatenate(ys, axis=-1)


def dropout(key: Key, values: Array, rate: float, variational: bool = False) -> Array:
    """Sets a share `rate` of `values` `[T, *batch, H]` to zero and scales the others by 1 / (1 - rate).

    With `variational` one mask `[*batch, H]` serves all steps, so that a feature is absent from a whole sequence.

    Sources: Srivastava et al., "Dropout: a simple way to prevent neural networks from overfitting", 2014; Gal and
    Ghahramani, "A theoretically grounded application of dropout in recurrent neural networks", 2016.
    Raises: `ValueError` for a rate outside [0, 1).
    """
    check_rate("dropout", rate)
    if rate == 0:
        return values
    shape = values.shape[1:] if variational else values.shape
    keep = jax.random.bernoulli(key, 1 - rate, shape)
    return jnp.where(keep, values / (1 - rate), jnp.zeros_like(values))


def zoneout_shares(key: Key | None, rate: float, shape: tuple[int, ...], dtype: jnp.dtype) -> Array:
    """What `unroll` takes as `zoneout`: 1 for a share `rate` of the entries and else 0; without a key the rate."""
    if key is None:
        return jnp.full(shape, rate, dtype)
    return jax.random.bernoulli(key, rate, shape).astype(dtype)


def check_rate(name: str, rate: float) -> None:
    """Raises `ValueError` for a rate outside [0, 1)."""
    if not 0 <= rate < 1:
        raise ValueError(f"{name} must be in [0, 1), got {rate}")


def unroll_stack(
    cell: Cell,
    params: tuple[Params, ...],
    xs: Array,
    *,
    carry: tuple[Carry, ...] | None = None,
    dropout_rate: float = 0.0,
    variational: bool = False,
    zoneout_rate: float = 0.0,
    key: Key | None = None,
    perturbations: tuple[Carry, ...] | None = None,
    **options,
) -> tuple[tuple[Carry, ...], Array]:
    """Layers on top of each other: layer k reads the outputs of layer k-1, in one direction or in both.

    Args:
        cell: the cell of every layer.
        params: one entry per layer, as `init_stack` makes them.
        xs: inputs `[T, *batch, I]`.
        carry: one carry per layer (`Directions` of them where the layer has two); None: zeros.
        dropout_rate: dropout between layers, not after the last.
        variational: one dropout mask per sequence instead of one per step.
        zoneout_rate: share of the units that skip a step, h and c alike; the same units in both directions.
        key: draws the masks of dropout and zoneout; None: evaluation, no dropout, and every unit skips its share.
        perturbations: of `unroll`, one entry per layer.
        options: further arguments of `unroll`, for every layer (`lengths`, `resets`, `backend`, ...).

    Returns: a tuple of final carries, one per layer, and the last layer's ys `[T, *batch, D * H]`.

    Raises: `ValueError` when carries and layers differ in number, for a rate outside [0, 1), and whatever
    `unroll` raises.

    Example:

        >>> import jax, jax.numpy as jnp
        >>> from rnn_jax import cells, compose
        >>> params = compose.init_stack(jax.random.key(0), cells.get("gru"), 3, 5, num_layers=2, bidirectional=True)
        >>> finals, ys = compose.unroll_stack(cells.get("gru"), params, jnp.ones((7, 2, 3)))
        >>> ys.shape, len(finals), finals[1].backward.h.shape
        ((7, 2, 10), 2, (2, 5))
    """
    check_rate("dropout", dropout_rate)
    check_rate("zoneout", zoneout_rate)
    carries = carry if carry is not None else (None,) * len(params)
    if len(carries) != len(params):
        raise ValueError(f"carry has {len(carries)} layers, params have {len(params)}")
    finals: list[Carry] = []
    for layer, (layer_params, layer_carry) in enumerate(zip(params, carries, strict=True)):
        if layer > 0 and key is not None:
            xs = dropout(jax.random.fold_in(key, layer), xs, dropout_rate, variational)
        both = isinstance(layer_params, Directions)
        if zoneout_rate:
            w_hh = (layer_params.forward if both else layer_params).w_hh
            zone_key = None if key is None else jax.random.fold_in(key, len(params) + layer)
            shape = (*xs.shape[:-1], w_hh.shape[0])
            options["zoneout"] = zoneout_shares(zone_key, zoneout_rate, shape, w_hh.dtype)
        if perturbations is not None:
            options["perturbations"] = perturbations[layer]
        final, xs = (unroll_bidirectional if both else unroll)(cell, layer_params, xs, carry=layer_carry, **options)
        finals.append(final)
    return tuple(finals), xs
