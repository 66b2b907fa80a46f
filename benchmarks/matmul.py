"""The rate of this machine: multiply-adds per second of a large matrix product, in a process of its own.

python -m benchmarks.matmul 2048
"""

import sys
from functools import partial

import numpy as np

from benchmarks.child import seconds_of, serve
from benchmarks.turns import start

REPEATS = 5


def rate(size: int) -> float:
    """Multiply-adds per second of the best of a few float32 products `[size, size]`, by a child. Raises: `Refused`."""
    child, found = start(["-m", "benchmarks.matmul", str(size)], limit=600)
    child.close()
    return found


def rate_here(size: int, dtype: str = "float32") -> float:
    """The same in this process, for one of `benchmarks.problem.DTYPES`."""
    import jax
    import jax.numpy as jnp

    random = np.random.default_rng(0).standard_normal((size, size), np.float32)
    a = jnp.asarray(random, "float32" if dtype == "tf32" else dtype)
    product = jax.jit(partial(jnp.matmul, precision="tensorfloat32" if dtype == "tf32" else "highest"))
    jax.block_until_ready(product(a, a))
    return size**3 / min(seconds_of(lambda: jax.block_until_ready(product(a, a)), REPEATS))


if __name__ == "__main__":
    serve(lambda: (rate_here(int(sys.argv[1])), {}))
