"""Strictness for every test: 64-bit types exist (tests name their dtypes), plots need no display."""

import contextlib
import ctypes
import gc
import os
from importlib.metadata import version
from pathlib import Path

os.environ["MPLBACKEND"] = "Agg"  # before anything imports matplotlib
# As in the experiments: where the cores are busy, threads of a small QR decomposition take fifty times as long as one.
os.environ["OPENBLAS_NUM_THREADS"] = "1"
# Compiling is most of the time of these tests, and what it makes is run once: unoptimized, in one module, and where XLA
# still has them by its old emitters of fused operations, it takes a quarter of the default. Before JAX starts.
os.environ["XLA_FLAGS"] = (
    f"{os.environ.get('XLA_FLAGS', '')} --xla_backend_optimization_level=0 --xla_llvm_disable_expensive_passes=true"
    " --xla_cpu_parallel_codegen_split_count=1"
    + (" --xla_cpu_use_fusion_emitters=false" if version("jaxlib").startswith("0.10.") else "")
)

import chex
import jax
import pytest

from rnn_jax import unrolling
from rnn_jax.backends import native
from rnn_jax.machine import peak_bytes, resident_bytes

jax.config.update("jax_enable_x64", True)
# Tracing and lowering take most of what is left: fewer notes of where a line came from, and fewer rounds for garbage.
jax.config.update("jax_traceback_in_locations_limit", 0)
gc.set_threshold(100_000)
pytest.register_assert_rewrite("helpers")

LONGEST = (
    "test_unrolling.py", "experiments/common/test_results.py", "docs/test_adding.py", "test_examples.py",
    "experiments/text/test_text.py", "experiments/forecast/test_killed.py", "backends/test_derivatives.py",
    "bptt/test_faults.py", "diagnostics/test_gradcheck.py",
)  # fmt: skip
"""These begin first: a file stays with one process, and one that takes a minute must not be the last to begin."""

PEAKS: dict[str, float] = {}
"""The most memory that each process of the tests has held, in GiB."""


def pytest_configure(config):
    """Compiles the native back end once, where there is a compiler, before any test asks which back end `auto` is."""
    if not hasattr(config, "workerinput"):
        with contextlib.suppress(RuntimeError):
            native.build()


MUCH = 3 * 2**29
"""Bytes from which on a process gives back what it can; one file takes up to a GiB more, and a worker may have 3."""


def pytest_collection_modifyitems(items):
    """In the order of `LONGEST`; all others as they were."""
    here = Path(__file__).parent
    places = {here / name: place for place, name in enumerate(LONGEST)}
    items.sort(key=lambda item: places.get(item.path, len(places)))


@pytest.fixture(autouse=True, scope="module")
def _programs_of_few_files_at_a_time():
    """JAX keeps every program that it has compiled, and what one file has compiled the next may use."""
    yield
    if resident_bytes() < MUCH:
        return
    jax.clear_caches()
    gc.collect()
    with contextlib.suppress(OSError, AttributeError):  # glibc keeps what was let go, unless it is asked
        ctypes.CDLL(None).malloc_trim(0)


@pytest.fixture
def traced_anew():
    """For a test that puts another rule or step into a table: an unroll is traced once for each cell and shape."""
    unrolling._run.clear_cache()
    yield
    unrolling._run.clear_cache()


@pytest.fixture
def all_traced_anew():
    """Where functions around the unroll are traced once too."""
    jax.clear_caches()
    yield
    jax.clear_caches()


@pytest.fixture(autouse=True)
def _traces_counted_from_zero():
    """`chex.assert_max_traces` counts by a function's name, over all tests of a process."""
    chex.clear_trace_counter()


def pytest_sessionfinish(session):
    """A worker tells the process that prints how much memory it took."""
    if hasattr(session.config, "workeroutput"):
        session.config.workeroutput["peak"] = peak_bytes() / 2**30


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node, error):
    """The other end."""
    if hasattr(node, "workeroutput"):
        PEAKS[node.gateway.id] = node.workeroutput["peak"]


def pytest_terminal_summary(terminalreporter):
    """So that one sees when a worker needs more than a small machine has."""
    for worker, peak in (PEAKS or {"process": peak_bytes() / 2**30}).items():
        terminalreporter.write_line(f"{worker}: {peak:.1f} GiB at most")
