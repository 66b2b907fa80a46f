"""Programs for any number of steps and sequences: `jax.export` with symbols in place of sizes."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import export

from rnn_jax import cells, compose, unroll
from rnn_jax.backends import BACKENDS
from rnn_jax.backends.refusals import Refusal
from rnn_jax.cells.cell import zero_carry
from rnn_jax.controls import StepMasks

LSTM = cells.get("lstm")
PARAMS = LSTM.init_params(jax.random.key(0), 3, 5)
SIZES = {"b": 2, "t": 7}


def shaped(shape, dtype=jnp.float32):
    return jax.ShapeDtypeStruct(shape, dtype)


def agrees(function, *shapes):
    """Exports, and compares with the function itself at sizes that the symbols have not been told."""
    exported = export.export(jax.jit(function))(*shapes)
    rng = np.random.default_rng(0)
    arrays = [jnp.asarray(rng.integers(0, 8, [SIZES.get(str(n), n) for n in one.shape]), one.dtype) for one in shapes]
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=1e-6), exported.call(*arrays), function(*arrays))


@pytest.mark.parametrize(
    "options",
    [{}, {"backend": "scan"}, {"truncate_every": 3, "reverse": True}, {"checkpoint_every": 3}],
    ids=lambda options: " ".join(options) or "auto",
)
def test_steps_and_batch(options):
    b, t = export.symbolic_shape("b, t")
    agrees(
        lambda xs, lengths: unroll(LSTM, PARAMS, xs, lengths=lengths, **options),
        shaped((t, b, 3)),
        shaped((b,), jnp.int32),
    )


def test_the_gradient():
    b, t = export.symbolic_shape("b, t")
    agrees(jax.grad(lambda xs: unroll(LSTM, PARAMS, xs)[1].sum()), shaped((t, b, 3)))


def test_both_directions_with_resets_and_a_mask():
    b, t = export.symbolic_shape("b, t")
    params = compose.init_stack(jax.random.key(0), LSTM, 3, 5, num_layers=2, bidirectional=True)
    agrees(
        lambda xs, mask, resets: compose.unroll_stack(LSTM, params, xs, mask=mask, resets=resets),
        shaped((t, b, 3)),
        shaped((t, b), jnp.bool_),
        shaped((t, b), jnp.bool_),
    )


def test_lengths_that_are_known():
    (t,) = export.symbolic_shape("t")
    agrees(lambda xs: unroll(LSTM, PARAMS, xs, lengths=jnp.array([0, 4])), shaped((t, 2, 3)))


def refusals(shape):
    """What each back end says of inputs of a shape, the machine's own reasons left out."""
    xs = shaped(shape)
    carry = jax.eval_shape(lambda: zero_carry(LSTM, PARAMS, (2,)))
    found = {name: backend.refusal(LSTM, PARAMS, carry, xs, StepMasks()) for name, backend in BACKENDS.items()}
    return {name: each for name, each in found.items() if each is None or each.argument == "xs"}


def test_who_refuses_symbols():
    b, t = export.symbolic_shape("b, t")
    said = Refusal("xs", "needs numbers for sizes, and has t and b in xs [t, b, 3]")
    in_time = Refusal("xs", "needs numbers for sizes, and has t in xs [t, b, 3]")
    needing = dict.fromkeys(("native", "cudnn", "pallas", "mosaic"), said)
    assert refusals((t, b, 3)) == {"scan": None, "manual": in_time, "newton": in_time, **needing}
    said = Refusal("xs", "needs numbers for sizes, and has b in xs [9, b, 3]")
    needing = dict.fromkeys(("native", "cudnn", "pallas", "mosaic"), said)
    assert refusals((9, b, 3)) == {"scan": None, "manual": None, "newton": None, **needing}


@pytest.mark.parametrize(("backend", "num_steps"), [("manual", 70), ("newton", 7)])
def test_the_batch_alone(backend, num_steps):
    """`manual`, whose chunks are cut from the steps, and `newton`, which halves them."""
    (b,) = export.symbolic_shape("b")
    agrees(jax.grad(lambda xs: (unroll(LSTM, PARAMS, xs, backend=backend)[1] ** 2).sum()), shaped((num_steps, b, 3)))


def test_a_refusal_is_said():
    b, t = export.symbolic_shape("b, t")

    def traced(backend):
        return export.export(jax.jit(lambda xs: unroll(LSTM, PARAMS, xs, backend=backend)))(shaped((t, b, 3)))

    with pytest.raises(ValueError, match=r"backend 'manual' needs numbers for sizes, and has t in xs \[t, b, 3\]"):
        traced("manual")
    with pytest.warns(UserWarning, match=r"backend 'native' needs numbers .*: using 'scan' instead"):
        traced("native")
