"""Hand-derived backpropagation through time: one backward step per cell, one loop for all.

| | |
|---|---|
| `RULES` | by the cell's name, the `Rule` of each cell that has one |
| `Rule` | what differs from cell to cell: a backward step, and the products around the loop |
| `backward` | the loop that all cells share, from the derivative in every output to `Gradients` |

docs/bptt.md derives them in the same symbols. `unroll(..., backend="manual")` puts them to use.
"""

from typing import Any

from rnn_jax.bptt import gru, lstm, rnn
from rnn_jax.bptt.rule import Rule
from rnn_jax.bptt.through_time import Gradients, backward

RULES: dict[str, Rule[Any, Any, Any]] = {
    "rnn": rnn.make("tanh"),
    "rnn_relu": rnn.make("relu"),
    "rnn_identity": rnn.make("identity"),
    "lstm": lstm.make(),
    "gru": gru.make(),
}
"""The rule of each cell that has one, by the cell's name."""

__all__ = ["RULES", "Gradients", "Rule", "backward"]
