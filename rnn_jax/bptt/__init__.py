"""Hand-derived backpropagation through time: one backward step per cell, one loop for all.

| | |
|---|---|
| `RULES`, `rule_of` | by the cell's name, the `Rule` of each cell here that has one; the rule of any cell |
| `Rule` | what differs from cell to cell: a backward step, and the products around the loop |
| `backward` | the loop that all cells share, from the derivative in every output to `Gradients` |

docs/bptt.md derives them in the same symbols. `unroll(..., backend="manual")` puts them to use.
"""

from typing import Any

from rnn_jax.bptt import gru, lstm, rnn
from rnn_jax.bptt.rule import Rule
from rnn_jax.bptt.through_time import Gradients, backward
from rnn_jax.cells import CELLS, Cell
from rnn_jax.types import C, P

RULES: dict[str, Rule[Any, Any, Any]] = {
    "rnn": rnn.make("tanh"),
    "rnn_relu": rnn.make("relu"),
    "rnn_identity": rnn.make("identity"),
    "lstm": lstm.make(),
    "gru": gru.make(),
}
"""The rule of each cell of this library that has one, by the cell's name."""


def rule_of(cell: Cell[P, C]) -> Rule[P, C, Any] | None:
    """The rule that a cell brings along, or that of `RULES` for a cell as it is in `CELLS`; None: it has none.

    A changed cell is another cell, whatever its name.
    """
    if cell.rule is not None:
        rule: Rule[P, C, Any] = cell.rule
        return rule
    return RULES.get(cell.name) if cell == CELLS.get(cell.name) else None


__all__ = ["RULES", "Gradients", "Rule", "backward", "rule_of"]
