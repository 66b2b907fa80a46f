"""The kernels of the mosaic back end: a CPU simulates them, they lower for a GPU, and who has to do without them.

The simulation is of every thread and barrier, so slow that the cases are few: together they have every cell, both
types, both directions, all masks, more than one tile, and threads that hand their units to each other.
"""

import contextlib

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from helpers.unrolls import draw_like

from rnn_jax import cells, unroll
from rnn_jax.backends import BACKENDS, device, manual, persistent
from rnn_jax.backends.mosaic import backend
from rnn_jax.controls import StepMasks, valid_steps

KERNELS = persistent.Kernels(backend.forward, backend.back)
REFUSAL = BACKENDS["mosaic"].refusal
simulated = pytest.mark.skipif(jax.__version_info__ < backend.OLDEST, reason="JAX 0.10 cannot simulate it")


def draw(name, dtype, num_steps, batch_size, hidden_size):
    """Arguments of `manual.definition`, and masks."""
    cell = cells.get(name)
    shapes = jax.eval_shape(lambda: cell.init_params(jax.random.key(0), 3, hidden_size, dtype))
    args = draw_like((shapes, jax.eval_shape(lambda: cell.init_carry((batch_size,), hidden_size, dtype))), seed=1)
    xs = draw_like(jax.ShapeDtypeStruct((num_steps, batch_size, 3), dtype), seed=2)
    rng = np.random.default_rng(0)
    flags = (num_steps, batch_size)
    masks = StepMasks(
        valid=valid_steps(num_steps, jnp.arange(batch_size) % (num_steps + 1), None),
        reset=jnp.asarray(rng.random(flags) < 0.3),
        truncate=jnp.asarray(rng.random(flags) < 0.2),
    )
    return cell, (*args, xs), masks


@simulated
@pytest.mark.parametrize(
    ("name", "dtype", "batch_size", "hidden_size", "reverse"),
    [
        ("lstm", jnp.float32, 20, 40, True),
        ("gru", jnp.bfloat16, 20, 40, False),
        ("gru", jnp.float32, 7, 5, False),
        ("rnn", jnp.bfloat16, 70, 33, True),
    ],
)
def test_values_and_gradients(name, dtype, batch_size, hidden_size, reverse):
    """Those of the definition and of JAX, which in bfloat16 rounds its sums, as this does dL/dz."""
    cell, args, masks = draw(name, dtype, 4, batch_size, hidden_size)
    want, vjp = jax.vjp(lambda args: manual.definition(cell, reverse, args, masks), args)
    cotangents = draw_like(want, seed=3)
    with jax.enable_x64(False):
        got, carries = persistent.saving(KERNELS, cell, reverse, args, masks, save=True)
        gradient = persistent.gradient(KERNELS, cell, reverse, args, masks, carries, cotangents)
    tolerance = 1e-5 if dtype == jnp.float32 else 2e-2
    pairs = zip(jax.tree.leaves((got, gradient)), jax.tree.leaves((want, vjp(cotangents)[0])), strict=True)
    for found, wanted in pairs:
        found, wanted = (np.asarray(each, np.float64) for each in (found, wanted))
        assert np.linalg.norm(found - wanted) <= tolerance * np.linalg.norm(wanted)


@contextlib.contextmanager
def on_a_hopper(monkeypatch):
    """To lower for: nothing compiles or runs, as that takes one."""
    monkeypatch.setattr(device, "kind", lambda: "cuda")
    gpu = jax.sharding.AbstractDevice("NVIDIA H100 80GB HBM3", None, platform="gpu")
    mesh = jax.sharding.AbstractMesh((1,), ("x",), axis_types=(jax.sharding.AxisType.Auto,), abstract_device=gpu)
    with jax.enable_x64(False), jax.sharding.use_abstract_mesh(mesh):
        yield


@simulated
@pytest.mark.parametrize(("name", "dtype"), [("lstm", jnp.bfloat16), ("gru", jnp.float32), ("rnn_relu", jnp.bfloat16)])
def test_the_kernels_lower_for_a_hopper(monkeypatch, name, dtype):
    cell = cells.get(name)

    def loss(params, xs, lengths, resets):
        options = {"lengths": lengths, "resets": resets, "truncate_every": 2, "reverse": True}
        final, ys = unroll(cell, params, xs, backend="mosaic", **options)
        return ys.sum() + final.h.sum()

    with on_a_hopper(monkeypatch):
        params = jax.eval_shape(lambda: cell.init_params(jax.random.key(0), 3, 33, dtype))
        shapes = (((6, 20, 3), dtype), ((20,), jnp.int32), ((6, 20), jnp.bool_))
        arrays = (jax.ShapeDtypeStruct(shape, kind) for shape, kind in shapes)
        traced = jax.jit(jax.value_and_grad(loss)).trace(params, *arrays)
        assert traced.lower(lowering_platforms=("cuda",)).as_text().count("@mosaic_gpu") == 2


def refusal(name="lstm", dtype=jnp.float32, hidden_size=5):
    cell = cells.get(name)
    params = jax.eval_shape(lambda: cell.init_params(jax.random.key(0), 3, hidden_size, dtype))
    carry = jax.eval_shape(lambda: cell.init_carry((4,), hidden_size, dtype))
    return REFUSAL(cell, params, carry, jax.ShapeDtypeStruct((7, 4, 3), dtype), StepMasks())


@pytest.mark.parametrize(
    ("kind", "capability", "version", "reason"),
    [
        ("cpu", "9.0", (0, 11, 2), "needs a Hopper GPU, of compute capability 9.0, and this is cpu"),
        ("cuda", "10.0", (0, 11, 2), "needs a Hopper GPU, of compute capability 9.0, and this is one of 10.0"),
        ("cuda", "9.0", (0, 10, 2), f"needs JAX 0.11 or later, and this is {jax.__version__}"),
        ("cuda", "9.0", (0, 12, 0), None),
    ],
)
def test_machines(monkeypatch, kind, capability, version, reason):
    monkeypatch.setattr(device, "kind", lambda: kind)
    monkeypatch.setattr(device, "compute_capability", lambda: capability)
    monkeypatch.setattr(jax, "__version_info__", version)
    assert refusal() == (None if reason is None else ("device", reason))


# The largest multiples of 32 that fit 227 KiB less 4 KiB.
@pytest.mark.parametrize(
    ("name", "dtype", "largest"),
    [
        ("rnn", jnp.float32, 192),
        ("lstm", jnp.float32, 64),
        ("gru", jnp.float32, 96),
        ("rnn", jnp.bfloat16, 256),
        ("lstm", jnp.bfloat16, 128),
        ("gru", jnp.bfloat16, 160),
    ],
)
def test_the_weights_have_to_fit(monkeypatch, name, dtype, largest):
    monkeypatch.setattr(backend, "of_this_machine", lambda: None)
    assert refusal(name, dtype, largest) is None
    cell, size, width = cells.get(name), largest + 32, jnp.dtype(dtype).itemsize
    assert refusal(name, dtype, largest + 1) == (
        "hidden_size",
        f"keeps w_hh on chip, which has 223 KiB and 256 units for it: a hidden size of {largest + 1} takes "
        f"{cell.num_gates} * {size} * ({size} + 64) * {width} bytes, "
        f"{cell.num_gates * size * (size + 64) * width / 1024:.0f} KiB, and {size} units",
    )


def test_float32_is_rounded(monkeypatch):
    """And gives way to whoever asks for more; bfloat16 has nothing to lose."""
    monkeypatch.setattr(backend, "of_this_machine", lambda: None)
    for precision in ("tensorfloat32", "high", "TF32_TF32_F32"):
        with jax.default_matmul_precision(precision):
            assert refusal() is None
    with jax.default_matmul_precision("highest"):
        message = "rounds the factors of float32 to TF32, and the precision asked for is 'highest'"
        assert refusal() == ("dtype", message)
        assert refusal(dtype=jnp.bfloat16) is None


@pytest.mark.parametrize(
    ("options", "argument", "reason"),
    [
        ({"name": "lstm_coupled"}, "cell", "has no kernel for this cell, 'lstm_coupled': only for rnn, "),
        ({"dtype": jnp.float64}, "dtype", "has no kernel in float64"),
    ],
)
def test_what_is_refused(options, argument, reason):
    refused = refusal(**options)
    assert refused.argument == argument
    assert refused.reason.startswith(reason)


def test_a_call_gives_way():
    lstm = cells.get("lstm")
    params = lstm.init_params(jax.random.key(0), 3, 5)
    with pytest.warns(UserWarning, match=r"^backend 'mosaic' needs a Hopper GPU, .* and this is cpu: using '"):
        unroll(lstm, params, jnp.ones((7, 4, 3), jnp.float32), backend="mosaic")
