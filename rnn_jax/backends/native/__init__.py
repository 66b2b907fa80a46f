"""`backend="native"`: both passes of a cell over time in C++, for CPUs and float32.

backend.py                what `unroll` calls: shapes, residuals, derivatives
library.py                compiles the loops on the machine that uses them, at the first use
vectors.h                 vectors of floats, exp, sigmoid, tanh
memory.h                  memory in large pages
product.h                 the innermost loops: products of a few rows with a packed matrix, or with one as it lies
cells.h                   a step of each cell, forward and backward, for one vector of units
batch.h                   what the loops are given; packing of weights
team.h                    threads that go through the steps together
forward.h, backward.h     a cell over time
step.h                    a cell for a single step of few sequences, with weights as they lie
native.cc                 threads, and the functions that XLA calls
"""

from rnn_jax.backends.native.backend import FEW_SEQUENCES, refusal, run
from rnn_jax.backends.native.library import build, library_path, vector_width

__all__ = ["FEW_SEQUENCES", "build", "library_path", "refusal", "run", "vector_width"]
