"""Cases with literal outputs that other projects publish: what one is, and how far a back end is from it."""

from collections.abc import Callable
from functools import cache
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from rnn_jax import cells, compose
from rnn_jax.backends import BACKENDS
from rnn_jax.cells.cell import zero_carry
from rnn_jax.compose import Directions
from rnn_jax.controls import StepMasks

ON_A_CPU = ("scan", "manual", "native", "pallas")
"""The back ends that can be run here: `pallas` is interpreted, `cudnn` needs a GPU."""

RESET_BEFORE = "gru_reset_before"
"""The name of the cell with h~ = tanh(x W_n + b_n + (r * h) W_hn), which ONNX and Keras have; gates r, z, n."""


class Case(NamedTuple):
    """A call of `compose.unroll_stack`, and what another project says that it gives.

    Attributes:
        source: the project.
        name: of the case, there.
        lacking: why it cannot be expressed here; empty: it can, and what follows counts.
        cell: the name of the cell.
        params: of a stack.
        xs: `[T, B, I]`.
        carry: of a stack; None: zeros.
        options: of `unroll`.
        calls: how many times the stack is run, each time from the carry that the last one left.
        read: `(carries, ys) -> arrays`, those that the project names.
        want: its numbers.
        tolerance: of a difference, relative to the larger of 1 and the number.
    """

    source: str
    name: str
    lacking: str = ""
    cell: str = ""
    params: tuple[Any, ...] = ()
    xs: Any = None
    carry: Any = None
    options: dict[str, Any] = {}  # noqa: RUF012  # never written to
    calls: int = 1
    read: Callable[[Any, Any], tuple[Any, ...]] = lambda carries, ys: (ys,)
    want: tuple[Any, ...] = ()
    tolerance: float = 1e-6


def backends(case: Case) -> list[str]:
    """Those of `ON_A_CPU` that compute the case themselves, by what they say of it."""
    cell, layer = cells.get(case.cell), case.params[0]
    params = layer.forward if isinstance(layer, Directions) else layer
    masks = StepMasks(
        valid=case.options.get("lengths"),
        holes=case.options.get("mask"),
        reset=case.options.get("resets"),
        zoneout=case.options.get("zoneout"),
    )
    carry = zero_carry(cell, params, case.xs.shape[1:-1])
    return [name for name in ON_A_CPU if BACKENDS[name].refusal(cell, params, carry, case.xs, masks) is None]


def error(case: Case, backend: str) -> float:
    """The largest difference between what a back end gives and what the case says, in units of its tolerance."""
    carry, ys = case.carry, None
    for _ in range(case.calls):
        carry, ys = compose.unroll_stack(
            cells.get(case.cell), case.params, case.xs, carry=carry, backend=backend, **case.options
        )
    found = case.read(carry, ys)
    assert len(found) == len(case.want) > 0
    differences = [0.0]
    for got, want in zip(found, case.want, strict=True):
        want = np.asarray(want)
        assert got.shape == want.shape, (case.name, got.shape, want.shape)
        differences.append(float(np.max(np.abs(np.asarray(got) - want) / np.maximum(1, np.abs(want)), initial=0)))
    return max(differences) / case.tolerance


@cache  # traced once for all cases of these sizes
def shapes_of(cell_name: str, input_size: int, hidden_size: int) -> Any:
    """The shapes of a cell's parameters, in float32."""
    cell = cells.CELLS[cell_name]
    return jax.eval_shape(lambda: cell.init_params(jax.random.key(0), input_size, hidden_size))


def params_of(cell_name: str, **arrays: Any) -> Any:
    """The named tuple of a cell's parameters, float32; what the cell has and `arrays` has not is zero."""
    shapes = shapes_of(cell_name, arrays["w_ih"].shape[0], arrays["w_hh"].shape[0])
    given = {name: jnp.asarray(arrays.get(name, np.zeros(s.shape)), s.dtype) for name, s in shapes._asdict().items()}
    assert {name: value.shape for name, value in given.items()} == {n: s.shape for n, s in shapes._asdict().items()}
    assert not (arrays.keys() - given.keys()), f"{cell_name} has no {arrays.keys() - given.keys()}"
    return type(shapes)(**given)


def carry_of(cell_name: str, h: Any, c: Any = None) -> Any:
    """The carry of a cell: h, and for an LSTM c."""
    kind = type(cells.CELLS[cell_name].init_carry((), 1))
    return kind(*(jnp.asarray(part) for part in ((h,) if c is None else (h, c))))


def summary(cases: list[Case]) -> dict[str, tuple[int, int, dict[str, int]]]:
    """For each source: how many cases are expressed, how many there are, and the reasons of the others, counted."""
    found: dict[str, tuple[int, int, dict[str, int]]] = {}
    for case in cases:
        expressed, total, reasons = found.get(case.source, (0, 0, {}))
        if case.lacking:
            reasons = reasons | {case.lacking: reasons.get(case.lacking, 0) + 1}
        found[case.source] = (expressed + (not case.lacking), total + 1, reasons)
    return found
