"""The two kernels of `backend="mosaic"`: T steps forward, and T steps back, of a tile of the batch.

A block of the grid owns 64 sequences from the first step to the last and meets no other block. Each of its threads, as
Mosaic calls a warpgroup of 128, owns 32 units of every gate: their part of the carry stays in its registers, and per
step it reads what was computed outside for all steps at once. What all units have to know of each other, the factors of
the products with W_hh, goes through shared memory, beside W_hh itself: between writing there and reading, and between
reading and the next writing, all threads meet at a barrier.

`wgmma` wants the second factor by columns: forward the blocks of W_hh come transposed, so that both passes are alike.

Everything here is padded as `backend.py` does it.
"""

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.experimental import pallas as pl
from jax.experimental.pallas import mosaic_gpu

from rnn_jax.backends.mosaic.backend import ROWS, UNITS
from rnn_jax.backends.pallas.steps import STEPS
from rnn_jax.bptt.rule import at_h
from rnn_jax.bptt.through_time import controlled_step_back
from rnn_jax.cells.cell import Cell, hidden
from rnn_jax.controls import StepMasks, controlled_step
from rnn_jax.segments import widen
from rnn_jax.sharding import alike, shaped
from rnn_jax.types import Array, C, Params, Tree, tree_map

gpu: Any = mosaic_gpu  # whose names and arguments differ between versions of JAX
Products = Callable[[tuple[Array, ...]], tuple[Array, ...]]
"""Factors `[64, 32]` of every thread to their products with the G blocks `[H, H]`, its columns `[64, 32]` of each."""


def forward(
    cell: Cell[Params, C],
    reverse: bool,
    blocks: Array,
    states: tuple[C, Array | None],
    per_step: tuple[Any, StepMasks],
    keep: Callable[[C], Tree],
    interpret: bool,
) -> tuple[C, Tree]:
    """The final carry, arrays `[B, H]`, and what `keep` takes of the carry after each step, arrays `[T, B, H]`.

    Args:
        cell: a cell of `STEPS`.
        reverse: from the last step to the first.
        blocks: the transposed blocks of W_hh, `[G, H, H]`.
        states: the initial carry, arrays `[B, H]`, and b_hn as `[B, H]`.
        per_step: `Cell.project` of all steps, arrays `[T, B, H]`, and masks, int32 `[T, B]`.
        keep: all of the carry where the backward pass will want it, else h alone.
        interpret: simulates a GPU on a CPU.
    """
    num_steps = jax.tree.leaves(per_step[0])[0].shape[0]

    def kernel(tile: "Tile", inputs: Any, outputs: Any, products: Products) -> None:
        states_refs, per_step_refs = inputs
        final_refs, kept_refs = outputs
        initial, b_hn = tile.load(states_refs)

        def step(index: Array, carry: C) -> C:
            t = num_steps - 1 - index if reverse else index
            h_w = products((hidden(carry),))
            projected, now = tile.load(per_step_refs, t)
            if now.reset is not None:  # the product with zeros, which the other threads do not have yet
                h_w = tuple(jnp.where(now.reset, 0, product) for product in h_w)

            def recur(b_hn: Any, carry: Any, projected: Any) -> tuple[Any, Array]:
                carry = STEPS[cell.name].recur(h_w, b_hn, carry, projected)
                return carry, hidden(carry)

            carry, _ = controlled_step(replace(cell, recur=recur), b_hn, carry, projected, now)
            tile.store(kept_refs, keep(carry), t)
            return carry

        tile.store(final_refs, lax.fori_loop(np.int32(0), np.int32(num_steps), step, initial))

    initial = states[0]
    kept = tree_map(lambda a: jax.ShapeDtypeStruct((num_steps, *a.shape), a.dtype), keep(initial))
    found: tuple[C, Tree] = over_tiles(kernel, 1, blocks, (states, per_step), (initial, kept), interpret)
    return found


def back(
    cell: Cell[Params, C],
    reverse: bool,
    blocks: Array,
    dfinal: C,
    per_step: tuple[Any, Array, StepMasks],
    interpret: bool,
) -> tuple[C, tuple[Array, ...]]:
    """dL/d(initial carry), arrays `[B, H]`, and dz, G arrays `[T, B, H]`: all in float32.

    Args:
        cell: a cell of `STEPS`.
        reverse: whether the forward pass ran from the last step to the first.
        blocks: the blocks of W_hh, `[G, H, H]`.
        dfinal: dL/d(final carry), arrays `[B, H]`.
        per_step: what `Rule.recompute` makes of all steps and dL/dy_t, arrays `[T, B, H]`, and masks, int32 `[T, B]`.
        interpret: simulates a GPU on a CPU.
    """
    num_steps, num_gates = per_step[1].shape[0], blocks.shape[0]

    def kernel(tile: "Tile", inputs: Any, outputs: Any, products: Products) -> None:
        dfinal_refs, per_step_refs = inputs
        dinitial_refs, dz_refs = outputs

        def step_of_cell(local: Any, dcarry: Any) -> tuple[Any, tuple[Array, ...]]:
            dbefore, dz, factors = STEPS[cell.name].step(local, dcarry)
            first, *others = products(factors)
            return at_h(dbefore, sum(others, start=first)), dz

        def step(index: Array, dcarry: C) -> C:
            t = index if reverse else num_steps - 1 - index
            local, dy, now = tile.load(per_step_refs, t)
            dcarry, dz = controlled_step_back(step_of_cell, dcarry, local, dy, now)
            tile.store(dz_refs, dz, t)
            return dcarry

        initial = tile.load(dfinal_refs)
        tile.store(dinitial_refs, lax.fori_loop(np.int32(0), np.int32(num_steps), step, initial))

    dfinal = widen(dfinal)
    dz = (jax.ShapeDtypeStruct(per_step[1].shape, hidden(dfinal).dtype),) * num_gates
    found: tuple[C, tuple[Array, ...]]
    found = over_tiles(kernel, num_gates, blocks, (dfinal, per_step), (dfinal, dz), interpret)
    return found


class Tile:
    """The part of all arrays that a thread has to do with: 64 rows of the batch, and 32 units."""

    def __init__(self) -> None:
        self.rows = pl.ds(lax.axis_index("tile") * ROWS, ROWS)
        self.units = pl.ds(lax.axis_index("thread") * UNITS, UNITS)

    def load(self, refs: Tree, t: Array | None = None) -> Tree:
        """Its part of arrays `[B, H]`, of arrays `[T, B, H]` at step t, or of masks `[T, B]`, as bool `[64, 32]`."""
        return tree_map(partial(self._load, () if t is None else (t,)), refs)

    def _load(self, step: tuple[Array, ...], ref: Any) -> Array:
        if ref.ndim == len(step) + 2:
            part: Array = gpu.load(ref.at[*step, self.rows, self.units], optimized=False)
            return part
        mask = gpu.load(ref.at[*step, self.rows], optimized=False)
        return lax.broadcast_in_dim(mask, (ROWS, UNITS), (0,)) != 0

    def store(self, refs: Tree, values: Tree, t: Array | None = None) -> None:
        """The same for writing."""
        step = () if t is None else (t,)
        for ref, value in zip(jax.tree.leaves(refs), jax.tree.leaves(values), strict=True):
            part = ref.at[*step, self.rows, self.units]
            if hasattr(gpu, "store"):  # JAX 0.12, which else refuses to write less than whole sectors of 32 bytes
                gpu.store(part, value, optimized=False)
            else:
                part[...] = value


def over_tiles(
    kernel: Callable[[Tile, Any, Any, Products], None],
    num_factors: int,
    blocks: Array,
    inputs: Any,
    outputs: tuple[Any, Any],
    interpret: bool,
) -> Any:
    """Runs `kernel(tile, inputs, outputs, products)`, pytrees of references, on every tile of the batch.

    Args:
        kernel: see above.
        num_factors: how many arrays it multiplies at a step: one with all blocks, or G with one each.
        blocks: `[G, H, H]`, which the products are with, transposed.
        inputs: arrays `[B, H]`, `[T, B, H]` and, of int32, `[T, B]`.
        outputs: a pair of pytrees of shapes `[B, H]` and `[T, B, H]`.
        interpret: see above.
    """
    (blocks, *arrays), structure = jax.tree.flatten(alike((blocks, inputs)))
    shapes, output_structure = jax.tree.flatten(outputs)
    num_gates, size, _ = blocks.shape
    dtype, threads = blocks.dtype, size // UNITS

    def flat_kernel(blocks_ref: Any, *refs: Any) -> None:
        *reads_and_writes, weights, shared, arrived, met = refs
        tile = Tile()

        def meet() -> None:
            gpu.barrier_arrive(met)
            gpu.barrier_wait(met)

        def products(factors: tuple[Array, ...]) -> tuple[Array, ...]:
            for at, factor in enumerate(factors):
                shared[at, :, tile.units] = factor.astype(dtype)
            gpu.commit_smem()
            meet()

            def multiply(*sums: Any) -> tuple[Array, ...]:
                for gate, its_sum in enumerate(sums):
                    factor = shared.at[gate if num_factors > 1 else 0]
                    gpu.wgmma(its_sum, factor, weights.at[gate, tile.units].transpose((1, 0)))
                gpu.wgmma_wait(0)
                return tuple(its_sum[...] for its_sum in sums)

            found: tuple[Array, ...] = pl.run_scoped(multiply, *[gpu.ACC((ROWS, UNITS), jnp.float32)] * num_gates)
            meet()
            return found

        @pl.when(lax.axis_index("thread") == 0)
        def _() -> None:
            gpu.copy_gmem_to_smem(blocks_ref, weights, arrived)

        gpu.barrier_wait(arrived)
        _, reads = jax.tree.unflatten(structure, [blocks_ref, *reads_and_writes[: len(arrays)]])
        kernel(tile, reads, jax.tree.unflatten(output_structure, reads_and_writes[len(arrays) :]), products)

    swizzled = (gpu.TilingTransform((8, UNITS)), gpu.SwizzleTransform(UNITS * dtype.itemsize))
    run = gpu.kernel(
        flat_kernel,
        out_type=tuple(shaped(each.shape, each.dtype, blocks) for each in shapes),
        scratch_types=(
            gpu.SMEM(blocks.shape, dtype, transforms=swizzled),
            gpu.SMEM((num_factors, ROWS, size), dtype, transforms=swizzled),
            gpu.Barrier(),
            gpu.Barrier(num_arrivals=threads),
        ),
        grid=(shapes[0].shape[0] // ROWS,),
        grid_names=("tile",),
        num_threads=threads,
        thread_name="thread",
        compiler_params=gpu.CompilerParams(approx_math=dtype == jnp.bfloat16),
        interpret=gpu.InterpretGPUParams() if interpret else None,
    )
    return jax.tree.unflatten(output_structure, run(blocks, *arrays))
