"""Recurrent cells as pure functions, one file each; `get` finds one by name."""

from rnn_jax.cells import gru, lstm, lstm_variants, rnn
from rnn_jax.cells.cell import Cell
from rnn_jax.cells.gru import GRUCarry, GRUParams
from rnn_jax.cells.lstm import LSTMCarry, LSTMParams
from rnn_jax.cells.rnn import RNNCarry, RNNParams

CELLS = {
    cell.name: cell
    for cell in (
        rnn.make(),
        rnn.make("relu"),
        rnn.make("identity"),
        lstm.make(),
        gru.make(),
        *lstm_variants.make(),
    )
}


def get(name: str) -> Cell:
    """The cell called `name`.

    `rnn` (tanh), `rnn_relu`, `rnn_identity`, `lstm`, `gru`, and the variants of `rnn_jax.cells.lstm_variants`:
    `lstm_additive`, `lstm_no_forget`, `lstm_coupled`, `lstm_peephole`, `lstm_layer_norm`, and `lstm_without_dc`,
    whose gradient is wrong on purpose.

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
    "GRUCarry",
    "GRUParams",
    "LSTMCarry",
    "LSTMParams",
    "RNNCarry",
    "RNNParams",
    "get",
]
