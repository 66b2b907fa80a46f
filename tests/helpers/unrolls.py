"""Random problems for a cell over time, and their answers by the NumPy reference."""

from functools import cache, partial
from types import SimpleNamespace
from typing import Any

import chex
import jax
import jax.numpy as jnp
import numpy as np
from numpy.testing import assert_allclose

from helpers import reference
from rnn_jax import Cell, cells, unroll

T, B, I, H = 7, 4, 3, 5  # noqa: E741  # the axes' letters; all different, so that no axis is taken for another

XS = jnp.zeros((T, B, I))
LENGTHS = [T, 0, 4, 1]  # full, empty, between, one
FULL = {"lengths": LENGTHS, "resets": True, "carry": True}


THOROUGH = ("rnn", "rnn_relu", "rnn_identity", "lstm", "gru", "lstm_additive", "lstm_no_forget", "lstm_coupled")
THOROUGH += ("lstm_without_dc", "lstm_peephole", "lstm_layer_norm")
"""Cells that go through every table."""
FURTHER = tuple(name for name in cells.CELLS if name not in THOROUGH)
"""Cells of which one case that has everything at once says as much: the controls stand around the step."""


def case(num_steps: int = T, batch: tuple[int, ...] = (B,), **options: Any) -> SimpleNamespace:
    return SimpleNamespace(num_steps=num_steps, batch=batch, options=options)


CASES = {
    "plain": case(),
    "carry": case(carry=True),
    "lengths": case(carry=True, lengths=LENGTHS),
    "resets": case(carry=True, resets=True),
    "lengths_resets": case(**FULL),
    "reverse": case(carry=True, reverse=True),
    "reverse_lengths": case(carry=True, reverse=True, lengths=LENGTHS),
    "reverse_lengths_resets": case(reverse=True, **FULL),
    "truncate_3": case(carry=True, truncate_every=3),
    "truncate_1_lengths": case(carry=True, truncate_every=1, lengths=LENGTHS),
    "reverse_truncate_2_lengths_resets": case(reverse=True, truncate_every=2, **FULL),
    "checkpoint_dividing": case(6, carry=True, checkpoint_every=3),
    "checkpoint_not_dividing": case(checkpoint_every=3, **FULL),
    "checkpoint_each_step": case(carry=True, checkpoint_every=1),
    "checkpoint_longer_than_sequence": case(carry=True, checkpoint_every=T + 2),
    "everything": case(reverse=True, truncate_every=2, checkpoint_every=3, **FULL),
    "no_steps": case(0, carry=True, lengths=[0, 0, 0, 0], checkpoint_every=2, truncate_every=2),
    "one_step": case(1, carry=True, lengths=[1, 0, 1, 1], checkpoint_every=2, truncate_every=2),
    "no_batch_axis": case(batch=(), carry=True, lengths=4, resets=True, truncate_every=2),
    "two_batch_axes": case(batch=(2, 3), carry=True, lengths=[[T, 0, 4], [1, T, 2]], resets=True, checkpoint_every=3),
}


def draw(cell: Cell, num_steps: int, batch: tuple[int, ...], dtype=jnp.float64, seed: int = 0):
    """Parameters, inputs and a carry, all of their entries random, biases too, small enough not to saturate a gate."""
    rng = np.random.default_rng(seed)
    key = jax.random.key(0)
    shapes = jax.eval_shape(lambda: (cell.init_params(key, I, H, dtype), cell.init_carry(batch, H, dtype)))
    params, carry = jax.tree.map(lambda a: jnp.asarray(0.5 * rng.normal(size=a.shape), a.dtype), shapes)
    return params, jnp.asarray(rng.normal(size=(num_steps, *batch, I)), dtype), carry


def draw_like(tree, seed: int):
    rng = np.random.default_rng(seed)
    return jax.tree.map(lambda a: jnp.asarray(rng.normal(size=a.shape), a.dtype), tree)


def draw_resets(num_steps: int, batch: tuple[int, ...], seed: int = 1) -> np.ndarray:
    """About a third of the steps; the first and the last one of some sequences among them."""
    resets = np.random.default_rng(seed).random((num_steps, *batch)) < 0.3
    if resets.ndim > 1:
        resets[:1, ..., 0] = True
        resets[-1:, ..., -1] = True
    return resets


def problem(name: str, case: SimpleNamespace):
    """What a case stands for: the differentiable arguments, the other options, and random cotangents."""
    cell = cells.get(name)
    params, xs, carry = draw(cell, case.num_steps, case.batch)
    options = dict(case.options)
    if "lengths" in options:
        options["lengths"] = np.asarray(options["lengths"], np.int32)
    if "resets" in options:
        options["resets"] = draw_resets(case.num_steps, case.batch)
    arguments = (params, xs, carry) if options.pop("carry", False) else (params, xs)
    shape = jax.eval_shape(cell.step, params, carry, jax.ShapeDtypeStruct((*case.batch, I), xs.dtype))[1].shape
    ys = jnp.zeros((case.num_steps, *shape), xs.dtype)
    return arguments, options, draw_like((carry, ys), seed=2)


def flat(tree) -> list[np.ndarray]:
    return [np.asarray(leaf, np.float64) for leaf in jax.tree.leaves(tree)]


def by_reference(name: str, arguments, options: dict):
    """The reference's unroll as a function of flat arrays, and those arrays."""
    params = arguments[0]
    options = {key: value for key, value in options.items() if key != "checkpoint_every"}

    def run(*leaves):
        named = SimpleNamespace(**dict(zip(params._fields, leaves, strict=False)))
        xs, *carry = leaves[len(params) :]
        final, ys = reference.unroll(name, named, xs, tuple(carry) or None, **options)
        return *final, ys

    return run, flat(arguments)


@cache
def expected(name: str, case_name: str):
    """Outputs and gradients by the NumPy reference, as flat lists of arrays."""
    arguments, options, cotangents = problem(name, CASES[case_name])
    run, leaves = by_reference(name, arguments, options)
    return run(*leaves), reference.gradient(run, leaves, flat(cotangents))


QUICK = {"xla_backend_optimization_level": 0, "xla_llvm_disable_expensive_passes": True}
quick_jit = partial(jax.jit, compiler_options=QUICK)
"""`jit` that skips optimization: compilation is what takes the time here, and the answers are the same."""


def value_and_vjp(cell: Cell, backend: str, options: dict, arguments, cotangents):
    """Outputs and gradients of one unroll, as two pytrees."""

    @quick_jit
    def run(arguments, cotangents):
        def outputs(params, xs, carry=None):
            return unroll(cell, params, xs, carry=carry, backend=backend, **options)

        values, pullback = jax.vjp(outputs, *arguments)
        return values, pullback(cotangents)

    return run(arguments, cotangents)


def assert_trees_close(actual, desired, **tolerances):
    chex.assert_trees_all_equal_structs(actual, desired)
    for (path, a), d in zip(jax.tree.leaves_with_path(actual), jax.tree.leaves(desired), strict=True):
        assert_allclose(a, d, err_msg=jax.tree_util.keystr(path), **tolerances)
