"""Every cell x every back end x every option against the NumPy reference, in values and in gradients."""

import dataclasses
from functools import partial

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from helpers import reference
from helpers.unrolls import (
    CASES,
    FURTHER,
    LENGTHS,
    THOROUGH,
    XS,
    B,
    H,
    I,
    T,
    assert_trees_close,
    by_reference,
    draw,
    draw_like,
    draw_resets,
    expected,
    flat,
    problem,
    quick_jit,
    value_and_vjp,
)
from jax.flatten_util import ravel_pytree
from numpy.testing import assert_allclose, assert_array_equal

from rnn_jax import Cell, cells, unroll
from rnn_jax.backends.native import vector_width
from rnn_jax.bptt import RULES

LONG = ("scan", "manual")
"""Back ends for many steps: a CPU interprets pallas, slowly. `cudnn` needs a GPU: see test_cudnn."""
BACKENDS = (*LONG, "pallas")

# Controls stand around the step, whatever the cell: each once. The cells differ in their step and its derivative.
STEP = ("carry", "everything")
ONCE = ("plain", "reverse_lengths_resets", "truncate_3", "one_step", "no_batch_axis", "two_batch_axes")
TABLE = [("lstm", case, "scan") for case in CASES]
TABLE += [(name, case, "scan") for name in THOROUGH if name != "lstm" for case in STEP]
TABLE += [(name, "everything", "scan") for name in FURTHER]
TABLE += [(name, "reverse_lengths_resets", "associative") for name in ("mingru", "minlstm", "lru")]
TABLE += [("mingru", "checkpoint_not_dividing", "associative")]
# The states by Newton's method, the gradient by a prefix: every control is a part of the step and of its Jacobian.
TABLE += [("lstm", case, "newton") for case in CASES]
TABLE += [(name, "everything", "newton") for name in (*THOROUGH, *FURTHER) if name != "lstm"]
# Here the gradient passes every control by hand, and each rule says what it keeps.
TABLE += [("lstm", case, "manual") for case in CASES]
TABLE += [(name, case, "manual") for name in ("rnn", "gru") for case in (*STEP, "lengths_resets", "two_batch_axes")]
TABLE += [(name, case, "manual") for name in ("rnn_relu", "rnn_identity") for case in STEP]
TABLE += [("lstm", case, "pallas") for case in ONCE]
TABLE += [(name, "everything", "pallas") for name in RULES]
# What the native back end computes, in float32: with another option it would give way, with a warning.
NATIVE = [name for name, case in CASES.items() if case.num_steps and not {"resets", "truncate_every"} & {*case.options}]
NEEDS_A_COMPILER = pytest.mark.skipif(vector_width() is None, reason="no C++ compiler")
TABLE += [
    pytest.param(name, case, "native", marks=NEEDS_A_COMPILER)
    for name in RULES
    for case in (NATIVE if name in ("rnn", "lstm", "gru") else ("carry",))
]


@pytest.mark.parametrize(("name", "case_name", "backend"), TABLE)
def test_values_and_gradients_equal_the_reference(name, case_name, backend):
    arguments, options, cotangents = problem(name, CASES[case_name])
    # float64 twice, in another order of summation: rounding alone differs. eps is 2e-16, and of float32 1e-7.
    tolerance = {"rtol": 1e-11, "atol": 1e-12}
    if backend == "native":
        arguments, cotangents = jax.tree.map(lambda a: a.astype(jnp.float32), (arguments, cotangents))
        tolerance = {"rtol": 2e-5, "atol": 1e-5}
    values, gradients = value_and_vjp(cells.get(name), backend, options, arguments, cotangents)
    wanted_values, wanted_gradients = expected(name, case_name)
    chex.assert_trees_all_equal_shapes_and_dtypes(values, cotangents)
    chex.assert_trees_all_equal_shapes_and_dtypes(gradients, arguments)
    for results, wanted in ((values, wanted_values), (gradients, wanted_gradients)):
        assert_trees_close(results, jax.tree.unflatten(jax.tree.structure(results), wanted), **tolerance)


def test_the_reference_tells_the_options_apart():
    """Every option changes values or gradients: were one ignored on both sides, the table above would not notice."""
    plain_values, plain_gradients = expected("lstm", "carry")
    for name in ("lengths", "resets", "reverse", "truncate_3"):
        values, gradients = expected("lstm", name)
        results = gradients if name == "truncate_3" else values
        plain = plain_gradients if name == "truncate_3" else plain_values
        assert np.abs(results[-1] - plain[-1]).max() > 0.01, name


# Long sequences: the manual back end walks them in chunks, here of 32 with 3 left over, and 2 of 50.
@pytest.mark.parametrize("reverse", [False, True], ids=["forward", "reverse"])
@pytest.mark.parametrize(("name", "num_steps"), [("rnn", 67), ("gru", 67), ("lstm", 67), ("lstm", 100)])
def test_chunks_of_the_manual_back_end_do_not_show(name, num_steps, reverse):
    params, xs, carry = draw(cells.get(name), num_steps, (B,))
    options = {
        "lengths": np.array([num_steps, 0, 33, 1], np.int32),
        "resets": np.random.default_rng(3).random((num_steps, B)) < 0.02,
        "reverse": reverse,
    }
    cotangents = draw_like((carry, jnp.zeros((num_steps, B, H))), seed=2)
    scan, manual = (value_and_vjp(cells.get(name), b, options, (params, xs, carry), cotangents) for b in LONG)
    numpy_carry = tuple(np.asarray(part) for part in carry)
    final, ys = reference.unroll(name, params, np.asarray(xs), numpy_carry, **options)
    for values, _ in (scan, manual):
        assert_trees_close((tuple(values[0]), values[1]), (final, ys), rtol=1e-11, atol=1e-12)
    assert_trees_close(manual, scan, rtol=1e-10, atol=1e-11)


def test_checkpoints_over_chunks_change_nothing():
    """Two segments of 66 steps, each in chunks of 33, and 8 steps more."""
    arguments = draw(cells.get("gru"), 140, (B,))
    cotangents = draw_like((arguments[2], jnp.zeros((140, B, H))), seed=2)
    plain, checkpointed = (
        value_and_vjp(cells.get("gru"), "manual", {"checkpoint_every": k}, arguments, cotangents) for k in (None, 66)
    )
    assert_trees_close(checkpointed, plain, rtol=1e-11, atol=1e-12)


@pytest.mark.parametrize("reverse", [False, True], ids=["forward", "reverse"])
@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("name", ["rnn", "lstm", "gru"])
def test_padding_contents_do_not_matter(name, backend, reverse):
    cell = cells.get(name)
    params, xs, carry = draw(cell, T, (B,))
    padding = np.arange(T)[:, None] >= np.array(LENGTHS)
    cotangents = draw_like((carry, jnp.zeros((T, B, H))), seed=2)

    @jax.jit
    def run(xs):
        def outputs(params, xs, carry):
            return unroll(cell, params, xs, carry=carry, lengths=jnp.array(LENGTHS), reverse=reverse, backend=backend)

        values, pullback = jax.vjp(outputs, params, xs, carry)
        return values, pullback(cotangents)

    wanted = run(xs)
    assert_array_equal(wanted[0][1][padding], 0)
    assert_array_equal(wanted[1][1][padding], 0)
    for contents in (-3.0, 1e300, np.inf, np.nan):
        filled = jnp.where(padding[..., None], contents, xs)
        chex.assert_trees_all_equal(run(filled), wanted)


@pytest.mark.parametrize("reverse", [False, True], ids=["forward", "reverse"])
@pytest.mark.parametrize("backend", LONG)
@pytest.mark.parametrize("name", ["lstm", "gru"])
def test_truncation_is_the_gradient_cut_by_hand(name, backend, reverse):
    cell, every = cells.get(name), 3
    params, xs, carry = draw(cell, T, (B,))
    weights = jnp.asarray(np.random.default_rng(4).normal(size=(T, B, H)))

    def at_once(params, carry):
        _, ys = unroll(cell, params, xs, carry=carry, truncate_every=every, reverse=reverse, backend=backend)
        return jnp.sum(weights * ys)

    def by_hand(params, carry):
        order = range(T)[::-1] if reverse else range(T)
        loss = jnp.zeros(())
        for position, t in enumerate(order):
            if position in (3, 6):
                carry = jax.lax.stop_gradient(carry)
            carry, y = cell.step(params, carry, xs[t])
            loss += jnp.sum(weights[t] * y)
        return loss

    gradients, wanted = (quick_jit(jax.grad(loss, (0, 1)))(params, carry) for loss in (at_once, by_hand))
    assert_trees_close(gradients, wanted, rtol=1e-11, atol=1e-12)


@pytest.mark.parametrize("reverse", [False, True], ids=["forward", "reverse"])
@pytest.mark.parametrize("backend", LONG)
def test_padding_does_not_move_the_cuts(backend, reverse):
    """Five steps padded to twelve have the gradient of five, whether or not a cut falls into the padding."""
    cell, length = cells.get("lstm"), 5
    params, xs, _ = draw(cell, 12, ())

    def gradient(xs, every, **options):
        def loss(params):
            final, ys = unroll(cell, params, xs, truncate_every=every, reverse=reverse, backend=backend, **options)
            return jnp.sum(final.h) + jnp.sum(final.c) + jnp.sum(ys**2)

        return quick_jit(jax.grad(loss))(params)

    for every in (2, 3, 7):
        padded = gradient(xs, every, lengths=jnp.array(length))
        assert_trees_close(padded, gradient(xs[:length], every), rtol=1e-11, atol=1e-12)


@pytest.mark.parametrize("backend", BACKENDS)
def test_truncation_leaves_values_alone(backend):
    params, xs, _ = draw(cells.get("lstm"), T, (B,))
    plain = unroll(cells.get("lstm"), params, xs, backend=backend)
    chex.assert_trees_all_equal(unroll(cells.get("lstm"), params, xs, truncate_every=2, backend=backend), plain)


@pytest.mark.parametrize("backend", BACKENDS)
def test_vmap_over_replicas_with_lengths_of_their_own(backend):
    """Two replicas with parameters, data, lengths and resets of their own, values and gradients."""
    cell = cells.get("lstm")
    drawn = [draw(cell, T, (B,), seed=seed) for seed in (0, 1)]
    lengths, resets = jnp.array([LENGTHS, LENGTHS[::-1]]), jnp.stack([draw_resets(T, (B,), seed) for seed in (1, 2)])

    def loss(params, xs, carry, lengths, resets):
        final, ys = unroll(cell, params, xs, carry=carry, lengths=lengths, resets=resets, backend=backend)
        return jnp.sum(ys**2) + jnp.sum(final.c * final.h)

    run = jax.value_and_grad(loss, (0, 1, 2))
    together = quick_jit(jax.vmap(run))(*jax.tree.map(lambda *parts: jnp.stack(parts), *drawn), lengths, resets)
    single = quick_jit(run)
    for replica in (0, 1):
        alone = single(*drawn[replica], lengths[replica], resets[replica])
        one = jax.tree.map(lambda a: a[replica], together)  # noqa: B023  # called at once
        assert_trees_close(one, alone, rtol=1e-11, atol=1e-12)


def test_vmap_is_a_batch_axis():
    params, xs, _ = draw(cells.get("gru"), T, (B,))
    run = partial(unroll, cells.get("gru"))
    mapped = jax.vmap(lambda xs, n: run(params, xs, lengths=n), in_axes=(1, 0), out_axes=(0, 1))
    assert_trees_close(
        mapped(xs, jnp.array(LENGTHS)), run(params, xs, lengths=jnp.array(LENGTHS)), rtol=1e-12, atol=1e-13
    )


@pytest.mark.parametrize("case_name", ["carry", "everything"])
@pytest.mark.parametrize("name", RULES)
def test_forward_mode_equals_the_reference(name, case_name):
    arguments, options, _ = problem(name, CASES[case_name])
    directions = draw_like(arguments, seed=5)

    def outputs(params, xs, carry):
        return unroll(cells.get(name), params, xs, carry=carry, **options)

    _, tangents = quick_jit(lambda values, along: jax.jvp(outputs, values, along))(arguments, directions)
    wanted = reference.tangent(*by_reference(name, arguments, options), flat(directions))
    for tangent, want in zip(jax.tree.leaves(tangents), wanted, strict=True):
        assert_allclose(tangent, want, rtol=1e-11, atol=1e-12)


@pytest.mark.parametrize("name", ["lstm", "gru"])
def test_second_derivatives_agree(name):
    """The hand-derived backward pass is itself differentiable."""
    cell = cells.get(name)
    params, xs, _ = draw(cell, T, (B,))
    direction = draw_like(params, seed=5)

    def product(backend):
        def loss(params):
            return jnp.sum(unroll(cell, params, xs, lengths=jnp.array(LENGTHS), backend=backend)[1] ** 2)

        def slope(params):
            gradient = jax.grad(loss)(params)
            return sum(jnp.vdot(g, v) for g, v in zip(gradient, direction, strict=True))

        return quick_jit(jax.grad(slope))(params)

    scan, manual = (product(backend) for backend in LONG)
    assert_trees_close(manual, scan, rtol=1e-10, atol=1e-11)


# Relative to the largest entry of an array. eps is 1.2e-7 and 7.8e-3; seven steps multiply rounding a few times.
@pytest.mark.parametrize(("dtype", "tolerance"), [(jnp.float32, 3e-6), (jnp.bfloat16, 0.05)], ids=["f32", "bf16"])
@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("name", ["rnn", "lstm", "gru"])
def test_narrow_dtypes_stay_and_come_close_to_float64(name, backend, dtype, tolerance):
    cell, options = cells.get(name), {"lengths": np.array(LENGTHS, np.int32)}
    arguments = draw(cell, T, (B,), dtype)
    cotangents = draw_like((arguments[2], jnp.zeros((T, B, H), dtype)), seed=2)
    values, gradients = value_and_vjp(cell, backend, options, arguments, cotangents)
    assert values[1].dtype == dtype
    chex.assert_trees_all_equal_shapes_and_dtypes(values[0], cell.init_carry((B,), H, dtype))
    chex.assert_trees_all_equal_shapes_and_dtypes(gradients, arguments)
    run, leaves = by_reference(name, arguments, options)
    wanted = [*run(*leaves), *reference.gradient(run, leaves, flat(cotangents))]
    for got, want in zip(flat((values, gradients)), wanted, strict=True):
        assert_allclose(got, want, rtol=0, atol=tolerance * np.abs(want).max())


@pytest.mark.parametrize("name", ["rnn", "lstm", "gru"])
def test_inputs_wider_than_the_parameters(name):
    """float64 inputs and float32 parameters: the carry stays float32, and the back ends agree."""
    params, _, carry = draw(cells.get(name), T, (B,), jnp.float32)
    _, xs, _ = draw(cells.get(name), T, (B,))
    cotangents = draw_like((carry, jnp.zeros((T, B, H), jnp.float32)), seed=2)
    options = {"lengths": np.array(LENGTHS, np.int32)}
    scan, manual = (value_and_vjp(cells.get(name), b, options, (params, xs, carry), cotangents) for b in LONG)
    chex.assert_trees_all_equal_shapes_and_dtypes(scan, (cotangents, (params, xs, carry)))
    chex.assert_trees_all_equal_shapes_and_dtypes(manual, scan)
    assert_trees_close(manual, scan, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("checkpoint_every", [None, 2])
@pytest.mark.parametrize("backend", BACKENDS)
def test_bfloat16_gradients_add_up_over_time_in_float32(backend, checkpoint_every):
    """Each of 1,024 steps gives every parameter a gradient of 1: in bfloat16, 256 + 1 is 256."""
    ones, zeros = jnp.ones((1, 1), jnp.bfloat16), jnp.zeros((1, 1), jnp.bfloat16)
    params = cells.RNNParams(ones, zeros, zeros[0])

    @jax.jit
    def loss(params):
        options = {"backend": backend, "checkpoint_every": checkpoint_every, "carry": cells.RNNCarry(ones)}
        return unroll(cells.get("rnn_identity"), params, jnp.ones((1024, 1, 1), jnp.bfloat16), **options)[1].sum()

    assert [float(g.sum()) for g in jax.grad(loss)(params)] == [1024, 1024, 1024]


def test_lengths_of_a_narrow_integer_type():
    """300 steps do not fit uint8, a length of 100 does."""
    _, ys = unroll(
        counter(jnp.int32),
        (),
        jnp.zeros((300, 1, 1)),
        carry=jnp.ones((1, 1), jnp.int32),
        lengths=jnp.array([100], jnp.uint8),
    )
    assert jnp.count_nonzero(ys) == 100


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("name", ["rnn", "lstm", "gru"])
def test_traced_once_for_all_values(name, backend):
    cell = cells.get(name)

    @quick_jit
    @chex.assert_max_traces(n=1)
    def step(params, xs, carry, lengths, resets):
        def loss(params, carry):
            _, ys = unroll(
                cell, params, xs, carry=carry, lengths=lengths, resets=resets, backend=backend, checkpoint_every=3
            )
            return jnp.sum(ys)

        return jax.grad(loss, (0, 1))(params, carry)

    for seed in range(3):
        lengths = jnp.asarray(np.random.default_rng(seed).integers(0, T, B, endpoint=True), jnp.int32)
        _, new_carry = step(*draw(cell, T, (B,), seed=seed), lengths, draw_resets(T, (B,), seed))
    chex.assert_trees_all_equal_shapes_and_dtypes(new_carry, cell.init_carry((B,), H, jnp.float64))


@pytest.fixture
def counting(monkeypatch):
    """The LSTM, and a list that grows whenever its step is traced."""
    lstm, calls = cells.get("lstm"), []

    def recur(*arguments):
        calls.append(1)
        return lstm.recur(*arguments)

    cell = dataclasses.replace(lstm, recur=recur)
    monkeypatch.setitem(cells.CELLS, "lstm", cell)  # the manual back end takes the cells of the table alone
    return cell, calls


@pytest.mark.parametrize("backend", LONG)
def test_the_step_is_traced_as_often_for_any_number_of_steps(backend, counting):
    (lstm, calls), counted = counting, []
    for num_steps in (64, 128):
        calls.clear()
        params, xs, _ = draw(lstm, num_steps, (B,))
        jax.make_jaxpr(lambda p: unroll(lstm, p, xs, backend=backend))(params)  # noqa: B023  # called at once
        counted.append(len(calls))
    assert counted[0] == counted[1] <= 4


def test_eager_equals_compiled():
    params, xs, carry = draw(cells.get("lstm"), T, (B,))
    run = partial(unroll, cells.get("lstm"), lengths=jnp.array(LENGTHS), reverse=True, checkpoint_every=3)
    assert_trees_close(run(params, xs, carry=carry), jax.jit(run)(params, xs, carry=carry), rtol=1e-12, atol=1e-13)


@pytest.mark.parametrize("backend", LONG)
def test_eager_calls_are_traced_once(backend, counting):
    """Values and gradients, with other numbers each time, where nothing around them is compiled."""
    (lstm, calls), counted = counting, []
    options = {"lengths": LENGTHS, "backend": backend}
    for seed in range(3):
        params, xs, carry = draw(lstm, T, (B,), seed=seed)
        jax.grad(lambda p: unroll(lstm, p, xs, carry=carry, **options)[1].sum())(params)  # noqa: B023  # called at once
        counted.append(len(calls))
    assert counted[0] == counted[1] == counted[2]


def counter(dtype) -> Cell:
    """Counts its steps; y is the count before the step."""
    return Cell(
        "counter",
        init_params=lambda key, input_size, hidden_size, dtype=None: (),
        init_carry=lambda batch_shape, hidden_size, _=None: jnp.zeros((*batch_shape, hidden_size), dtype),
        recur=lambda params, carry, x: (carry + 1, carry),
    )


@pytest.mark.parametrize("dtype", [jnp.int32, jnp.float32])
def test_a_counter_counts(dtype):
    """A cell without parameters, whose carry is a bare array: 10 comes in, 3 of the 4 sequences end early."""
    cell, xs, start = counter(dtype), jnp.zeros((T, B, 1)), jnp.full((B, 1), 10, dtype)
    resets = jnp.zeros((T, B), bool).at[3, 2].set(True).at[5, 2].set(True)  # the second one lies in the padding
    final, ys = unroll(cell, (), xs, carry=start, lengths=jnp.array(LENGTHS), resets=resets, checkpoint_every=2)
    assert ys.dtype == final.dtype == dtype
    assert_array_equal(final[:, 0], [17, 10, 1, 11])
    assert_array_equal(
        ys[..., 0].T,
        [[10, 11, 12, 13, 14, 15, 16], [0, 0, 0, 0, 0, 0, 0], [10, 11, 12, 0, 0, 0, 0], [10, 0, 0, 0, 0, 0, 0]],
    )
    final, ys = unroll(cell, (), xs, carry=start, lengths=jnp.array(LENGTHS), reverse=True)
    assert_array_equal(ys[:, 2, 0], [13, 12, 11, 10, 0, 0, 0])
    assert_array_equal(final[:, 0], [17, 10, 14, 11])


def test_a_cell_may_carry_any_pytree():
    """A decaying sum and its largest value so far, with a decay that learns."""
    cell = Cell(
        "leaky",
        init_params=lambda key, input_size, hidden_size, dtype=jnp.float32: {"decay": jnp.ones(hidden_size, dtype)},
        init_carry=lambda batch, hidden_size, dtype=jnp.float32: {
            "sum": jnp.zeros((*batch, hidden_size), dtype),
            "largest": jnp.full((*batch, hidden_size), -10.0, dtype),
        },
        recur=lambda p, c, x: (
            {"sum": p["decay"] * c["sum"] + x, "largest": jnp.maximum(c["largest"], x)},
            p["decay"] * c["sum"] + x,
        ),
        trial=(3, 3),
    )
    _, xs, _ = draw(cells.get("rnn"), T, (B,))
    start = {"sum": jnp.ones((B, I)), "largest": jnp.full((B, I), -10.0)}

    def loss(params):
        final, _ = unroll(cell, params, xs, carry=start, truncate_every=100, checkpoint_every=2)
        return jnp.sum(final["sum"]), final

    gradient, final = jax.grad(loss, has_aux=True)({"decay": jnp.array([0.5, 0.9, 1.0])})
    assert_allclose(final["largest"], xs.max(0), rtol=1e-15)
    powers = np.arange(T)[::-1]
    decay = np.array([0.5, 0.9, 1.0])
    slope = T * decay ** (T - 1) * B
    for t, power in enumerate(powers):
        slope = slope + power * decay ** max(power - 1, 0) * np.asarray(xs[t]).sum(0)
    assert_allclose(gradient["decay"], slope, rtol=1e-12)


def identity_cell(factor: float):
    """h_t = factor * h_{t-1}: the inputs do not count."""
    return cells.get("rnn_identity"), cells.RNNParams(jnp.zeros((I, H)), factor * jnp.eye(H), jnp.zeros(H))


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("factor", [0.5, 2.0])
def test_a_factor_per_step_gives_its_power(factor, backend):
    """Worked example: 0.5^n vanishes and 2^n explodes, in h_n and in dh_n/dh_0. Powers of two are exact."""
    num_steps = 100
    cell, params = identity_cell(factor)
    xs = jnp.asarray(np.random.default_rng(0).normal(size=(num_steps, B, I)))
    start = cells.RNNCarry(jnp.ones((B, H)))
    _, ys = unroll(cell, params, xs, carry=start, backend=backend)
    assert_array_equal(ys, np.broadcast_to(factor ** np.arange(1.0, 101)[:, None, None], ys.shape))
    slope = jax.grad(lambda carry: unroll(cell, params, xs, carry=carry, backend=backend)[0].h.sum())(start)
    assert_array_equal(slope.h, np.full((B, H), factor**num_steps))


@pytest.mark.parametrize("name", ["rnn", "lstm", "gru"])
def test_the_gradient_is_a_sum_over_time(name):
    """Worked example: dJ/dW = sum_k dJ/ds_T (prod_{j=k+1..T} ds_j/ds_{j-1}) ds_k/dW, s being the whole carry.

    Every factor is a Jacobian of a single step; the terms add up to what the unroll's gradient says, and none is zero.
    """
    cell = cells.get(name)
    params, xs, carry = draw(cell, T, ())
    carry, unravel = ravel_pytree(carry)
    weights = jnp.asarray(np.random.default_rng(6).normal(size=carry.shape))

    def step(params, flat, x):
        return ravel_pytree(cell.step(params, unravel(flat), x)[0])[0]

    @jax.jit
    def jacobians(flat, x):
        by_params, by_carry = jax.jacobian(step, (0, 1))(params, flat, x)
        return by_params.w_hh, by_carry, step(params, flat, x)

    start, by_weights, by_carry = carry, [], []
    for x in xs:
        direct, along, carry = jacobians(carry, x)
        by_weights.append(np.asarray(direct))
        by_carry.append(np.asarray(along))
    terms = []
    for k in range(T):
        product = np.eye(carry.size)
        for j in range(k + 1, T):
            product = by_carry[j] @ product
        terms.append(np.einsum("s,st,tij->ij", weights, product, by_weights[k]))
    assert all(np.abs(term).max() > 1e-5 for term in terms)

    def gradient(backend, truncate_every):
        def objective(params):
            options = {"carry": unravel(start), "backend": backend, "truncate_every": truncate_every}
            return jnp.vdot(weights, ravel_pytree(unroll(cell, params, xs, **options)[0])[0])

        return quick_jit(jax.grad(objective))(params).w_hh

    for backend in LONG:
        assert_allclose(gradient(backend, None), sum(terms), rtol=1e-11, atol=1e-12)
        assert_allclose(gradient(backend, 2), terms[-1], rtol=1e-11, atol=1e-12)  # 7 steps, cut before the last one


ERRORS = {
    "backend": (
        {"backend": "fast"},
        "unknown backend 'fast': take one of auto, scan, manual, native, associative, newton, cudnn, pallas, mosaic",
    ),
    "checkpoint_every": ({"checkpoint_every": 0}, "checkpoint_every must be at least 1, got 0"),
    "truncate_every": ({"truncate_every": -2}, "truncate_every must be at least 1, got -2"),
    "xs_rank": ({"xs": jnp.zeros(I)}, r"xs must be \[T, \*batch, I\], got shape \(3,\)"),
    "features": ({"xs": jnp.zeros((T, B, I + 1))}, r"xs \(7, 4, 4\) has 4 features, the parameters of 'lstm' take 3"),
    "lengths_shape": ({"lengths": jnp.zeros(3, int)}, r"lengths must be integers \[4\], got int64\[3\]"),
    "lengths_dtype": ({"lengths": jnp.zeros(B)}, r"lengths must be integers \[4\], got float64\[4\]"),
    "lengths_too_long": ({"lengths": jnp.array([1, 8, 2, 3])}, r"lengths must be in 0\.\.7, got 1\.\.8"),
    "lengths_negative": ({"lengths": jnp.array([1, -1, 2, 3])}, r"lengths must be in 0\.\.7, got -1\.\.3"),
    "resets_shape": ({"resets": jnp.zeros((B, T), bool)}, r"resets must be bool\[7, 4\], got bool\[4, 7\]"),
    "resets_dtype": ({"resets": jnp.zeros((T, B), jnp.int32)}, r"resets must be bool\[7, 4\], got int32\[7, 4\]"),
    "carry_shape": (
        {"carry": cells.LSTMCarry(jnp.zeros((B, H)), jnp.zeros((H, B)))},
        r"carry must be LSTMCarry\(h=\(4, 5\), c=\(4, 5\)\), got LSTMCarry\(h=\(4, 5\), c=\(5, 4\)\)",
    ),
    "zoneout_shape": (
        {"zoneout": jnp.zeros((T, B, I))},
        r"zoneout must be \(7, 4, 5\), got \(7, 4, 3\)",
    ),
    "perturbations_shape": ({"perturbations": jnp.zeros((B, H))}, r"perturbations must be \(7, 4, 5\), got \(4, 5\)"),
    "zoneout_manual": (
        {"zoneout": jnp.zeros((T, B, H)), "backend": "manual"},
        "backend 'manual' does not take zoneout; take 'auto' or 'scan'",
    ),
    "carry_type": ({"carry": cells.GRUCarry(jnp.zeros((B, H)))}, r"carry must be a LSTMCarry.*got a GRUCarry"),
}


@pytest.mark.parametrize(("changes", "message"), ERRORS.values(), ids=ERRORS)
def test_errors(changes, message):
    cell = cells.get("lstm")
    arguments = {"xs": XS} | changes
    with pytest.raises(ValueError, match=message):
        unroll(cell, draw(cell, 0, ())[0], **arguments)


def test_error_no_rule():
    with pytest.raises(ValueError, match="no hand-derived rule for this cell, 'counter': only for "):
        unroll(counter(jnp.float32), (), XS, carry=jnp.zeros((B, 1)), backend="manual")


def test_error_no_size():
    message = "give carry or hidden_size: cell 'counter' has no sizes, so its parameters do not tell them"
    with pytest.raises(ValueError, match=message):
        unroll(counter(jnp.float32), (), XS)


def test_a_changed_cell_has_no_hand_derived_rule():
    """Its name is still in the table of rules, its gradient is not the one that was derived."""
    lstm = cells.get("lstm")
    changed = dataclasses.replace(lstm, recur=lambda params, carry, projected: lstm.recur(params, carry, projected))
    params = lstm.init_params(jax.random.key(0), I, H)
    with pytest.raises(ValueError, match="no hand-derived rule for this cell, 'lstm'"):
        unroll(changed, params, jnp.ones((T, B, I), jnp.float32), backend="manual")


def test_error_carry_of_another_kind():
    params = cells.get("lstm").init_params(jax.random.key(0), I, H)
    xs, h = jnp.ones((T, B, I), jnp.float32), jnp.zeros((B, H), jnp.float32)
    with pytest.raises(ValueError, match="carry must be a LSTMCarry, got a tuple"):
        unroll(cells.get("lstm"), params, xs, carry=(h, h))
    whole = cells.LSTMCarry(h.astype(jnp.int32), h)
    with pytest.raises(ValueError, match=r"carry must be floating point, got LSTMCarry\(h='int32', c='float32'\)"):
        unroll(cells.get("lstm"), params, xs, carry=whole)


def test_lengths_may_be_a_list():
    params = cells.get("gru").init_params(jax.random.key(0), I, H)
    final, ys = unroll(cells.get("gru"), params, jnp.ones((T, 2, I), jnp.float32), lengths=[T, 2])
    assert not ys[2:, 1].any()
    assert_allclose(final.h[1], ys[1, 1], rtol=0)


class TestMask:
    """Padding anywhere: what is masked, NaN included, is as if it were not there."""

    MASK = np.array(
        [[1, 1, 1, 1, 1, 1, 1], [0, 0, 1, 1, 1, 1, 1], [1, 0, 1, 0, 0, 1, 1], [0, 0, 0, 0, 0, 0, 0]], bool
    ).T

    @pytest.mark.parametrize("reverse", [False, True])
    @pytest.mark.parametrize("backend", ["scan", "manual", "pallas"])
    def test_holes(self, backend, reverse):
        cell = cells.get("lstm")
        params, xs, carry = draw(cell, T, (B,))
        resets = jnp.zeros((T, B), bool).at[3, 2].set(True).at[5, 1].set(True)  # the first lies in a hole
        filled = jnp.where(self.MASK[..., None], xs, jnp.nan)

        def loss(params, xs, carry):
            final, ys = unroll(
                cell, params, xs, carry=carry, mask=self.MASK, resets=resets, truncate_every=3, reverse=reverse,
                backend=backend,
            )  # fmt: skip
            return jnp.sum(jnp.sin(ys)) + jnp.sum(final.h * final.c), (final, ys)

        (_, (final, ys)), gradients = jax.jit(jax.value_and_grad(loss, (0, 1), has_aux=True))(params, filled, carry)
        assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(gradients))
        for b in range(B):
            steps = np.flatnonzero(self.MASK[:, b])
            alone, ys_alone = unroll(
                cell, params, xs[steps, b], carry=jax.tree.map(lambda c, b=b: c[b], carry), resets=resets[steps, b],
                reverse=reverse, backend="scan",
            )  # fmt: skip
            assert_allclose(ys[steps, b], ys_alone, rtol=1e-12)
            assert_allclose(final.c[b], alone.c, rtol=1e-12)
        assert not np.any(np.asarray(ys)[~self.MASK])
        assert not np.any(np.asarray(gradients[1])[~self.MASK])

    def test_with_lengths_a_step_needs_both(self):
        cell = cells.get("gru")
        params, xs, _ = draw(cell, T, (B,))
        both = self.MASK & (np.arange(T)[:, None] < np.array(LENGTHS))
        expected = unroll(cell, params, xs, mask=both)
        found = unroll(cell, params, xs, mask=self.MASK, lengths=jnp.array(LENGTHS))
        jax.tree.map(assert_array_equal, found, expected)

    def test_cuts_count_steps_that_are_taken(self):
        cell, params = identity_cell(1.0)
        mask = jnp.array([True, False, True, True, False, True])[:, None]

        def last(carry):
            return unroll(cell, params, jnp.zeros((6, 1, I)), carry=carry, mask=mask, truncate_every=3)[1][:, 0, 0]

        slopes = jax.jacobian(last)(cells.RNNCarry(jnp.ones((1, H)))).h[:, 0, 0]
        assert_array_equal(slopes, [1, 0, 1, 1, 0, 0])


class TestStatesOfAnyRank:
    """A matrix for a state: controls see its batch axes and nothing else, also where B is as large as a state axis."""

    CELL = Cell(
        "outer",
        init_params=lambda key, i, h, dtype=jnp.float32: jnp.ones((i, h), dtype),
        init_carry=lambda batch, h, dtype=jnp.float32: jnp.zeros((*batch, h, h), dtype),
        recur=lambda p, c, x: ((new := 0.5 * c + (x @ p)[..., None]), new.sum(-1) + 1),
        output=lambda c: c.sum(-1) + 1,
    )

    @pytest.mark.parametrize("control", ["lengths", "resets"])
    def test_each_sequence_alone(self, control):
        xs = draw(cells.get("rnn"), T, (H,))[1]  # as many sequences as units
        params = jnp.asarray(np.random.default_rng(0).normal(size=(I, H)))
        options = {
            "lengths": jnp.array([7, 0, 3, 1, 5]),
            "resets": jnp.asarray(np.random.default_rng(1).random((T, H)) < 0.4),
        }
        given = {control: options[control]}
        final, ys = unroll(self.CELL, params, xs, hidden_size=H, **given)
        for b in range(H):
            one = {name: value[..., b] for name, value in given.items()}
            alone = unroll(self.CELL, params, xs[:, b], hidden_size=H, **one)
            assert_allclose(final[b], alone[0], rtol=1e-12)
            assert_allclose(ys[:, b], alone[1], rtol=1e-12)

    @pytest.mark.parametrize("output", [None, CELL.output])
    def test_no_zoneout_and_no_perturbation_change_nothing(self, output):
        cell = dataclasses.replace(self.CELL, output=output)
        xs, params = draw(cells.get("rnn"), T, (B,))[1], jnp.ones((I, H))
        expected = unroll(cell, params, xs, hidden_size=H)
        nothing = jnp.zeros((T, B, H, H))
        for options in ({"zoneout": nothing}, {"perturbations": nothing}):
            jax.tree.map(assert_array_equal, unroll(cell, params, xs, hidden_size=H, **options), expected)

    def test_a_perturbation_shows_in_an_output_of_the_carry(self):
        xs, params = draw(cells.get("rnn"), T, (B,))[1], jnp.ones((I, H))
        one = jnp.zeros((T, B, H, H)).at[2, 1, 3, 0].set(1.0)
        (_, ys), (_, moved) = (
            unroll(self.CELL, params, xs, hidden_size=H, **options) for options in ({}, {"perturbations": one})
        )
        assert_allclose((moved - ys)[:, 1, 3], [0, 0, 1, 0.5, 0.25, 0.125, 0.0625], atol=1e-12)


def test_integers_take_the_fast_path():
    cell = cells.get("lstm")
    params = cell.init_params(jax.random.key(0), I, H)
    xs = jnp.asarray(np.random.default_rng(0).integers(-2, 3, (T, B, I)))
    program = jax.jit(partial(unroll, cell)).lower(params, xs).as_text()
    assert ("rnn_jax_forward" in program) == (vector_width() is not None)
    expected = unroll(cell, params, xs.astype(jnp.float32), backend="scan")
    jax.tree.map(partial(assert_allclose, rtol=1e-5, atol=1e-6), unroll(cell, params, xs), expected)


def test_one_step_of_many_sequences_is_not_worth_the_loops():
    cell = cells.get("lstm")
    params = cell.init_params(jax.random.key(0), I, H)
    inputs = (jnp.ones((*sizes, I), jnp.float32) for sizes in ((1, 9), (1, 8), (2, 9)))
    many, few, two = (jax.jit(partial(unroll, cell)).lower(params, xs).as_text() for xs in inputs)
    assert "rnn_jax_forward" not in many
    assert [("rnn_jax_forward" in text) for text in (few, two)] == 2 * [vector_width() is not None]
