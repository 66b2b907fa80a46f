"""Whether what training takes fits into the memory that is free, before any of it is taken.

An array that is too large would end in an error of the compiler's at best; many that are each small enough are granted
one after another, until the system ends the process.
"""

import math
from collections.abc import Mapping
from typing import Any

import jax
import numpy as np

from rnn_jax.machine import available_bytes
from rnn_jax.training.errors import OutOfMemory

GIB = 2**30


def size(tree: Any, shardings: Any) -> int:
    """Bytes on each device that a pytree of arrays, or of their shapes, takes besides what it has already.

    Args:
        tree: the arrays, whole.
        shardings: a pytree like it, where they will lie.
    """

    def of(leaf: Any, sharding: jax.sharding.Sharding) -> int:
        if isinstance(leaf, jax.Array) and leaf.sharding.is_equivalent_to(sharding, leaf.ndim):
            return 0
        return math.prod(sharding.shard_shape(leaf.shape)) * np.dtype(leaf.dtype).itemsize

    return sum(jax.tree.leaves(jax.tree.map(of, tree, shardings)))


def of_program(program: jax.stages.Compiled) -> int:
    """What the compiler plans besides the arguments: temporaries, and results that take the place of no argument."""
    plan: Any = program.memory_analysis()  # None where a back end of XLA has no such thing
    if plan is None:
        return 0
    return plan.temp_size_in_bytes + max(plan.output_size_in_bytes - plan.alias_size_in_bytes, 0)


def free(devices: set[jax.Device]) -> int | None:
    """Bytes that one of the devices still has, the least of all; of CPUs, which share theirs, an equal part.

    None where nobody says.
    """
    stats = [device.memory_stats() or {} for device in devices]
    if all("bytes_limit" in each for each in stats):
        return min(each["bytes_limit"] - each.get("bytes_in_use", 0) for each in stats)
    if any(device.platform != "cpu" for device in devices):
        return None
    there = available_bytes()
    return None if there is None else there // len(devices)


def check(what: str, parts: Mapping[str, int], devices: set[jax.Device]) -> None:
    """Raises `OutOfMemory` where the parts, bytes on each device by name, are more than is free."""
    there, wanted = free(devices), sum(parts.values())
    if there is not None and wanted > there:
        split = ", ".join(f"{name} {count / GIB:,.1f}" for name, count in parts.items())
        each = f" on each of {len(devices)} devices" if len(devices) > 1 else ""
        raise OutOfMemory(
            f"{what} takes {wanted / GIB:,.1f} GiB of memory{each} ({split}), and {there / GIB:,.1f} are free"
        )
