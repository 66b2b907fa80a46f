"""Calls of the library in a program for several devices: each computes its share of the batch.

To XLA the loops are a call that it cannot see into, and without being told otherwise it gathers the arguments and has
every device compute all of it. Here it is told: the batch axis may be split, nothing else may, and the sums over the
batch, the gradients of the weights, are added up over the devices.
"""

from collections.abc import Callable, Sequence
from functools import cache
from typing import Any, NamedTuple

import jax
from jax.experimental.custom_partitioning import custom_partitioning
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec, SingleDeviceSharding

from rnn_jax.sharding import vary, varying
from rnn_jax.types import Array


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
        axes = varying(arguments)
        return vary(layout.function(*arguments), axes)
    found: Sequence[Array] = _splittable(layout)(*arguments)
    return found


@cache
def _splittable(layout: Layout) -> Callable[..., Sequence[Array]]:
    """`layout.function`, with what XLA's partitioner asks of it; a loop over the axis that `jax.vmap` adds."""

    def partition(mesh: Mesh, arguments: Sequence[Any], results: Sequence[Any]) -> tuple[Any, ...]:
        axes = _batch_axes(layout, arguments)

        def share(*arguments: Array) -> tuple[Array, ...]:
            found = layout.function(*arguments)
            if not axes:
                return found
            named = zip(layout.results, found, strict=True)
            return tuple(part if "b" in names.split() else jax.lax.psum(part, axes) for names, part in named)

        def spread(names: str) -> jax.sharding.Sharding:
            if mesh.empty:  # XLA's own names for a sharding, which say nothing of axes: all of it everywhere
                return SingleDeviceSharding(jax.devices()[0])
            return NamedSharding(mesh, PartitionSpec(*(axes if name == "b" else None for name in names.split())))

        return mesh, share, tuple(map(spread, layout.results)), tuple(map(spread, layout.arguments))

    # In the order in which the rule names them, which XLA insists on.
    every = dict.fromkeys(name for names in layout.arguments + layout.results for name in names.split())
    function = custom_partitioning(layout.function)
    function.def_partition(
        partition,
        sharding_rule=f"{', '.join(layout.arguments)} -> {', '.join(layout.results)}",
        need_replication_factors=tuple(name for name in every if name != "b"),
    )
    looped: Callable[..., Sequence[Array]] = jax.custom_batching.sequential_vmap(function)
    return looped


def _batch_axes(layout: Layout, arguments: Sequence[Any]) -> tuple[str, ...] | None:
    """The mesh axes that split the batch into equal shares, of the first argument that is split; None: it is whole."""
    for names, argument in zip(layout.arguments, arguments, strict=True):
        if "b" not in names.split() or not isinstance(argument.sharding, NamedSharding):
            continue
        position = names.split().index("b")
        axes = argument.sharding.spec[position]
        if not axes:
            continue
        axes = axes if isinstance(axes, tuple) else (axes,)
        shares = 1
        for axis in axes:
            shares *= argument.sharding.mesh.shape[axis]
        # Where it does not go in, XLA fills the last share with rows of anything, which would count in a sum.
        return axes if argument.shape[position] % shares == 0 else None
    return None
