"""The contract of a cell, checked by shapes alone: nothing is computed."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from rnn_jax.cells.cell import Cell, Sizes
from rnn_jax.types import Tree, same_structure


def check(cell: Cell[Any, Any], sizes: Sizes) -> None:
    """Raises `ValueError`, with the function and the shapes, where `cell` breaks the contract of `Cell`.

    Args:
        cell: the cell.
        sizes: what its functions are tried with, without batch axes and with two of them.
    """
    if not cell.name or not isinstance(cell.name, str):
        raise ValueError(f"a cell's name must be a word, got {cell.name!r}")
    init = _call(cell, "init_params", lambda: cell.init_params(jax.random.key(0), sizes.input, sizes.hidden), sizes)
    for batch in ((2, 4), ()):
        _check_step(cell, sizes, init, batch)
    if cell.sizes is not None and tuple(cell.sizes(init)) != tuple(sizes):
        raise _broken(cell, f"sizes says {tuple(cell.sizes(init))} of parameters made for {tuple(sizes)}")
    if cell.rule is not None and cell.output is None:
        raise _broken(cell, "a rule needs output, the function from the carry to y")


def _check_step(cell: Cell[Any, Any], sizes: Sizes, params: Any, batch: tuple[int, ...]) -> None:
    carry = _call(cell, "init_carry", lambda: cell.init_carry(batch, sizes.hidden, jnp.float32), sizes)
    for part in jax.tree.leaves(carry):
        if part.shape[: len(batch)] != batch:
            raise _broken(cell, f"init_carry makes {_types(carry)} for a batch of {batch}")
    xs: Any = jax.ShapeDtypeStruct((*batch, sizes.input), jnp.float32)
    projected = _call(cell, "project", lambda: cell.project(*_zeros((params, xs))), sizes)
    for part in jax.tree.leaves(projected):
        if part.shape[: len(batch)] != batch:
            raise _broken(cell, f"project makes {_types(projected)} of inputs {xs.shape}, not the same leading axes")
    found = _call(cell, "recur", lambda: cell.recur(*_zeros((params, carry, projected))), sizes)
    if not isinstance(found, tuple) or len(found) != 2:
        raise _broken(cell, f"recur returns a {type(found).__name__}, not a carry and y")
    after, y = found
    if not same_structure(after, carry) or _types(after) != _types(carry):
        raise _broken(cell, f"recur makes a carry of {_types(after)} from one of {_types(carry)}")
    if not hasattr(y, "shape") or y.shape != (*batch, *y.shape[-1:]) or y.ndim == len(batch):
        raise _broken(cell, f"recur makes y {_types(y)}, which must be [*batch, O] for a batch of {batch}")
    if cell.output is not None:
        shown = _call(cell, "output", lambda: cell.output(_zeros(carry)), sizes)  # type: ignore[misc]
        if _types(shown) != _types(y):
            raise _broken(cell, f"output makes {_types(shown)} of the carry, and y is {_types(y)}")


def _call(cell: Cell[Any, Any], name: str, function: Callable[[], Tree], sizes: Sizes) -> Tree:
    try:
        found: Tree = jax.eval_shape(function)
        return found
    except Exception as error:  # whatever a user's function raises: which function it was is what helps
        said = str(error).strip().split("\n")[0]
        raise _broken(
            cell,
            f"{name} fails for an input size of {sizes.input} and a hidden size of {sizes.hidden} "
            f"({type(error).__name__}: {said}); trial=(I, H) says what sizes the cell can take",
        ) from error


def _broken(cell: Cell[Any, Any], reason: str) -> ValueError:
    return ValueError(f"cell {cell.name!r}: {reason}")


def _types(tree: Any) -> Any:
    return jax.tree.map(lambda a: f"{jnp.result_type(a).name}{list(jnp.shape(a))}", tree)


def _zeros(tree: Tree) -> Tree:
    zeros: Tree = jax.tree.map(lambda a: jnp.zeros(a.shape, a.dtype), tree)
    return zeros
