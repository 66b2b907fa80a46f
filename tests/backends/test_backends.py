"""Which back end computes what, and what is said when the one that was asked for cannot."""

import dataclasses
import warnings

import jax
import jax.numpy as jnp
import pytest
from helpers.unrolls import XS, B, H, I, T, draw

from rnn_jax import backends, cells, unroll
from rnn_jax.backends import BACKENDS, CHOICES, choose, device, manual
from rnn_jax.backends.pallas.steps import STEPS
from rnn_jax.bptt import RULES
from rnn_jax.controls import StepMasks

ZONEOUT = jnp.zeros((T, B, H))


@pytest.fixture(autouse=True)
def _nothing_said_yet():
    backends.warn_once.cache_clear()


def arguments(name="lstm", masks=None, xs=XS, dtype=jnp.float64, hidden_size=H):
    """Of `refusal` and `choose`, in shapes alone: nothing else may be asked for."""
    cell = cells.get(name)
    params = jax.eval_shape(lambda: cell.init_params(jax.random.key(0), I, hidden_size or 1, dtype))
    if not hidden_size:  # no cell has such parameters drawn, but they may come from somewhere else
        params = jax.tree.map(lambda a: jax.ShapeDtypeStruct((*a.shape[:-1], 0), a.dtype), params)
        params = params._replace(w_hh=jax.ShapeDtypeStruct((0, 0), dtype))
    carry = jax.eval_shape(lambda: cell.init_carry(xs.shape[1:-1], hidden_size, dtype))
    return cell, params, carry, jax.ShapeDtypeStruct(xs.shape, dtype), jax.eval_shape(lambda: masks or StepMasks())


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


def test_the_associative_back_end_computes_linear_cells_alone():
    assert refusal("associative", "minlstm", masks=StepMasks(valid=CUT, reset=CUT)) is None
    assert refusal("associative", "gru").argument == "cell"
    assert refusal("associative", "lru", masks=StepMasks(zoneout=ZONEOUT)).argument == "zoneout"
    cell = cells.get("mingru")
    params, xs, carry = draw(cell, 0, (B,))
    final, ys = unroll(cell, params, xs, carry=carry, backend="associative")
    assert ys.shape == (0, B, H)
    assert (final.h == carry.h).all()


def test_what_cannot_run_gives_way_and_says_so_once():
    cell = cells.get("lstm")
    params, xs, _ = draw(cell, T, (B,))
    with pytest.warns(UserWarning, match="^backend 'cudnn' computes in float32 alone, not in float64: using 'manual'"):
        final, ys = unroll(cell, params, xs, backend="cudnn")
    expected_final, expected = unroll(cell, params, xs, backend="manual")
    assert (final.c == expected_final.c).all()
    assert (ys == expected).all()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        unroll(cell, params, xs, backend="cudnn")
    message = "backend 'pallas' does not take zoneout: using 'scan' instead"
    with pytest.warns(UserWarning, match=message) as warned:
        unroll(cell, params, xs, backend="pallas", zoneout=ZONEOUT)
    assert warned[0].filename == __file__


def test_what_cannot_run_and_does_not_give_way_is_an_error():
    with pytest.raises(ValueError, match=r"^backend 'manual' does not take zoneout; take 'auto' or 'scan'$"):
        choose("manual", *arguments(masks=StepMasks(zoneout=ZONEOUT)))


CUT = jnp.zeros((T, B), bool)
MASKS = {
    "resets": StepMasks(reset=CUT),
    "truncate_every": StepMasks(truncate=CUT[:, 0]),
    "zoneout": StepMasks(zoneout=ZONEOUT),
    "perturbations": StepMasks(perturbations=cells.LSTMCarry(ZONEOUT, ZONEOUT)),
}
F32 = {"dtype": jnp.float32}
KNOWN = "only for rnn, rnn_relu, rnn_identity, lstm, gru"


def lacking(backends, options):
    return [
        (backend, {"masks": MASKS[option]}, option, f"does not take {option}")
        for backend in backends
        for option in options
    ]


def all_of(backends, *refused):
    return [(backend, *refused) for backend in backends]


REFUSED = [
    *lacking(("cudnn", "native"), MASKS),
    *lacking(("manual", "pallas"), ("zoneout", "perturbations")),
    *all_of(("cudnn", "native", "pallas"), {"xs": XS[:0]}, "xs", "has nothing to run for in xs (0, 4, 3)"),
    *all_of(
        ("cudnn", "native", "pallas"), {"hidden_size": 0}, "hidden_size", "has nothing to run for in a hidden size of 0"
    ),
    *all_of(("cudnn", "native"), {}, "dtype", "computes in float32 alone, not in float64"),
    ("native", {"masks": StepMasks(reset=CUT, truncate=CUT)}, "resets", "does not take resets, truncate_every"),
    ("manual", {"name": "lstm_coupled"}, "cell", f"has no hand-derived rule for this cell, 'lstm_coupled': {KNOWN}"),
    ("native", {"name": "lstm_coupled"}, "cell", f"has no loop for this cell, 'lstm_coupled': {KNOWN}"),
    ("cudnn", {"name": "gru"}, "cell", "has the cell 'lstm' alone, not this 'gru'"),
    ("cudnn", {"xs": XS[:, :, None]}, "xs", "takes one batch axis, and xs is (7, 4, 1, 3)"),
    ("cudnn", F32, "device", "needs an NVIDIA GPU, and this is cpu"),
    ("pallas", {"name": "lstm_coupled"}, "cell", f"has no kernel for this cell, 'lstm_coupled': {KNOWN}"),
    ("pallas", {"dtype": jnp.float16}, "dtype", "has no kernel in float16"),
]


@pytest.mark.parametrize(
    ("backend", "options", "argument", "reason"),
    REFUSED,
    ids=[f"{backend}-{argument}-{number}" for number, (backend, _, argument, _) in enumerate(REFUSED)],
)
def test_what_is_refused(backend, options, argument, reason):
    """By the name of an argument or a size, and in words."""
    assert refusal(backend, **options) == (argument, reason)


def test_a_rule_is_not_yet_a_kernel(monkeypatch):
    """A cell whose backward pass is derived has one more step to be written before Pallas and the C++ loops know it."""
    monkeypatch.setitem(RULES, "lstm_coupled", RULES["lstm"])
    assert refusal("manual", "lstm_coupled", **F32) is None
    assert refusal("pallas", "lstm_coupled", **F32).argument == "cell"
    assert refusal("native", "lstm_coupled", **F32).argument == "cell"
    with pytest.warns(UserWarning, match="^backend 'pallas' has no kernel for this cell, 'lstm_coupled': .* 'manual'"):
        assert choose("pallas", *arguments("lstm_coupled", **F32)) == "manual"


def test_a_kernel_is_not_yet_a_rule(monkeypatch):
    """The backward kernel steps back by itself, but what is around it comes from the rule."""
    monkeypatch.setitem(STEPS, "lstm_coupled", STEPS["lstm"])
    assert refusal("pallas", "lstm_coupled", **F32).argument == "cell"


def test_types_that_do_not_go_together():
    cell, params, carry, xs, masks = arguments(dtype=jnp.float32)
    wide_xs = jax.ShapeDtypeStruct(xs.shape, float)
    refused = BACKENDS["pallas"].refusal(cell, params, carry, wide_xs, masks)
    assert refused.argument == "dtype"
    assert "w_hh is float32, xs float64" in refused.reason
    wide = carry._replace(h=jax.ShapeDtypeStruct(carry.h.shape, float))
    message = "needs one type: w_hh is float32, xs float32, the carry h float64, c float32"
    assert BACKENDS["pallas"].refusal(cell, params, wide, xs, masks) == ("dtype", message)


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
    assert refusal("pallas", name, dtype=dtype, hidden_size=largest) is None
    taken = cell.num_gates * 4 * largest**2 * jnp.dtype(dtype).itemsize // 1024
    assert refusal("pallas", name, dtype=dtype, hidden_size=largest + 1) == (
        "hidden_size",
        f"keeps w_hh on chip, which has 203 KiB for it: a hidden size of {largest + 1} takes "
        f"{cell.num_gates} * {2 * largest} * {2 * largest} * {jnp.dtype(dtype).itemsize} bytes, {taken} KiB",
    )


@pytest.mark.parametrize("kind", ["tpu", "rocm"])
def test_devices_without_kernels(monkeypatch, kind):
    monkeypatch.setattr(device, "kind", lambda: kind)
    for name in ("cudnn", "native", "pallas"):
        refused = refusal(name, **F32)
        assert refused.argument == "device"
        assert refused.reason.endswith(f"and this is {kind}")


def test_a_gpu(monkeypatch):
    monkeypatch.setattr(device, "kind", lambda: "cuda")
    for name in ("cudnn", "pallas"):
        assert refusal(name, **F32) is None
    assert refusal("pallas") == ("dtype", "computes in float64 on a CPU alone")


def test_what_is_wrong_on_every_machine_is_said_on_every_machine(monkeypatch):
    """A call that contradicts itself is found without the device that it is meant for."""
    found = {}
    for kind in ("cpu", "cuda", "tpu"):
        monkeypatch.setattr(device, "kind", lambda kind=kind: kind)
        found[kind] = [refusal(name, masks=MASKS["zoneout"], **F32) for name in BACKENDS]
    assert found["cpu"] == found["cuda"] == found["tpu"]


@pytest.mark.parametrize("name", BACKENDS)
def test_what_vmap_goes_through(monkeypatch, name):
    """`Backend.vmap` says whether a call can be batched, traced here and not run: cuDNN needs a GPU."""
    if name == "cudnn":
        monkeypatch.setattr(device, "kind", lambda: "cuda")
    of = "mingru" if name == "associative" else "lstm"
    if name != "cudnn" and refusal(name, of, **F32) is not None:
        pytest.skip(refusal(name, of, **F32).reason)
    cell, params, carry, xs, masks = arguments(of, **F32)
    replicas = jax.tree.map(lambda a: jax.ShapeDtypeStruct((2, *a.shape), a.dtype), (params, carry, xs))
    run = jax.vmap(lambda params, carry, xs: BACKENDS[name].run(cell, False, params, carry, xs, masks))
    if BACKENDS[name].vmap:
        assert jax.eval_shape(run, *replicas)[1].shape == (2, T, B, H)
    else:
        with pytest.raises(NotImplementedError, match="Batching rule for 'rnn_fwd' not implemented"):
            jax.eval_shape(run, *replicas)


def test_the_table_of_choices():
    assert ("auto", *BACKENDS) == CHOICES
    assert BACKENDS["manual"].run is manual.run
    with pytest.raises(ValueError, match="unknown backend 'gpu': take one of auto, scan"):
        choose("gpu", *arguments())
