"""Experiments, one file each."""

import os

# Before NumPy and JAX load it: OpenBLAS splits a QR decomposition of 128 x 128 over all cores, and where another
# process keeps one of them busy its threads wait for each other: 590 ms measured instead of 0.35. Nothing here is large
# enough to gain from more than one.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
