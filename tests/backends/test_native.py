"""The loops in C++: every cell against the scan, at sizes that fill a vector, a tile and a chunk, and that do not."""

import ctypes
import dataclasses
import os
import platform
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from helpers.native_cases import SIZES, assert_close, draw
from numpy.testing import assert_array_equal

from rnn_jax import cells, unroll
from rnn_jax.backends import BACKENDS, choose, device
from rnn_jax.backends.native import backend
from rnn_jax.backends.native import library as native
from rnn_jax.controls import StepMasks

pytestmark = pytest.mark.skipif(native.vector_width() is None, reason="no C++ compiler")


def values_and_gradients(name, size, backend, seed=0, **options):
    cell, params, carry, xs, weights = draw(name, size, seed)

    def loss(params, carry, xs):
        final, ys = unroll(cell, params, xs, carry=carry, backend=backend, **options)
        return (ys * weights).sum() + sum((part**2).sum() for part in jax.tree.leaves(final)), (final, ys)

    return jax.jit(jax.value_and_grad(loss, argnums=(0, 1, 2), has_aux=True))(params, carry, xs)


def leaves(tree):
    """As NumPy arrays."""
    return [np.asarray(leaf) for leaf in jax.tree.leaves(tree)]


TABLE = [(name, size) for name in ("rnn", "lstm", "gru") for size in SIZES]
TABLE += [("rnn_relu", "uneven"), ("rnn_identity", "uneven")]


@pytest.mark.parametrize(("name", "size"), TABLE)
def test_values_and_gradients(name, size):
    native, scan = (values_and_gradients(name, SIZES[size], backend) for backend in ("native", "scan"))
    assert_close(native, scan)


LENGTHS = np.array([9, 0, 4, 1, 9, 2, 2, 8, 3, 0, 5, 7, 6])
OPTIONS = {
    "lengths": {"lengths": LENGTHS},
    "reverse": {"lengths": LENGTHS, "reverse": True},
    "checkpoints": {"lengths": LENGTHS, "checkpoint_every": 4, "reverse": True},
    "all_empty": {"lengths": 0 * LENGTHS},
}


@pytest.mark.parametrize("options", OPTIONS.values(), ids=OPTIONS)
@pytest.mark.parametrize("name", ["rnn", "lstm", "gru"])
def test_options(name, options):
    native, scan = (values_and_gradients(name, SIZES["uneven"], b, **options) for b in ("native", "scan"))
    assert_close(native, scan)


@pytest.mark.parametrize("options", [{}, {"reverse": True}, {"checkpoint_every": 4}], ids=str)
@pytest.mark.parametrize("lengths", [(9, 9), (4, 9), (0, 1), (0, 0)], ids=str)
def test_units_of_few_sequences_on_several_threads(lengths, options):
    options = {"lengths": np.array(lengths), **options}
    native, scan = (values_and_gradients("gru", SIZES["few"], b, **options) for b in ("native", "scan"))
    assert_close(native, scan)


@pytest.mark.parametrize("lengths", [(3, 3, 2, 1), (0, 1, 3, 0)], ids=str)
def test_four_sequences_of_many_units(lengths):
    """Their gradient reads the weights as they lie, at every step for as many as have not ended."""
    options = {"lengths": np.array(lengths), "reverse": lengths[0] > 0}
    native, scan = (values_and_gradients("lstm", (3, 4, 5, 1027), b, **options) for b in ("native", "scan"))
    assert_close(native, scan)


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="a process cannot be held to one core")
def test_any_number_of_threads(tmp_path):
    """Values are the same to the bit. So are gradients, unless threads have whole sequences: then they are sums of as
    many parts as there are threads."""
    tests, sizes = Path(__file__).parents[1], ("few", "three of many units", "wide")
    program = f"""
import os, sys
os.sched_setaffinity(0, {{min(os.sched_getaffinity(0))}})
sys.path[:0] = {[str(tests), str(tests.parent)]!r}
import jax, numpy
jax.config.update("jax_enable_x64", True)
from backends.test_native import SIZES, leaves, values_and_gradients
found = {{}}
for size in {sizes}:
    for leaf in leaves(values_and_gradients("lstm", SIZES[size], "native")):
        found[f"{{size}}{{len(found)}}"] = leaf
numpy.savez({str(tmp_path / "found.npz")!r}, **found)
"""
    subprocess.run([sys.executable, "-c", program], check=True)
    with np.load(tmp_path / "found.npz") as file:
        for size in sizes:
            on_one = [file[name] for name in file.files if name.startswith(size)]
            values, gradients = values_and_gradients("lstm", SIZES[size], "native")
            is_shared = size != "wide"
            same_bits = leaves((values, gradients) if is_shared else values)
            for got, want in zip(same_bits, on_one, strict=is_shared):
                assert_array_equal(got, want)
            rest = len(leaves(gradients))
            assert_close(leaves(gradients), on_one[-rest:])


def test_a_state_that_is_not_zero_counts():
    """A sequence that begins at zero has no product in its first step; one of the batch that does not, has them all."""
    cell, params, carry, xs, _ = draw("gru", (2, 3, 2, 5))
    ones = carry._replace(h=jnp.zeros_like(carry.h).at[1, 4].set(1.0))
    for start in (cell.init_carry((3,), 5), ones):
        got, want = (unroll(cell, params, xs, carry=start, backend=b) for b in ("native", "scan"))
        assert_close(got, want)


@pytest.mark.parametrize("poison", [jnp.nan, jnp.inf])
@pytest.mark.parametrize(("num_steps", "batch"), [(1, 2), (1, 9), (3, 2)])
@pytest.mark.parametrize("name", ["rnn", "lstm", "gru"])
def test_a_weight_that_is_not_finite(name, num_steps, batch, poison):
    """Shows where the definition has it, from the first step on, although the state there is zero; so does a bias."""
    cell, params, carry, xs, _ = draw(name, (num_steps, batch, 3, 37))
    start = jax.tree.map(jnp.zeros_like, carry)
    for broken in (
        params._replace(w_hh=params.w_hh.at[4, 20].set(poison)),
        params._replace(b=params.b.at[3].set(jnp.nan)),
    ):
        got, want = (np.isnan(unroll(cell, broken, xs, carry=start, backend=b)[1]) for b in ("native", "scan"))
        assert want[0].any()
        assert not want[0].all()
        assert_array_equal(got, want)


@pytest.mark.parametrize("name", ["rnn", "lstm", "gru"])
def test_a_single_step_is_the_first_of_many(name):
    """To the bit, gates and padding too: it reads the weights as they lie, and adds in the same order."""
    cell, params, carry, xs, weights = draw(name, (2, 8, 11, 37))
    lengths = jnp.array([2, 1, 0, 2, 1, 1, 0, 1], jnp.int32)

    def outputs(num_steps):
        args = (params, carry, xs[:num_steps])
        (_, hs), (_, *gates) = backend.forward(cell, False, args, jnp.minimum(lengths, num_steps), True)
        return hs[0], [gate[0, lengths > 0] for gate in gates]

    jax.tree.map(assert_array_equal, outputs(1), outputs(2))
    single, scan = (
        jax.grad(
            lambda params, carry, b: (unroll(cell, params, xs[:1], carry=carry, backend=b)[1] * weights[:1]).sum(),
            (0, 1),
        )(params, carry, b)
        for b in ("native", "scan")
    )
    assert_close(single, scan)


@pytest.mark.parametrize("num_steps", [1, 4])
@pytest.mark.parametrize("name", ["rnn", "lstm", "gru"])
def test_gradients_where_the_state_is_zero(name, num_steps):
    """Also of the state itself, and of the weights that the first step has not read; -0.0 is zero."""
    cell, params, carry, xs, weights = draw(name, (num_steps, 3, 2, 5))
    start = jax.tree.map(lambda part: -0.0 * jnp.ones_like(part), carry)

    def loss(params, carry, backend):
        return (unroll(cell, params, xs, carry=carry, backend=backend)[1] * weights).sum()

    got, want = (jax.grad(loss, argnums=(0, 1))(params, start, backend) for backend in ("native", "scan"))
    assert np.abs(got[1].h).max() > 0.01
    assert np.any(got[0].w_hh) == (num_steps > 1)
    assert_close(got, want)


@pytest.mark.parametrize("size", ["few", "uneven"])
def test_calls_at_the_same_time(size):
    """They share XLA's threads, and not all that a call asks for need come; what it computes does not depend on it."""
    cell, params, carry, xs, weights = draw("lstm", SIZES[size])

    def loss(params):
        return (unroll(cell, params, xs, carry=carry, backend="native")[1] * weights).sum()

    gradient = jax.jit(jax.grad(loss))
    want = leaves(gradient(params))
    with ThreadPoolExecutor(4) as callers:
        for found in callers.map(lambda _: leaves(gradient(params)), range(40)):
            for got, expected in zip(found, want, strict=True):
                assert_array_equal(got, expected)


def test_padding_may_hold_anything():
    cell, params, _, xs, _ = draw("lstm", SIZES["uneven"])
    for rubbish in (jnp.nan, jnp.inf):
        padded = jnp.where(jnp.arange(9)[:, None, None] < LENGTHS[:, None], xs, rubbish)
        _, ys = unroll(cell, params, padded, lengths=LENGTHS, backend="native")
        assert_array_equal(ys, unroll(cell, params, xs, lengths=LENGTHS, backend="native")[1])


def test_batch_axes_and_vmap():
    """Any number of batch axes; vmap over parameters is a loop over them."""
    cell, params, _, xs, _ = draw("gru", (4, 6, 3, 5))
    final, ys = unroll(cell, params, xs, backend="native")
    final_2, ys_2 = unroll(cell, params, xs.reshape(4, 2, 3, 3), backend="native")
    assert_array_equal(ys_2.reshape(ys.shape), ys)
    assert_array_equal(final_2.h.reshape(6, 5), final.h)
    both = jax.tree.map(lambda a: jnp.stack((a, 2 * a)), params)
    mapped = jax.vmap(lambda p: unroll(cell, p, xs, backend="native")[1])(both)
    assert_array_equal(mapped[0], ys)
    assert_close(mapped[1], unroll(cell, jax.tree.map(lambda a: 2 * a, params), xs, backend="scan")[1])


@pytest.mark.parametrize("num_steps", [1, 4])
@pytest.mark.parametrize("name", ["lstm", "gru", "rnn"])
def test_vmap_over_sequences_is_a_batch(name, num_steps):
    """Of some that share what is not mapped, in one call of the library, to the bit; gradients as by `scan`."""
    cell, params, carry, xs, weights = draw(name, (num_steps, 6, 3, 5))
    lengths = jnp.array([num_steps, 0, 1, num_steps, 1, num_steps])

    def of_one(params, carry, xs, lengths, backend="native"):
        return unroll(cell, params, xs, carry=carry, lengths=lengths, backend=backend)

    def in_pairs(a, axis):
        return a.reshape(*a.shape[:axis], 3, 2, *a.shape[axis + 1 :])

    pairs = (params, jax.tree.map(lambda a: in_pairs(a, 0), carry), in_pairs(xs, 1), in_pairs(lengths, 0))
    mapped = jax.jit(jax.vmap(of_one, (None, 0, 1, 0), (0, 1)))
    final, ys = mapped(*pairs)
    expected, expected_ys = of_one(params, carry, xs, lengths)
    assert_array_equal(ys.reshape(expected_ys.shape), expected_ys)
    jax.tree.map(lambda a, b: assert_array_equal(a.reshape(b.shape), b), final, expected)
    assert "while" not in mapped.lower(*pairs).as_text()

    shared = jax.vmap(lambda xs: of_one(params, carry, xs, lengths)[1], 2, 1)(jnp.stack((xs, 2 * xs), 2))
    assert_array_equal(shared[:, 0], expected_ys)
    assert_array_equal(shared[:, 1], of_one(params, carry, 2 * xs, lengths)[1])
    nothing = jax.vmap(lambda xs: of_one(params, None, xs, None)[1], 1, 1)(jnp.zeros((num_steps, 0, 2, 3), jnp.float32))
    assert nothing.shape == (num_steps, 0, 2, 5)

    def gradient(backend):
        def loss(params):
            one = jax.vmap(lambda carry, xs, n: of_one(params, carry, xs, n, backend)[1], (0, 1, 0), 1)
            return jnp.sum(one(carry, xs, lengths) * weights)

        return jax.grad(loss)(params)

    jax.tree.map(assert_close, gradient("native"), gradient("scan"))


@pytest.mark.parametrize("name", ["lstm", "gru", "rnn"])
def test_second_derivatives(name):
    """Of the gradient's norm: what a gradient penalty needs."""
    cell, params, _, xs, weights = draw(name, SIZES["small"])

    def product(backend):
        def gradient(params):
            def loss(params):
                ys = unroll(cell, params, xs, lengths=[7, 3, 0, 5, 1], backend=backend)[1]
                return (weights * ys).sum()

            return jax.grad(loss)(params)

        return jax.jit(jax.grad(lambda p: sum((g**2).sum() for g in jax.tree.leaves(gradient(p)))))(params)

    assert_close(product("native"), product("scan"), 1e-5)


def test_the_same_bits_every_time():
    once, again = (values_and_gradients("lstm", (60, 40, 5, 20), "native") for _ in range(2))
    jax.tree.map(assert_array_equal, once, again)


@pytest.fixture
def compiled_for(monkeypatch):
    """A function that takes the library for another instruction set into use, until the test ends."""

    def use(instruction_set, width):
        monkeypatch.setenv("RNN_JAX_NATIVE_ISA", instruction_set)
        other = ctypes.CDLL(str(native.build()))
        for name in ("FORWARD", "BACKWARD"):
            symbol = getattr(native, name)
            monkeypatch.setattr(native, name, f"{symbol}_{instruction_set}")
            jax.ffi.register_ffi_target(
                f"{symbol}_{instruction_set}", jax.ffi.pycapsule(getattr(other, symbol)), platform="cpu"
            )
        assert other.rnn_jax_width() == width
        monkeypatch.setattr(native, "vector_width", lambda: width)
        traced_anew()

    def traced_anew():
        backend.forward_loops.cache_clear()
        backend.backward_loops.cache_clear()
        jax.clear_caches()

    yield use
    traced_anew()


@pytest.mark.skipif(platform.machine() != "x86_64", reason="sets of instructions of x86-64")
@pytest.mark.parametrize(("instruction_set", "width"), [("avx2", 8), ("x86-64", 4)])
def test_other_instruction_sets(instruction_set, width, compiled_for):
    """All that depends on the number and the width of registers: tiles, panels, padding."""
    if instruction_set == "avx2" and native.instruction_set() not in ("AVX-512", "AVX2"):
        pytest.skip("this processor has no AVX2")
    cases = [(name, "uneven", OPTIONS["reverse"]) for name in ("rnn", "lstm", "gru")]
    cases += [("rnn", "wide", {}), ("lstm", "chunks", {}), ("lstm", "few", {}), ("gru", "few", {})]
    cases += [("lstm", "three of many units", {}), ("gru", "three of many units", {}), ("gru", "wide", {})]
    want = [values_and_gradients(name, SIZES[size], "native", **options) for name, size, options in cases]
    compiled_for(instruction_set, width)
    for (name, size, options), expected in zip(cases, want, strict=True):
        assert_close(values_and_gradients(name, SIZES[size], "native", **options), expected)


HERE = native.INSTRUCTION_SETS.get(platform.machine(), ("native",))


@pytest.mark.parametrize(
    ("machine", "flag", "others"),
    [
        ("x86_64", "-march=native", "avx2, x86-64"),
        ("aarch64", "-mcpu=native", "neon"),
        ("arm64", "-mcpu=native", "neon"),
    ],
)
def test_instruction_sets_of_a_machine(machine, flag, others, monkeypatch):
    monkeypatch.setattr(platform, "machine", lambda: machine)
    monkeypatch.delenv("RNN_JAX_NATIVE_ISA", raising=False)
    assert native.flags()[-1] == flag
    monkeypatch.setenv("RNN_JAX_NATIVE_ISA", "sse")
    with pytest.raises(RuntimeError, match=f"take one of native, {others}$"):
        native.flags()


def test_an_unknown_instruction_set(monkeypatch):
    monkeypatch.setenv("RNN_JAX_NATIVE_ISA", "avx3")
    message = f"RNN_JAX_NATIVE_ISA=avx3: take one of {', '.join(HERE)}"
    with pytest.raises(RuntimeError, match=message):
        native.build()
    with pytest.warns(RuntimeWarning, match=f"goes on without backend 'native': {message}"):
        assert native.found_or_built() is None


def test_a_library_for_each_instruction_set(monkeypatch):
    paths = set()
    for instruction_set in ("", *HERE):
        monkeypatch.setenv("RNN_JAX_NATIVE_ISA", instruction_set)
        paths.add(native.library_path())
    assert len(paths) == len(HERE)


def activations(xs):
    """tanh and sigmoid of the library, for xs `[N]`: of an Elman cell, and of a GRU that begins at 1 with n = 0."""
    rnn, gru = cells.get("rnn"), cells.get("gru")
    one = jnp.ones((1, 1), jnp.float32)
    zero = jnp.zeros(1, jnp.float32)
    elman = type(rnn.init_params(jax.random.key(0), 1, 1))(one, 0 * one, zero)
    tanh = unroll(rnn, elman, xs[None, :, None], backend="native")[0].h[:, 0]
    gated = type(gru.init_params(jax.random.key(0), 1, 1))(
        jnp.array([[0.0, 1.0, 0.0]], jnp.float32), jnp.zeros((1, 3), jnp.float32), jnp.zeros(3, jnp.float32), zero
    )
    start = gru.init_carry((len(xs),), 1)._replace(h=jnp.ones((len(xs), 1), jnp.float32))
    return tanh, unroll(gru, gated, xs[None, :, None], carry=start, backend="native")[0].h[:, 0]


def test_activations_are_exact_to_the_last_places():
    """Relative to NumPy in float64, from the smallest arguments to those where both are 0 or 1."""
    positive = np.geomspace(1e-30, 60, 4001)
    xs = np.concatenate((-positive, [0.0], positive)).astype(np.float32)
    tanh, sigmoid = (np.asarray(a, np.float64) for a in activations(jnp.asarray(xs)))
    wide = xs.astype(np.float64)
    np.testing.assert_allclose(tanh, np.tanh(wide), rtol=4e-7, atol=0)
    expected = np.exp(-np.logaddexp(0, -wide))
    np.testing.assert_allclose(sigmoid, expected, rtol=1e-6, atol=1e-7)
    tanh, sigmoid = activations(jnp.array([1e30, -1e30, jnp.nan], jnp.float32))
    assert_array_equal(tanh, [1.0, -1.0, jnp.nan])
    np.testing.assert_allclose(sigmoid, [1.0, 0.0, jnp.nan], atol=1e-30)


def refusal(masks=None, change=lambda cell: cell):
    cell, params, carry, xs, _ = draw("lstm", SIZES["small"])
    return BACKENDS["native"].refusal(change(cell), params, carry, xs, masks or StepMasks())


def test_a_changed_cell_and_another_device_are_refused(monkeypatch):
    """What every back end for float32 refuses is in test_backends."""
    assert refusal() is None
    assert refusal(masks=StepMasks(valid=jnp.zeros((7, 5), bool))) is None
    changed = refusal(change=lambda cell: dataclasses.replace(cell, recur=lambda *a: cell.recur(*a)))
    assert changed.argument == "cell"
    assert changed.reason.startswith("has no loop for this cell, 'lstm'")
    monkeypatch.setattr(device, "kind", lambda: "cuda")
    assert refusal() == ("device", "is for a CPU, and this is cuda")


def test_not_compiled(monkeypatch):
    monkeypatch.setattr(native, "vector_width", lambda: None)
    assert refusal() == (
        "device",
        "is not compiled: install g++ or clang++, or see what python -m rnn_jax.backends.native says",
    )


@pytest.mark.parametrize(
    ("num_steps", "batch", "taken"),
    [(7, 5, "native"), (7, 100, "native"), (1, 1, "native"), (1, 8, "native"), (1, 9, "manual")],
)
def test_auto_takes_it(num_steps, batch, taken):
    """But for a single step of many sequences."""
    cell, params, carry, xs, _ = draw("gru", (num_steps, batch, 3, 4))
    assert choose("auto", cell, params, carry, xs, StepMasks()) == taken


def test_few_sequences_are_as_many_in_the_library():
    text = (native.SOURCES / "step.h").read_text()
    assert f"kFewSequences = {backend.FEW_SEQUENCES};" in text


@pytest.mark.parametrize("compiler", ["no-such-compiler", "false"])
def test_a_compiler_that_fails_is_one_message(compiler, tmp_path, monkeypatch):
    monkeypatch.setenv("CXX", compiler)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    done = subprocess.run([sys.executable, "-m", "rnn_jax.backends.native"], capture_output=True, text=True)
    assert done.returncode == 1
    assert done.stderr.startswith(compiler)
    assert "Traceback" not in done.stderr
    assert not list(tmp_path.rglob("*.so"))


class TestFirstUse:
    """Compiled where it is missing, in one line; where it cannot be, the other back ends compute the same."""

    @pytest.fixture
    def path(self, tmp_path, monkeypatch):
        path = tmp_path / "native.so"
        monkeypatch.setattr(native, "library_path", lambda: path)
        return path

    def test_compiles_once_and_says_so(self, path, monkeypatch, capsys):
        monkeypatch.setattr(native, "build", lambda: path.write_text("made") and path)
        assert native.found_or_built() == path
        assert capsys.readouterr().err == f"rnn_jax: compiling loops for this processor, once, to {path}\n"
        assert native.found_or_built() == path
        assert capsys.readouterr().err == ""

    @pytest.mark.parametrize("reason", ["no compiler", "not wanted"])
    def test_nothing_is_said_where_it_cannot_be(self, path, monkeypatch, capsys, reason):
        if reason == "no compiler":
            monkeypatch.setattr(native, "compiler", lambda: None)
        else:
            monkeypatch.setenv("RNN_JAX_NATIVE", "0")
        assert native.found_or_built() is None
        assert capsys.readouterr().err == ""

    def test_what_is_there_is_not_used_where_it_is_not_wanted(self, path, monkeypatch):
        path.write_text("made")
        monkeypatch.setenv("RNN_JAX_NATIVE", "0")
        assert native.found_or_built() is None

    @pytest.mark.parametrize("error", [PermissionError(13, "Permission denied"), RuntimeError("no home directory")])
    def test_a_home_that_cannot_be_read(self, path, monkeypatch, error):
        def unreadable():
            raise error

        monkeypatch.setattr(native, "library_path", unreadable)
        with pytest.warns(RuntimeWarning, match="goes on without backend 'native': .*(denied|home)"):
            assert native.found_or_built() is None

    def test_a_home_that_is_no_folder(self, path, monkeypatch, tmp_path):
        (tmp_path / "home").write_text("a file")
        monkeypatch.setattr(native, "library_path", lambda: tmp_path / "home" / ".cache" / path.name)
        with pytest.warns(RuntimeWarning, match="goes on without backend 'native'"):
            assert native.found_or_built() is None

    def test_a_compiler_that_fails(self, path, monkeypatch):
        monkeypatch.setenv("CXX", "false")
        with pytest.warns(RuntimeWarning, match="rnn_jax goes on without backend 'native': false -O3"):
            assert native.found_or_built() is None


@pytest.mark.parametrize("name", ["lstm", "gru"])
def test_the_loops_have_nothing_to_do_for_no_sequence(name):
    """`unroll` never asks them to; the C++ must not divide by their number."""
    cell = cells.get(name)
    params = cell.init_params(jax.random.key(0), 3, 5, jnp.float32)
    args = (params, cell.init_carry((0,), 5, jnp.float32), jnp.zeros((7, 0, 3), jnp.float32))
    lengths = jnp.zeros(0, jnp.int32)
    outputs, saved = jax.jit(lambda *args: backend.forward(cell, False, args, lengths, True))(*args)
    gradients = jax.jit(lambda *args: backend.backward(cell, False, args, lengths, saved, outputs))(*args)
    assert not any(leaf.any() for leaf in jax.tree.leaves(gradients[0]))
