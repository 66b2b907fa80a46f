"""A cell of one's own: what is promised of it is checked when it is made, and what is not promised means nothing."""

from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from numpy.testing import assert_allclose

from rnn_jax import Cell, cells, compose, unroll
from rnn_jax.bptt import Rule
from rnn_jax.cells import contract
from rnn_jax.cells.cell import Sizes
from rnn_jax.diagnostics import gradcheck
from rnn_jax.models import SequenceModel, gradient_flow, pure
from rnn_jax.models.recurrent import FlaxCell, Recurrent

I, H, O, B, T = 3, 4, 2, 5, 7  # noqa: E741


def init_params(key, input_size, hidden_size, dtype=jnp.float32):
    keys = jax.random.split(key, 3)
    shapes = ((input_size, hidden_size), (hidden_size,), (hidden_size, O))
    w, decay, out = (0.5 * jax.random.normal(k, s, dtype) for k, s in zip(keys, shapes, strict=True))
    return {"in": w, "nested": [decay, (out,)]}


def recur(params, carry, x):
    decay, (out,) = params["nested"]
    state = jnp.tanh(decay) * carry["memory"] + jnp.tanh(x @ params["in"])
    return {"memory": state, "largest": jnp.maximum(carry["largest"], state.max(-1))}, state @ out


OWN = Cell(
    "own",
    init_params,
    lambda batch, hidden_size, dtype=jnp.float32: {
        "memory": jnp.zeros((*batch, hidden_size), dtype),
        "largest": jnp.zeros(batch, dtype),
    },
    recur,
)
"""Parameters and carry of no field that the library knows, parts of different ranks, and O of H outputs."""


def loop(params, xs, lengths):
    """The same in NumPy, a sequence at a time: ys `[T, B, O]`."""
    (decay, (out,)), ys = params["nested"], np.zeros((T, B, O))
    for b in range(B):
        state = np.zeros(H)
        for t in range(lengths[b]):
            state = np.tanh(decay) * state + np.tanh(xs[t, b] @ params["in"])
            ys[t, b] = state @ out
    return ys


def test_unroll_stacks_and_modules_take_it():
    xs, lengths = np.random.default_rng(0).normal(size=(T, B, I)), [7, 0, 3, 1, 5]
    params = OWN.init_params(jax.random.key(0), I, H, jnp.float64)
    final, ys = unroll(OWN, params, jnp.asarray(xs), hidden_size=H, lengths=jnp.array(lengths))
    assert_allclose(ys, loop(jax.tree.map(np.asarray, params), xs, lengths), rtol=1e-12)
    assert final["memory"].shape == (B, H)

    layers = compose.init_stack(jax.random.key(1), OWN, I, H, 3, True, jnp.float64)
    assert [layer.forward["in"].shape[0] for layer in layers] == [I, 2 * O, 2 * O]
    _, ys = compose.unroll_stack(OWN, layers, jnp.asarray(xs), hidden_size=H, zoneout_rate=0.2, key=jax.random.key(0))
    assert ys.shape == (T, B, 2 * O)

    module = Recurrent(OWN, I, H, num_layers=2, rngs=nnx.Rngs(0))
    carry, ys = module(jnp.ones((B, T, I), jnp.float32))
    assert (ys.shape, module.output_size, carry[1]["largest"].shape) == ((B, T, O), O, (B,))
    jax.tree.map(np.testing.assert_array_equal, Recurrent(OWN, I, H, rngs=nnx.Rngs(0)).params()[0], module.params()[0])
    assert nnx.RNN(FlaxCell(OWN, I, H, rngs=nnx.Rngs(0)))(jnp.ones((B, T, I), jnp.float32)).shape == (B, T, O)


def test_a_carry_may_count():
    """A part that is no float: it is reset, held and handed on as the others are, and a carry of floats is refused."""

    def one_more(params, carry, x):
        h, count = carry
        h = jnp.tanh(x @ params + h / (1 + count[..., None]))
        return (h, count + 1), h

    counting = Cell(
        "counting",
        lambda key, i, h, dtype=jnp.float32: jax.random.normal(key, (i, h), dtype),
        lambda batch, h, dtype=jnp.float32: (jnp.zeros((*batch, h), dtype), jnp.zeros(batch, jnp.int32)),
        one_more,
        sizes=lambda params: Sizes(*params.shape),
    )
    params, xs = counting.init_params(jax.random.key(0), I, H), jnp.ones((T, 2, I), jnp.float32)
    start, resets = (jnp.ones((2, H), jnp.float32), jnp.array([4, 4])), jnp.zeros((T, 2), bool).at[2, 0].set(True)
    (_, count), _ = unroll(counting, params, xs, carry=start, lengths=jnp.array([T, 3]), resets=resets)
    assert count.tolist() == [T - 2, 4 + 3]
    with pytest.raises(ValueError, match=r"carry must be \('float32', 'int32'\), got \('float32', 'float32'\)"):
        unroll(counting, params, xs, carry=(start[0], start[0][:, 0]))

    module, xs = Recurrent(counting, I, H, num_layers=2, rngs=nnx.Rngs(0)), jnp.ones((2, T, I), jnp.float32)
    carry, ys = module(xs, carry=module.init_carry(2))
    assert carry[1][1].tolist() == [T, T]
    assert_allclose(module.step(module(xs[:, :-1])[0], xs[:, -1])[1], ys[:, -1], rtol=1e-5)


def test_models_and_diagnostics_take_it():
    model = SequenceModel(OWN, I, H, output_size=1, every_step=True, rngs=nnx.Rngs(0))
    xs = jnp.ones((B, T, I), jnp.float32)
    assert model(xs).shape == (B, T, 1)
    assert SequenceModel(OWN, I, H, output_size=1, rngs=nnx.Rngs(0))(xs).shape == (B, 1)


GRU = cells.get("gru")
MISTAKES = {
    "carry_dtype": (
        {"recur": lambda p, c, x: (c._replace(h=c.h.astype(jnp.bfloat16)), c.h)},
        r"recur makes a carry of ",
    ),
    "carry_shape": (
        {"recur": lambda p, c, x: (c._replace(h=c.h[..., :1]), c.h)},
        r"float32\[2, 4, 1\].* from one of .*\[2, 4, 5\]",
    ),
    "no_pair": ({"recur": lambda p, c, x: c}, "not a carry and y"),
    "y": ({"recur": lambda p, c, x: (c, c.h.sum())}, r"y float32\[\], which must be \[\*batch, O\]"),
    "raises": (
        {"recur": lambda p, c, x: (c, x @ p.w_hh)},
        r"recur fails for an input size of 3 and .* of 5 \(TypeError",
    ),
    "project": ({"project": lambda p, xs: xs.sum(0)}, "project makes .* of inputs .*, not the same leading axes"),
    "init_carry": (
        {"init_carry": lambda b, h, dtype: GRU.init_carry((2,), h, dtype)},
        "init_carry makes .* for a batch of",
    ),
    "arguments": ({"init_params": lambda key: ()}, "init_params fails"),
    "sizes": ({"sizes": lambda p: Sizes(1, 2)}, r"sizes says \(1, 2\) of parameters made for \(3, 5\)"),
    "output": (
        {"output": lambda c: c.h[..., :2]},
        r"output makes float32\[2, 4, 2\] of the carry, and y is float32\[2, 4, 5\]",
    ),
    "name": ({"name": ""}, "name must be a word"),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_broken_contract_is_said_when_the_cell_is_made(mistake):
    changed, message = MISTAKES[mistake]
    with pytest.raises(ValueError, match=message):
        replace(GRU, trial=(3, 5), **changed)


@pytest.mark.parametrize("name", cells.CELLS)
def test_the_cells_here_keep_it(name):
    contract.check(cells.get(name), Sizes(3, 5))


def test_a_rule_without_touching_the_tables():
    """h_t = a h_{t-1} + x_t W, y_t = 2 h_t: its rule has an `emit` of its own, and all three gradients agree."""

    def init(key, input_size, hidden_size, dtype=jnp.float32):
        return {"w": jax.random.normal(key, (input_size, hidden_size), dtype), "a": jnp.full(hidden_size, 0.7, dtype)}

    def recur(params, h, x):
        h = params["a"] * h + x @ params["w"]
        return h, 2 * h

    def weights(xs, before, local, dz):
        axes = tuple(range(dz.ndim - 1))
        flat = [array.reshape(-1, array.shape[-1]) for array in (xs, dz)]
        return {"w": flat[0].T @ flat[1], "a": (before * dz).sum(axes)}

    rule = Rule(
        recompute=lambda params, xs, before, after: before,
        step=lambda params, local, dh: (params["a"] * dh, dh),
        weights=weights,
        inputs=lambda params, dz: dz @ params["w"].T,
        emit=lambda dh, dy: dh + 2 * dy,
    )
    cell = Cell(
        "leaky_sum", init, lambda batch, h, dtype=jnp.float32: jnp.zeros((*batch, h), dtype), recur,
        output=lambda h: 2 * h, rule=rule,
    )  # fmt: skip
    result = gradcheck.check(cell, jnp.float64, "resets")
    assert result.passed, result
    wrong = replace(cell, rule=rule._replace(emit=lambda dh, dy: dh + dy))
    assert not gradcheck.check(wrong, jnp.float64, "resets").passed
    with pytest.raises(ValueError, match="a rule needs output"):
        replace(cell, output=None)


def test_no_gradient_by_lag_without_an_output():
    model = SequenceModel(OWN, I, H, output_size=1, every_step=True, rngs=nnx.Rngs(0))
    flow = gradient_flow.make_gradient_flow(model, lambda outputs: outputs[:, -1, 0])
    with pytest.raises(ValueError, match="cell 'own' has outputs that do not follow from its carry"):
        flow(pure(model)[1], jnp.ones((B, T, I), jnp.float32))
