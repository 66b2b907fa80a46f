"""`backend="mosaic"`: one kernel for all steps on tensor cores, for NVIDIA's Hopper GPUs.

backend.py    what `unroll` calls: what fits, padding
kernels.py    T steps forward, and T steps back, of a tile of the batch
"""

from rnn_jax.backends.mosaic.backend import refusal, run

__all__ = ["refusal", "run"]
