"""A cell over time."""

from collections.abc import Callable
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.export import is_symbolic_dim

from rnn_jax.backends import BACKENDS, choose
from rnn_jax.cells.cell import Cell, dtype_of, zero_carry
from rnn_jax.controls import StepMasks, select, truncation_mask, valid_steps
from rnn_jax.segments import like, merge, split, widen
from rnn_jax.sharding import per_device
from rnn_jax.types import Array, C, P, same_structure, tree_map


def unroll(
    cell: Cell[P, C],
    params: P,
    xs: Array,
    *,
    carry: C | None = None,
    hidden_size: int | None = None,
    lengths: Array | None = None,
    mask: Array | None = None,
    resets: Array | None = None,
    reverse: bool = False,
    backend: str = "auto",
    checkpoint_every: int | None = None,
    truncate_every: int | None = None,
    zoneout: Array | C | None = None,
    perturbations: C | None = None,
) -> tuple[C, Array]:
    """Runs a cell over a sequence: carry_t, y_t = step(params, carry_{t-1}, x_t).

    Traced and compiled once for each cell, choice of options and shape, also outside of `jax.jit`: a cell that is made
    anew for every call, of other functions, is compiled anew.

    A batch that is spread over the devices of a mesh stays spread, each device computes its share, and the gradient of
    the parameters is the sum over all of it: inside `jax.shard_map`, under plain `jit`, and on a mesh with explicit
    axes, where time, features and weights are gathered if they are spread. `native` computes a batch whole, on every
    device, that `jit` has not cut into equal shares, and takes one mesh in one program.

    Args:
        cell: any `Cell`, of `rnn_jax.cells` or your own.
        params: the cell's parameters.
        xs: inputs `[T, *batch, I]`; T may be 0. Integers are taken as numbers of the parameters' type. T and batch may
            be symbols of `jax.export` (docs/export.md).
        carry: the carry before the first step, arrays `[*batch, H]`; None: zeros.
        hidden_size: H, for a cell whose parameters do not tell it; None: what `cell.sizes` says.
        lengths: `[*batch]` integers, 0..T. Past its length a sequence is padding: the carry is held, y is zero, and
            what the inputs hold there changes neither values nor gradients.
        mask: `[T, *batch]` bool, for padding anywhere: on the left, in holes. False: padding, as past a length; what
            the steps around it have is as if it were not there. With `lengths`, a step needs both.
        resets: `[T, *batch]` bool. True: the carry is zeros again just before that step, in the order of processing.
        reverse: runs from the last valid step of each sequence to the first; y_t stays at its x_t.
        backend: how values and gradients are computed.
            `scan`: differentiated by JAX; the definition.
            `manual`: the hand-derived backward pass, which stores the carries alone and recomputes the gates.
            `native`: both passes in C++, for a CPU and float32, compiled once, at the first use.
            `associative`: all steps at once, in rounds that join neighbours, for `mingru`, `minlstm` and `lru`.
            `newton`: all steps at once for any cell, as a fixed point that Newton's method finds, and the scan where
                that takes too long: `rnn_jax.diagnostics.newton_iterations` says how long it takes, of a carry of more
                than 64 numbers with `diagonal=True`.
            `cudnn`, `pallas`, `mosaic`: for an NVIDIA GPU, tested without one and not yet measured: its library's LSTM,
            one kernel for all steps with W_hh on chip (a CPU interprets it, slowly), and the same for Hopper's tensor
            cores.
            `auto`: the first of `native` (from two steps on), `manual` and `scan` that can compute the call. It also
            computes what `native`, `cudnn`, `pallas` or `mosaic` is asked for and cannot, with a warning that says why.
            Forward mode and second derivatives are in all but `cudnn`.
        checkpoint_every: k keeps the carry at every k-th step and recomputes what lies between: memory for the
            gradient grows as T/k + k instead of T, and it takes one more forward pass. Without effect where T is a
            symbol of `jax.export`.
        truncate_every: k cuts the gradient before every k-th step after the first, in the order of processing and
            counted in each sequence by itself (truncated backpropagation).
        zoneout: the share of the carry before each step that stays: one array `[T, *batch, H]` for all parts of the
            carry, or one for each in the form of the carry; 0 or 1 at random in training (Krueger et al., "Zoneout:
            regularizing RNNs by randomly preserving hidden activations", 2017), in evaluation the rate. `scan` alone
            has it, and so `auto`.
        perturbations: arrays `[T, *batch, H]` in the form of the carry, added to it after each step: with zeros, the
            derivative with respect to them is dL/dh_t (and dL/dc_t) for every t. `scan` alone has it, and so `auto`.

    Returns:
        The final carry, arrays `[*batch, H]`, and ys `[T, *batch, O]`; O is H in most cells. Of a padded sequence the
        final carry is the one after its last valid step; of an empty one, the carry it began with.

    Raises:
        ValueError: shapes or options that do not fit, with the shapes.

    Warns: `UserWarning`, once, where another back end takes the place of the one that was asked for.

    Example:

        >>> import jax, jax.numpy as jnp
        >>> from rnn_jax import cells, unroll
        >>> lstm = cells.get("lstm")
        >>> params = lstm.init_params(jax.random.key(0), input_size=3, hidden_size=5)
        >>> xs = jax.random.normal(jax.random.key(1), (7, 2, 3))
        >>> final, ys = unroll(lstm, params, xs, lengths=jnp.array([7, 4]))
        >>> ys.shape, final.c.shape, bool(jnp.all(final.h[1] == ys[3, 1])), float(jnp.abs(ys[4:, 1]).max())
        ((7, 2, 5), (2, 5), True, 0.0)
    """
    xs = jnp.asarray(xs)
    if not jnp.issubdtype(xs.dtype, jnp.floating):
        xs = xs.astype(dtype_of(params))
    _check_options(checkpoint_every, truncate_every)
    _check_inputs(cell, params, xs)
    num_steps, batch_shape = xs.shape[0], xs.shape[1:-1]
    start = _initial_carry(cell, params, xs, carry, hidden_size)
    for name, per_step in (("zoneout", zoneout), ("perturbations", perturbations)):
        _check_per_step(name, per_step, start, num_steps)
    lengths = _lengths(lengths, num_steps, batch_shape)
    mask, resets = (_flags(*each, num_steps, batch_shape) for each in (("mask", mask), ("resets", resets)))
    masks: StepMasks = _step_masks(num_steps, truncate_every, reverse, lengths, mask, resets)
    masks = masks._replace(zoneout=jax.tree.map(jnp.asarray, zoneout), perturbations=perturbations)
    run = BACKENDS[choose(backend, cell, params, start, xs, masks)].run
    outputs: tuple[C, Array] = _run(run, cell, reverse, checkpoint_every, params, start, xs, masks)
    return outputs


@partial(jax.jit, static_argnums=(0, 1, 2))
def _step_masks(
    num_steps: int,
    truncate_every: int | None,
    reverse: bool,
    lengths: Array | None,
    mask: Array | None,
    resets: Array | None,
) -> StepMasks:
    """All that the steps have to know of padding, resets and cuts."""
    valid = valid_steps(num_steps, lengths, mask)
    return StepMasks(
        valid=valid,
        holes=None if mask is None else valid,
        reset=resets,
        truncate=None if truncate_every is None else truncation_mask(num_steps, truncate_every, reverse, valid),
    )


@partial(jax.jit, static_argnums=(0, 1, 2, 3))
def _run(
    run: Callable[..., tuple[C, Array]],
    cell: Cell[P, C],
    reverse: bool,
    checkpoint_every: int | None,
    params: P,
    carry: C,
    xs: Array,
    masks: StepMasks,
) -> tuple[C, Array]:
    """`run` of a back end, compiled once for each cell and shape also where the caller compiles nothing."""
    run = partial(run, cell, reverse)

    def compute(params: P, carry: C, xs: Array, masks: StepMasks) -> tuple[C, Array]:
        if masks.valid is not None:  # so that inf or NaN in the padding cannot reach a gradient as 0 * inf
            xs = select(masks.valid, xs, jnp.zeros_like(xs))
        # A symbol for T cannot be cut into segments; values are the same without.
        if checkpoint_every is None or is_symbolic_dim(xs.shape[0]) or checkpoint_every >= xs.shape[0]:
            return run(params, carry, xs, masks)
        return _run_in_segments(run, params, carry, xs, masks, reverse, checkpoint_every)

    return per_device(compute, params, carry, xs, masks)


def _run_in_segments(
    run: Callable[[P, C, Array, StepMasks], tuple[C, Array]],
    params: P,
    carry: C,
    xs: Array,
    masks: StepMasks,
    reverse: bool,
    every: int,
) -> tuple[C, Array]:
    """`run` over segments of `every` steps, each recomputed when its gradient is due."""

    wide = widen(params)  # narrowed inside the loop, so that the loop's sum of their gradients is wide

    @jax.checkpoint
    def segment(carry: C, inputs: tuple[Array, StepMasks]) -> tuple[C, Array]:
        return run(like(wide, params), carry, *inputs)

    segments, rest = split((xs, masks), xs.shape[0], every, reverse)
    carry, ys = lax.scan(segment, carry, segments, reverse=reverse)
    if xs.shape[0] % every == 0:  # not every back end can run no steps
        return carry, merge(ys, ys[0, :0], reverse)
    carry, rest_ys = segment(carry, rest)
    return carry, merge(ys, rest_ys, reverse)


def _check_options(checkpoint_every: int | None, truncate_every: int | None) -> None:
    for name, value in (("checkpoint_every", checkpoint_every), ("truncate_every", truncate_every)):
        if value is not None and value < 1:
            raise ValueError(f"{name} must be at least 1, got {value}")


def _check_inputs(cell: Cell[P, C], params: P, xs: Array) -> None:
    if xs.ndim < 2:
        raise ValueError(f"xs must be [T, *batch, I], got shape {xs.shape}")
    if cell.sizes is not None and cell.sizes(params).input != xs.shape[-1]:
        takes = f"the parameters of {cell.name!r} take {cell.sizes(params).input}"
        raise ValueError(f"xs {xs.shape} has {xs.shape[-1]} features, {takes}")


def _initial_carry(cell: Cell[P, C], params: P, xs: Array, carry: C | None, hidden_size: int | None) -> C:
    if carry is None:
        return zero_carry(cell, params, xs.shape[1:-1], hidden_size, xs.dtype)
    if cell.sizes is None and hidden_size is None:
        return carry
    expected = jax.eval_shape(lambda: zero_carry(cell, params, xs.shape[1:-1], hidden_size, xs.dtype))
    if not same_structure(expected, carry):  # a plain pair would be h and c to some libraries, c and h to others
        names = [type(each).__name__ for each in (expected, carry)]
        raise ValueError("carry must be a {}, got a {}".format(*names))
    got, want = (jax.tree.map(jnp.shape, c) for c in (carry, expected))
    if got != want:
        raise ValueError(f"carry must be {want}, got {got}")
    carry = tree_map(jnp.asarray, carry)
    dtypes = [[part.dtype for part in jax.tree.leaves(each)] for each in (carry, expected)]
    if list(map(_kind, dtypes[0])) != list(map(_kind, dtypes[1])):
        floats = all(jnp.issubdtype(dtype, jnp.floating) for dtype in dtypes[1])
        names, wanted = (jax.tree.map(lambda part: part.dtype.name, each) for each in (carry, expected))
        raise ValueError(f"carry must be {'floating point' if floats else wanted}, got {names}")
    return carry


def _kind(dtype: np.dtype) -> object:
    kinds = (jnp.floating, jnp.complexfloating, jnp.integer)
    return next((kind for kind in kinds if jnp.issubdtype(dtype, kind)), dtype)


def _check_per_step(name: str, values: object, carry: object, num_steps: int) -> None:
    """`values` must be `[T, *batch, ...]` in the form of the carry, or one such array that suits all of its parts."""
    if values is None:
        return
    wanted = [(num_steps, *jnp.shape(part)) for part in jax.tree.leaves(carry)]
    got = [jnp.shape(part) for part in jax.tree.leaves(values)]
    one_for_all = len(got) == 1 and set(got) == set(wanted)
    if got != wanted and not one_for_all:
        should, is_now = (" and ".join(map(str, dict.fromkeys(shapes))) for shapes in (wanted, got))
        raise ValueError(f"{name} must be {should}, got {is_now}")


def _lengths(lengths: Array | None, num_steps: int, batch_shape: tuple[int, ...]) -> Array | None:
    if lengths is None:
        return None
    lengths = jnp.asarray(lengths)
    if lengths.shape != batch_shape or not jnp.issubdtype(lengths.dtype, jnp.integer):
        got = f"{lengths.dtype}{list(lengths.shape)}"
        raise ValueError(f"lengths must be integers {list(batch_shape)}, got {got}")
    if not isinstance(lengths, jax.core.Tracer):
        values = np.asarray(lengths)
        too_long = not is_symbolic_dim(num_steps) and values.max(initial=0) > num_steps
        if values.size and (values.min() < 0 or too_long):
            raise ValueError(f"lengths must be in 0..{num_steps}, got {values.min()}..{values.max()}")
    return lengths


def _flags(name: str, flags: Array | None, num_steps: int, batch_shape: tuple[int, ...]) -> Array | None:
    if flags is None:
        return None
    flags = jnp.asarray(flags)
    shape = (num_steps, *batch_shape)
    if flags.shape != shape or flags.dtype != jnp.bool_:
        got = f"{flags.dtype}{list(flags.shape)}"
        raise ValueError(f"{name} must be bool{list(shape)}, got {got}")
    return flags
