"""`backend="newton"`: a nonlinear recurrence with all of its steps at once, as a fixed point of the whole sequence.

`solver` has the method, on vectors; `backend` makes of a call of `unroll` such a problem, whatever the cell and the
masks are, and gives the gradient. In no more than `MAX_ITERATIONS` iterations the residual has to be within rounding
(`solver.TOLERANCE`), else the scan computes the call. `solved` also says how many it took.
"""

from rnn_jax.backends.newton.backend import LARGEST_MATRIX, MAX_ITERATIONS, refusal, run, solved
from rnn_jax.backends.newton.solver import Solution, solve

__all__ = ["LARGEST_MATRIX", "MAX_ITERATIONS", "Solution", "refusal", "run", "solve", "solved"]
