"""What back ends with the same limits say alike."""

import jax

from rnn_jax.controls import StepMasks
from rnn_jax.types import Array, Carry, Params

OPTIONS = {"reset": "resets", "truncate": "truncate_every", "zoneout": "zoneout", "perturbations": "perturbations"}
"""StepMasks other than padding, by the options of `unroll` that ask for them."""


def of_lengths_in_float32(params: Params, carry: Carry, xs: Array, masks: StepMasks) -> str | None:
    """Why a back end for float32, with lengths as the only control, cannot compute this, or None."""
    used = [option for name, option in OPTIONS.items() if getattr(masks, name) is not None]
    if used:
        return f"does not take {', '.join(used)}"
    if 0 in (*xs.shape, params.w_hh.shape[0]):
        return f"has nothing to run for in xs {xs.shape}"
    types = {array.dtype.name for array in jax.tree.leaves((params, carry, xs))}
    if types != {"float32"}:
        return f"computes in float32 alone, not in {' and '.join(sorted(types - {'float32'}))}"
    return None
