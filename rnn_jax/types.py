"""Type aliases and the one table of axis letters that every docstring uses.

| letter | axis |
|---|---|
| B | batch |
| T | time |
| I | input features |
| H | hidden features |
| G | gates of a cell (1 for `rnn`, 4 for `lstm`, 3 for `gru`) |
| D | directions (1 or 2) |
| L | layers |
| S | seeds (replicas trained together) |
| V | vocabulary |

Sequences are time-major, `[T, B, I]`, everywhere inside the library; a model converts once, at its border.
`[...]` in a shape stands for any leading axes.
"""

from typing import Any

import jax

Array = jax.Array
Key = jax.Array
"""A typed key from `jax.random.key`."""

Params = Any
"""A pytree of parameters: the named tuple of a cell, or a tuple of those for a stack."""

Carry = Any
"""A pytree of arrays `[..., H]`: what a cell hands from one step to the next."""

Projected = Any
"""A pytree of arrays with the leading axes of the inputs: what a cell computes from them without the carry."""
