"""The two kernels of `backend="pallas"`: T steps forward, and T steps back, of a tile of the batch.

A program of the grid owns 16 sequences from the first step to the last and meets no other program. It loads the
recurrent weights once, before its loop over time; per step it reads what was computed outside for all steps at once
(the projected inputs; the gates, going back) and writes the carry, or dz.

Everything here is padded as `tiles.py` does it.
"""

import math
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from types import EllipsisType
from typing import TypeVar

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.experimental import pallas as pl

from rnn_jax.backends.pallas import steps
from rnn_jax.backends.pallas.steps import OnChip
from rnn_jax.backends.pallas.tiles import TILE
from rnn_jax.bptt.rule import Local
from rnn_jax.bptt.through_time import controlled_step_back
from rnn_jax.cells.cell import Cell, hidden
from rnn_jax.controls import StepMasks, controlled_step
from rnn_jax.segments import widen
from rnn_jax.sharding import alike, shaped
from rnn_jax.types import Array, C, Params, Projected, Tree, tree_map

Whole = TypeVar("Whole")
States = TypeVar("States")
PerStep = TypeVar("PerStep")
Final = TypeVar("Final")
"""Pytrees of arrays, and of references to them inside a kernel: see `over_tiles`."""


def forward(
    cell: Cell[Params, C],
    reverse: bool,
    weights: OnChip,
    initial: C,
    projected: Projected,
    masks: StepMasks,
    keep: Callable[[C], Tree],
    interpret: bool,
) -> tuple[C, Tree]:
    """The final carry, arrays `[B, H]`, and what `keep` takes of the carry after each step, arrays `[T, B, H]`.

    Args:
        cell: a cell of `steps.STEPS`.
        reverse: from the last step to the first.
        weights: blocks `[H, H]`, and `b_hn [H]`.
        initial: arrays `[B, H]`.
        projected: `Cell.project` of all steps, arrays `[T, B, H]`.
        masks: bool `[T, B]` each.
        keep: all of the carry where the backward pass will want it, else h alone.
        interpret: runs the kernel as ordinary JAX operations, on any device.
    """
    num_steps = jax.tree.leaves(projected)[0].shape[0]
    kernel_cell = replace(cell, recur=partial(steps.recur, cell.name))

    def kernel(inputs: tuple[OnChip, C, tuple[Projected, StepMasks]], outputs: tuple[C, Tree]) -> None:
        weights_refs, initial_refs, (projected_refs, masks_refs) = inputs
        final_refs, kept_refs = outputs
        weights = load(weights_refs)

        def step(index: Array, carry: C) -> C:
            t = num_steps - 1 - index if reverse else index
            now = as_bools(load(masks_refs, t))
            carry, _ = controlled_step(kernel_cell, weights, carry, load(projected_refs, t), now)
            store(kept_refs, keep(carry), t)
            return carry

        store(final_refs, lax.fori_loop(np.int32(0), np.int32(num_steps), step, load(initial_refs)))

    kept = tree_map(lambda a: jax.ShapeDtypeStruct((num_steps, *a.shape), a.dtype), keep(initial))
    return over_tiles(kernel, weights, initial, (projected, as_integers(masks)), (initial, kept), interpret)


def back(
    cell: Cell[Params, C],
    reverse: bool,
    blocks: tuple[Array, ...],
    dfinal: C,
    local: Local,
    dys: Array,
    masks: StepMasks,
    interpret: bool,
) -> tuple[C, tuple[Array, ...]]:
    """dL/d(initial carry), arrays `[B, H]`, and dz, G arrays `[T, B, H]`: all in float32 or wider.

    Args:
        cell: a cell of `steps.STEPS`.
        reverse: whether the forward pass ran from the last step to the first.
        blocks: the transposed blocks of W_hh, G arrays `[H, H]`.
        dfinal: dL/d(final carry), arrays `[B, H]`.
        local: what `Rule.recompute` makes of all steps, arrays `[T, B, H]`.
        dys: dL/dy_t, `[T, B, H]`.
        masks: bool `[T, B]` each.
        interpret: runs the kernel as ordinary JAX operations, on any device.
    """
    num_steps = dys.shape[0]

    def kernel(
        inputs: tuple[tuple[Array, ...], C, tuple[Local, Array, StepMasks]], outputs: tuple[C, tuple[Array, ...]]
    ) -> None:
        blocks_refs, dfinal_refs, (local_refs, dys_ref, masks_refs) = inputs
        dinitial_refs, dz_refs = outputs
        step_of_cell = partial(steps.step, cell.name, load(blocks_refs))

        def step(index: Array, dcarry: C) -> C:
            t = index if reverse else num_steps - 1 - index
            now = as_bools(load(masks_refs, t))
            dcarry, dz = controlled_step_back(step_of_cell, dcarry, load(local_refs, t), dys_ref[t], now)
            store(dz_refs, dz, t)
            return dcarry

        store(dinitial_refs, lax.fori_loop(np.int32(0), np.int32(num_steps), step, load(dfinal_refs)))

    dfinal = widen(dfinal)
    dz = tree_map(lambda _: jax.ShapeDtypeStruct(dys.shape, hidden(dfinal).dtype), blocks)
    return over_tiles(kernel, blocks, dfinal, (local, dys, as_integers(masks)), (dfinal, dz), interpret)


def over_tiles(
    kernel: Callable[[tuple[Whole, States, PerStep], tuple[Final, Tree]], None],
    whole: Whole,
    states: States,
    per_step: PerStep,
    outputs: tuple[Final, Tree],
    interpret: bool,
) -> tuple[Final, Tree]:
    """Runs `kernel(inputs, outputs)`, pytrees of references, once for every tile of the batch.

    Args:
        kernel: reads `(whole, states, per_step)` and writes what `outputs` names.
        whole: arrays that every program sees whole.
        states: arrays `[B, ...]`, of which a program sees its rows.
        per_step: arrays `[T, B, ...]`, of which it sees its rows of all steps.
        outputs: a pair of pytrees of shapes, like `states` and like `per_step`.
        interpret: see above.
    """
    inputs, structure = jax.tree.flatten(alike((whole, states, per_step)))
    shapes, output_structure = jax.tree.flatten(outputs)

    def flat_kernel(*refs: Array) -> None:
        reads, writes = refs[: len(inputs)], refs[len(inputs) :]
        kernel(jax.tree.unflatten(structure, reads), jax.tree.unflatten(output_structure, writes))

    in_specs = [*map(whole_of, jax.tree.leaves(whole)), *map(rows_of, jax.tree.leaves(states))]
    in_specs += map(rows_of_steps, jax.tree.leaves(per_step))
    out_specs = [*map(rows_of, jax.tree.leaves(outputs[0])), *map(rows_of_steps, jax.tree.leaves(outputs[1]))]
    run = pl.pallas_call(
        flat_kernel,
        grid=(shapes[0].shape[0] // TILE,),
        in_specs=in_specs,
        out_specs=out_specs,
        out_shape=[shaped(s.shape, s.dtype, inputs[0]) for s in shapes],
        interpret=interpret,
        compiler_params=None if interpret else compiler_params(whole),
    )
    found: tuple[Final, Tree] = jax.tree.unflatten(output_structure, run(*inputs))
    return found


def compiler_params(whole: object) -> pl.CompilerParams:
    """Triton, and how many threads share the work on `whole`."""
    from jax.experimental.pallas import triton  # 0.2 s, for those who use it

    num_bytes = sum(math.prod(array.shape) * array.dtype.itemsize for array in jax.tree.leaves(whole))
    # A thread has up to 255 registers: 8 warps hold twice as much as 4, and 4 wait less for each other.
    # One stage: a step needs the one before it, so there is nothing to fetch ahead.
    return triton.CompilerParams(num_warps=4 if num_bytes <= 2**15 else 8, num_stages=1)


def whole_of(array: Array) -> pl.BlockSpec:
    """The whole array for every program."""
    return pl.BlockSpec(array.shape, lambda tile: (0,) * array.ndim)


def rows_of(array: Array) -> pl.BlockSpec:
    """The rows of a program's tile of `[B, ...]`."""
    return pl.BlockSpec((TILE, *array.shape[1:]), lambda tile: (tile, *(0,) * (len(array.shape) - 1)))


def rows_of_steps(array: Array) -> pl.BlockSpec:
    """The rows of a program's tile of `[T, B, ...]`, at all steps."""
    num_steps, _, *rest = array.shape
    return pl.BlockSpec((num_steps, TILE, *rest), lambda tile: (0, tile, *(0,) * len(rest)))


def load(refs: Tree, t: Array | EllipsisType = ...) -> Tree:
    """The values behind a pytree of references, of step t or all."""
    return tree_map(lambda ref: ref[t], refs)


def store(refs: Tree, values: Tree, t: Array | EllipsisType = ...) -> None:
    """Writes a pytree of values to references, of step t or all."""
    for ref, value in zip(jax.tree.leaves(refs), jax.tree.leaves(values), strict=True):
        ref[t] = value


def as_integers(masks: StepMasks) -> StepMasks:
    """Masks as int32, which every lowering can load."""
    return tree_map(lambda mask: mask.astype(jnp.int32), masks)


def as_bools(masks: StepMasks) -> StepMasks:
    """The inverse of `as_integers`."""
    return tree_map(lambda mask: mask != 0, masks)
