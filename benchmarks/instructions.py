"""Holds every contender to one set of the processor's instructions, so that a machine stands in for a lesser one.

Each library has a variable of its own, which counts for processes that start while it is set.
"""

import contextlib
import os
from collections.abc import Iterator

from experiments.common import environment

HELD_TO: dict[str, dict[str, str]] = {
    "native": {},
    "avx2": {
        "RNN_JAX_NATIVE_ISA": "avx2",  # the back end `native`
        "XLA_FLAGS": "--xla_cpu_max_isa=AVX2",  # everything else in JAX
        "ATEN_CPU_CAPABILITY": "avx2",  # PyTorch itself, and the two libraries that it computes with
        "ONEDNN_MAX_CPU_ISA": "AVX2",
        "MKL_ENABLE_INSTRUCTIONS": "AVX2",
    },
}
"""By name, what the environment is told. `native`: nothing, all that the processor has."""


@contextlib.contextmanager
def held_to(name: str) -> Iterator[None]:
    """While this lasts, processes that start use no more than these instructions; XLA's other flags stay.

    >>> with held_to("avx2"):
    ...     os.environ["RNN_JAX_NATIVE_ISA"]
    'avx2'
    """
    values = dict(HELD_TO[name])
    if "XLA_FLAGS" in values and (others := os.environ.get("XLA_FLAGS")):
        values["XLA_FLAGS"] = f"{others} {values['XLA_FLAGS']}"
    with environment.variables(values):
        yield
