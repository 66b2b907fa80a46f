"""From a call of `unroll` to a fixed point and back: carries as vectors, masks as a part of the step, the gradient."""

import math
from collections.abc import Callable
from functools import partial
from typing import Any, Generic, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from rnn_jax.backends import scan
from rnn_jax.backends.derivatives import Passes, by_hand
from rnn_jax.backends.newton.solver import Solution, jacobians, solve
from rnn_jax.backends.refusals import Refusal, of_symbolic_sizes
from rnn_jax.cells.cell import Cell
from rnn_jax.controls import StepMasks, controlled_step
from rnn_jax.segments import like, previous, widen
from rnn_jax.types import Array, C, Carry, P, Params, Projected, Tree, tree_map

MAX_ITERATIONS = 100
"""After so many the scan takes over."""
LARGEST_MATRIX = 64
"""N, the numbers in one sequence's carry, up to which Jacobians are matrices; beyond, their diagonals."""
TIME = slice(0, 1)
"""Of the sizes of xs, the one that a prefix halves."""


class Arguments(NamedTuple):
    """What a derivative may be asked of: those of `run`, and the masks that are numbers."""

    params: Params
    carry: Carry
    xs: Array
    zoneout: Any
    perturbations: Any


def refusal(cell: Cell[Params, Carry], params: Params, carry: Carry, xs: Array, masks: StepMasks) -> Refusal | None:
    """Why it cannot compute this: numbers without derivatives, or a number of steps that is a symbol."""
    del masks
    for name, tree in (("carry", carry), ("parameters", params)):
        others = {leaf.dtype.name for leaf in jax.tree.leaves(tree) if not jnp.issubdtype(leaf.dtype, jnp.floating)}
        if others:
            has = f"{' and '.join(sorted(others))} in the {name} of {cell.name!r}"
            return Refusal("cell", f"takes derivatives, which there are none of {has}")
    return of_symbolic_sizes(xs, TIME)


def run(cell: Cell[P, C], reverse: bool, params: P, carry: C, xs: Array, masks: StepMasks) -> tuple[C, Array]:
    """Runs the cell over xs `[T, *batch, I]`: the final carry and ys `[T, *batch, O]`."""
    if not len(xs):
        return scan.run(cell, reverse, params, carry, xs, masks)
    passes = Passes(
        partial(definition, cell, reverse), partial(forward, cell, reverse), partial(backward, cell, reverse)
    )
    zoneout = jax.tree.map(lambda share: share.astype(jnp.result_type(share, xs)), masks.zoneout)
    args = Arguments(params, carry, xs, zoneout, masks.perturbations)
    found: tuple[C, Array] = by_hand(passes, args, masks._replace(zoneout=None, perturbations=None))
    return found


def definition(cell: Cell[P, C], reverse: bool, args: Arguments, masks: StepMasks) -> tuple[C, Array]:
    """What `run` computes, one step after the other."""
    masks = masks._replace(zoneout=args.zoneout, perturbations=args.perturbations)
    return scan.run(cell, reverse, args.params, args.carry, args.xs, masks)


class Steps(Generic[P, C]):
    """All steps of a call at once, each from a carry that is given: vectors `[T, *batch, N]`, at least in float32.

    Attributes:
        args: those of the call, widened.
        start: the carry before the first step, `[*batch, N]`.
        slopes: of `solve`: whole Jacobians, or diagonals where N is above `LARGEST_MATRIX`.
    """

    def __init__(self, cell: Cell[P, C], args: Arguments, masks: StepMasks) -> None:
        self.cell, self.masks, self.args = cell, masks, widen(args)
        self.rank = args.xs.ndim - 2
        self.start = self.pack(self.args.carry, self.rank)
        self.diagonal = self.start.shape[-1] > LARGEST_MATRIX
        self.slopes = partial(jacobians, self.states, self.diagonal)
        self.projected = cell.project(self.args.params, self.args.xs)

    def pack(self, carry: C, rank: int) -> Array:
        """A carry, arrays with `rank` leading axes, as one vector for each of their entries."""
        parts = [part.reshape(*part.shape[:rank], math.prod(part.shape[rank:])) for part in jax.tree.leaves(carry)]
        return jnp.concatenate([part.astype(jnp.result_type(*parts)) for part in parts], axis=-1)

    def unpack(self, vectors: Array) -> C:
        """The carry that `vectors`, `[..., N]`, stand for, in the types of the widened one."""
        leaves, tree = jax.tree.flatten(self.args.carry)
        ends = np.cumsum([math.prod(leaf.shape[self.rank :]) for leaf in leaves])
        parts = [
            part.reshape(*part.shape[:-1], *leaf.shape[self.rank :]).astype(leaf.dtype)
            for part, leaf in zip(jnp.split(vectors, ends[:-1], axis=-1), leaves, strict=True)
        ]
        carry: C = jax.tree.unflatten(tree, parts)
        return carry

    def run(self, args: Arguments, before: Array, projected: Projected | None = None) -> tuple[Array, Array]:
        """From the carry before each step, `[T, *batch, N]`: that after it, and ys `[T, *batch, O]`."""
        masks = self.masks._replace(zoneout=args.zoneout, perturbations=args.perturbations)
        if projected is None:
            projected = self.cell.project(args.params, args.xs)
        after, ys = controlled_step(self.cell, args.params, self.unpack(before), projected, masks)
        return self.pack(after, self.rank + 1).astype(before.dtype), ys

    def states(self, before: Array) -> Array:
        """What an iteration asks for: the first of what `run` gives, of inputs that are projected once."""
        return self.run(self.args, before, self.projected)[0]


def solved(
    cell: Cell[P, C], reverse: bool, args: Arguments, masks: StepMasks, **options: Any
) -> tuple[tuple[C, Array], Solution]:
    """The outputs by Newton's method alone, and how it went; options: those of `solve`."""
    # A gradient that is cut is no slope for Newton's method.
    steps: Steps[P, C] = Steps(cell, args, masks._replace(truncate=None))
    options = {"max_iterations": min(len(args.xs), MAX_ITERATIONS)} | options
    solution = solve(steps.states, steps.slopes, steps.start, len(args.xs), reverse=reverse, **options)
    _, ys = steps.run(steps.args, previous(steps.start, solution.states, reverse))
    final = steps.unpack(solution.states[0 if reverse else -1])
    types = jax.eval_shape(partial(definition, cell, reverse), args, masks)
    return tree_map(lambda a, of: a.astype(of.dtype), (final, ys), types), solution


def forward(
    cell: Cell[P, C], reverse: bool, args: Arguments, masks: StepMasks, save: bool
) -> tuple[tuple[C, Array], Solution]:
    """The outputs of `run`, and what its backward pass needs."""
    del save  # the states are there anyway
    outputs, solution = solved(cell, reverse, args, masks)
    return unless(solution.converged, outputs, partial(definition, cell, reverse), args, masks), solution


def backward(
    cell: Cell[P, C], reverse: bool, args: Arguments, masks: StepMasks, solution: Solution, cotangents: tuple[C, Array]
) -> Arguments:
    """The gradient of every array of `args`, by the transposed recurrence, a fixed point too and a linear one.

        g_{t-1} = J_t^T g_t + (dy_t / ds_{t-1})^T dL/dy_t,    g_T = dL/ds_T

    With whole Jacobians one prefix solves it, with diagonals as many as it takes. Where it is not solved, or the states
    are none of Newton's, the gradient is that of the scan.
    """
    steps: Steps[P, C] = Steps(cell, args, masks)
    before = previous(steps.start, solution.states, reverse)
    _, pull = jax.vjp(steps.run, steps.args, before)
    last, dys = steps.pack(widen(cotangents[0]), steps.rank).astype(before.dtype), widen(cotangents[1])
    # Linear in them: so that a residual is measured against a gradient of about 1.
    scale = jnp.maximum(jnp.abs(last).max(initial=0), jnp.abs(dys).max(initial=0)).astype(before.dtype)
    scale = jnp.where(scale > 0, scale, 1)
    last, dys = last / scale, (dys / scale).astype(dys.dtype)
    _, matrices = steps.slopes(before)
    turned = matrices if steps.diagonal else matrices.swapaxes(-1, -2)

    def back(after: Array) -> Array:
        found: Array = pull((after, dys))[1]
        return found

    most, length = min(len(args.xs), MAX_ITERATIONS), len(args.xs)
    found = solve(back, lambda g: (back(g), turned), last, length, max_iterations=most, reverse=not reverse)
    dargs: Arguments = pull((previous(last, found.states, not reverse), dys))[0]
    dargs = dargs._replace(carry=steps.unpack(found.states[-1 if reverse else 0]))
    dargs = like(tree_map(lambda a: a * scale.astype(a.dtype), dargs), args)

    def one_after_the_other(args: Arguments, cotangents: tuple[C, Array]) -> Arguments:
        dargs: Arguments = jax.vjp(lambda args: definition(cell, reverse, args, masks), args)[1](cotangents)[0]
        return dargs

    return unless(solution.converged & found.converged, dargs, one_after_the_other, args, cotangents)


def unless(right: Array, found: Tree, instead: Callable[..., Tree], *of: Any) -> Tree:
    """`found` where it is `right`, a bool; else `instead(*of)`, computed only where it is needed.

    A loop of at most one round, since `jax.vmap` makes a `lax.cond` compute both sides; the barrier keeps XLA from
    computing ahead of the loop what does not change in it.
    """

    def once(state: tuple[Array, Tree]) -> tuple[Array, Tree]:
        _, now = lax.optimization_barrier((state[0], of))
        return jnp.ones_like(state[0]), instead(*now)

    return lax.while_loop(lambda state: ~state[0], once, (right, found))[1]
