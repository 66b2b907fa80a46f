"""What a type checker knows of a cell: its parameters and its carry, through an unroll and a stack of layers.

`mypy` reads this file too (pyproject.toml), so every `assert_type` is checked, and every `type: ignore` has to be one.
"""

from typing import TYPE_CHECKING, assert_type, get_args, get_overloads

import jax
import jax.numpy as jnp

from rnn_jax import Cell, cells, compose, unroll
from rnn_jax.cells import (
    CoRNNCarry,
    CoRNNParams,
    GRUCarry,
    GRUParams,
    GRUResetBeforeParams,
    IndRNNParams,
    LayerNormParams,
    LEMCarry,
    LEMParams,
    LRUCarry,
    LRUParams,
    LSTMCarry,
    LSTMParams,
    LSTMProjectionParams,
    MGUParams,
    MinGRUParams,
    MinLSTMCarry,
    MinLSTMParams,
    PeepholeParams,
    RNNCarry,
    RNNParams,
    SLSTMCarry,
    SLSTMParams,
)
from rnn_jax.compose import Directions
from rnn_jax.types import Array, C, P

KEY, XS = jax.random.key(0), jnp.ones((7, 2, 3))


def run(cell: Cell[P, C]) -> tuple[P, C]:
    """The cell's parameters, and the carry after an unroll, in shapes."""

    def both() -> tuple[P, C]:
        params = cell.init_params(KEY, 3, 5)
        final, _ = unroll(cell, params, XS)
        return params, final

    shapes: tuple[P, C] = jax.eval_shape(both)
    return shapes


def test_the_types_of_every_cell() -> None:
    """As declared for a literal name, and as they are."""
    get = cells.get
    found = {
        "rnn": assert_type(run(get("rnn")), tuple[RNNParams, RNNCarry]),
        "rnn_relu": assert_type(run(get("rnn_relu")), tuple[RNNParams, RNNCarry]),
        "rnn_identity": assert_type(run(get("rnn_identity")), tuple[RNNParams, RNNCarry]),
        "lstm": assert_type(run(get("lstm")), tuple[LSTMParams, LSTMCarry]),
        "gru": assert_type(run(get("gru")), tuple[GRUParams, GRUCarry]),
        "lstm_additive": assert_type(run(get("lstm_additive")), tuple[LSTMParams, LSTMCarry]),
        "lstm_no_forget": assert_type(run(get("lstm_no_forget")), tuple[LSTMParams, LSTMCarry]),
        "lstm_coupled": assert_type(run(get("lstm_coupled")), tuple[LSTMParams, LSTMCarry]),
        "lstm_without_dc": assert_type(run(get("lstm_without_dc")), tuple[LSTMParams, LSTMCarry]),
        "lstm_peephole": assert_type(run(get("lstm_peephole")), tuple[PeepholeParams, LSTMCarry]),
        "lstm_layer_norm": assert_type(run(get("lstm_layer_norm")), tuple[LayerNormParams, LSTMCarry]),
        "lstm_projection": assert_type(run(get("lstm_projection")), tuple[LSTMProjectionParams, LSTMCarry]),
        "gru_reset_before": assert_type(run(get("gru_reset_before")), tuple[GRUResetBeforeParams, GRUCarry]),
        "mingru": assert_type(run(get("mingru")), tuple[MinGRUParams, GRUCarry]),
        "minlstm": assert_type(run(get("minlstm")), tuple[MinLSTMParams, MinLSTMCarry]),
        "indrnn": assert_type(run(get("indrnn")), tuple[IndRNNParams, RNNCarry]),
        "mgu": assert_type(run(get("mgu")), tuple[MGUParams, GRUCarry]),
        "slstm": assert_type(run(get("slstm")), tuple[SLSTMParams, SLSTMCarry]),
        "cornn": assert_type(run(get("cornn")), tuple[CoRNNParams, CoRNNCarry]),
        "lem": assert_type(run(get("lem")), tuple[LEMParams, LEMCarry]),
        "lru": assert_type(run(get("lru")), tuple[LRUParams, LRUCarry]),
    }
    declared = {
        "rnn": (RNNParams, RNNCarry),
        "gru": (GRUParams, GRUCarry),
        "lstm_peephole": (PeepholeParams, LSTMCarry),
        "lstm_layer_norm": (LayerNormParams, LSTMCarry),
        "lstm_projection": (LSTMProjectionParams, LSTMCarry),
        "gru_reset_before": (GRUResetBeforeParams, GRUCarry),
        "mingru": (MinGRUParams, GRUCarry),
        "minlstm": (MinLSTMParams, MinLSTMCarry),
        "indrnn": (IndRNNParams, RNNCarry),
        "mgu": (MGUParams, GRUCarry),
        "slstm": (SLSTMParams, SLSTMCarry),
        "cornn": (CoRNNParams, CoRNNCarry),
        "lem": (LEMParams, LEMCarry),
        "lru": (LRUParams, LRUCarry),
    }
    literals = {name for each in get_overloads(get) for name in get_args(each.__annotations__["name"])}
    assert set(found) == literals <= set(cells.CELLS)
    for name, parts in found.items():
        family = "rnn" if name.startswith("rnn") else name
        assert tuple(map(type, parts)) == declared.get(family, (LSTMParams, LSTMCarry)), name


def test_a_stack_of_layers() -> None:
    lstm = cells.get("lstm")
    one_way = compose.init_stack(KEY, lstm, 3, 5, num_layers=2)
    assert_type(one_way, tuple[LSTMParams, ...])
    finals, ys = compose.unroll_stack(lstm, one_way, XS)
    assert_type(finals[-1].c, Array)
    both = (Directions(one_way[0], one_way[0]),)
    both_finals, _ = compose.unroll_stack(lstm, both, XS)
    assert_type(both_finals[-1].backward, LSTMCarry)
    assert type(both_finals[-1].backward) is type(finals[-1]) is LSTMCarry
    assert ys.shape == (7, 2, 5)


if TYPE_CHECKING:  # what has to be an error

    def mistakes(lstm: LSTMParams, name: str) -> None:
        final, _ = unroll(cells.get("lstm"), lstm, XS)
        print(final.z)  # type: ignore[attr-defined]
        unroll(cells.get("gru"), lstm, XS)  # type: ignore[misc]
        unroll(cells.get("lstm"), lstm, XS, carry=GRUCarry(XS[0]))  # type: ignore[misc]
        unknown, _ = unroll(cells.get(name), lstm, XS)
        print(unknown.anything)
