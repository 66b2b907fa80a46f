"""`backend="mosaic"`: a persistent kernel for RNN, LSTM and GRU, whose products run on Hopper's tensor cores.

As in `backend="pallas"` one kernel runs all steps, with W_hh in shared memory and the carry in registers. This one goes
through Mosaic GPU, which JAX has in place of Triton. A block owns 64 sequences, the least that `wgmma` multiplies at
once, and each of its warpgroups 32 units with all of their gates; per step they meet twice, to hand h (going back,
dL/dz) to each other through shared memory. All of that has to fit:

    G * H' * (H' + 64) * bytes + 4 KiB <= 227 KiB        H': H rounded up to a multiple of 32, at most 256

In bfloat16 that is H <= 128 for the LSTM, 160 for the GRU and 256 for the RNN, in float32 64, 96 and 192.

Numbers: `wgmma` takes float32 as TF32, of which it reads 10 bits of the fraction and drops the rest, so float32 gives
way where `jax_default_matmul_precision` asks for more. In bfloat16 dL/dz is rounded once before its product, and the
nonlinearities are the GPU's own approximations, with errors below those of bfloat16.

Tests compare values and gradients with those of the other back ends in interpret mode, in which a CPU simulates the
threads, the memories and the barriers of a GPU, too slowly for anything else, and all threads in step: what a missing
barrier does would not show. They lower the kernels, and ptxas has compiled them for compute capability 9.0: up to
H = 64 without a spilled register, but for the LSTM's backward pass in float32, and above with up to 1 KiB of them per
thread (`python -m benchmarks.compile_for_hopper`). They have not run on a GPU yet, so `auto` does not choose them:
`launch.py benchmark --preset=gpu` is to say. `wgmma` is Hopper's alone: elsewhere the call gives way to `auto`, and so
it does in JAX 0.10, whose Mosaic cannot do this.
"""

from collections.abc import Callable
from functools import partial
from typing import TypeVar

import jax
import jax.numpy as jnp

from rnn_jax.backends import cudnn, device, persistent
from rnn_jax.backends.pallas.steps import STEPS
from rnn_jax.backends.pallas.tiles import padded
from rnn_jax.backends.persistent import interpreted, of_the_call
from rnn_jax.backends.refusals import Refusal
from rnn_jax.bptt import Rule
from rnn_jax.bptt.products import join
from rnn_jax.bptt.rule import Local
from rnn_jax.cells.cell import Cell, gates
from rnn_jax.controls import StepMasks
from rnn_jax.types import Array, C, Carry, GateWeights, Params, Tree, tree_map

W = TypeVar("W", bound=GateWeights)

ROWS, UNITS = 64, 32
"""Sequences of a block, and units of a warpgroup."""
MOST_UNITS = 256
"""Of a block: 8 warpgroups are all that it may have."""
OLDEST = (0, 11)
"""Version of JAX whose Mosaic can do this."""
OTHER_KIB = 4
"""Shared memory for barriers and what the compiler wants."""


def refusal(cell: Cell[Params, Carry], params: Params, carry: Carry, xs: Array, masks: StepMasks) -> Refusal | None:
    """Why the kernels cannot run this, or None.

    Args: those of `run`, of which shapes and types alone count.
    """
    return (
        of_the_call(STEPS, cell, params, carry, xs, masks)
        or of_the_type(params)
        or of_the_room_on_chip(cell, params)
        or of_this_machine()
    )


def of_the_type(params: Params) -> Refusal | None:
    """Why there is no kernel for the dtype of these arrays, or None."""
    dtype = params.w_hh.dtype.name
    if dtype not in ("float32", "bfloat16"):
        return Refusal("dtype", f"has no kernel in {dtype}")
    named = jax.config.jax_default_matmul_precision  # type: ignore[attr-defined]
    if dtype == "float32" and named is not None and not cudnn.rounds(named):
        return Refusal("dtype", f"rounds the factors of float32 to TF32, and the precision asked for is {named!r}")
    return None


def of_the_room_on_chip(cell: Cell[Params, Carry], params: Params) -> Refusal | None:
    """Why W_hh does not fit into the shared memory of a processor, or None."""
    hidden_size, itemsize = params.w_hh.shape[0], params.w_hh.dtype.itemsize
    size = padded_size(hidden_size)
    needed = cell.num_gates * size * (size + ROWS) * itemsize / 1024
    room = device.SHARED_KIB["9.0"] - OTHER_KIB
    if needed <= room and size <= MOST_UNITS:
        return None
    return Refusal(
        "hidden_size",
        f"keeps w_hh on chip, which has {room} KiB and {MOST_UNITS} units for it: a hidden size of {hidden_size} takes "
        f"{cell.num_gates} * {size} * ({size} + {ROWS}) * {itemsize} bytes, {needed:.0f} KiB, and {size} units",
    )


def of_this_machine() -> Refusal | None:
    """Why this machine cannot run the kernels, or None."""
    this = f"one of {device.compute_capability()}" if device.kind() == "cuda" else device.kind()
    if this != "one of 9.0":
        return Refusal("device", f"needs a Hopper GPU, of compute capability 9.0, and this is {this}")
    if jax.__version_info__ < OLDEST:
        return Refusal("device", f"needs JAX {OLDEST[0]}.{OLDEST[1]} or later, and this is {jax.__version__}")
    return None


def padded_size(hidden_size: int) -> int:
    """H as the kernels see it: a multiple of 32.

    >>> padded_size(5), padded_size(64), padded_size(65)
    (32, 64, 96)
    """
    return -(-hidden_size // UNITS) * UNITS


def pad(params: GateWeights, tree: Tree) -> Tree:
    """Arrays `[..., B, H]` as the kernels want them: zeros behind, which the cells keep at zero."""
    size = padded_size(params.w_hh.shape[0])
    return tree_map(lambda a: padded(a, -(-a.shape[-2] // ROWS) * ROWS, size), tree)


def unpad(params: GateWeights, batch_size: int, tree: Tree) -> Tree:
    """The inverse of `pad`."""
    return tree_map(lambda a: a[..., :batch_size, : params.w_hh.shape[0]], tree)


def pad_masks(masks: StepMasks) -> StepMasks:
    """Masks `[T, B]` as integers, with rows added that are False."""
    return tree_map(lambda mask: padded(mask, mask.shape[0], -(-mask.shape[1] // ROWS) * ROWS).astype(jnp.int32), masks)


def blocks(params: GateWeights, num_gates: int) -> Array:
    """W_hh as `[G, H', H']`."""
    size = padded_size(params.w_hh.shape[0])
    return jnp.stack([padded(block, size, size) for block in gates(params.w_hh, num_gates)])


def forward(
    cell: Cell[W, C], reverse: bool, params: W, initial: C, xs: Array, masks: StepMasks, keep: Callable[[C], Tree]
) -> tuple[C, Tree]:
    """See `persistent.Kernels`."""
    from rnn_jax.backends.mosaic import kernels  # Mosaic, for those who use it

    b_hn = getattr(params, "b_hn", None)
    if b_hn is not None:
        b_hn = jnp.broadcast_to(b_hn, (xs.shape[1], b_hn.shape[0]))
    whole = blocks(params, cell.num_gates).swapaxes(1, 2)
    initial, b_hn, projected = pad(params, (initial, b_hn, cell.project(params, xs)))
    masks = pad_masks(masks._replace(truncate=None))  # which changes no value
    found = kernels.forward(cell, reverse, whole, (initial, b_hn), (projected, masks), keep, interpreted())
    return unpad(params, xs.shape[1], found)


def back(
    cell: Cell[W, C],
    rule: Rule[W, C, Local],
    params: W,
    local: Local,
    dys: Array,
    dfinal: C,
    masks: StepMasks,
    reverse: bool,
) -> tuple[C, Array]:
    """See `persistent.Kernels`."""
    from rnn_jax.backends.mosaic import kernels

    del rule  # its step is the kernel's
    batch_size, whole = dys.shape[1], blocks(params, cell.num_gates)
    dfinal, local, dys = pad(params, (dfinal, local, dys))
    found = kernels.back(cell, reverse, whole, dfinal, (local, dys, pad_masks(masks)), interpreted())
    dinitial, dz = unpad(params, batch_size, found)
    return dinitial, join(*dz)


run = partial(persistent.run, persistent.Kernels(forward, back))
"""Runs the cell over xs `[T, *batch, I]`: the final carry and ys `[T, *batch, H]`, with the hand-derived gradient.

Args, in this order: cell, reverse, params, carry, xs, masks. The caller has asked `refusal`.
"""
