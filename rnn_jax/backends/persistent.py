"""What back ends share that run all steps in one kernel and keep W_hh on chip: `pallas` and `mosaic`.

Around their kernels there are large products as in `rnn_jax.backends.manual`: the projection of the inputs before, the
gates again and the gradients of weights and inputs after, by the same rules of `rnn_jax.bptt`.

Source: Diamos et al., "Persistent RNNs: stashing recurrent weights on-chip", 2016.
"""

from collections.abc import Callable, Collection
from functools import partial
from typing import Any, NamedTuple, TypeVar

import jax
import jax.numpy as jnp

from rnn_jax.backends import device, manual
from rnn_jax.backends.derivatives import Passes, by_hand
from rnn_jax.backends.refusals import Refusal, of_nothing_to_run, of_options, of_symbolic_sizes
from rnn_jax.bptt import RULES, backward
from rnn_jax.cells import CELLS
from rnn_jax.cells.cell import Cell, hidden
from rnn_jax.controls import StepMasks, select
from rnn_jax.segments import like
from rnn_jax.sharding import has_checks
from rnn_jax.types import Array, C, Carry, GateWeights, Params, tree_map

W = TypeVar("W", bound=GateWeights)


class Kernels(NamedTuple):
    """The two kernels of a back end, for one batch axis.

    Attributes:
        forward: `(cell, reverse, params, initial, xs, masks, keep) -> (final carry, kept)`: kept is what `keep` takes
            of the carry after each step, arrays `[T, B, H]`.
        back: `(cell, rule, params, local, dys, dfinal, masks, reverse) -> (dinitial, dz [T, B, G*H])`, as
            `rnn_jax.bptt.through_time.scan_back`.
    """

    forward: Callable[..., tuple[Any, Any]]
    back: Callable[..., tuple[Any, Array]]


def run(
    kernels: Kernels, cell: Cell[W, C], reverse: bool, params: W, carry: C, xs: Array, masks: StepMasks
) -> tuple[C, Array]:
    """Runs the cell over xs `[T, *batch, I]`: the final carry and ys `[T, *batch, H]`, with the gradient by hand."""
    num_steps, *batch, _ = xs.shape
    masks = masks._replace(holes=None)  # the kernels take any `valid`
    if masks.truncate is not None and masks.truncate.ndim == 1:
        shape = (num_steps, *(1,) * len(batch))
        masks = masks._replace(truncate=jnp.broadcast_to(masks.truncate.reshape(shape), (num_steps, *batch)))
    flat = tree_map(lambda c: c.reshape(-1, c.shape[-1]), carry)
    masks = tree_map(lambda mask: mask.reshape(num_steps, -1), masks)
    size = hidden(flat).shape[0]
    passes = Passes(
        partial(manual.definition, cell, reverse),
        partial(saving, kernels, cell, reverse),
        partial(gradient, kernels, cell, reverse),
    )
    final, ys = by_hand(passes, (params, flat, xs.reshape(num_steps, size, -1)), masks)
    return tree_map(lambda f: f.reshape(*batch, -1), final), ys.reshape(num_steps, *batch, -1)


def saving(
    kernels: Kernels, cell: Cell[W, C], reverse: bool, args: tuple[W, C, Array], masks: StepMasks, save: bool
) -> tuple[tuple[C, Array], C | Array]:
    """The outputs for one batch axis, and with `save` the carry after each step, arrays `[T, B, H]`."""
    if not save:
        final, h = kernels.forward(cell, reverse, *args, masks, keep=hidden)
        return (final, outputs(h, masks)), h
    final, carries = kernels.forward(cell, reverse, *args, masks, keep=whole)
    return (final, outputs(hidden(carries), masks)), carries


def gradient(
    kernels: Kernels,
    cell: Cell[W, C],
    reverse: bool,
    args: tuple[W, C, Array],
    masks: StepMasks,
    carries: C,
    cotangents: tuple[C, Array],
) -> tuple[W, C, Array]:
    """The gradient of every array of `args` from a derivative with respect to every output."""
    params, initial, xs = args
    dfinal, dys = cotangents
    rule = RULES[cell.name]
    loop = partial(kernels.back, cell)
    gradients = backward(rule, params, xs, initial, carries, dys, dfinal, masks, reverse, loop)
    return like(gradients.params, params), like(gradients.carry, initial), like(gradients.xs, xs)


def whole(carry: C) -> C:
    """All of a carry: the backward pass wants c too."""
    return carry


def outputs(h: Array, masks: StepMasks) -> Array:
    """y_t = h_t, zero on padding."""
    return h if masks.valid is None else select(masks.valid, h, jnp.zeros_like(h))


def of_the_call(
    steps: Collection[str], cell: Cell[Params, Carry], params: Params, carry: Carry, xs: Array, masks: StepMasks
) -> Refusal | None:
    """Why no kernel computes this call on any machine, or None; `steps` are the names of the cells that have one."""
    if cell.name not in steps or cell.name not in RULES or cell != CELLS[cell.name]:
        return Refusal("cell", f"has no kernel for this cell, {cell.name!r}: only for {', '.join(steps)}")
    return (
        of_options(masks, ("zoneout", "perturbations"))
        or of_symbolic_sizes(xs)
        or of_nothing_to_run(params, xs)
        or of_mixed_types(cell, params, carry, xs)
    )


def of_mixed_types(cell: Cell[Params, Carry], params: Params, carry: Carry, xs: Array) -> Refusal | None:
    """Why no kernel takes these arrays together, or None: they need one type, and the carry what goes with it."""
    dtype = params.w_hh.dtype
    wanted = jax.eval_shape(lambda: cell.init_carry((), 1, dtype))
    found = {a.dtype for a in (*params, xs)}
    if found == {dtype} and jax.tree.map(lambda c: c.dtype, carry) == jax.tree.map(lambda c: c.dtype, wanted):
        return None
    carried = ", ".join(f"{name} {part.dtype}" for name, part in carry._asdict().items())
    return Refusal("dtype", f"needs one type: w_hh is {dtype}, xs {xs.dtype}, the carry {carried}")


def of_the_interpreter(params: Params, carry: Carry, xs: Array) -> Refusal | None:
    """Why the kernels cannot be interpreted for these arrays, or None."""
    if interpreted() and has_checks((params, carry, xs)):
        return Refusal("device", "is interpreted on a CPU, and that does not pass the checks of jax.shard_map")
    return None


def interpreted() -> bool:
    """Whether the kernels run as ordinary operations: on a CPU, for tests."""
    return device.kind() == "cpu"
