"""Tasks small enough that what training has to do can be said beforehand."""

from functools import cache

import jax
import jax.numpy as jnp
import numpy as np
import optax

from rnn_jax.training.functions import make_functions
from rnn_jax.training.step import Task

EXAMPLES, BATCH, FEATURES = 23, 3, 4
PER_EPOCH = EXAMPLES // BATCH  # 7, and 2 examples are left over


def regression_data():
    """A noisy linear function."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=(EXAMPLES, FEATURES)).astype(np.float32)
    y = x @ np.float32([1.0, -2.0, 0.5, 3.0]) + 0.1 * rng.normal(size=EXAMPLES).astype(np.float32)
    return {"x": x, "y": y + np.float32(0.7)}


def regression_task(dropout=0.0):
    """Linear regression; with `dropout` a share of the inputs is absent in training."""

    def init(key):
        return {"w": jax.random.normal(key, (FEATURES,), jnp.float32), "b": jnp.zeros((), jnp.float32)}

    def loss(params, batch, key):
        x = batch["x"]
        if dropout:
            x = jnp.where(jax.random.bernoulli(key, 1 - dropout, x.shape), x / (1 - dropout), 0)
        return jnp.mean((x @ params["w"] + params["b"] - batch["y"]) ** 2), {"mean_x": jnp.mean(x)}

    def evaluate(params, data):
        return {"loss": jnp.mean((data["x"] @ params["w"] + params["b"] - data["y"]) ** 2)}

    return Task(init, loss, lambda data, i: {name: a[i] for name, a in data.items()}, evaluate, EXAMPLES)


def counting_task(validation, loss=None):
    """One number t, up by 1 at each step of `counting_optimizer`; the seed draws a `sign`, -1 or 1.

    `validation(t, sign)` is the validation loss; `loss(t, sign)` is the training loss, whose value alone matters.
    """

    def init(key):
        sign = jnp.where(jax.random.bernoulli(key), 1.0, -1.0).astype(jnp.float32)
        return {"t": jnp.zeros((), jnp.float32), "sign": sign}

    def train_loss(params, batch, key):
        fixed = jax.lax.stop_gradient(params)
        value = jnp.float32(0) if loss is None else loss(fixed["t"], fixed["sign"])
        return value + fixed["t"] - params["t"], {}  # with the derivative -1

    def evaluate(params, data):
        return {"loss": validation(params["t"], params["sign"])}

    return Task(init, train_loss, lambda data, i: i, evaluate, EXAMPLES)


def counting_optimizer():
    return optax.sgd(1.0)


def seeds_by_sign(functions, count=8):
    """Of the first seeds of a counting task, one with sign -1 and one with sign 1."""
    signs = np.asarray(functions.init(jnp.arange(count, dtype=jnp.uint32)).params["sign"]).tolist()
    return signs.index(-1.0), signs.index(1.0)


@cache  # compiled once for all tests
def regression_functions(dropout=0.3, patience=None, parallel=False):
    """Linear regression with dropout and Adam: every part of the state moves."""
    optimizer = optax.chain(optax.clip_by_global_norm(5.0), optax.adam(0.05))
    return make_functions(regression_task(dropout), optimizer, batch_size=BATCH, patience=patience, parallel=parallel)


def start(functions, seeds):
    return functions.init(jnp.asarray(seeds, jnp.uint32))


def run_epochs(functions, seeds, data, epochs, counts=(PER_EPOCH,)):
    """Trains from the beginning, each epoch in dispatches of `counts` steps; returns the states and the losses."""
    states, losses = start(functions, seeds), []
    for epoch in range(epochs):
        order, first = functions.order(states.seed, epoch), 0
        for count in counts:
            states, _ = functions.steps(states, order, data, epoch, first, count)
            first += count
        states, validation = functions.evaluate(states, data, epoch)
        losses.append(np.asarray(validation["loss"]))
    return states, np.array(losses)


def assert_same_bits(a, b):
    """Two pytrees have one structure and the same arrays, to the bit."""
    a_leaves, b_leaves = (jax.tree_util.tree_leaves_with_path(tree) for tree in (a, b))
    assert [path for path, _ in a_leaves] == [path for path, _ in b_leaves]
    for (path, x), (_, y) in zip(a_leaves, b_leaves, strict=True):
        x, y = np.asarray(x), np.asarray(y)
        name = jax.tree_util.keystr(path)
        assert x.dtype == y.dtype, name
        assert x.shape == y.shape, name
        assert x.tobytes() == y.tobytes(), f"{name}: {x} and {y}"
