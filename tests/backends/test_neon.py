"""The loops in C++ as they are on an ARM processor: cross-compiled, run in an emulator, compared with the definition.

On Debian: `apt-get install g++-aarch64-linux-gnu qemu-user-static`. What an emulator cannot say is how fast they are.
"""

import platform
import re
import shutil
import subprocess
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from helpers.native_cases import SIZES, assert_close, draw

from rnn_jax.backends.native import backend, library, partitioned
from rnn_jax.controls import length_mask

COMPILER = shutil.which("aarch64-linux-gnu-g++")
EMULATOR = shutil.which("qemu-aarch64-static") or shutil.which("qemu-aarch64")
CALL = Path(__file__).with_name("call.cc")

pytestmark = pytest.mark.skipif(
    not (COMPILER and EMULATOR), reason="no aarch64-linux-gnu-g++ and qemu-aarch64: a compiler and an emulator for ARM"
)


@pytest.fixture(scope="module")
def compiled():
    """The library for any 64-bit ARM processor, in the cache as every other."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(platform, "machine", lambda: "aarch64")
        patch.setenv("RNN_JAX_NATIVE_ISA", "neon")
        patch.setenv("CXX", COMPILER)
        return library.build()


@pytest.fixture(scope="module")
def emulated(compiled, tmp_path_factory):
    """`backend.call`, in the emulator."""
    program = tmp_path_factory.mktemp("call") / "call"
    subprocess.run([COMPILER, "-std=c++17", "-isystem", jax.ffi.include_dir(), CALL, "-o", program], check=True)

    def call(name, shapes, cell, reverse, arguments):
        arrays = [np.asarray(array) for array in arguments]
        kinds = [("s32" if array.dtype == np.int32 else "f32", array.shape) for array in arrays]
        kinds += [("f32", shape) for shape in shapes]
        described = [text for kind, shape in kinds for text in (kind, ",".join(map(str, shape)))]
        root = f"/usr/{Path(COMPILER).name.removesuffix('-g++')}"
        done = subprocess.run(
            [EMULATOR, "-L", root, program, compiled, name, cell, str(reverse), str(len(arrays)), *described],
            input=b"".join(array.tobytes() for array in arrays),
            capture_output=True,
            check=True,
        )
        found = np.frombuffer(done.stdout, np.float32)
        ends = np.cumsum([np.prod(shape, dtype=int) for shape in shapes])
        assert found.size == ends[-1]
        return tuple(part.reshape(shape) for part, shape in zip(np.split(found, ends[:-1]), shapes, strict=True))

    return call


CASES = [
    (name, size, "full", False)
    for name in ("rnn", "lstm", "gru")
    for size in ("wide", "few", "alone", "chunks", "stream")
]
CASES += [(name, "uneven", "ragged", True) for name in ("rnn", "lstm", "gru", "rnn_relu", "rnn_identity")]


@pytest.mark.parametrize(("name", "size", "lengths", "reverse"), CASES)
def test_values_and_gradients(name, size, lengths, reverse, emulated, monkeypatch):
    """Of every cell, with as many threads as the emulated machine has: three."""
    cell, *args, weights = draw(name, SIZES[size])
    num_steps, batch, *_ = SIZES[size]
    of_each = {"full": jnp.full(batch, num_steps), "ragged": jnp.arange(batch)[::-1] % (num_steps + 1)}
    lengths = of_each[lengths].astype(jnp.int32)
    monkeypatch.setattr(library, "vector_width", lambda: 4)
    monkeypatch.setattr(backend, "call", emulated)
    monkeypatch.setattr(partitioned, "call", lambda layout, *arguments: layout.function(*arguments))
    outputs, saved = backend.forward(cell, reverse, tuple(args), lengths, True)
    valid = length_mask(lengths, num_steps)[..., None]
    cotangents = (outputs[0], weights * valid)  # `unroll` cuts off what is past the end
    gradients = backend.backward(cell, reverse, tuple(args), lengths, saved, cotangents)

    @jax.jit
    def definition(args, cotangents):
        outputs, pull = jax.vjp(lambda args: backend.definition(cell, reverse, args, lengths), args)
        return outputs, pull(cotangents)[0]

    assert_close((outputs, gradients), definition(tuple(args), cotangents))


def loops(disassembled):
    """The innermost loop of every product: its rows, columns and panels, and its instructions."""
    for function in disassembled.split("\n\n"):
        named = re.match(r"\w+ <.*\bproduct<(\d+), (\d+), (\d+), .*(?<!@plt)>:", function)
        lines = re.findall(r"^ *(\w+):\t(.*)$", function, re.MULTILINE) if named else []
        addresses = [address for address, _ in lines]
        for end, (_, instruction) in enumerate(lines):
            branch = re.match(r"b\.\w+\t(\w+) <", instruction)
            if branch and branch[1] in addresses[:end]:
                yield tuple(map(int, named.groups())), [text for _, text in lines[addresses.index(branch[1]) : end]]


def test_the_sums_of_a_tile_stay_in_registers(compiled):
    """Every multiply-add of a product is one instruction for four floats, and no sum goes to memory and back."""
    command = [COMPILER.replace("g++", "objdump"), "-dC", "--no-show-raw-insn", compiled]
    found = list(loops(subprocess.run(command, capture_output=True, text=True, check=True).stdout))
    assert {(5, 4, 1), (6, 3, 1), (2, 4, 2)} <= {tile for tile, _ in found}
    for tile, instructions in found:
        assert sum(text.startswith("fmla") for text in instructions) == np.prod(tile), tile
        assert not [text for text in instructions if "[sp" in text], tile
