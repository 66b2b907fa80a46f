"""The gradient check: the same gradient by three routes that share no algebra.

    hand-derived   backend="manual": the rules of `rnn_jax.bptt`
    autodiff       backend="scan": differentiated by JAX
    finite         (L(v + step) - L(v - step)) / (2 step) for every single coordinate v, in float64

L is the sum of every output times a random number: ys and all final carries, so that an error in the gradient of one
output cannot hide behind the others. The gradient is taken in every input: parameters, xs and the initial carry.

A gradient that `truncate_every` cuts is not the gradient of L: it is left to the comparison of the two back ends.
"""

import math
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.flatten_util import ravel_pytree

from rnn_jax import cells, compose
from rnn_jax.bptt import RULES
from rnn_jax.cells import Cell
from rnn_jax.types import Array, Carry, DType, Params, Tree, tree_map

BATCH, INPUTS, HIDDEN = 4, 2, 5  # no two axes of one length: an exchange of axes cannot go unseen

STEP = 1e-5
"""Near the cube root of float64's eps, where the error of a central difference, step^2 + eps / step, is least."""


class Tolerance(NamedTuple):
    """The largest relative error that round-off explains."""

    manual: float
    finite: float


TOLERANCES = {
    # eps is 2e-16 and a gradient adds at most a few hundred terms. The finite differences themselves are good to about
    # 1e-10 of L, which is some 1e-9 of the smaller gradients.
    "float64": Tolerance(manual=1e-10, finite=1e-6),
    # eps is 1.2e-7. A sum of T * B = 268 terms, added in another order, differs by about sqrt(268) * eps = 2e-6 of its
    # terms (and by 268 * eps / 2 = 1.6e-5 at worst). Measured over cells, cases and seeds: below 1e-6.
    "float32": Tolerance(manual=1e-5, finite=1e-5),
}


class Case(NamedTuple):
    """What an unroll is run with; `lengths` and `resets` say whether there are any."""

    name: str
    num_steps: int = 7
    lengths: bool = False
    resets: bool = False
    reverse: bool = False
    num_layers: int = 1
    bidirectional: bool = False


CASES = {
    case.name: case
    for case in (
        Case("plain"),
        Case("lengths", lengths=True),
        Case("resets", resets=True),
        Case("reverse", reverse=True),
        Case("stacked", num_layers=2),
        Case("bidirectional", bidirectional=True),
        # More steps than one chunk of the manual back end, and no multiple of a chunk; all masks at once.
        Case("long", num_steps=67, lengths=True, resets=True, reverse=True),
    )
}


class Inputs(NamedTuple):
    """What the gradient is taken in: of a stack, so `params` and `carry` are tuples with one entry per layer."""

    params: Params
    xs: Array
    carry: Carry


class Point(NamedTuple):
    """Where a gradient is taken: the inputs, dL/d(final carries, ys), and the masks (None where unused)."""

    inputs: Inputs
    cotangents: tuple[Carry, Array]
    lengths: Array | None
    resets: Array | None


class Result(NamedTuple):
    """One row of the check.

    Attributes:
        cell: the cell's name.
        dtype: `float32` or `float64`.
        case: the case's name.
        manual_error: `relative_error` of the hand-derived gradient against autodiff.
        finite_error: `relative_error` of autodiff against finite differences in float64 at the same point.
        manual_tolerance: what `manual_error` may be.
        finite_tolerance: what `finite_error` may be.
    """

    cell: str
    dtype: str
    case: str
    manual_error: float
    finite_error: float
    manual_tolerance: float
    finite_tolerance: float

    @property
    def passed(self) -> bool:
        """Whether both errors are within tolerance; NaN is not."""
        return self.manual_error <= self.manual_tolerance and self.finite_error <= self.finite_tolerance


def relative_error(a_tree: object, b_tree: object) -> float:
    """How far a is from b: the largest over leaves of max|a - b| / max|b|, in float64.

    Each leaf has its own scale, so that a wrong bias shows beside large weights. Where a leaf of b is zero throughout
    it has no scale of its own and takes that of the largest leaf: round-off there is no error, a gradient is one.
    Where all of b is zero, anything else is infinitely wrong. NaN or infinity anywhere gives NaN, which passes no test.

    Args:
        a_tree: a pytree of arrays.
        b_tree: the reference, of the same structure and shapes.

    Raises: `ValueError` where the structures or shapes differ.

        >>> relative_error({"w": jnp.array([1.0, 4.0])}, {"w": jnp.array([2.0, 4.0])})
        0.25
    """
    structures: list[object] = [jax.tree.structure(tree) for tree in (a_tree, b_tree)]
    if structures[0] != structures[1]:
        raise ValueError(f"cannot compare {structures[0]} with {structures[1]}")
    leaves = zip(jax.tree.leaves(a_tree), jax.tree.leaves(b_tree), strict=True)
    pairs = [(np.asarray(a, np.float64), np.asarray(b, np.float64)) for a, b in leaves]
    for a, b in pairs:
        if a.shape != b.shape:
            raise ValueError(f"cannot compare leaves of shapes {a.shape} and {b.shape}")
    pairs = [(a, b) for a, b in pairs if b.size]
    if not all(np.isfinite(a).all() and np.isfinite(b).all() for a, b in pairs):
        return math.nan
    scales = [float(np.abs(b).max()) for _, b in pairs]
    errors = [0.0]
    for (a, b), scale in zip(pairs, scales, strict=True):
        difference, scale = float(np.abs(a - b).max()), scale or max(scales)
        if difference > 0:
            errors.append(difference / scale if scale > 0 else math.inf)
    return max(errors)


def finite_differences(f: Callable[[Tree], Array], tree: Tree, step: float = STEP) -> Tree:
    """The gradient of a scalar function by central differences: (f(v + step) - f(v - step)) / (2 step).

    Args:
        f: pytree to scalar, twice evaluated for every coordinate, all of them in one `vmap`.
        tree: where, a pytree of arrays; taken to float64.
        step: how far each coordinate is moved either way.

    Returns: a pytree like `tree`, float64.
    Raises: `ValueError` without 64-bit floats: in float32 the difference would be round-off.
    """
    require_float64()
    flat, unravel = ravel_pytree(as_dtype(tree, jnp.float64))

    def slope(offset: Array) -> Array:
        return (f(unravel(flat + offset)) - f(unravel(flat - offset))) / (2 * step)

    gradient: Tree = unravel(jax.vmap(slope)(step * jnp.eye(flat.size, dtype=flat.dtype)))
    return gradient


def require_float64() -> None:
    """Raises `ValueError` unless JAX computes in float64 where asked to."""
    if jnp.result_type(float) != jnp.float64:
        raise ValueError(
            "the gradient check needs 64-bit floats: set the environment variable JAX_ENABLE_X64=1, or call "
            "jax.config.update('jax_enable_x64', True) first"
        )


def as_dtype(tree: Tree, dtype: DType) -> Tree:
    """Every array of a pytree in `dtype`."""
    return tree_map(lambda a: jnp.asarray(a, dtype), tree)


def outputs(cell: Cell[Params, Carry], case: Case, backend: str, point: Point, inputs: Inputs) -> tuple[Carry, Array]:
    """The final carries and ys `[T, B, D * H]` of the case's stack at `inputs`."""
    options: dict[str, Any] = {} if case.bidirectional else {"reverse": case.reverse}
    return compose.unroll_stack(
        cell,
        inputs.params,
        inputs.xs,
        carry=inputs.carry,
        hidden_size=HIDDEN,
        lengths=point.lengths,
        resets=point.resets,
        backend=backend,
        **options,
    )


def gradient(cell: Cell[Params, Carry], case: Case, backend: str, point: Point) -> Inputs:
    """dL/d(inputs) by the backend's own derivative."""
    _, pull_back = jax.vjp(partial(outputs, cell, case, backend, point), point.inputs)
    gradient: Inputs = pull_back(point.cotangents)[0]
    return gradient


def finite_gradient(cell: Cell[Params, Carry], case: Case, point: Point) -> Inputs:
    """dL/d(inputs) by finite differences of the scan."""

    def loss(inputs: Inputs) -> Array:
        products = jax.tree.map(jnp.vdot, outputs(cell, case, "scan", point, inputs), point.cotangents)
        return jax.tree.reduce(jnp.add, products)

    return finite_differences(loss, point.inputs)


def draw_point(cell: Cell[Params, Carry], case: Case, seed: int) -> Point:
    """Random inputs and cotangents in float64; lengths T, 0, 1 and one between; at least one reset.

    By NumPy, because JAX would compile each of the many small draws. Parameters have the spread of PyTorch's scheme.
    """
    rng = np.random.default_rng(seed)
    xs = jnp.zeros((case.num_steps, BATCH, INPUTS), jnp.float32)

    def shapes() -> tuple[Params, Carry, Array]:
        params = compose.init_stack(jax.random.key(0), cell, INPUTS, HIDDEN, case.num_layers, case.bidirectional)
        return params, *compose.unroll_stack(cell, params, xs, hidden_size=HIDDEN)

    def normal(tree: Tree, scale: float = 1.0) -> Tree:
        return tree_map(lambda a: jnp.asarray(scale * rng.standard_normal(a.shape)), tree)

    params, carry, ys = jax.eval_shape(shapes)
    lengths = np.array([case.num_steps, 0, 1, case.num_steps // 2 + 1], np.int32)
    resets = rng.random((case.num_steps, BATCH)) < 0.25
    resets[rng.integers(1, case.num_steps), 0] = True
    return Point(
        Inputs(normal(params, (3 * HIDDEN) ** -0.5), normal(xs), normal(carry)),
        normal((carry, ys)),
        jnp.asarray(lengths) if case.lengths else None,
        jnp.asarray(resets) if case.resets else None,
    )


COMPILER_OPTIONS: dict[str, Any] = {
    "xla_backend_optimization_level": 0,
    "xla_llvm_disable_expensive_passes": True,
    "xla_cpu_parallel_codegen_split_count": 1,
}
if jax.__version_info__ < (0, 11):  # later ones have no other emitters of fused operations
    COMPILER_OPTIONS["xla_cpu_use_fusion_emitters"] = False
"""What runs once is not worth optimizing: compiling is nearly all the time that the check takes."""

# Compiled once per cell and case. The hand-derived gradient is not among them: it is what is under test, and a compiled
# copy would outlive a change of its rule.
_autodiff = jax.jit(gradient, static_argnums=(0, 1, 2), compiler_options=COMPILER_OPTIONS)
_finite = jax.jit(finite_gradient, static_argnums=(0, 1), compiler_options=COMPILER_OPTIONS)


def check(cell: Cell[Params, Carry] | str, dtype: DType, case: str, seed: int = 0) -> Result:
    """Compares the three gradients of one cell in one case.

    Args:
        cell: a cell with a hand-derived rule, or the name of one in `rnn_jax.cells`.
        dtype: of the two gradients under comparison, float32 or float64. The finite differences are taken in float64
            at the very same values.
        case: a name in `CASES`.
        seed: draws the point and the cotangents.

    Raises: `ValueError` without 64-bit floats, and for an unknown cell, dtype or case.
    """
    require_float64()
    cell, dtype_name = cells.get(cell) if isinstance(cell, str) else cell, jnp.dtype(dtype).name
    if dtype_name not in TOLERANCES:
        raise ValueError(f"no tolerance for dtype {dtype_name!r}: take one of {', '.join(TOLERANCES)}")
    if case not in CASES:
        raise ValueError(f"unknown case {case!r}: take one of {', '.join(CASES)}")
    under = CASES[case]

    with jax.default_matmul_precision("highest"):  # a GPU may round float32 products to 11 bits: not what is under test
        drawn = draw_point(cell, under, seed)
        inputs, cotangents = as_dtype((drawn.inputs, drawn.cotangents), jnp.dtype(dtype_name))
        point = drawn._replace(inputs=inputs, cotangents=cotangents)
        exact = drawn._replace(inputs=as_dtype(inputs, jnp.float64), cotangents=as_dtype(cotangents, jnp.float64))
        manual = jax.jit(partial(gradient, cell, under, "manual"), compiler_options=COMPILER_OPTIONS)(point)
        autodiff = _autodiff(cell, under, "scan", point)
        finite = _finite(cell, under, exact)
    tolerance = TOLERANCES[dtype_name]
    return Result(
        cell.name,
        dtype_name,
        case,
        relative_error(manual, autodiff),
        relative_error(autodiff, finite),
        tolerance.manual,
        tolerance.finite,
    )


def check_all(
    cells: Iterable[str] = tuple(RULES),
    dtypes: Iterable[str] = tuple(TOLERANCES),
    cases: Iterable[str] = tuple(CASES),
    seed: int = 0,
) -> Iterator[Result]:
    """`check` of every cell, case and dtype, one row at a time as it is computed.

    Args:
        cells, dtypes, cases: names, by default all.
        seed: of every `check`.
    """
    dtypes = tuple(dtypes)
    cases = tuple(cases)
    for cell_name in cells:
        for case in cases:
            for dtype in dtypes:
                yield check(cell_name, dtype, case, seed)
