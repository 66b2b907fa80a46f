"""Flax's cells and ours: the same step, the same unroll, on weights converted both ways."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from rnn_jax import cells, unroll
from rnn_jax.cells import LSTMCarry
from rnn_jax.convert.flax import from_flax, to_flax

NUM_STEPS, BATCH, INPUT_SIZE, HIDDEN_SIZE = 7, 3, 4, 5
LENGTHS = [7, 1, 4]

KINDS = {
    "simple": ("rnn", nnx.SimpleCell, {}),
    "simple_relu": ("rnn_relu", nnx.SimpleCell, {"activation_fn": nnx.relu}),
    "simple_identity": ("rnn_identity", nnx.SimpleCell, {"activation_fn": lambda z: z}),
    "lstm": ("lstm", nnx.LSTMCell, {}),
    "lstm_optimized": ("lstm", nnx.OptimizedLSTMCell, {}),
    "gru": ("gru", nnx.GRUCell, {}),
}


def draw(*shape, seed=0):
    return jnp.array(np.random.default_rng(seed).normal(size=shape))


def flax_cell(kind: str, seed: int = 0, sizes=(INPUT_SIZE, HIDDEN_SIZE), dtype=jnp.float64, **options):
    """A cell whose biases are not the zeros that Flax begins with, nor its kernels orthogonal: not in bfloat16."""
    _, make, own = KINDS[kind]
    normal = nnx.initializers.normal(0.5)
    options = own | {"bias_init": normal, "recurrent_kernel_init": normal} | options
    return make(*sizes, dtype=dtype, param_dtype=dtype, rngs=nnx.Rngs(seed), **options)


def our_params(kind: str, seed: int = 1, dtype=jnp.float64):
    params = cells.get(KINDS[kind][0]).init_params(jax.random.key(seed), INPUT_SIZE, HIDDEN_SIZE, dtype)
    return params._replace(b_hn=jnp.zeros_like(params.b_hn)) if kind == "gru" else params


def carries(kind: str, *batch: int):
    """A random carry in Flax's form and in ours."""
    h, c = draw(*batch, HIDDEN_SIZE, seed=1), draw(*batch, HIDDEN_SIZE, seed=2)
    name = KINDS[kind][0]
    if name == "lstm":
        return (c, h), LSTMCarry(h=h, c=c)
    return h, type(cells.get(name).init_carry((), 1))(h)


def ours_of(kind: str, carry):
    """Our carry from Flax's."""
    return LSTMCarry(h=carry[1], c=carry[0]) if KINDS[kind][0] == "lstm" else type(carries(kind)[1])(carry)


def assert_close(got, want):
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-12, atol=1e-13), got, want)


def direction_of_conversion(kind: str, direction: str):
    """A Flax cell and our parameters, one of them converted from the other."""
    cell = flax_cell(kind)
    if direction == "from_flax":
        return cell, from_flax(cell)
    params = our_params(kind)
    to_flax(params, cell)
    return cell, params


@pytest.mark.parametrize("direction", ["from_flax", "to_flax"])
@pytest.mark.parametrize("kind", KINDS)
def test_step(kind, direction):
    cell, params = direction_of_conversion(kind, direction)
    theirs, ours = carries(kind, BATCH)
    x = draw(BATCH, INPUT_SIZE)
    want, want_y = cell(theirs, x)
    got, y = cells.get(KINDS[kind][0]).step(params, ours, x)
    assert_close((got, y), (ours_of(kind, want), want_y))


@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize("lengths", [None, LENGTHS], ids=["full", "lengths"])
@pytest.mark.parametrize("kind", KINDS)
def test_unroll(kind, lengths, reverse):
    cell, params = direction_of_conversion(kind, "to_flax" if reverse else "from_flax")
    theirs, ours = carries(kind, BATCH)
    xs = draw(NUM_STEPS, BATCH, INPUT_SIZE)
    lengths = None if lengths is None else jnp.array(lengths)
    want, want_ys = nnx.RNN(cell, time_major=True, return_carry=True, reverse=reverse, keep_order=True)(
        xs, initial_carry=theirs, seq_lengths=lengths
    )
    got, ys = unroll(cells.get(KINDS[kind][0]), params, xs, carry=ours, lengths=lengths, reverse=reverse)
    if lengths is not None:  # Flax goes on computing in the padding, where our outputs are zero
        want_ys = jnp.where((jnp.arange(NUM_STEPS)[:, None] < lengths)[..., None], want_ys, 0)
    assert_close((got, ys), (ours_of(kind, want), want_ys))


@pytest.mark.parametrize("kind", KINDS)
def test_gradient(kind):
    """`from_flax` of Flax's gradient, a cell that holds it, is ours."""
    cell = flax_cell(kind)
    params = from_flax(cell)
    xs, weights = draw(NUM_STEPS, BATCH, INPUT_SIZE), draw(NUM_STEPS, BATCH, HIDDEN_SIZE, seed=3)
    theirs, ours = carries(kind, BATCH)
    want = nnx.grad(lambda cell: (weights * nnx.RNN(cell, time_major=True)(xs, initial_carry=theirs)).sum())(cell)
    nnx.update(cell, want)
    want = from_flax(cell)

    def loss(params):
        return (weights * unroll(cells.get(KINDS[kind][0]), params, xs, carry=ours)[1]).sum()

    got = jax.grad(loss)(params)
    if kind == "gru":  # the one parameter that Flax's cell does not have
        got = got._replace(b_hn=want.b_hn)
    assert_close(got, want)


@pytest.mark.parametrize("dtype", [jnp.float64, jnp.float32, jnp.bfloat16])
@pytest.mark.parametrize("kind", KINDS)
def test_round_trip_is_exact(kind, dtype):
    cell, params = flax_cell(kind, dtype=dtype), our_params(kind, dtype=dtype)
    to_flax(params, cell)
    back = from_flax(cell)
    assert type(back) is type(params)
    for got, want in zip(back, params, strict=True):
        assert got.dtype == want.dtype
        np.testing.assert_array_equal(got, want)


def test_under_jit():
    cell = flax_cell("gru")

    @nnx.jit
    def convert(cell):
        return from_flax(cell)

    assert_close(convert(cell), from_flax(cell))


def test_the_same_functions_under_other_names():
    from_flax(flax_cell("lstm", gate_fn=jax.lax.logistic, activation_fn=lambda z: 2 * jax.nn.sigmoid(2 * z) - 1))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: flax_cell("simple", residual=True), "residual=True"),
        (lambda: flax_cell("simple", activation_fn=jnp.sin), "activation_fn must be tanh or relu or identity"),
        (lambda: flax_cell("lstm", activation_fn=nnx.relu), "activation_fn must be tanh"),
        (lambda: flax_cell("gru", gate_fn=nnx.hard_sigmoid), "gate_fn must be sigmoid"),
        (lambda: nnx.Linear(3, 5, rngs=nnx.Rngs(0)), "cannot convert a Linear"),
    ],
)
def test_refuses_cells_that_compute_something_else(make, message):
    with pytest.raises(ValueError, match=message):
        from_flax(make())
    with pytest.raises(ValueError, match=message):
        to_flax(our_params("lstm"), make())


@pytest.mark.parametrize(
    ("params", "cell", "message"),
    [
        (our_params("gru"), flax_cell("lstm"), "LSTMCell takes LSTMParams, got GRUParams"),
        (
            our_params("gru"),
            flax_cell("gru", sizes=(4, 6)),
            r"w_ih is float64\[4, 15\], the GRUCell has float64\[4, 18\]",
        ),
        (
            our_params("lstm", dtype=jnp.float32),
            flax_cell("lstm"),
            r"w_ih is float32\[4, 20\], .* has float64\[4, 20\]",
        ),
        (our_params("gru")._replace(b_hn=jnp.ones(5)), flax_cell("gru"), "b_hn is not zero"),
    ],
)
def test_to_flax_refuses_and_leaves_the_cell(params, cell, message):
    before = from_flax(cell)
    with pytest.raises(ValueError, match=message):
        to_flax(params, cell)
    assert_close(from_flax(cell), before)
