"""Every cell on its own: one step, its parameters, its number formats, and the worked examples."""

import math

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from helpers import reference
from helpers.unrolls import THOROUGH
from numpy.testing import assert_allclose, assert_array_equal

from rnn_jax import cells, initializers
from rnn_jax.cells import rnn

CELLS = THOROUGH
"""The others are in test_further_cells."""
SCHEMES = tuple(initializers.SCHEMES)
I, H = 3, 5  # noqa: E741  # the letters of the axes

PARAMS = {  # a contract: saved parameters have these names, in this order, and these shapes
    "rnn": {"w_ih": (I, H), "w_hh": (H, H), "b": (H,)},
    "rnn_relu": {"w_ih": (I, H), "w_hh": (H, H), "b": (H,)},
    "rnn_identity": {"w_ih": (I, H), "w_hh": (H, H), "b": (H,)},
    "lstm": {"w_ih": (I, 4 * H), "w_hh": (H, 4 * H), "b": (4 * H,)},
    "gru": {"w_ih": (I, 3 * H), "w_hh": (H, 3 * H), "b": (3 * H,), "b_hn": (H,)},
    "lstm_additive": {"w_ih": (I, H), "w_hh": (H, H), "b": (H,)},
    "lstm_no_forget": {"w_ih": (I, 3 * H), "w_hh": (H, 3 * H), "b": (3 * H,)},
    "lstm_coupled": {"w_ih": (I, 3 * H), "w_hh": (H, 3 * H), "b": (3 * H,)},
    "lstm_without_dc": {"w_ih": (I, 4 * H), "w_hh": (H, 4 * H), "b": (4 * H,)},
    "lstm_peephole": {"w_ih": (I, 4 * H), "w_hh": (H, 4 * H), "b": (4 * H,), "peepholes": (3, H)},
    "lstm_layer_norm": {
        "w_ih": (I, 4 * H),
        "w_hh": (H, 4 * H),
        "b": (4 * H,),
        "gain_ih": (4, H),
        "gain_hh": (4, H),
        "gain_c": (H,),
    },
}
CARRIES = {name: ("h", "c") if name.startswith("lstm") else ("h",) for name in PARAMS}


def draw(name, batch, dtype=jnp.float64):
    """Random parameters (biases too), carry and input, of a size that saturates no gate."""
    rng = np.random.default_rng(0)
    cell = cells.get(name)
    shapes = jax.eval_shape(lambda key: cell.init_params(key, I, H, dtype), jax.random.key(0))
    params = jax.tree.map(lambda a: jnp.asarray(0.5 * rng.normal(size=a.shape), a.dtype), shapes)
    carry = jax.tree.map(lambda a: jnp.asarray(rng.normal(size=a.shape), a.dtype), cell.init_carry(batch, H, dtype))
    return params, carry, jnp.asarray(rng.normal(size=(*batch, I)), dtype)


@pytest.mark.parametrize("batch", [(), (4,), (2, 4)], ids=str)
@pytest.mark.parametrize("name", CELLS)
def test_a_step_equals_the_reference(name, batch):
    params, carry, x = draw(name, batch)
    new_carry, y = cells.get(name).step(params, carry, x)
    wanted_carry, wanted_y = reference.STEPS[name](*jax.tree.map(np.asarray, (params, carry, x)))
    assert type(new_carry) is type(carry)
    for got, want in zip((*new_carry, y), (*wanted_carry, wanted_y), strict=True):
        assert got.dtype == jnp.float64
        assert_allclose(got, want, rtol=1e-12, atol=1e-13)


@pytest.mark.parametrize("name", CELLS)
def test_leading_axes_are_batch_axes(name):
    params, carry, x = draw(name, (2, 4))
    together = cells.get(name).step(params, carry, x)
    for row in np.ndindex(2, 4):
        alone = cells.get(name).step(params, jax.tree.map(lambda a: a[row], carry), x[row])  # noqa: B023  # called now
        for got, want in zip(jax.tree.leaves(together), jax.tree.leaves(alone), strict=True):
            assert_allclose(got[row], want, rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("name", CELLS)
def test_a_step_is_the_projection_and_the_recurrence(name):
    """The projection, of many steps at once, needs no carry; the recurrence needs no input."""
    cell = cells.get(name)
    params, carry, x = draw(name, (4,))
    xs = jnp.stack([x, 2 * x, x - 1])
    projected = cell.project(params, xs)
    assert {leaf.shape for leaf in jax.tree.leaves(projected)} == {(3, 4, H)}
    assert len(jax.tree.leaves(projected)) == cell.num_gates
    for t in range(3):
        split = cell.recur(params, carry, jax.tree.map(lambda p: p[t], projected))  # noqa: B023  # called at once
        for got, want in zip(jax.tree.leaves(split), jax.tree.leaves(cell.step(params, carry, xs[t])), strict=True):
            assert_allclose(got, want, rtol=1e-14)


@pytest.mark.parametrize("name", CELLS)
def test_activations_are_those_of_the_equations(name):
    cell = cells.get(name)
    params, carry, first = draw(name, (4,))
    for x in (first, -first, 0.5 * first):
        shown = cell.activations(params, carry, cell.project(params, x))
        after, _ = cell.step(params, carry, x)
        if name == "gru":
            assert_allclose(after.h, (1 - shown.z) * shown.n + shown.z * carry.h, rtol=1e-12)
        elif name.startswith("lstm"):
            i, f, g = (getattr(shown, gate, 1.0) for gate in "ifg")
            f = 1 - i if name == "lstm_coupled" else f
            assert_allclose(after.c, f * carry.c + i * g, rtol=1e-12, atol=1e-15)
        else:
            assert_array_equal(after.h, shown.h)
        carry = after


@pytest.mark.parametrize("dtype", [jnp.float32, jnp.bfloat16, jnp.float64], ids=["f32", "bf16", "f64"])
@pytest.mark.parametrize("scheme", SCHEMES)
@pytest.mark.parametrize("name", CELLS)
def test_names_shapes_and_dtypes_of_parameters(name, scheme, dtype):
    params = jax.eval_shape(lambda key: cells.get(name).init_params(key, I, H, dtype, init=scheme), jax.random.key(0))
    assert {field: array.shape for field, array in params._asdict().items()} == PARAMS[name]
    assert list(params._fields) == list(PARAMS[name])
    assert {array.dtype for array in params} == {jnp.dtype(dtype)}


@pytest.mark.parametrize("name", CELLS)
def test_parameters_are_float32_by_default(name):
    params = jax.eval_shape(lambda key: cells.get(name).init_params(key, I, H), jax.random.key(0))
    assert {leaf.dtype for leaf in params} == {jnp.dtype("float32")}
    assert {leaf.dtype for leaf in cells.get(name).init_carry((2,), H)} == {jnp.dtype("float32")}


@pytest.mark.parametrize("dtype", [jnp.float32, jnp.bfloat16, jnp.float64], ids=["f32", "bf16", "f64"])
@pytest.mark.parametrize("name", CELLS)
def test_the_initial_carry_is_zeros(name, dtype):
    carry = cells.get(name).init_carry((2, 4), H, dtype)
    assert carry._fields == CARRIES[name]
    for field, part in carry._asdict().items():
        assert part.shape == (2, 4, H)
        assert part.dtype == (jnp.promote_types(dtype, jnp.float32) if field == "c" else dtype)
        assert_array_equal(part.astype(jnp.float32), 0)


@pytest.mark.parametrize("name", CELLS)
def test_bfloat16_keeps_its_dtypes_and_comes_close(name):
    params, carry, x = draw(name, (4,), jnp.bfloat16)
    cell = cells.get(name)
    new_carry, y = cell.step(params, carry, x)
    chex.assert_trees_all_equal_shapes_and_dtypes(new_carry, carry)
    assert new_carry.h.dtype == y.dtype == jnp.bfloat16
    assert {leaf.dtype for leaf in jax.tree.leaves(cell.project(params, x))} == {jnp.dtype("float32")}
    wide = jax.tree.map(lambda a: a.astype(jnp.float32), (params, carry, x))
    for got, want in zip(jax.tree.leaves((new_carry, y)), jax.tree.leaves(cell.step(*wide)), strict=True):
        # sums in float32: h is rounded once, to 8 bits, and c not at all
        tolerance = {"rtol": 2**-8} if got.dtype == jnp.bfloat16 else {"rtol": 1e-5, "atol": 1e-6}
        assert_allclose(got.astype(jnp.float32), want, **tolerance)


ERRORS = {
    "cell": (lambda: cells.get("elman"), f"unknown cell 'elman': take one of {', '.join(cells.CELLS)}"),
    "activation": (lambda: rnn.make("sin"), "unknown activation 'sin': take one of tanh, relu, identity"),
    "scheme": (
        lambda: cells.get("lstm").init_params(jax.random.key(0), I, H, init="he"),
        "unknown initializer scheme 'he': take one of pytorch, glorot_orthogonal, identity, gaussian",
    ),
    "scheme_gru": (
        lambda: cells.get("gru").init_params(jax.random.key(0), I, H, init="he"),
        "unknown initializer scheme 'he': take one of pytorch, glorot_orthogonal, identity, gaussian",
    ),
    "input_size": (
        lambda: cells.get("rnn").init_params(jax.random.key(0), 0, H),
        "sizes must be at least 1, got input_size=0, hidden_size=5",
    ),
    "hidden_size": (
        lambda: cells.get("rnn").init_params(jax.random.key(0), I, -1),
        "sizes must be at least 1, got input_size=3, hidden_size=-1",
    ),
}


@pytest.mark.parametrize(("call", "message"), ERRORS.values(), ids=ERRORS)
def test_errors(call, message):
    with pytest.raises(ValueError, match=message):
        call()


def run_steps(name, params, xs, carry=None):
    """h after each step, cell by cell and without `unroll`."""
    cell = cells.get(name)
    carry = cell.init_carry((), params.w_hh.shape[0], jnp.float64) if carry is None else carry
    hidden = []
    for x in jnp.asarray(xs, jnp.float64):
        carry, y = cell.step(params, carry, x)
        hidden.append(np.asarray(y))
    return np.stack(hidden), carry


def test_worked_example_temperatures():
    """The lecture's matrices map columns to rows; ours rows to columns, and its two biases are one."""
    w_xh, w_hh = np.array([[0.6584], [-0.1671]]), np.array([[0.5147, -0.1310], [0.6606, -0.1671]])
    b_xh, b_hh = np.array([-0.5966, 0.0945]), np.array([0.6599, -0.2662])
    params = cells.RNNParams(jnp.asarray(w_xh.T), jnp.asarray(w_hh.T), jnp.asarray(b_xh + b_hh))
    printed = [(0.6928, -0.3559), (0.8828, 0.1111), (0.9550, 0.0420), (0.9785, 0.0177), (0.9936, -0.1126)]
    hidden, _ = run_steps("rnn", params, [[1.2], [1.4], [2.1], [2.6], [3.5]])
    assert_allclose(hidden, printed, atol=1.5e-4)  # printed with 4 digits, computed from rounded weights
    wrong_way_round, _ = run_steps("rnn", params._replace(w_hh=params.w_hh.T), [[1.2], [1.4]])
    assert np.abs(wrong_way_round[1] - printed[1]).max() > 0.1


def test_worked_example_relu_on_integers():
    w_xh, w_hh, b_xh, b_hh = np.ones((2, 3)), np.eye(2), np.ones(2), np.array([0.0, 1.0])
    params = cells.RNNParams(jnp.asarray(w_xh.T), jnp.asarray(w_hh.T), jnp.asarray(b_xh + b_hh))
    hidden, _ = run_steps("rnn_relu", params, [[1, 0, 0], [0, 2, -1], [3, -1, -2]])
    assert_array_equal(hidden, [[2, 3], [4, 6], [5, 8]])


@pytest.fixture
def scalar_lstm():
    """Worked example: the gates and the step of an LSTM of one unit, x = 1, h = 1, c = 2."""
    w_ih, w_hh = [[1.65, 1.63, 0.94, -0.19]], [[2.0, 2.7, 1.41, 4.38]]  # i, f, g, o
    b = [0.62 + 0.0, 0.0 + 1.62, -0.32 + 0.0, 0.0 + 0.59]
    params = cells.LSTMParams(*(jnp.array(a, jnp.float64) for a in (w_ih, w_hh, b)))
    carry, _ = cells.get("lstm").step(params, cells.LSTMCarry(jnp.ones(1), jnp.full(1, 2.0)), jnp.ones(1))
    return {"i": 0.986, "f": 0.997, "g": 0.966, "o": 0.992}, float(carry.h[0]), float(carry.c[0])


def test_worked_example_scalar_lstm(scalar_lstm):
    gates, h, c = scalar_lstm
    sums = {"i": 4.27, "f": 5.95, "g": 2.03, "o": 4.78}
    for gate, printed in gates.items():
        value = math.tanh(sums[gate]) if gate == "g" else 1 / (1 + math.exp(-sums[gate]))
        assert value == pytest.approx(printed, abs=5e-4)
    assert c == pytest.approx(2.947, abs=1e-3)  # printed from rounded gates
    assert math.tanh(c) == pytest.approx(0.9945, abs=5e-5)
    assert h == pytest.approx(0.9862, abs=5e-5)


def test_erratum_exchanged_gates(scalar_lstm):
    """One lecture prints c_t = f * g + i * c_{t-1}; c_t is f * c_{t-1} + i * g."""
    gates, _, c = scalar_lstm
    assert c == pytest.approx(gates["f"] * 2 + gates["i"] * gates["g"], abs=2e-3)
    assert c != pytest.approx(gates["f"] * gates["g"] + gates["i"] * 2, abs=5e-3)


def test_erratum_sum_for_product(scalar_lstm):
    """The last step of the example adds o and tanh(c), 1.986, where h multiplies them, 0.986."""
    gates, h, c = scalar_lstm
    assert h == pytest.approx(gates["o"] * math.tanh(c), abs=1e-3)
    assert gates["o"] + math.tanh(c) == pytest.approx(1.986, abs=1e-3)
    assert h < 1


@pytest.mark.parametrize(
    ("name", "inputs", "hidden", "count"),
    [
        ("lstm", 1, 400, 643_200),  # worked example: 4 (1 + 400 + 1) 400, one bias per gate
        ("rnn", 3, 5, 45),
        ("gru", 3, 5, 140),
        ("lstm", 3, 5, 180),
    ],
)
def test_parameter_counts(name, inputs, hidden, count):
    params = jax.eval_shape(lambda key: cells.get(name).init_params(key, inputs, hidden), jax.random.key(0))
    assert sum(math.prod(array.shape) for array in params) == count
