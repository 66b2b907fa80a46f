"""`backend="pallas"`: one kernel for all steps, for NVIDIA GPUs.

backend.py    what `unroll` calls: padding, residuals, derivatives
kernels.py    T steps forward, and T steps back, of a tile of the batch
steps.py      one step of each cell, gates in arrays of their own
"""

from rnn_jax.backends.pallas.backend import refusal, run

__all__ = ["refusal", "run"]
