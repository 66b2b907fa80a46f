"""What a cell's sums go through, and limits to the sums and to what is remembered.

    i, f, o = gate(cut(z, clip)),  g = candidate(cut(z, clip)),  c = cut(..., clip_state),  h = o * state(c)

and likewise in the other cells. Keras and ONNX have such options; with any but `STANDARD` a cell is another cell: JAX
differentiates it, and neither the rules by hand nor the kernels know it.

Source of the limit to c: Sak, Senior and Beaufays, "Long short-term memory recurrent neural network architectures for
large scale acoustic modeling", 2014.
"""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp

from rnn_jax.types import Array


class Nonlinearities(NamedTuple):
    """Functions of one array, elementwise, and limits.

    Attributes:
        gate: of the sums of gates.
        candidate: of the sum of what may be remembered; of the Elman cell the only one.
        state: of c, on its way to h (LSTM).
        clip: sums are cut to [-clip, clip] before their nonlinearity; None: not.
        clip_state: what is carried, c of an LSTM and else h, is cut after each step; None: not.
    """

    gate: Callable[[Array], Array] = jax.nn.sigmoid
    candidate: Callable[[Array], Array] = jnp.tanh
    state: Callable[[Array], Array] = jnp.tanh
    clip: float | None = None
    clip_state: float | None = None


STANDARD = Nonlinearities()
"""Those of the literature."""


def cut(values: Array, limit: float | None) -> Array:
    """`values` within [-limit, limit], `[..., H]`; as they are for None."""
    return values if limit is None else jnp.clip(values, -limit, limit)


def check(by: Nonlinearities) -> None:
    """Raises `ValueError` for a limit that is not above 0."""
    for name, limit in (("clip", by.clip), ("clip_state", by.clip_state)):
        if limit is not None and not limit > 0:
            raise ValueError(f"{name} must be above 0, got {limit}")
