"""`backend="pallas"`: a persistent kernel for RNN, LSTM and GRU, forward and with the hand-derived backward pass.

A scan on a GPU starts kernels at every step and reads W_hh from memory at every step. Here one kernel runs all steps
and reads W_hh once: it stays in the shared memory of a processor, the carry in its registers. A program owns 16
sequences for their whole length, so programs never wait for each other; the price is that all of W_hh has to fit:

    G * H' * H' * bytes + 24 KiB <= shared memory        H': H rounded up to a power of two, at least 16

The 24 KiB are for a step's operands, the most that the compiler took at any size. An H100 or H200 has 227 KiB: in
float32 that is H <= 64 for the LSTM and 128 for GRU and RNN, in bfloat16 128 for LSTM and GRU and 256 for the RNN.
What goes before and after is in `rnn_jax.backends.persistent`.

Values and gradients are those of the other back ends: padding, resets, cuts, reverse, initial carry; bfloat16 with sums
and c in float32. Products follow `jax_default_matmul_precision` as anywhere in JAX: unset, a GPU rounds the factors of
float32 to TF32, and "highest" keeps them.

Tested in interpret mode, in which a CPU runs the kernels as ordinary operations, slowly; a test lowers them to Triton;
and Triton and ptxas have compiled them for compute capability 9.0. They have not run on a GPU yet, so `auto` does not
choose them. Triton is for GPUs, of which NVIDIA's are allowed here; a TPU is not covered. JAX 0.11 warns that a future
version drops its Triton lowering: `backend="mosaic"` is to take its place on Hopper.
"""

import importlib.util
from collections.abc import Callable
from functools import partial
from typing import TypeVar

import jax.numpy as jnp

from rnn_jax.backends import device, persistent
from rnn_jax.backends.pallas.steps import STEPS, OnChip
from rnn_jax.backends.pallas.tiles import blocks, pad, pad_masks, padded_size, unpad
from rnn_jax.backends.persistent import interpreted, of_the_call, of_the_interpreter
from rnn_jax.backends.refusals import Refusal
from rnn_jax.bptt import Rule
from rnn_jax.bptt.products import join
from rnn_jax.bptt.rule import Local
from rnn_jax.cells.cell import Cell
from rnn_jax.controls import StepMasks
from rnn_jax.types import Array, C, Carry, GateWeights, Params, Tree

W = TypeVar("W", bound=GateWeights)

OPERANDS_KIB = 24
"""Shared memory for what is not W_hh."""


def refusal(cell: Cell[Params, Carry], params: Params, carry: Carry, xs: Array, masks: StepMasks) -> Refusal | None:
    """Why the kernels cannot run this, or None.

    Args: those of `run`, of which shapes and types alone count.
    """
    return (
        of_the_call(STEPS, cell, params, carry, xs, masks)
        or of_the_type(params)
        or of_the_room_on_chip(cell, params)
        or of_this_machine()
        or of_the_interpreter(params, carry, xs)
    )


def of_the_type(params: Params) -> Refusal | None:
    """Why there is no kernel for the dtype of these arrays, or None."""
    dtype = params.w_hh.dtype
    if dtype.name not in ("float32", "bfloat16", "float64"):
        return Refusal("dtype", f"has no kernel in {dtype}")
    if dtype == jnp.float64 and not interpreted():
        return Refusal("dtype", "computes in float64 on a CPU alone")
    return None


def of_the_room_on_chip(cell: Cell[Params, Carry], params: Params) -> Refusal | None:
    """Why W_hh does not fit into the shared memory of a processor, or None."""
    hidden_size, itemsize = params.w_hh.shape[0], params.w_hh.dtype.itemsize
    size = padded_size(hidden_size)
    needed, room = cell.num_gates * size**2 * itemsize / 1024, device.shared_kib() - OPERANDS_KIB
    if needed <= room:
        return None
    return Refusal(
        "hidden_size",
        f"keeps w_hh on chip, which has {room} KiB for it: a hidden size of {hidden_size} takes "
        f"{cell.num_gates} * {size} * {size} * {itemsize} bytes, {needed:.0f} KiB",
    )


def of_this_machine() -> Refusal | None:
    """Why this machine cannot run the kernels, or None."""
    if device.kind() not in ("cuda", "cpu"):
        return Refusal("device", f"needs an NVIDIA GPU, or a CPU to interpret it, and this is {device.kind()}")
    if not interpreted() and importlib.util.find_spec("jax.experimental.pallas.triton") is None:
        return Refusal("device", "needs a JAX that lowers Pallas to Triton")
    return None


def forward(
    cell: Cell[W, C], reverse: bool, params: W, initial: C, xs: Array, masks: StepMasks, keep: Callable[[C], Tree]
) -> tuple[C, Tree]:
    """See `persistent.Kernels`."""
    from rnn_jax.backends.pallas import kernels  # Pallas, for those who use it

    size = padded_size(params.w_hh.shape[0])
    b_hn = getattr(params, "b_hn", None)
    weights = OnChip(blocks(params, cell.num_gates), None if b_hn is None else jnp.pad(b_hn, (0, size - b_hn.shape[0])))
    initial, projected = pad(params, (initial, cell.project(params, xs)))
    found = kernels.forward(
        cell, reverse, weights, initial, projected, pad_masks(masks), keep=keep, interpret=interpreted()
    )
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
    from rnn_jax.backends.pallas import kernels

    del rule  # its step is the kernel's
    transposed = tuple(block.T for block in blocks(params, cell.num_gates))
    batch_size = dys.shape[1]
    dfinal, local, dys = pad(params, (dfinal, local, dys))
    dinitial, dz = kernels.back(
        cell, reverse, transposed, dfinal, local, dys, pad_masks(masks), interpret=interpreted()
    )
    dinitial, dz = unpad(params, batch_size, (dinitial, dz))
    return dinitial, join(*dz)


run = partial(persistent.run, persistent.Kernels(forward, back))
"""Runs the cell over xs `[T, *batch, I]`: the final carry and ys `[T, *batch, H]`, with the hand-derived gradient.

Args, in this order: cell, reverse, params, carry, xs, masks. The caller has asked `refusal`.
"""
