"""Recurrent cells as pure functions, one file each; `get` finds one by name.

| name | parameters | carry | |
|---|---|---|---|
| `rnn`, `rnn_relu`, `rnn_identity` | `RNNParams` | `RNNCarry` | Elman's, by its nonlinearity |
| `lstm` | `LSTMParams` | `LSTMCarry` | with forget gate |
| `gru` | `GRUParams` | `GRUCarry` | reset after the recurrent product |
| `lstm_additive`, `lstm_no_forget`, `lstm_coupled` | `LSTMParams` | `LSTMCarry` | an LSTM with gates left out |
| `lstm_peephole` | `PeepholeParams` | `LSTMCarry` | gates that look at c |
| `lstm_layer_norm` | `LayerNormParams` | `LSTMCarry` | sums normalized over the units |
| `lstm_without_dc` | `LSTMParams` | `LSTMCarry` | its gradient is wrong on purpose |
| `lstm_projection` | `LSTMProjectionParams` | `LSTMCarry` | a state of fewer features than cells |
| `gru_reset_before` | `GRUResetBeforeParams` | `GRUCarry` | reset before the recurrent product |
| `mingru` | `MinGRUParams` | `GRUCarry` | gates from the input alone: all steps at once |
| `minlstm` | `MinLSTMParams` | `MinLSTMCarry` | likewise, with two gates that share one unit |
| `indrnn` | `IndRNNParams` | `RNNCarry` | each unit hears of itself alone |
| `mgu` | `MGUParams` | `GRUCarry` | a GRU with one gate |
| `slstm` | `SLSTMParams` | `SLSTMCarry` | exponential gates and a normalizer |
| `cornn` | `CoRNNParams` | `CoRNNCarry` | coupled oscillators |
| `lem` | `LEMParams` | `LEMCarry` | two states, steps of learnt length |
| `lru` | `LRUParams` | `LRUCarry` | linear, complex and diagonal: all steps at once |

`CELLS` is the table, and each of them a `Cell`: a few pure functions under one name. `Nonlinearities` are options of
`lstm.make` and `gru.make`.
"""

from typing import Literal, overload

from rnn_jax.cells import (
    cornn,
    gru,
    gru_reset_before,
    indrnn,
    lem,
    lru,
    lstm,
    lstm_projection,
    lstm_variants,
    mgu,
    mingru,
    minlstm,
    rnn,
    slstm,
)
from rnn_jax.cells.cell import Cell
from rnn_jax.cells.cornn import CoRNNCarry, CoRNNParams
from rnn_jax.cells.gru import GRUCarry, GRUParams
from rnn_jax.cells.gru_reset_before import GRUResetBeforeParams
from rnn_jax.cells.indrnn import IndRNNParams
from rnn_jax.cells.lem import LEMCarry, LEMParams
from rnn_jax.cells.lru import LRUCarry, LRUParams
from rnn_jax.cells.lstm import LSTMCarry, LSTMParams
from rnn_jax.cells.lstm_projection import LSTMProjectionParams
from rnn_jax.cells.lstm_variants import LayerNormParams, PeepholeParams
from rnn_jax.cells.mgu import MGUParams
from rnn_jax.cells.mingru import MinGRUParams
from rnn_jax.cells.minlstm import MinLSTMCarry, MinLSTMParams
from rnn_jax.cells.nonlinearities import Nonlinearities
from rnn_jax.cells.rnn import RNNCarry, RNNParams
from rnn_jax.cells.slstm import SLSTMCarry, SLSTMParams
from rnn_jax.types import Carry, Params

CELLS: dict[str, Cell[Params, Carry]] = {
    "rnn": rnn.make(),
    "rnn_relu": rnn.make("relu"),
    "rnn_identity": rnn.make("identity"),
    "lstm": lstm.make(),
    "gru": gru.make(),
    **{cell.name: cell for cell in lstm_variants.make()},
    "lstm_projection": lstm_projection.make(),
    "gru_reset_before": gru_reset_before.make(),
    "mingru": mingru.make(),
    "minlstm": minlstm.make(),
    "indrnn": indrnn.make(),
    "mgu": mgu.make(),
    "slstm": slstm.make(),
    "cornn": cornn.make(),
    "lem": lem.make(),
    "lru": lru.make(),
}
"""Every cell, by its name."""

LSTMName = Literal["lstm", "lstm_additive", "lstm_no_forget", "lstm_coupled", "lstm_without_dc"]


@overload
def get(name: Literal["rnn", "rnn_relu", "rnn_identity"]) -> Cell[RNNParams, RNNCarry]: ...
@overload
def get(name: LSTMName) -> Cell[LSTMParams, LSTMCarry]: ...
@overload
def get(name: Literal["gru"]) -> Cell[GRUParams, GRUCarry]: ...
@overload
def get(name: Literal["lstm_peephole"]) -> Cell[PeepholeParams, LSTMCarry]: ...
@overload
def get(name: Literal["lstm_layer_norm"]) -> Cell[LayerNormParams, LSTMCarry]: ...
@overload
def get(name: Literal["lstm_projection"]) -> Cell[LSTMProjectionParams, LSTMCarry]: ...
@overload
def get(name: Literal["gru_reset_before"]) -> Cell[GRUResetBeforeParams, GRUCarry]: ...
@overload
def get(name: Literal["mingru"]) -> Cell[MinGRUParams, GRUCarry]: ...
@overload
def get(name: Literal["minlstm"]) -> Cell[MinLSTMParams, MinLSTMCarry]: ...
@overload
def get(name: Literal["indrnn"]) -> Cell[IndRNNParams, RNNCarry]: ...
@overload
def get(name: Literal["mgu"]) -> Cell[MGUParams, GRUCarry]: ...
@overload
def get(name: Literal["slstm"]) -> Cell[SLSTMParams, SLSTMCarry]: ...
@overload
def get(name: Literal["cornn"]) -> Cell[CoRNNParams, CoRNNCarry]: ...
@overload
def get(name: Literal["lem"]) -> Cell[LEMParams, LEMCarry]: ...
@overload
def get(name: Literal["lru"]) -> Cell[LRUParams, LRUCarry]: ...
@overload
def get(name: str) -> Cell[Params, Carry]: ...
def get(name: str) -> Cell[Params, Carry]:
    """The cell called `name`, a key of `CELLS`.

    A type checker knows the parameters and the carry of a cell asked for by its literal name.

    Raises: `ValueError` for another name.

        >>> get("lstm").num_gates
        4
    """
    if name not in CELLS:
        raise ValueError(f"unknown cell {name!r}: take one of {', '.join(CELLS)}")
    return CELLS[name]


__all__ = [
    "CELLS",
    "Cell",
    "CoRNNCarry",
    "CoRNNParams",
    "GRUCarry",
    "GRUParams",
    "GRUResetBeforeParams",
    "IndRNNParams",
    "LEMCarry",
    "LEMParams",
    "LRUCarry",
    "LRUParams",
    "LSTMCarry",
    "LSTMParams",
    "LSTMProjectionParams",
    "LayerNormParams",
    "MGUParams",
    "MinGRUParams",
    "MinLSTMCarry",
    "MinLSTMParams",
    "Nonlinearities",
    "PeepholeParams",
    "RNNCarry",
    "RNNParams",
    "SLSTMCarry",
    "SLSTMParams",
    "get",
]
