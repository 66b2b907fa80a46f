"""Arrays that are spread over the devices of a mesh: what a computation has to know of it.

JAX has three ways to spread a batch, and each reaches an unroll as something else:

- `jax.shard_map`: a device's share, whose type names the mesh axes along which values differ. `alike` gives one such
  type to all that goes into a loop, since a loop cannot change a type that it carries.
- explicit axes (`jax.sharding.AxisType.Explicit`): arrays whose type says how they are spread. `per_device` makes a
  `shard_map` of it.
- automatic axes, the default: nothing can be seen while a function is traced, and XLA splits each operation. What it
  cannot see into has to tell it how: `rnn_jax.backends.native.partitioned`.
"""

from collections.abc import Callable
from typing import Any, TypeVar

import jax
from jax.sharding import AxisType, NamedSharding, PartitionSpec

from rnn_jax.controls import StepMasks
from rnn_jax.types import Array, C, DType, P, Tree, tree_map

Arguments = TypeVar("Arguments", bound=tuple[Any, ...])


def varying(tree: object) -> frozenset[str]:
    """The mesh axes along which any array of a pytree differs, inside `jax.shard_map`; none outside of it."""
    return frozenset().union(*map(_varying, jax.tree.leaves(tree)))


def _varying(array: Array) -> frozenset[str]:
    kind = jax.typeof(array)
    axes: frozenset[str] = kind.manual_axis_type.varying if hasattr(kind, "manual_axis_type") else kind.vma
    return axes


def shaped(shape: tuple[int, ...], dtype: DType, like: Array) -> jax.ShapeDtypeStruct:
    """The type of an array that differs along the mesh axes along which `like` does."""
    kind = jax.typeof(like)
    name = "manual_axis_type" if hasattr(kind, "manual_axis_type") else "vma"
    found: jax.ShapeDtypeStruct = jax.ShapeDtypeStruct(shape, dtype, **{name: getattr(kind, name)})
    return found


def vary(tree: Tree, axes: frozenset[str]) -> Tree:
    """`tree` with arrays whose type lets them differ along these mesh axes; their derivatives are sums over the axes.

    Args:
        tree: a pytree of arrays.
        axes: names of axes of `jax.shard_map`.
    """

    def cast(array: Array) -> Array:
        missing = tuple(sorted(axes - _varying(array)))
        return jax.lax.pcast(array, missing, to="varying") if missing else array

    return tree_map(cast, tree) if axes else tree


def has_checks(tree: object) -> bool:
    """Whether an unroll of these arrays is inside a `jax.shard_map` that checks types, the one of `per_device` too."""
    return bool(varying(tree)) or _explicit_mesh(tree) is not None


def _explicit_mesh(tree: object) -> Any:
    """The mesh of a pytree's arrays where it has an explicit axis, or None."""
    meshes = (jax.typeof(leaf).sharding.mesh for leaf in jax.tree.leaves(tree))
    return next((mesh for mesh in meshes if AxisType.Explicit in (mesh.axis_types or ())), None)


def alike(tree: Tree) -> Tree:
    """`tree` with arrays of one type: each differs along every mesh axis along which one of them does."""
    return vary(tree, varying(tree))


def per_device(
    run: Callable[[P, C, Array, StepMasks], tuple[C, Array]], params: P, carry: C, xs: Array, masks: StepMasks
) -> tuple[C, Array]:
    """`run(params, carry, xs, masks)`, where the mesh has explicit axes by each device for its share of the batch.

    The batch stays as it is spread: as that of xs, or of the carry where xs is whole. What else is spread (parameters,
    time, features) is gathered.

    Args:
        run: from the parameters, the carry `[*batch, ...]`, xs `[T, *batch, I]` and masks to the final carry and ys
            `[T, *batch, O]`.
        params, carry, xs, masks: its arguments.

    Returns: what `run` does, spread as the batch is.
    """
    types = [jax.typeof(leaf).sharding for leaf in jax.tree.leaves((params, carry, xs, masks))]
    mesh = _explicit_mesh((params, carry, xs, masks))
    # Inside a `shard_map` over other axes of the mesh there is nothing to do unless these spread something.
    done = mesh is not None and AxisType.Manual in mesh.axis_types and not any(any(kind.spec) for kind in types)
    if mesh is None or done:
        return alike_inside(run, params, carry, xs, masks)
    kinds = dict(zip(mesh.axis_names, mesh.axis_types, strict=True))
    explicit = {name for name, kind in kinds.items() if kind == AxisType.Explicit}
    if len(explicit) == len(kinds):  # none named is all but those that a `jax.vmap` has taken
        explicit = set()
    num_batch_axes = xs.ndim - 2
    specs = [jax.typeof(xs).sharding.spec[1:-1]]
    specs += [jax.typeof(leaf).sharding.spec[:num_batch_axes] for leaf in jax.tree.leaves(carry)]
    batch = next((tuple(spec) for spec in specs if any(spec)), ())

    whole, steps, state = PartitionSpec(), PartitionSpec(None, *batch), PartitionSpec(*batch)
    # A cut that all sequences share is [T].
    of_masks = jax.tree.map(lambda leaf: steps if leaf.ndim > 1 else whole, masks)
    of_arguments = (tree_map(lambda _: whole, params), tree_map(lambda _: state, carry), steps, of_masks)
    spread = jax.tree.map(lambda spec: NamedSharding(mesh, spec), of_arguments)
    arguments = tree_map(jax.sharding.reshard, (params, carry, xs, masks), spread)
    found: tuple[C, Array] = jax.shard_map(
        lambda *arguments: alike_inside(run, *arguments),
        mesh=mesh,
        in_specs=of_arguments,
        out_specs=(tree_map(lambda _: state, carry), steps),
        axis_names=explicit,
    )(*arguments)
    return found


def alike_inside(
    run: Callable[[P, C, Array, StepMasks], tuple[C, Array]], params: P, carry: C, xs: Array, masks: StepMasks
) -> tuple[C, Array]:
    """`run`, its arguments brought to one type."""
    return run(*alike((params, carry, xs, masks)))
