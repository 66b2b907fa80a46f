"""Layers from cells: two directions side by side, layers on top of each other.

Parameters and carries follow the structure: a pair for two directions, a tuple with one entry per layer.
"""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, Generic, Literal, NamedTuple, TypeVar, overload

import jax
import jax.numpy as jnp

from rnn_jax.cells.cell import Cell, Sizes, dtype_of, zero_carry
from rnn_jax.controls import entered_from_behind, valid_steps
from rnn_jax.dropout import check_rate, dropout, zoneout_shares
from rnn_jax.types import Array, C, DType, Key, P, tree_map
from rnn_jax.unrolling import unroll

D = TypeVar("D")


class Directions(NamedTuple, Generic[D]):
    """What belongs to the pass from first step to last, and to the one from last to first: parameters, carries, ..."""

    forward: D
    backward: D


@overload
def init_stack(
    key: Key,
    cell: Cell[P, C],
    input_size: int,
    hidden_size: int | Sequence[int],
    num_layers: int = 1,
    bidirectional: Literal[False] = False,
    dtype: DType = jnp.float32,
    **options: Any,
) -> tuple[P, ...]: ...
@overload
def init_stack(
    key: Key,
    cell: Cell[P, C],
    input_size: int,
    hidden_size: int | Sequence[int],
    num_layers: int = 1,
    bidirectional: bool = False,
    dtype: DType = jnp.float32,
    **options: Any,
) -> tuple[P, ...] | tuple[Directions[P], ...]: ...
def init_stack(
    key: Key,
    cell: Cell[P, C],
    input_size: int,
    hidden_size: int | Sequence[int],
    num_layers: int = 1,
    bidirectional: bool = False,
    dtype: DType = jnp.float32,
    *,
    between_size: int | None = None,
    **options: Any,
) -> tuple[P, ...] | tuple[Directions[P], ...]:
    """Draws the parameters of layers on top of each other.

    Args:
        key: one split for each layer, and of that one for each direction.
        cell: the cell of every layer.
        input_size: I, what layer 0 reads; the others read D * O, the outputs of both directions of the layer below.
        hidden_size: H, or one for each layer.
        num_layers: L.
        bidirectional: two directions per layer.
        dtype: of the parameters.
        between_size: what a layer above the first reads, where it is not the outputs below as they are.
        options: of the cell's `init_params` (`init`, `forget_bias`, ...), for every layer and direction.

    Returns: a tuple with, for each layer, the cell's parameters or `Directions` of them.

    Raises: `ValueError` for fewer than one layer, for sizes of another number of layers, and whatever `init_params`
    raises.
    """
    if num_layers < 1:
        raise ValueError(f"num_layers must be at least 1, got {num_layers}")
    hidden_sizes = per_layer(hidden_size, num_layers)
    sizes = [input_size]
    for below in hidden_sizes[:-1]:
        width = output_size(cell, sizes[-1], below, **options) * (1 + bidirectional)
        sizes.append(width if between_size is None else between_size)
    keys = map(jax.random.split, jax.random.split(key, num_layers))
    layers = list(zip(keys, sizes, hidden_sizes, strict=True))

    def draw(key: Key, size: int, hidden: int) -> P:
        return cell.init_params(key, size, hidden, dtype, **options)

    if bidirectional:
        return tuple(Directions(draw(one, *size), draw(other, *size)) for (one, other), *size in layers)
    return tuple(draw(one, *size) for (one, _), *size in layers)


def per_layer(hidden_size: int | Sequence[int] | None, num_layers: int) -> tuple[Any, ...]:
    """H of each layer, from one for all or one for each. Raises `ValueError` for another number of them."""
    if hidden_size is None or isinstance(hidden_size, int):
        return (hidden_size,) * num_layers
    if len(hidden_size) != num_layers:
        raise ValueError(
            f"hidden_size {tuple(hidden_size)} is for {len(hidden_size)} layers, num_layers is {num_layers}"
        )
    return tuple(hidden_size)


def output_size(cell: Cell[P, C], input_size: int, hidden_size: int, **options: Any) -> int:
    """O, the size of a cell's outputs.

    Args:
        cell: a cell.
        input_size: I.
        hidden_size: H.
        options: of the cell's `init_params`.

    >>> from rnn_jax import cells
    >>> output_size(cells.get("lstm"), 3, 5)
    5
    """

    def y() -> Array:
        params = cell.init_params(jax.random.key(0), input_size, hidden_size, **options)
        return cell.step(params, cell.init_carry((), hidden_size), jnp.zeros(input_size))[1]

    return int(jax.eval_shape(y).shape[-1])


def stacked(cell: Cell[P, C], num_layers: int) -> Cell[tuple[P, ...], tuple[C, ...]]:
    """Layers as one cell, which takes a step of all of them at once: for `generate`, diagnostics, a loop of your own.

    An unroll of layers is `unroll_stack`: it runs one after another, each over all of time, and is the fast way.

    Args:
        cell: the cell of every layer.
        num_layers: L.

    Returns: a `Cell` with parameters as of `init_stack`, in one direction, and a carry for each layer.

    >>> from rnn_jax import cells, generate
    >>> pair = stacked(cells.get("gru"), 2)
    >>> params = pair.init_params(jax.random.key(0), 5, 5)
    >>> generate.generate(pair, params, jnp.ones((3, 5)), 4, lambda y: y).ys.shape
    (4, 3, 5)
    """

    def init_params(key: Key, input_size: int, hidden_size: int, dtype: DType = jnp.float32, **options: Any) -> Any:
        return init_stack(key, cell, input_size, hidden_size, num_layers, False, dtype, **options)

    def init_carry(batch: tuple[int, ...], hidden_size: int, dtype: DType = jnp.float32) -> tuple[C, ...]:
        return tuple(cell.init_carry(batch, hidden_size, dtype) for _ in range(num_layers))

    def recur(params: tuple[P, ...], carries: tuple[C, ...], x: Array) -> tuple[tuple[C, ...], Array]:
        after = []
        for layer, carry in zip(params, carries, strict=True):
            carry, x = cell.step(layer, carry, x)
            after.append(carry)
        return tuple(after), x

    def sizes(params: tuple[P, ...]) -> Sizes:
        assert cell.sizes is not None
        return cell.sizes(params[0])

    name = f"{num_layers} x {cell.name}"
    return Cell(name, init_params, init_carry, recur, sizes=cell.sizes and sizes, trial=None)


def zero_carries(
    cell: Cell[P, C],
    params: tuple[P | Directions[P], ...],
    batch_shape: tuple[int, ...],
    hidden_size: int | Sequence[int] | None = None,
) -> tuple[C | Directions[C], ...]:
    """What a stack begins with: `zero_carry` for each layer, `Directions` of them where it has two.

    Args: of `zero_carry`, and `params` of `unroll_stack`.
    """

    def of(params: P, hidden_size: int | None) -> C:
        return zero_carry(cell, params, batch_shape, hidden_size)

    return tuple(
        Directions(of(layer.forward, size), of(layer.backward, size))
        if isinstance(layer, Directions)
        else of(layer, size)
        for layer, size in zip(params, per_layer(hidden_size, len(params)), strict=True)
    )


def unroll_bidirectional(
    cell: Cell[P, C],
    params: Directions[P],
    xs: Array,
    *,
    carry: Directions[C] | None = None,
    resets: Array | None = None,
    perturbations: Directions[C] | None = None,
    **options: Any,
) -> tuple[Directions[C], Array]:
    """One pass each way over xs `[T, *batch, I]`.

    Args:
        cell: the cell of both directions.
        params: `Directions` of the cell's parameters.
        xs: inputs `[T, *batch, I]`.
        carry: `Directions` of carries before each pass; None: zeros.
        resets: `[T, *batch]` bool, True where a new segment begins: no pass carries anything across its border.
        perturbations: `Directions` of the perturbations of `unroll`.
        options: further arguments of `unroll`, for both passes (`lengths`, `backend`, ...).

    Returns: `Directions` of final carries, and ys `[T, *batch, 2 O]`, forward features first. y_t of the backward pass
    has read x_t and what comes after it.

    Raises: `ValueError` for `reverse` among the options, and whatever `unroll` raises.

    Source: Schuster and Paliwal, "Bidirectional recurrent neural networks", 1997.
    """
    if "reverse" in options:
        raise ValueError("reverse goes with one direction; a bidirectional layer runs both")
    start: Directions[C | None] = Directions(None, None) if carry is None else Directions(*carry)
    moved: Directions[C | None] = Directions(None, None) if perturbations is None else Directions(*perturbations)
    entered = None
    if resets is not None:
        entered = entered_from_behind(
            jnp.asarray(resets), valid_steps(xs.shape[0], options.get("lengths"), options.get("mask"))
        )

    def one_way(params: P, carry: C | None, resets: Array | None, moved: C | None, reverse: bool) -> tuple[C, Array]:
        return unroll(cell, params, xs, carry=carry, resets=resets, perturbations=moved, reverse=reverse, **options)

    forward, ys = one_way(params.forward, start.forward, resets, moved.forward, False)
    backward, ys_backward = one_way(params.backward, start.backward, entered, moved.backward, True)
    return Directions(forward, backward), jnp.concatenate((ys, ys_backward), axis=-1)


@overload
def unroll_stack(cell: Cell[P, C], params: tuple[P, ...], xs: Array, **options: Any) -> tuple[tuple[C, ...], Array]: ...
@overload
def unroll_stack(
    cell: Cell[P, C], params: tuple[Directions[P], ...], xs: Array, **options: Any
) -> tuple[tuple[Directions[C], ...], Array]: ...
def unroll_stack(
    cell: Cell[P, C],
    params: tuple[P | Directions[P], ...],
    xs: Array,
    *,
    carry: tuple[C | Directions[C], ...] | None = None,
    hidden_size: int | Sequence[int] | None = None,
    between: Callable[[int, Array, Array], Array] | None = None,
    dropout_rate: float = 0.0,
    variational: bool = False,
    zoneout_rate: float = 0.0,
    key: Key | None = None,
    perturbations: tuple[C | Directions[C], ...] | None = None,
    **options: Any,
) -> tuple[tuple[C | Directions[C], ...], Array]:
    """Layers on top of each other: layer k reads the outputs of layer k-1, in one direction or in both.

    Args:
        cell: the cell of every layer.
        params: one entry per layer, as `init_stack` makes them.
        xs: inputs `[T, *batch, I]`.
        carry: one carry per layer (`Directions` of them where the layer has two); None: zeros.
        hidden_size: H, or one for each layer, for a cell whose parameters do not tell it.
        between: `(layer, read, ys) -> ys`: what becomes of the outputs of layer 0, 1, ..., given what it has read: a
            residual connection, a norm, a projection. None: nothing.
        dropout_rate: dropout between layers, not after the last.
        variational: one dropout mask per sequence instead of one per step.
        zoneout_rate: share of the units that skip a step, h and c alike; the same units in both directions.
        key: draws the masks of dropout and zoneout; None: evaluation, no dropout, and every unit skips its share.
        perturbations: of `unroll`, one entry per layer.
        options: further arguments of `unroll`, for every layer (`lengths`, `resets`, `backend`, ...).

    Returns: a tuple of final carries, one per layer, and the last layer's ys `[T, *batch, D * O]`.

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
    finals: list[Any] = []
    sizes = per_layer(hidden_size, len(params))
    for layer, (layer_params, layer_carry, size) in enumerate(zip(params, carries, sizes, strict=True)):
        if layer > 0 and key is not None:
            xs = dropout(jax.random.fold_in(key, layer), xs, dropout_rate, variational)
        if zoneout_rate:
            one: Any = layer_params.forward if isinstance(layer_params, Directions) else layer_params
            zone_key = None if key is None else jax.random.fold_in(key, len(params) + layer)
            parts = jax.eval_shape(partial(zero_carry, cell, one, xs.shape[:-1], size))
            draw = partial(zoneout_shares, zone_key, zoneout_rate, dtype=dtype_of(one))
            shapes = {part.shape for part in jax.tree.leaves(parts)}
            # A unit skips a step with all that it holds: parts of one shape have one draw.
            options["zoneout"] = (
                draw(*shapes) if len(shapes) == 1 else tree_map(lambda part, d=draw: d(part.shape), parts)
            )
        if perturbations is not None:
            options["perturbations"] = perturbations[layer]
        run: Any = unroll_bidirectional if isinstance(layer_params, Directions) else unroll
        final, ys = run(cell, layer_params, xs, carry=layer_carry, hidden_size=size, **options)
        xs = ys if between is None else between(layer, xs, ys)
        finals.append(final)
    return tuple(finals), xs
