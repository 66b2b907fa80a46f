"""Data of which each device that shares a batch keeps a part: some of the rows of each array.

The order of an epoch goes through all examples, whatever the devices are, so those of a batch are scattered over them.
Who asks for rows gets them from all: each device looks up those that it keeps, and they add up what they have found, in
one message of the size of a batch. No device ever has the whole array, and a task indexes it as if it had.
"""

from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.sharding import PartitionSpec
from jax.typing import ArrayLike

from rnn_jax.training.devices import BATCH, EVERYWHERE, Devices
from rnn_jax.types import Array


@dataclass(frozen=True)
class Spread:
    """An array in parts, as a task sees it: `spread[indices]`, of any shape, takes rows, whole on every device.

    Attributes:
        array: `[N, ...]` numbers, N a multiple of the devices that share a batch.
        devices: on which it lies.
    """

    array: Array
    devices: Devices

    def __getitem__(self, indices: ArrayLike) -> Array:
        def on_device(own: Array, indices: Array) -> Array:
            places = indices - lax.axis_index(BATCH) * len(own)
            here = (places >= 0) & (places < len(own))
            rows = own[jnp.clip(places, 0, len(own) - 1)]
            return lax.psum(
                jnp.where(jnp.expand_dims(here, range(here.ndim, rows.ndim)), rows, jnp.zeros_like(rows)), BATCH
            )

        found: Array = jax.shard_map(
            on_device,
            mesh=self.devices.mesh_here(),
            in_specs=(PartitionSpec(BATCH), EVERYWHERE),
            out_specs=EVERYWHERE,
            axis_names={BATCH},
            check_vma=False,  # that all devices agree follows from the sum over them
        )(self.array, jnp.asarray(indices))
        return found


def padded(data: Any, names: Collection[str], devices: Devices) -> Any:
    """Data whose arrays of these names have rows, of zeros at their end, so that the devices divide them."""

    def of(array: Any) -> Any:
        missing = -len(array) % devices.batch
        return np.pad(array, [(0, missing)] + [(0, 0)] * (array.ndim - 1)) if missing else array

    return {**data, **{name: of(data[name]) for name in names if name in data}} if names else data


def seen(data: Any, names: Collection[str], devices: Devices | None) -> Any:
    """Data as a task sees it: a `Spread` in place of each of these arrays, where there are several devices."""
    if not names or devices is None or devices.batch == 1:
        return data
    return {**data, **{name: Spread(data[name], devices) for name in names if name in data}}
