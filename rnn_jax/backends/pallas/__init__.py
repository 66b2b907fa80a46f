"""`backend="pallas"`: one kernel for all steps, for NVIDIA GPUs.

backend.py    what `unroll` calls: what fits, residuals, derivatives
tiles.py      padding to what the kernels take
kernels.py    T steps forward, and T steps back, of a tile of the batch
steps.py      one step of each cell, gates in arrays of their own
"""

from rnn_jax.backends.pallas.backend import refusal, run

__all__ = ["refusal", "run"]
