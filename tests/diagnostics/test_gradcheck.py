"""The gradient check passes for every cell, and no fault in the hand-derived gradient gets past it."""

import inspect
import types
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rnn_jax import bptt, unroll
from rnn_jax.backends import BACKENDS, manual
from rnn_jax.bptt import gru, lstm, rnn, through_time
from rnn_jax.cells import get
from rnn_jax.diagnostics import gradcheck
from rnn_jax.diagnostics.gradcheck import CASES, check, check_all, finite_differences, relative_error


class TestCheck:
    @pytest.mark.parametrize("case", CASES)
    @pytest.mark.parametrize("cell", bptt.RULES)
    def test_float64(self, cell, case):
        result = check(cell, "float64", case)
        assert result.passed, result

    @pytest.mark.parametrize(
        ("cell", "case"), [*((cell, "lengths") for cell in bptt.RULES), ("lstm", "long"), ("gru", "long")]
    )
    def test_float32(self, cell, case):
        result = check(cell, jnp.float32, case)
        assert result.passed, result
        assert result.manual_error > 1e-12, "in float32 two routes differ by round-off: were both taken in float64?"

    def test_all_goes_row_by_row(self):
        rows = check_all(cells=["rnn", "no such cell"], dtypes=["float64"], cases=["plain"])
        assert next(rows)[:3] == ("rnn", "float64", "plain")
        with pytest.raises(ValueError, match="unknown cell 'no such cell'"):
            next(rows)

    def test_nan_does_not_pass(self):
        result = gradcheck.Result("rnn", "float64", "plain", 0.0, 0.0, 1e-10, 1e-6)
        assert result.passed
        assert not result._replace(manual_error=float("nan")).passed
        assert not result._replace(finite_error=float("nan")).passed

    def test_needs_float64(self):
        with (
            jax.enable_x64(False),
            pytest.raises(ValueError, match="64-bit floats: set the environment variable JAX_ENABLE_X64=1"),
        ):
            check("rnn", "float64", "plain")

    def test_unknown_dtype(self):
        with pytest.raises(ValueError, match="no tolerance for dtype 'bfloat16': take one of float64, float32"):
            check("rnn", jnp.bfloat16, "plain")

    def test_unknown_case(self):
        with pytest.raises(ValueError, match="unknown case 'long-ish': take one of plain, lengths"):
            check("rnn", "float64", "long-ish")


class TestPoint:
    @pytest.mark.parametrize("seed", range(3))
    def test_the_edges_are_there(self, seed):
        case = CASES["long"]
        point = gradcheck.draw_point(get("lstm"), case, seed)
        assert {0, 1, case.num_steps} < set(point.lengths.tolist())
        assert case.num_steps > manual.LARGEST_CHUNK
        assert case.num_steps % manual.chunk_length(case.num_steps) > 0
        assert bool(point.resets.any())
        leaves = jax.tree.leaves((point.inputs, point.cotangents))
        assert len(leaves) == 3 + 1 + 2 + 2 + 1  # params, xs, carry; the cotangents of the final carry and of ys
        assert all(float(jnp.abs(leaf).min()) > 0 for leaf in leaves), "an entry of zero tests nothing"


class TestRelativeError:
    def test_each_leaf_has_its_own_scale(self):
        b = {"large": jnp.array([100.0, 1.0]), "small": jnp.array([1e-3])}
        assert relative_error(b, b) == 0
        assert relative_error(b | {"large": jnp.array([100.0, 2.0])}, b) == pytest.approx(0.01)
        assert relative_error(b | {"small": jnp.array([2e-3])}, b) == pytest.approx(1)

    def test_a_leaf_of_zeros_takes_the_scale_of_the_largest(self):
        b = (jnp.zeros(2), jnp.array([4.0]), jnp.array([0.5]))
        assert relative_error((jnp.array([0.0, 1.0]), *b[1:]), b) == 0.25
        assert relative_error((jnp.array([0.0, 1e-16]), *b[1:]), b) < 1e-15

    def test_beside_nothing_but_zeros_anything_is_wrong(self):
        assert relative_error(jnp.zeros(3), jnp.zeros(3)) == 0
        assert relative_error(jnp.array([1e-12]), jnp.zeros(1)) == np.inf

    @pytest.mark.parametrize("bad", [np.nan, np.inf])
    def test_what_is_not_finite_never_passes(self, bad):
        good, wrong = (jnp.ones(2), jnp.ones(1)), (jnp.array([1.0, bad]), jnp.ones(1))
        for pair in ((good, wrong), (wrong, good), (wrong, wrong), (good[::-1], wrong[::-1])):
            assert np.isnan(relative_error(*pair))

    def test_no_coordinates(self):
        assert relative_error((), ()) == 0
        assert relative_error((jnp.zeros((0, 2)), jnp.array([2.0])), (jnp.zeros((0, 2)), jnp.array([1.0]))) == 1

    def test_what_does_not_match(self):
        with pytest.raises(ValueError, match="cannot compare leaves of shapes \\(1,\\) and \\(3,\\)"):
            relative_error(jnp.ones(1), jnp.ones(3))
        with pytest.raises(ValueError, match="cannot compare PyTreeDef"):
            relative_error((jnp.ones(1),), {"w": jnp.ones(1)})


class TestFiniteDifferences:
    def test_a_quadratic_form(self):
        a = jax.random.normal(jax.random.key(0), (4, 4))
        x = jax.random.normal(jax.random.key(1), (4,))
        np.testing.assert_allclose(finite_differences(lambda x: x @ a @ x, x), (a + a.T) @ x, rtol=1e-9)

    def test_a_tree(self):
        tree = {"a": jnp.array([[1.0, 2.0]]), "b": (jnp.array(3.0),)}
        gradient = finite_differences(lambda t: t["b"][0] * jnp.sum(jnp.exp(t["a"])), tree)
        np.testing.assert_allclose(gradient["a"], 3 * jnp.exp(tree["a"]), rtol=1e-9)
        np.testing.assert_allclose(gradient["b"][0], np.exp(1) + np.exp(2), rtol=1e-9)

    def test_the_error_is_the_square_of_the_step(self):
        """((x + s)^3 - (x - s)^3) / 2s = 3 x^2 + s^2."""
        np.testing.assert_allclose(finite_differences(lambda x: x**3, jnp.array(2.0), step=0.5), 12.25, rtol=1e-14)

    def test_float32_is_taken_to_float64(self):
        gradient = finite_differences(jnp.sin, jnp.array(0.3, jnp.float32))
        assert gradient.dtype == jnp.float64
        np.testing.assert_allclose(gradient, np.cos(float(np.float32(0.3))), rtol=1e-9)

    def test_needs_float64(self):
        with jax.enable_x64(False), pytest.raises(ValueError, match="needs 64-bit floats"):
            finite_differences(jnp.sin, jnp.array(0.3))


class Fault(NamedTuple):
    """A change of one place in the source of the hand-derived gradient, and where it has to show."""

    name: str
    module: types.ModuleType
    old: str
    new: str
    cell: str
    case: str = "plain"


PER_GATE = "sum(matmul(d, w) for d, w in zip(gates(dz, 4), gates(params.w_hh, 4)))"

# The five faults of a course lecture's LSTM, docs/errata.md, number 4.
PUBLISHED = [
    Fault("cell-state path dropped", lstm, "dc_before = dc * f", "dc_before = 0 * dc", "lstm"),
    Fault("W for W transposed", lstm, "matmul(dz, params.w_hh.T)", PER_GATE, "lstm"),
    Fault("W for W transposed, Elman", rnn, "matmul(dz, params.w_hh.T)", "matmul(dz, params.w_hh)", "rnn"),
    Fault("index off by one in c", lstm, "o, before.c, ", "o, jnp.roll(before.c, 1, axis=0), ", "lstm"),
    Fault("index off by one in h", lstm, "outer_sum(before.h, dz)", "outer_sum(jnp.roll(before.h, 1, 0), dz)", "lstm"),
    Fault(
        "accumulators not from zero",
        manual,
        "zeros_like(params)",
        "jax.tree.map(lambda p: 0.01 * jax.random.normal(jax.random.key(0), p.shape, p.dtype), params)",
        "lstm",
    ),
    Fault("last row at t = 0", through_time, "(local, dys, ", "(local, dys.at[:1].set(dys[-1:]), ", "lstm"),
]

FAULTS = [
    *PUBLISHED,
    Fault("tanh slope of wrong sign", rnn, "1 - h**2", "1 + h**2", "rnn"),
    Fault("relu without its zero half", rnn, "(h > 0)", "(h >= 0)", "rnn_relu"),
    Fault("slope of the identity", rnn, "jnp.ones_like(h)", "h", "rnn_identity"),
    Fault("dc starts anew", lstm, "dc = dc + dh * o", "dc = dh * o", "lstm"),
    Fault("tanh(c) taken for c", lstm, "jnp.tanh(after.c)", "after.c", "lstm"),
    Fault("i and f exchanged", lstm, "di, df, dg = ", "df, di, dg = ", "lstm"),
    Fault("r forgotten on the recurrent side", gru, "dz_n * r)", "dz_n)", "gru"),
    Fault("bias of n left out of dr", gru, "dr = dz_n * a_n", "dr = dz_n * (a_n - params.b_hn)", "gru"),
    Fault("z's direct path dropped", gru, "dh * z + matmul(", "matmul(", "gru"),
    Fault("sign of dz_gate", gru, "dh * (h_before - n)", "dh * (n - h_before)", "gru"),
    Fault("final carry ignored", through_time, "step, widen(dfinal), ", "step, zeros_like(dfinal), ", "gru"),
    Fault("y's cotangent doubled", through_time, "h=dcarry.h + dy", "h=dcarry.h + 2 * dy", "gru"),
    Fault(
        "padding lets nothing through",
        through_time,
        "now.valid, dbefore, dcarry)",
        "now.valid, dbefore, zeros_like(dcarry))",
        "lstm",
        "lengths",
    ),
    Fault(
        "padding reaches the weights",
        through_time,
        "dafter = select(now.valid, dafter, zeros_like(dafter))",
        "pass",
        "lstm",
        "lengths",
    ),
    Fault(
        "gradient flows past a reset",
        through_time,
        "dbefore = select(now.reset, zeros_like(dbefore), dbefore)",
        "pass",
        "lstm",
        "resets",
    ),
    Fault(
        "weights see the state before a reset",
        through_time,
        "before = select(masks.reset, zeros_like(before), before)",
        "pass",
        "lstm",
        "resets",
    ),
    Fault("reverse taken forwards", through_time, "carries, reverse)", "carries, False)", "rnn", "reverse"),
    Fault(
        "chunks begin from the first carry",
        manual,
        "starts = previous(initial, ends, reverse)",
        "starts = jax.tree.map(lambda i, e: jnp.broadcast_to(i, e.shape), initial, ends)",
        "gru",
        "long",
    ),
    Fault(
        "remainder begins from the wrong chunk",
        manual,
        "e[0 if reverse else -1]",
        "e[-1 if reverse else 0]",
        "gru",
        "long",
    ),
]


def put_in_place(monkeypatch, module, source, cell):
    """Runs `source` as a module and has the manual back end use it."""
    changed = types.ModuleType(module.__name__)
    exec(compile(source, module.__file__, "exec"), changed.__dict__)
    if module is manual:
        monkeypatch.setitem(BACKENDS, "manual", BACKENDS["manual"]._replace(run=changed.run))
    elif module is through_time:
        monkeypatch.setattr(manual, "backward", changed.backward)
    else:
        activation = {"rnn": ["tanh"], "rnn_relu": ["relu"], "rnn_identity": ["identity"]}.get(cell, [])
        monkeypatch.setitem(bptt.RULES, cell, changed.make(*activation))


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.name.replace(" ", "_"))
def test_a_fault_is_caught(monkeypatch, fault):
    source = inspect.getsource(fault.module)
    assert source.count(fault.old) == 1, f"{fault.module.__name__} has changed: {fault.old!r} has to occur once"
    put_in_place(monkeypatch, fault.module, source.replace(fault.old, fault.new), fault.cell)
    result = check(fault.cell, "float64", fault.case)
    assert result.manual_error > 1e-3, result
    assert result.finite_error <= result.finite_tolerance, "the fault must not have reached the reference"


WHERE = sorted({(fault.module.__name__, fault.cell, fault.case) for fault in FAULTS})


@pytest.mark.parametrize(("module_name", "cell", "case"), WHERE)
def test_the_sound_source_passes_by_the_same_route(monkeypatch, module_name, cell, case):
    """What is caught above is the fault, not the way in which it was put into place."""
    module = next(fault.module for fault in FAULTS if fault.module.__name__ == module_name)
    put_in_place(monkeypatch, module, inspect.getsource(module), cell)
    result = check(cell, "float64", case)
    assert result.passed, result


def test_without_the_cell_state_path_the_memory_is_gone(monkeypatch):
    """docs/bptt.md prints these norms: dL/dx_t for L the sum of the last h, by lag."""
    cell = get("lstm")
    params = cell.init_params(jax.random.key(0), 2, 8, jnp.float64, forget_bias=1.0)
    xs = jax.random.normal(jax.random.key(1), (50, 1, 2), jnp.float64)

    def norms(params, xs):
        dxs = jax.grad(lambda xs: unroll(cell, params, xs, backend="manual")[1][-1].sum())(xs)
        return jnp.linalg.norm(dxs[::-1, 0], axis=-1)

    sound = jax.jit(norms)(params, xs)
    dropped = PUBLISHED[0]
    put_in_place(monkeypatch, lstm, inspect.getsource(lstm).replace(dropped.old, dropped.new), "lstm")
    faulty = jax.jit(partial(norms))(params, xs)  # a new function: one already compiled would keep the sound rule
    np.testing.assert_allclose(faulty[0], sound[0], rtol=1e-12)
    assert 0.05 < faulty[1] / sound[1] < 0.5
    assert sound[10] > 1e-3
    assert faulty[10] < 1e-8
    assert sound[49] > 1e-6
    assert faulty[49] < 1e-35
