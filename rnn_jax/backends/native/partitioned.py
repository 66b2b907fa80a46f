"""Calls of the library in a program for several devices: each computes its share of the batch.

To XLA the loops are a call that it cannot see into, and without being told otherwise it gathers the arguments and has
every device compute all of it. Here it is told: the batch axis may be split, and so may an axis that `jax.vmap` adds;
nothing else may, and the sums over the batch, the gradients of the weights, are added up over the devices.

An axis that `jax.vmap` adds is a larger batch where all that it maps has a batch, and a loop over calls otherwise.
"""

from collections.abc import Callable, Sequence
from functools import cache
from math import prod
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax.experimental.custom_partitioning import custom_partitioning
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec, SingleDeviceSharding

from rnn_jax.sharding import vary, varying
from rnn_jax.types import Array

MAPPED = "mapped"
"""How the names of axes that `jax.vmap` adds begin."""


class Layout(NamedTuple):
    """A function of arrays, and where each has its batch axis.

    Attributes:
        function: from arrays to a tuple of arrays, of any batch size.
        arguments: for each argument the names of its axes, split by spaces: `b` is the batch, and equal names are of
            one size.
        results: for each result likewise; one without `b` is a sum over the batch.
    """

    function: Callable[..., tuple[Array, ...]]
    arguments: tuple[str, ...]
    results: tuple[str, ...]


def call(layout: Layout, *arguments: Array) -> Sequence[Array]:
    """`layout.function(*arguments)`, by each device for its share of the batch where XLA has split it.

    Inside `jax.shard_map` the arguments are a device's share already.

    Args:
        layout: one object for one function, so that it is traced once.
        arguments: arrays.
    """
    if AxisType.Manual in (jax.sharding.get_abstract_mesh().axis_types or ()):
        return vary(layout.function(*arguments), varying(arguments))
    found: Sequence[Array] = _splittable(layout)(*arguments)
    return found


@cache
def _splittable(layout: Layout) -> Callable[..., Sequence[Array]]:
    """`layout.function`, with what XLA's partitioner and `jax.vmap` ask of it."""

    def partition(mesh: Mesh, arguments: Sequence[Any], results: Sequence[Any]) -> tuple[Any, ...]:
        split = _split(layout, arguments)
        of_batch = split.get("b", ())

        def share(*arguments: Array) -> tuple[Array, ...]:
            found = layout.function(*arguments)
            if not of_batch:
                return found
            named = zip(layout.results, found, strict=True)
            return tuple(part if "b" in names.split() else jax.lax.psum(part, of_batch) for names, part in named)

        def spread(names: str) -> jax.sharding.Sharding:
            if mesh.empty:  # arrays spread in a way that has no names for axes: all of it everywhere
                return SingleDeviceSharding(jax.devices()[0])
            return NamedSharding(mesh, PartitionSpec(*map(split.get, names.split())))

        return mesh, share, tuple(map(spread, layout.results)), tuple(map(spread, layout.arguments))

    def rule(size: int, mapped: Sequence[bool], *arguments: Array) -> tuple[Sequence[Array], Sequence[bool]]:
        if size and _may_be_folded(layout, mapped):
            folded = [_fold(size, *of) for of in zip(layout.arguments, mapped, arguments, strict=True)]
            found: Sequence[Array] = call(layout, *folded)
            found = tuple(_unfold(size, *of) for of in zip(layout.results, found, strict=True))
        else:
            found = call(_looped(layout, tuple(mapped)), *arguments)
        return found, (True,) * len(layout.results)

    # In the order in which the rule names them, which XLA insists on.
    names = dict.fromkeys(name for names in layout.arguments + layout.results for name in names.split())
    function = custom_partitioning(layout.function)
    function.def_partition(
        partition,
        sharding_rule=f"{', '.join(layout.arguments)} -> {', '.join(layout.results)}",
        need_replication_factors=tuple(name for name in names if not _may_be_split(name)),
    )
    of_arrays: Callable[..., Sequence[Array]] = jax.custom_batching.custom_vmap(function)
    of_arrays.def_vmap(rule)  # type: ignore[attr-defined]
    return of_arrays


def _may_be_folded(layout: Layout, mapped: Sequence[bool]) -> bool:
    """Whether an axis that `jax.vmap` adds is but a larger batch: all that has it has a batch, and nothing is a sum."""
    having = [names for names, m in zip(layout.arguments, mapped, strict=True) if m]
    return all("b" in names.split() for names in (*having, *layout.results))


def _fold(size: int, names: str, mapped: bool, argument: Array) -> Array:
    """An argument with the mapped axis, its first, in its batch; where it has none, one for all or a copy for each."""
    if "b" not in names.split():
        return argument
    at = names.split().index("b")
    if mapped:
        argument = jnp.moveaxis(argument, 0, at)
    else:
        argument = jnp.broadcast_to(jnp.expand_dims(argument, at), (*argument.shape[:at], size, *argument.shape[at:]))
    return argument.reshape(*argument.shape[:at], size * argument.shape[at + 1], *argument.shape[at + 2 :])


def _unfold(size: int, names: str, result: Array) -> Array:
    """A result of a batch that `_fold` has made, with the mapped axis first."""
    at = names.split().index("b")
    shape = (*result.shape[:at], size, result.shape[at] // size, *result.shape[at + 1 :])
    return jnp.moveaxis(result.reshape(shape), at, 0)


@cache
def _looped(layout: Layout, mapped: tuple[bool, ...]) -> Layout:
    """`layout` over one more axis, the first of the arguments that are `mapped` and of all results."""
    name = f"{MAPPED}{layout.results[0].count(MAPPED)}"

    def function(*arguments: Array) -> tuple[Array, ...]:
        def one(of_this: tuple[Array, ...]) -> tuple[Array, ...]:
            rest = iter(of_this)
            return layout.function(*(next(rest) if m else a for a, m in zip(arguments, mapped, strict=True)))

        of_all: tuple[Array, ...] = jax.lax.map(one, tuple(a for a, m in zip(arguments, mapped, strict=True) if m))
        return of_all

    arguments = tuple(f"{name} {axes}" if m else axes for axes, m in zip(layout.arguments, mapped, strict=True))
    return Layout(function, arguments, tuple(f"{name} {axes}" for axes in layout.results))


def _may_be_split(name: str) -> bool:
    return name == "b" or name.startswith(MAPPED)


def _split(layout: Layout, arguments: Sequence[Any]) -> dict[str, tuple[str, ...]]:
    """The mesh axes that split each named axis into equal shares, as in the first argument in which it is split."""
    found: dict[str, tuple[str, ...]] = {}
    for names, argument in zip(layout.arguments, arguments, strict=True):
        if not isinstance(argument.sharding, NamedSharding):
            continue
        for name, size, axes in zip(names.split(), argument.shape, argument.sharding.spec, strict=True):
            axes = axes if isinstance(axes, tuple) else (axes,) if axes else ()
            taken = {axis for others in found.values() for axis in others}
            # Where shares are not equal, XLA fills the last one with rows of anything, which would count in a sum.
            equal = size % prod(argument.sharding.mesh.shape[axis] for axis in axes) == 0
            if axes and equal and _may_be_split(name) and name not in found and not taken & set(axes):
                found[name] = axes
    return found
