"""Strictness for every test: 64-bit types exist (tests name their dtypes), plots need no display."""

import contextlib
import os

os.environ["MPLBACKEND"] = "Agg"  # before anything imports matplotlib
# Most of the time of these tests is LLVM's; what it makes faster here is too small to need it. Before JAX starts.
os.environ["XLA_FLAGS"] = (
    f"{os.environ.get('XLA_FLAGS', '')} --xla_backend_optimization_level=0 --xla_llvm_disable_expensive_passes=true"
)

import chex
import jax
import pytest

from rnn_jax.backends.native import library as native

jax.config.update("jax_enable_x64", True)
pytest.register_assert_rewrite("helpers")


def pytest_configure(config):
    """Compiles the native back end once, where there is a compiler, before any test asks which back end `auto` is."""
    if not hasattr(config, "workerinput"):
        with contextlib.suppress(RuntimeError):
            native.build()


@pytest.fixture(autouse=True)
def _traces_counted_from_zero():
    """`chex.assert_max_traces` counts by a function's name, over all tests of a process."""
    chex.clear_trace_counter()
