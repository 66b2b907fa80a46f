"""No fault in the hand-derived gradient gets past the gradient check: each is put into the source, one at a time."""

import inspect
import types
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rnn_jax import bptt, unroll
from rnn_jax.backends import BACKENDS, manual
from rnn_jax.bptt import gru, lstm, rnn, through_time
from rnn_jax.cells import get
from rnn_jax.diagnostics.gradcheck import check

pytestmark = pytest.mark.usefixtures("traced_anew")


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
    Fault("y's cotangent doubled", through_time, "emit(dcarry, dy)", "emit(dcarry, 2 * dy)", "gru"),
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
    changed.__dict__["jax"] = jax  # for what a fault says
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
    jax.clear_caches()  # what is already compiled keeps the sound rule
    faulty = jax.jit(norms)(params, xs)
    np.testing.assert_allclose(faulty[0], sound[0], rtol=1e-12)
    assert 0.05 < faulty[1] / sound[1] < 0.5
    assert sound[10] > 1e-3
    assert faulty[10] < 1e-8
    assert sound[49] > 1e-6
    assert faulty[49] < 1e-35
