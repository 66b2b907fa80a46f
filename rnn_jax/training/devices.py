"""The devices that share a training, and what lies where: replicas along one axis of a mesh, a batch along the other.

Along `seeds` each group of devices has replicas of its own and needs nothing of the others. Along `batch` each device
takes its share of the examples, and at every step the devices add up their gradients, in one message. The state is the
same on all devices of a group, but for arrays that are too large for it (`shard_above`): each device keeps a part, and
all of them put it together where they compute. The devices may belong to several processes: see
`rnn_jax.training.processes`.
"""

from collections.abc import Callable
from math import prod
from typing import TYPE_CHECKING, Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.experimental import multihost_utils
from jax.flatten_util import ravel_pytree
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec

from rnn_jax.types import Array

if TYPE_CHECKING:
    from rnn_jax.training.state import TrainState

SEEDS, BATCH = "seeds", "batch"
"""The axes of the mesh."""

EVERYWHERE = PartitionSpec()


class Devices(NamedTuple):
    """The devices of a training.

    Attributes:
        mesh: with the axes `seeds` and `batch`.
        shard_above: arrays of the state with more numbers than this lie in parts, one per device, where the devices
            divide one of their axes; None: none does.
    """

    mesh: Mesh
    shard_above: int | None = None

    @property
    def seeds(self) -> int:
        """Groups, each with a part of the replicas."""
        return self.mesh.shape[SEEDS]

    @property
    def batch(self) -> int:
        """Devices that share a batch."""
        return self.mesh.shape[BATCH]

    def spec(self, array: Any, rows: bool = False) -> PartitionSpec:
        """How an array of one replica is spread along `batch`; its first axis where those are rows of the batch."""
        if rows:
            return PartitionSpec(BATCH) if array.shape[0] % self.batch == 0 else EVERYWHERE
        if self.batch == 1 or self.shard_above is None or prod(array.shape) <= self.shard_above:
            return EVERYWHERE
        divided = (axis for axis, size in enumerate(array.shape) if size % self.batch == 0)
        axis = next(divided, None)
        return EVERYWHERE if axis is None else PartitionSpec(*[None] * axis, BATCH)

    def state_specs(self, state: "TrainState") -> "TrainState":
        """The `spec` of every array of the state of one replica."""
        specs: TrainState = jax.tree.map(self.spec, state)
        return specs._replace(carry=jax.tree.map(lambda part: self.spec(part, rows=True), state.carry))

    def of_this_process(self) -> set[jax.Device]:
        """Those that belong to this process."""
        return {device for device in self.mesh.devices.flat if device.process_index == jax.process_index()}

    def everywhere(self) -> NamedSharding:
        """Whole on every device."""
        return NamedSharding(self.mesh, EVERYWHERE)

    def of_rows(self, array: Any) -> NamedSharding:
        """Of the rows of a batch, those of each device, where it divides them."""
        return NamedSharding(self.mesh, self.spec(array, rows=True))

    def state_shardings(self, states: "TrainState") -> "TrainState":
        """Where the states of S replicas lie, leading axis S."""
        one = jax.tree.map(lambda leaf: jax.ShapeDtypeStruct(leaf.shape[1:], leaf.dtype), states)
        found: TrainState = jax.tree.map(
            lambda spec: NamedSharding(self.mesh, PartitionSpec(SEEDS, *spec)), self.state_specs(one)
        )
        return found

    def constrain(self, tree: Any, spec: PartitionSpec) -> Any:
        """Inside a program: `tree`, every array of it spread like this."""
        if self.mesh.size == 1:
            return tree
        sharding = NamedSharding(self.mesh_here(), spec)
        return lax.with_sharding_constraint(tree, jax.tree.map(lambda _: sharding, tree))

    def constrain_states(self, states: "TrainState") -> "TrainState":
        """Inside a program: the states of S replicas, where they lie."""
        if self.mesh.size == 1:
            return states
        placed: TrainState = lax.with_sharding_constraint(states, self.state_shardings(states))
        return placed

    def mesh_here(self) -> Any:
        """The mesh as it is known at this place of a program: inside `of_groups` replicas are spread already."""
        here = jax.sharding.get_abstract_mesh()
        return self.mesh if here.empty else here

    def of_groups(self, function: Callable[..., Any], shared: int) -> Callable[..., Any]:
        """`function`, of arrays with a leading axis S, called by each group of devices for its replicas.

        Args:
            function: its results have the leading axis too.
            shared: how many of its last arguments are the same for all replicas.
        """
        if self.seeds == 1:
            return function

        def of_all(*arguments: Any) -> Any:
            per_seed = len(arguments) - shared
            return jax.shard_map(
                function,
                mesh=self.mesh,
                in_specs=(PartitionSpec(SEEDS),) * per_seed + (EVERYWHERE,) * shared,
                out_specs=PartitionSpec(SEEDS),
                axis_names={SEEDS},
                check_vma=False,  # not known to what a back end calls
            )(*arguments)

        return of_all

    def of_shares(self, part: Callable[..., tuple[Any, Any, Any]], batch_size: int) -> Callable[..., tuple[Any, Any]]:
        """A function of part of a batch, called by each device for its share: the first ones have one example more.

        Args:
            part: `(size, first, device, rows [size, ...], *arguments) -> (means, weight, others)`: of the `size`
                examples from the `first` on. Where sizes differ, each is compiled: a loss needs to know nothing of
                examples that are not there.
            batch_size: B.

        Returns: `(rows [B, ...], *arguments) -> (means, others [B, ...])`, the means over all shares by their weights.
        """
        size, rest = divmod(batch_size, self.batch)
        along = PartitionSpec(BATCH) if rest == 0 else EVERYWHERE

        def on_device(rows: Any, *arguments: Any) -> tuple[Any, Any]:
            device = lax.axis_index(BATCH)
            first = device * size + jnp.minimum(device, rest)

            def share(size: int) -> Callable[..., tuple[Any, Any]]:
                def weighted(rows: Any, *arguments: Any) -> tuple[Any, Any]:
                    own = rows if rest == 0 else _slice(rows, first, size)
                    means, weight, own = part(size, first, device, own, *arguments)
                    sums = jax.tree.map(lambda mean: mean * weight, means)
                    return (sums, jnp.asarray(weight, jnp.result_type(*jax.tree.leaves(sums)))), own

                return weighted

            if rest == 0:
                sums, rows = share(size)(rows, *arguments)
            else:
                sums, rows = lax.cond(device < rest, share(size + 1), _padded(share(size)), rows, *arguments)
                every = [k * (size + 1) + i for k in range(self.batch) for i in range(size + (k < rest))]
                rows = jax.tree.map(lambda own: lax.all_gather(own, BATCH, tiled=True)[np.array(every)], rows)
            flat, unravel = ravel_pytree(sums)  # one message instead of one per array
            sums, total = unravel(lax.psum(flat, BATCH))
            return jax.tree.map(lambda sum: sum / jnp.maximum(total, 1).astype(sum.dtype), sums), rows

        def of_batch(rows: Any, *arguments: Any) -> tuple[Any, Any]:
            found: tuple[Any, Any] = jax.shard_map(
                on_device,
                mesh=self.mesh_here(),
                in_specs=(along, *(EVERYWHERE,) * len(arguments)),
                out_specs=(EVERYWHERE, along),
                axis_names={BATCH},
                check_vma=False,  # that all devices agree follows from the sum over them, which it cannot see
            )(rows, *arguments)
            return found

        return of_batch


def _slice(rows: Any, first: Array, size: int) -> Any:
    return jax.tree.map(lambda part: lax.dynamic_slice_in_dim(part, first, size), rows)


def _padded(share: Callable[..., tuple[Any, Any]]) -> Callable[..., tuple[Any, Any]]:
    """With one row more, of zeros, which nobody reads."""

    def run(*arguments: Any) -> tuple[Any, Any]:
        sums, rows = share(*arguments)
        return sums, jax.tree.map(lambda own: jnp.pad(own, [(0, 1)] + [(0, 0)] * (own.ndim - 1)), rows)

    return run


def choose(num_devices: int = 1, seed_devices: int = 1, shard_above: int | None = None) -> Devices:
    """As many devices of each process.

    Args:
        num_devices: how many share a batch.
        seed_devices: how many groups of so many devices share the replicas.
        shard_above: see `Devices`.

    Raises: `ValueError` where there are fewer, or not as many of each process.
    """
    wanted, processes = num_devices * seed_devices, jax.process_count()
    each, rest = divmod(wanted, processes)
    there: dict[int, list[Any]] = {}
    for device in jax.devices():
        there.setdefault(device.process_index, []).append(device)
    if rest or each > min(map(len, there.values())):
        found = f"there are {len(jax.devices())}" + f" of {processes} processes" * (processes > 1)
        raise ValueError(f"num_devices={num_devices} times seed_devices={seed_devices} cannot be had, {found}")
    devices = [device for process in sorted(there) for device in there[process][:each]]
    types = (AxisType.Auto,) * 2
    mesh = jax.make_mesh((seed_devices, num_devices), (SEEDS, BATCH), axis_types=types, devices=devices)
    return Devices(mesh, shard_above)


def put(tree: Any, shardings: Any) -> Any:
    """Arrays of the host, the same in every process, onto devices; each process hands over what its devices keep.

    Args:
        tree: a pytree of arrays; those of JAX that lie there already stay.
        shardings: one for all, or a pytree of them like `tree`.
    """
    if isinstance(shardings, jax.sharding.Sharding):
        shardings = jax.tree.map(lambda _: shardings, tree)
    if jax.process_count() == 1:
        return jax.device_put(tree, shardings)

    def of(array: Any, sharding: jax.sharding.Sharding) -> Array:
        if isinstance(array, jax.Array) and array.sharding.is_equivalent_to(sharding, array.ndim):
            return array
        array = np.asarray(array)
        return jax.make_array_from_callback(array.shape, sharding, lambda index: array[index])

    return jax.tree.map(of, tree, shardings)


def fetch(tree: Any) -> Any:
    """Arrays on the host, whole: all processes call it, and each receives what is on the devices of the others too."""

    def of(array: Any) -> np.ndarray:
        if isinstance(array, jax.Array) and not (array.is_fully_addressable or array.is_fully_replicated):
            array = multihost_utils.process_allgather(array, tiled=True)
        return np.asarray(array)

    return jax.tree.map(of, tree)
