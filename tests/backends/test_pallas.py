"""The kernels of the pallas back end: their steps, their padding, and that they lower for a GPU.

What every back end has to get right is in test_unroll, with this one among them, interpreted.
"""

import contextlib
import warnings
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from helpers.unrolls import B, H, I, assert_trees_close, draw, draw_like, draw_resets, quick_jit, value_and_vjp
from jax.sharding import AxisType, NamedSharding
from jax.sharding import PartitionSpec as P

from rnn_jax import backends, bptt, cells, unroll
from rnn_jax.backends import device, persistent
from rnn_jax.backends.pallas import backend, steps, tiles
from rnn_jax.backends.pallas.steps import STEPS, OnChip
from rnn_jax.cells.cell import gates, hidden
from rnn_jax.controls import StepMasks
from rnn_jax.diagnostics import gradcheck


@pytest.mark.parametrize("dtype", [jnp.float64, jnp.float32, jnp.bfloat16])
@pytest.mark.parametrize("name", STEPS)
def test_the_steps_are_those_of_cell_and_rule(name, dtype):
    """The algebra that is there twice. bfloat16: its products are exact in float32, and dz has 16 bits or more."""
    cell, rule = cells.get(name), bptt.RULES[name]
    params, xs, carry = draw(cell, 1, (B,), dtype)
    projected = cell.project(params, xs[0])
    weights = OnChip(gates(params.w_hh, cell.num_gates), getattr(params, "b_hn", None))
    after, y = cell.recur(params, carry, projected)
    got_after, got_y = steps.recur(name, weights, carry, projected)
    tolerance = {"float64": 1e-13, "float32": 1e-5, "bfloat16": 1e-2}[jnp.dtype(dtype).name]
    assert_trees_close((got_after, got_y), (after, y), rtol=tolerance, atol=tolerance)

    local = rule.recompute(params, xs[0], carry, after)
    dcarry = draw_like(jax.tree.map(lambda a: a.astype(jnp.promote_types(a.dtype, jnp.float32)), after), seed=3)
    dbefore, dz = rule.step(params, local, dcarry)
    got_dbefore, got_dz = steps.step(name, tuple(w.T for w in weights.w_hh), local, dcarry)
    tolerance = {"float64": 1e-13, "float32": 1e-5, "bfloat16": 1e-4}[jnp.dtype(dtype).name]
    assert_trees_close((got_dbefore, jnp.concatenate(got_dz, -1)), (dbefore, dz), rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize(("name", "rows", "units"), [("rnn", 33, 16), ("lstm", 33, 17), ("gru", 16, 16)])
def test_more_than_one_tile_and_no_padding(name, rows, units):
    """33 rows are three programs, the last one of a single row; 16 units need no padding, 17 need 15."""
    cell = cells.get(name)
    rng = np.random.default_rng(0)
    shapes = jax.eval_shape(lambda: (cell.init_params(jax.random.key(0), I, units), cell.init_carry((rows,), units)))
    params, carry = jax.tree.map(lambda a: jnp.asarray(0.3 * rng.normal(size=a.shape)), shapes)
    xs = jnp.asarray(rng.normal(size=(5, rows, I)))
    cotangents = draw_like((carry, jnp.zeros((5, rows, units))), seed=3)
    options = {"lengths": np.arange(rows) % 6, "resets": draw_resets(5, (rows,))}
    manual, kernel = (
        value_and_vjp(cell, backend, options, (params, xs, carry), cotangents) for backend in ("manual", "pallas")
    )
    assert_trees_close(kernel, manual, rtol=1e-11, atol=1e-12)


@pytest.mark.parametrize(("name", "case"), [("rnn", "bidirectional"), ("lstm", "stacked"), ("gru", "long")])
def test_the_cases_of_the_gradient_check(name, case):
    """Against autodiff, which the gradient check compares with finite differences at the same point."""
    cell, under = cells.get(name), gradcheck.CASES[case]
    point = gradcheck.draw_point(cell, under, 0)
    kernel, autodiff = (
        quick_jit(partial(gradcheck.gradient, cell, under, backend))(point) for backend in ("pallas", "scan")
    )
    assert gradcheck.relative_error(kernel, autodiff) < gradcheck.TOLERANCES["float64"].manual


def test_values_alone_keep_no_memory_of_c():
    """Without a gradient the kernel writes h of every step, with one the whole carry."""
    params, xs, carry = draw(cells.get("lstm"), 7, (B,))

    def outputs(function):
        (call,) = (
            eqn for eqn in jax.make_jaxpr(function)(params, carry, xs).eqns if eqn.primitive.name == "pallas_call"
        )
        return [variable.aval.shape for variable in call.outvars]

    lstm, tile, steps = cells.get("lstm"), (16, 16), (7, 16, 16)
    for keep, per_step in ((hidden, [steps]), (persistent.whole, [steps, steps])):
        run = partial(backend.forward, lstm, False, masks=StepMasks(), keep=keep)
        assert outputs(run) == [tile, tile, *per_step]


@contextlib.contextmanager
def a_gpu_to_lower_for():
    """JAX 0.11 wants to know which one; 0.10 takes compute capability 9.0."""
    if not hasattr(jax.sharding, "AbstractDevice"):
        yield
        return
    try:
        gpu = jax.sharding.AbstractDevice("NVIDIA H100 80GB HBM3", None, platform="gpu")
    except TypeError:  # JAX 0.10 has no platform, and asks for none
        yield
        return
    mesh = jax.sharding.AbstractMesh((1,), ("x",), axis_types=(jax.sharding.AxisType.Auto,), abstract_device=gpu)
    with jax.sharding.use_abstract_mesh(mesh), warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # of Pallas' Triton lowering
        yield


@pytest.mark.parametrize(
    ("name", "dtype", "x64"),
    [*((name, dtype, False) for name in STEPS for dtype in (jnp.float32, jnp.bfloat16)), ("lstm", jnp.float32, True)],
)
def test_the_kernels_lower_for_cuda(monkeypatch, name, dtype, x64):
    """To Triton, forward and back, with every control; nothing compiles or runs it, as that takes a GPU."""
    monkeypatch.setattr(device, "kind", lambda: "cuda")
    cell = cells.get(name)

    def loss(params, xs, lengths, resets):
        options = {"lengths": lengths, "resets": resets, "truncate_every": 2, "reverse": True}
        final, ys = unroll(cell, params, xs, backend="pallas", **options)
        return ys.sum() + final.h.sum()

    with jax.enable_x64(x64), a_gpu_to_lower_for():
        params = jax.eval_shape(lambda: cell.init_params(jax.random.key(0), I, 33, dtype))
        shapes = (((6, 20, I), dtype), ((20,), jnp.int32), ((6, 20), jnp.bool_))
        arrays = (jax.ShapeDtypeStruct(shape, kind) for shape, kind in shapes)
        traced = jax.jit(jax.value_and_grad(loss)).trace(params, *arrays)
        text = traced.lower(lowering_platforms=("cuda",)).as_text()
    assert text.count("xla.gpu.triton") == 2


@pytest.mark.parametrize("kind", [AxisType.Auto, AxisType.Explicit], ids=lambda kind: kind.name)
def test_a_batch_that_is_spread(monkeypatch, kind):
    """The kernels' types say along which axes arrays differ; their interpreter cannot, and `auto` takes its place."""
    gru = cells.get("gru")
    params, xs, _ = draw(gru, 4, (B,), jnp.float32)
    mesh = jax.make_mesh((1,), ("d",), axis_types=(kind,), devices=jax.devices()[:1])
    specs = (P(), P(None, "d"))

    def loss(params, xs, backend="pallas"):
        return (unroll(gru, params, xs, backend=backend)[1] ** 2).sum()

    spread = loss
    if kind == AxisType.Auto:
        spread = jax.shard_map(lambda *a: jax.lax.psum(loss(*a), "d"), mesh=mesh, in_specs=specs, out_specs=P())
    there = [jax.device_put(each, NamedSharding(mesh, spec)) for each, spec in zip((params, xs), specs, strict=True)]
    backends.warn_once.cache_clear()
    with pytest.warns(
        UserWarning, match=r"'pallas' is interpreted on a CPU, and .* the checks of jax.shard_map: using"
    ):
        found = quick_jit(jax.value_and_grad(spread, (0, 1)))(*there)
    assert_trees_close(
        found, jax.value_and_grad(partial(loss, backend="scan"), (0, 1))(params, xs), rtol=1e-4, atol=1e-6
    )

    monkeypatch.setattr(backend, "of_the_interpreter", lambda *_: None)
    assert str(jax.make_jaxpr(jax.value_and_grad(spread))(*there)).count("pallas_call[") == 2


def test_padding():
    array = jnp.ones((2, 3, 5))
    padded = tiles.padded(array, 16, 32)
    assert padded.shape == (2, 16, 32)
    assert padded.sum() == array.sum() == padded[:, :3, :5].sum()
    params = draw(cells.get("gru"), 0, ())[0]
    blocks = tiles.blocks(params, 3)
    assert jnp.array_equal(jnp.concatenate([block[:H, :H] for block in blocks], 1), params.w_hh)
