"""Which back end computes what, and what is said when the one that was asked for cannot."""

import dataclasses
import warnings

import jax
import jax.numpy as jnp
import pytest
from helpers.unrolls import XS, B, H, T, draw

from rnn_jax import backends, cells, unroll
from rnn_jax.backends import BACKENDS, CHOICES, choose, device
from rnn_jax.controls import StepMasks

ZONEOUT = jnp.zeros((T, B, H))


@pytest.fixture(autouse=True)
def _nothing_said_yet():
    backends.warn_once.cache_clear()


def arguments(name="lstm", masks=None, xs=XS, dtype=jnp.float64):
    """Of `refusal` and `choose`."""
    cell = cells.get(name)
    params, _, carry = draw(cell, 0, xs.shape[1:-1], dtype)
    return cell, params, carry, xs.astype(dtype), masks or StepMasks()


def refusal(backend, *args, **options):
    return BACKENDS[backend].refusal(*arguments(*args, **options))


def test_auto_takes_the_hand_derived_gradient_where_there_is_one():
    lstm, *others = arguments()
    assert choose("auto", lstm, *others) == "manual"
    assert choose("auto", *arguments(masks=StepMasks(zoneout=ZONEOUT))) == "scan"
    assert choose("auto", *arguments("lstm_coupled")) == "scan"
    assert choose("auto", dataclasses.replace(lstm, recur=lambda *a: lstm.recur(*a)), *others) == "scan"


def test_auto_is_the_same_on_a_gpu(monkeypatch):
    """Nothing has been measured there yet."""
    monkeypatch.setattr(device, "kind", lambda: "cuda")
    assert choose("auto", *arguments(dtype=jnp.float32)) == "manual"


@pytest.mark.parametrize("name", cells.CELLS)
def test_the_scan_computes_everything(name):
    masks = StepMasks(*(jnp.ones((T, B), bool),) * 3, ZONEOUT)
    assert refusal("scan", name, masks) is None


def test_what_cannot_run_gives_way_and_says_so_once():
    cell, params, _, xs, _ = arguments()
    with pytest.warns(UserWarning, match="^backend 'cudnn' computes in float32 alone, not in float64: using 'manual'"):
        final, ys = unroll(cell, params, xs, backend="cudnn")
    expected_final, expected = unroll(cell, params, xs, backend="manual")
    assert (final.c == expected_final.c).all()
    assert (ys == expected).all()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        unroll(cell, params, xs, backend="cudnn")
    message = "backend 'pallas' takes neither zoneout nor perturbations.*: using 'scan' instead"
    with pytest.warns(UserWarning, match=message) as warned:
        unroll(cell, params, xs, backend="pallas", zoneout=ZONEOUT)
    assert warned[0].filename == __file__


CUT = jnp.zeros((T, B), bool)
CUDNN = {
    "cell": (("gru",), {}, "has the cell 'lstm' alone, not this 'gru'"),
    "resets": ((), {"masks": StepMasks(reset=CUT)}, "does not take resets"),
    "truncate_every": ((), {"masks": StepMasks(truncate=CUT)}, "does not take truncate_every"),
    "zoneout": ((), {"masks": StepMasks(zoneout=ZONEOUT)}, "does not take zoneout"),
    "perturbations": ((), {"masks": StepMasks(perturbations=ZONEOUT)}, "does not take perturbations"),
    "batch": ((), {"xs": XS[:, :, None]}, "takes one batch axis, and xs is (7, 4, 1, 3)"),
    "steps": ((), {"xs": XS[:0]}, "has nothing to run for in xs (0, 4, 3)"),
    "dtype": ((), {}, "computes in float32 alone, not in float64"),
    "device": ((), {"dtype": jnp.float32}, "needs an NVIDIA GPU, and this is cpu"),
}
PALLAS = {
    "cell": (("lstm_coupled",), {}, "has no hand-derived rule for this cell, 'lstm_coupled'"),
    "zoneout": ((), {"masks": StepMasks(zoneout=ZONEOUT)}, "takes neither zoneout nor perturbations"),
    "rows": ((), {"xs": XS[:, :0]}, "has nothing to run for in xs (7, 0, 3)"),
    "float16": ((), {"dtype": jnp.float16}, "has no kernel in float16"),
}


@pytest.mark.parametrize(("args", "options", "reason"), CUDNN.values(), ids=CUDNN)
def test_what_cudnn_refuses(args, options, reason):
    assert refusal("cudnn", *args, **options) == reason


@pytest.mark.parametrize(("args", "options", "reason"), PALLAS.values(), ids=PALLAS)
def test_what_pallas_refuses(args, options, reason):
    assert refusal("pallas", *args, **options).startswith(reason)


def test_types_that_do_not_go_together():
    cell, params, carry, xs, masks = arguments(dtype=jnp.float32)
    assert "w_hh is float32, xs float64" in BACKENDS["pallas"].refusal(cell, params, carry, xs.astype(float), masks)
    wide = carry._replace(h=carry.h.astype(float))
    message = "needs one type: w_hh is float32, xs float32, the carry h float64, c float32"
    assert BACKENDS["pallas"].refusal(cell, params, wide, xs, masks) == message


# The largest that fit 227 KiB less 24 KiB, and the next one.
@pytest.mark.parametrize(
    ("name", "dtype", "largest"),
    [
        ("rnn", jnp.float32, 128),
        ("lstm", jnp.float32, 64),
        ("gru", jnp.float32, 128),
        ("rnn", jnp.bfloat16, 256),
        ("lstm", jnp.bfloat16, 128),
        ("gru", jnp.bfloat16, 128),
    ],
)
def test_the_weights_have_to_fit(name, dtype, largest):
    cell = cells.get(name)

    def reason(size):
        params = jax.eval_shape(lambda: cell.init_params(jax.random.key(0), 3, size, dtype))
        carry = cell.init_carry((B,), size, dtype)
        return BACKENDS["pallas"].refusal(cell, params, carry, XS.astype(dtype), StepMasks())

    assert reason(largest) is None
    taken = cell.num_gates * 4 * largest**2 * jnp.dtype(dtype).itemsize // 1024
    assert reason(largest + 1) == (
        f"keeps w_hh on chip, which has 203 KiB for it: a hidden size of {largest + 1} takes "
        f"{cell.num_gates} * {2 * largest} * {2 * largest} * {jnp.dtype(dtype).itemsize} bytes, {taken} KiB"
    )


@pytest.mark.parametrize("kind", ["tpu", "rocm"])
def test_devices_without_kernels(monkeypatch, kind):
    monkeypatch.setattr(device, "kind", lambda: kind)
    for name in ("cudnn", "pallas"):
        assert refusal(name, dtype=jnp.float32).endswith(f"and this is {kind}")


def test_a_gpu(monkeypatch):
    monkeypatch.setattr(device, "kind", lambda: "cuda")
    for name in ("cudnn", "pallas"):
        assert refusal(name, dtype=jnp.float32) is None
    assert refusal("pallas") == "computes in float64 on a CPU alone"


def test_unknown():
    assert set(CHOICES) == {"auto", *BACKENDS, "without_dc"}
    with pytest.raises(ValueError, match="unknown backend 'gpu': take one of auto, scan"):
        choose("gpu", *arguments())
