"""The C++ loops of `backend="native"`: compiled on the machine that uses them, once, with the compiler that is there.

At the first use, or ahead of it by `python -m rnn_jax.backends.native`.

XLA runs a loop over time a step at a time: each step is several operations, each of which reads and writes whole arrays
and, if it is large, waits for all threads. Here a thread takes some sequences of the batch from the first step to the
last, or, where sequences are few and the state is wide, some units of all sequences. The weights are packed in the
order in which the innermost loop reads them and stay in the thread's cache, the nonlinearities are applied to sums that
have not left it, the padding of short sequences is not computed, and the backward pass forms the gradients of weights
and inputs from derivatives that are still there.

A sequence that begins at zero has no recurrent product in its first step, unless a weight is not finite, which shows
there. A single step of a few sequences, as of a stream, reads the weights as they lie: packing would take longer. So
does the backward pass of a few sequences with many units.

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
import sys
import tempfile
import warnings
from pathlib import Path

import jax

SOURCES = Path(__file__).resolve().parent
FLAGS = ("-O3", "-std=c++17", "-shared", "-fPIC")
X86: dict[str, tuple[str, ...]] = {
    "native": ("-march=native",),
    "avx2": ("-march=x86-64-v3", "-mtune=native"),
    "x86-64": ("-march=x86-64", "-mtune=native"),
}
ARM: dict[str, tuple[str, ...]] = {"native": ("-mcpu=native",), "neon": ("-march=armv8-a",)}
INSTRUCTION_SETS = {"x86_64": X86, "AMD64": X86, "aarch64": ARM, "arm64": ARM}
"""By machine, what RNN_JAX_NATIVE_ISA in the environment may ask for: all that this processor has, which it is without
being asked, or what others have (`x86-64`, `neon`: vectors of 4 floats), to measure and test here what runs there."""
FORWARD, BACKWARD = "rnn_jax_forward", "rnn_jax_backward"


def _processor() -> str:
    """What the compiled code depends on: it must not be taken to a machine that lacks its instructions."""
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else []
    features = next((line for line in lines if line.startswith(("flags", "Features"))), "")
    return f"{platform.machine()} {platform.processor()} {features}"


def flags() -> tuple[str, ...]:
    """What the compiler is told, for the instruction set that is asked for.

    Raises: `RuntimeError` for one that this machine is not known to have, see `INSTRUCTION_SETS`.
    """
    asked = os.environ.get("RNN_JAX_NATIVE_ISA") or "native"
    known = INSTRUCTION_SETS.get(platform.machine(), {"native": X86["native"]})
    if asked not in known:
        raise RuntimeError(f"RNN_JAX_NATIVE_ISA={asked}: take one of {', '.join(known)}")
    return (*FLAGS, *known[asked])


def library_path() -> Path:
    """Where the library of these sources, this JAX and this processor is, or would be: `~/.cache/rnn_jax`.

    One for each instruction set that is asked for. Raises: `RuntimeError`, as `flags`.
    """
    parts = [path.read_bytes() for path in sorted(SOURCES.iterdir()) if path.suffix in (".h", ".cc")]
    parts += [text.encode() for text in (jax.__version__, _processor(), *flags())]
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return cache / "rnn_jax" / f"native-{hashlib.sha256(b''.join(parts)).hexdigest()[:16]}.so"


def compiler() -> str | None:
    """$CXX, g++ or clang++, whichever is there."""
    return os.environ.get("CXX") or shutil.which("g++") or shutil.which("clang++")


def build() -> Path:
    """Compiles the library, unless it is there, and returns its path. Takes about ten seconds.

    Raises: `RuntimeError` without a C++ compiler ($CXX, g++ or clang++), with what it said, or as `flags`.
    """
    path = library_path()
    if path.exists():
        return path
    with_compiler = compiler()
    if with_compiler is None:
        raise RuntimeError("no C++ compiler: install g++ or clang++, or name one in $CXX")
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=path.parent) as folder:  # so that nobody loads half a file
        made = Path(folder) / path.name
        command = [
            with_compiler,
            *flags(),
            "-isystem",
            jax.ffi.include_dir(),
            str(SOURCES / "native.cc"),
            "-o",
            str(made),
        ]
        try:
            subprocess.run(command, capture_output=True, text=True, check=True)
        except (OSError, subprocess.CalledProcessError) as error:
            said = getattr(error, "stderr", None) or str(error)
            raise RuntimeError(f"{' '.join(command)}\n{said.strip()[-2000:]}") from error
        made.replace(path)
    return path


def found_or_built() -> Path | None:
    """The library's path; compiles it, and says so in a line, where it is not there; None where that cannot be.

    With RNN_JAX_NATIVE=0 in the environment it is not used though it be there; then, and without a compiler, nothing is
    said: the other back ends compute the same. What cannot be compiled is a warning.
    """
    if os.environ.get("RNN_JAX_NATIVE") == "0":
        return None
    try:
        path = library_path()
        if path.exists():
            return path
        if compiler() is None:
            return None
        print(f"rnn_jax: compiling loops for this processor, once, to {path}", file=sys.stderr, flush=True)
        return build()
    except (OSError, RuntimeError) as error:  # OSError: a home that cannot be read or written
        warnings.warn(f"rnn_jax goes on without backend 'native': {error}", RuntimeWarning, stacklevel=2)
        return None


@functools.cache
def _loaded() -> ctypes.CDLL | None:
    """The library, compiled if need be and made known to JAX; None where there is none."""
    path = found_or_built()
    if path is None:
        return None
    library = ctypes.CDLL(str(path))
    for name in (FORWARD, BACKWARD):
        jax.ffi.register_ffi_target(name, jax.ffi.pycapsule(getattr(library, name)), platform="cpu")
    library.rnn_jax_instruction_set.restype = ctypes.c_char_p
    return library


@functools.cache
def vector_width() -> int | None:
    """Makes the library known to JAX and returns how many floats its vectors have; None where there is none."""
    library = _loaded()
    return None if library is None else int(library.rnn_jax_width())


@functools.cache
def instruction_set() -> str | None:
    """What the library is compiled for, in words: `AVX-512`, `AVX2`; None where there is no library."""
    library = _loaded()
    return None if library is None else str(library.rnn_jax_instruction_set().decode())
