"""The C++ loops of `backend="native"`: compiled on the machine that uses them, once, with the compiler that is there.

    python -m rnn_jax.backends.native

XLA runs a loop over time a step at a time: each step is several operations, each of which reads and writes whole arrays
and, if it is large, waits for all threads. Here a thread takes some sequences of the batch from the first step to the
last. The weights are packed in the order in which the innermost loop reads them and stay in the thread's cache, the
nonlinearities are applied to sums that are still in registers, the padding of short sequences is not computed, and the
backward pass forms the gradients of weights and inputs from derivatives that have not left the cache yet.

Sources: Goto and van de Geijn, "Anatomy of high-performance matrix multiplication", 2008, for the packed product;
Diamos et al., "Persistent RNNs: stashing recurrent weights on-chip", 2016, for a worker that owns its sequences.
"""

import ctypes
import functools
import hashlib
import os
import platform
import shutil
import subprocess
import tempfile
from pathlib import Path

import jax

SOURCES = Path(__file__).resolve().parent
FLAGS = ("-O3", "-march=native", "-std=c++17", "-shared", "-fPIC")
FORWARD, BACKWARD = "rnn_jax_forward", "rnn_jax_backward"


def _processor() -> str:
    """What the compiled code depends on: it must not be taken to a machine that lacks its instructions."""
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else []
    features = next((line for line in lines if line.startswith(("flags", "Features"))), "")
    return f"{platform.machine()} {platform.processor()} {features}"


def library_path() -> Path:
    """Where the library of these sources, this JAX and this processor is, or would be: `~/.cache/rnn_jax`."""
    parts = [path.read_bytes() for path in sorted(SOURCES.iterdir()) if path.suffix in (".h", ".cc")]
    parts += [text.encode() for text in (jax.__version__, _processor(), *FLAGS)]
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return cache / "rnn_jax" / f"native-{hashlib.sha256(b''.join(parts)).hexdigest()[:16]}.so"


def build() -> Path:
    """Compiles the library, unless it is there, and returns its path. Takes about ten seconds.

    Raises: `RuntimeError` without a C++ compiler ($CXX, g++ or clang++), or with what it said.
    """
    path = library_path()
    if path.exists():
        return path
    compiler = os.environ.get("CXX") or shutil.which("g++") or shutil.which("clang++")
    if compiler is None:
        raise RuntimeError("no C++ compiler: install g++ or clang++, or name one in $CXX")
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=path.parent) as folder:  # so that nobody loads half a file
        made = Path(folder) / path.name
        command = [compiler, *FLAGS, "-isystem", jax.ffi.include_dir(), str(SOURCES / "native.cc"), "-o", str(made)]
        try:
            subprocess.run(command, capture_output=True, text=True, check=True)
        except (OSError, subprocess.CalledProcessError) as error:
            said = getattr(error, "stderr", None) or str(error)
            raise RuntimeError(f"{' '.join(command)}\n{said.strip()[-2000:]}") from error
        made.replace(path)
    return path


@functools.cache
def vector_width() -> int | None:
    """Makes the library known to JAX and returns how many floats its vectors have; None if it is not built."""
    path = library_path()
    if not path.exists():
        return None
    library = ctypes.CDLL(str(path))
    for name in (FORWARD, BACKWARD):
        jax.ffi.register_ffi_target(name, jax.ffi.pycapsule(getattr(library, name)), platform="cpu")
    return int(library.rnn_jax_width())
