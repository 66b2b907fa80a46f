"""`backend="native"`: the loop over time in C++, on a CPU, in float32.

XLA runs a loop a step at a time: each step is several operations, each of which reads and writes whole arrays and, if it
is large, waits for all threads. Here a thread takes some sequences from the first step to the last, keeps the weights in
its cache, packed for the innermost loop, and applies the nonlinearities to sums that are still in registers. What does
not depend on the step before, the gradients of weights and inputs, stays with XLA as large products.

The gates are kept for the backward pass, [T, B, 5 H] for an LSTM: `checkpoint_every` needs less memory, as everywhere.

The library is compiled on the machine that uses it, once, with the C++ compiler that is there:

    python -m rnn_jax.backends.native

Sources: rnn_jax/native. Goto and van de Geijn, "Anatomy of high-performance matrix multiplication", 2008, for the
packed product; Diamos et al., "Persistent RNNs: stashing recurrent weights on-chip", 2016, for a thread that owns its
sequences.
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
from functools import partial
from pathlib import Path
from typing import NamedTuple

import jax
import jax.numpy as jnp

from rnn_jax.bptt.products import outer_sum, total
from rnn_jax.cells.cell import Cell, gates, matmul
from rnn_jax.cells.gru import GRUParams
from rnn_jax.sequence import Controls, previous, select
from rnn_jax.types import Array, Carry, Params

SOURCES = Path(__file__).resolve().parent.parent / "native"
FLAGS = ("-O3", "-march=native", "-std=c++17", "-shared", "-fPIC")
FORWARD, BACKWARD = "rnn_jax_forward", "rnn_jax_backward"


class Kind(NamedTuple):
    """What the library has of a cell: values it keeps of each unit for the backward pass, and blocks of H biases."""

    saved: int
    columns: int


KINDS = {"rnn": Kind(0, 1), "rnn_relu": Kind(0, 1), "rnn_identity": Kind(0, 1), "lstm": Kind(5, 4), "gru": Kind(4, 4)}


# ---------------------------------------------------------------------------------------------------- the library


def _processor() -> str:
    """What the compiled code depends on: a library must not be taken to a machine that lacks its instructions."""
    info = Path("/proc/cpuinfo")
    known = [line for line in info.read_text().splitlines() if line.startswith(("flags", "Features"))][:1] if info.exists() else []
    return " ".join([platform.machine(), platform.processor(), *known])


def library_path() -> Path:
    """Where the compiled library of these sources, this JAX and this processor is, or would be."""
    parts = [path.read_bytes() for path in sorted(SOURCES.iterdir()) if path.suffix in (".h", ".cc")]
    parts += [jax.__version__.encode(), _processor().encode(), " ".join(FLAGS).encode()]
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return cache / "rnn_jax" / f"native-{hashlib.sha256(b''.join(parts)).hexdigest()[:16]}.so"


def build() -> Path:
    """Compiles the library, unless it is there, and returns its path.

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
        done = subprocess.run(command, capture_output=True, text=True)
        if done.returncode:
            raise RuntimeError(f"{' '.join(command)}: {done.stderr.strip()[-2000:]}")
        made.replace(path)
    return path


@functools.cache
def load() -> int | None:
    """Makes the library known to JAX and returns the floats of its vectors; None if it is not built."""
    path = library_path()
    if not path.exists():
        return None
    library = ctypes.CDLL(str(path))
    for name in (FORWARD, BACKWARD):
        jax.ffi.register_ffi_target(name, jax.ffi.pycapsule(getattr(library, name)), platform="cpu")
    return int(library.rnn_jax_width())


# ------------------------------------------------------------------------------------------------------- the cell


def refusal(cell: Cell, params: Params, carry: Carry, xs: Array, controls: Controls) -> str | None:
    """Why this back end cannot compute that, or None."""
    if cell.name not in KINDS:
        return f"has no {cell.name}"
    if jax.default_backend() != "cpu":
        return f"runs on a CPU, not on a {jax.default_backend()}"
    types = {array.dtype for array in jax.tree.leaves((params, carry, xs))}
    if types != {jnp.dtype(jnp.float32)}:
        return f"computes in float32 alone, not in {', '.join(sorted(map(str, types)))}"
    used = [name for name in ("reset", "cut", "zoneout", "taps") if getattr(controls, name) is not None]
    if used:
        return f"has no {', '.join(used)}"
    if 0 in (*xs.shape[:-1], params.w_hh.shape[0]):
        return f"has nothing to do for xs {xs.shape}"
    if load() is None:
        return "is not built: python -m rnn_jax.backends.native"
    return None


@partial(jax.custom_vjp, nondiff_argnums=(0, 1))
def run_flat(
    cell: Cell, reverse: bool, params: Params, carry: Carry, xs: Array, lengths: Array
) -> tuple[Carry, Array]:
    """Final carry and carries `[T, B, H]` of h, for xs `[T, B, I]` and lengths `[B]`."""
    return _forward(cell, reverse, params, carry, xs, lengths, save=False)[:2]


def _forward(
    cell: Cell, reverse: bool, params: Params, carry: Carry, xs: Array, lengths: Array, save: bool
) -> tuple[Carry, Array, Array]:
    num_steps, batch_size, _ = xs.shape
    hidden_size = params.w_hh.shape[0]
    width = load()
    blocks = -(-hidden_size // width)
    recurrent = jnp.zeros_like(params.b)
    if isinstance(params, GRUParams):
        recurrent = recurrent.at[2 * hidden_size :].set(params.b_hn)
    shapes = (
        (num_steps, batch_size, hidden_size),
        (batch_size, hidden_size),
        (num_steps, batch_size, blocks * KINDS[cell.name].saved * width) if save else (0,),
    )
    arguments = (xs, params.w_ih, params.w_hh, params.b, recurrent, carry[0], carry[-1], lengths)
    hs, c, saved = _call(FORWARD, shapes, cell, reverse, arguments)
    final = carry._replace(h=hs[0 if reverse else -1])
    return (final._replace(c=c) if hasattr(final, "c") else final), hs, saved


def _call(name: str, shapes: tuple, cell: Cell, reverse: bool, arguments: tuple[Array, ...]) -> list[Array]:
    """The library's function of that name; results of these shapes."""
    results = [jax.ShapeDtypeStruct(shape, jnp.float32) for shape in shapes]
    return jax.ffi.ffi_call(name, results, vmap_method="sequential")(*arguments, cell=cell.name, reverse=reverse)


def _run_forward(cell, reverse, params, carry, xs, lengths):
    final, hs, saved = _forward(cell, reverse, params, carry, xs, lengths, save=True)
    return (final, hs), (params, carry, xs, lengths, hs, saved)


def _run_backward(cell, reverse, residuals, cotangents):
    params, carry, xs, lengths, hs, saved = residuals
    dfinal, dhs = cotangents
    hidden_size = params.w_hh.shape[0]
    biases = (KINDS[cell.name].columns * hidden_size,)
    shapes = (params.w_ih.shape, params.w_hh.shape, biases, xs.shape, carry.h.shape, carry.h.shape)
    arguments = (xs, params.w_ih, params.w_hh, carry[0], carry[-1], lengths, hs, saved, dhs, dfinal[0], dfinal[-1])
    dw_ih, dw_hh, db, dxs, *dcarry = _call(BACKWARD, shapes, cell, reverse, arguments)
    if isinstance(params, GRUParams):
        dparams = GRUParams(dw_ih, dw_hh, db[hidden_size:], db[:hidden_size])
    else:
        dparams = type(params)(dw_ih, dw_hh, db)
    return dparams, type(carry)(*dcarry[: len(carry)]), dxs, None


run_flat.defvjp(_run_forward, _run_backward)


def run(cell: Cell, reverse: bool, params: Params, carry: Carry, xs: Array, controls: Controls) -> tuple[Carry, Array]:
    """Runs the cell over xs `[T, *batch, I]`: the final carry and ys `[T, *batch, H]`."""
    num_steps, *batch_shape, _ = xs.shape
    flat = xs.reshape(num_steps, -1, xs.shape[-1])
    if controls.valid is None:
        lengths = jnp.full(flat.shape[1], num_steps, jnp.int32)
    else:
        lengths = controls.valid.reshape(num_steps, -1).sum(0, dtype=jnp.int32)
    final, hs = run_flat(cell, reverse, params, jax.tree.map(lambda a: a.reshape(-1, a.shape[-1]), carry), flat, lengths)
    final = jax.tree.map(lambda a, b: a.reshape(b.shape), final, carry)
    ys = hs.reshape(num_steps, *batch_shape, -1)
    if controls.valid is not None:
        ys = select(controls.valid, ys, jnp.zeros_like(ys))
    return final, ys


if __name__ == "__main__":
    try:
        print(build())
    except RuntimeError as error:
        sys.exit(str(error))
