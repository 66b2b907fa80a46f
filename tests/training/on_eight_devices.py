"""One device against several: started by `test_devices.py` in a process that has eight. A line of JSON per case.

In float64 there is nothing but rounding between them.
"""

import json
import sys
from functools import cache, partial

import jax
import jax.numpy as jnp
import numpy as np
import optax
from helpers.toy_tasks import EXAMPLES, regression_data, regression_task
from hypothesis import given, settings
from hypothesis import strategies as st

from rnn_jax.cells import CELLS
from rnn_jax.training.devices import choose, fetch
from rnn_jax.training.functions import make_functions
from rnn_jax.training.step import Task
from rnn_jax.unrolling import unroll

SEEDS = [3, 11]
LENGTHS = (4, 9, 25)
STEPS, HIDDEN = 5, 6
rng = np.random.default_rng(0)
DATA = {
    **{name: array.astype(np.float64) for name, array in regression_data().items()},
    "weight": rng.integers(1, 6, EXAMPLES),
    "sequence": rng.normal(size=(EXAMPLES, STEPS, 3)),
}
LENGTH_INDEX = rng.choice(3, EXAMPLES).astype(np.int32)
CHUNKS = rng.normal(size=(3, 8))


def take(data, indices):
    return {name: array[indices] for name, array in data.items()}


def linear():
    """Its loss is a mean over examples."""
    task = regression_task()
    return task._replace(init=lambda key: jax.tree.map(lambda a: a.astype(jnp.float64), task.init(key)))


def spread(task, *names):
    """No device has all examples."""
    everything = np.arange(EXAMPLES)

    def evaluate(params, data):
        return task.evaluate(params, take({name: data[name] for name in names}, everything))

    return task._replace(evaluate=evaluate, spread=names)


def weighted(known=True):
    """Of each example as many numbers count as its weight says."""

    def loss(params, batch, key):
        errors = (batch["x"] @ params["w"] + params["b"] - batch["y"]) ** 2
        return (batch["weight"] * errors).sum() / batch["weight"].sum(), {}

    return linear()._replace(loss=loss, weight=(lambda batch: batch["weight"].sum()) if known else None)


def of_lengths():
    """Batches of several shapes."""

    def loss(params, batch, key):
        return jnp.mean((batch["x"] @ params["w"] - batch["length"] * params["b"]) ** 2), {}

    return linear()._replace(
        loss=loss,
        batch=lambda data, indices, length: {
            **take(data, indices),
            "length": jnp.full(len(indices), length, jnp.float64),
        },
        lengths=LENGTHS,
        length_index=LENGTH_INDEX,
    )


def carried(keep=False, batch_size=8):
    """h_t = tanh(w h_{t-1} + x_t): rows of a batch go on from one step to the next."""
    chunks = CHUNKS[:, :batch_size]

    def loss(params, batch, key, carry):
        h = jnp.tanh(params["w"].sum() * carry["h"] + batch["x"]) + batch["row"][:, 0]
        return ((h - 0.3) ** 2).mean(), ({}, {"h": jax.lax.stop_gradient(h)})

    return linear()._replace(
        batch=lambda data, i: {"x": jnp.asarray(chunks)[i // batch_size, i % batch_size], "row": data["rows"]},
        loss=loss,
        num_examples=chunks.size,
        init_carry=lambda: {"h": jnp.zeros(batch_size)},
        keep_carry=keep,
        rows=("rows",),
    )


LAYERS = {"scan": "gru", "manual": "lstm", "associative": "mingru", "newton": "rnn"}
"""Back ends that compute in float64, and a cell for each."""


def recurrent():
    """A layer of each back end."""

    def init(key):
        keys = jax.random.split(key, len(LAYERS))
        return {
            backend: CELLS[cell].init_params(k, 3, HIDDEN, jnp.float64)
            for k, (backend, cell) in zip(keys, LAYERS.items(), strict=True)
        }

    def loss(params, batch, key):
        xs = batch["sequence"].swapaxes(0, 1)
        outputs = [unroll(CELLS[cell], params[name], xs, backend=name)[1][-1].mean(1) for name, cell in LAYERS.items()]
        return sum(jnp.mean((output - batch["y"]) ** 2) for output in outputs), {}

    return Task(init, loss, take, lambda params, data: {"loss": loss(params, data, None)[0]}, EXAMPLES)


def trained(task, batch_size, devices, parallel=False, optimizer=None):
    """Two epochs: the states, and what was said of them."""
    functions = make_functions(
        task, optimizer or optimizer_of(), batch_size=batch_size, parallel=parallel, devices=devices, average_decay=0.9
    )
    seeds = jax.device_put(np.asarray(SEEDS, np.uint32), devices.everywhere())
    data = functions.put({**DATA, "rows": np.arange(batch_size)[:, None] / batch_size})
    states, seen = functions.init(seeds), []
    start = fetch(states.params)
    for epoch in range(2):
        order = functions.order(states.seed, epoch)
        for first, count in ((0, 1), (1, task.num_examples // batch_size - 1)):
            states, summary = functions.steps(states, order, data, epoch, first, count)
            seen.append(fetch(summary))
        states, measures = functions.evaluate(states, data, epoch)
        seen.append(fetch(measures))
    return fetch(states), seen, states, start


@cache
def optimizer_of():
    return optax.chain(optax.clip_by_global_norm(0.5), optax.adam(0.05))


def difference(a, b):
    return max(float(np.max(np.abs(x - 1.0 * y))) for x, y in zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=True))


def say(case, **found):
    print(json.dumps({"case": case, **found}), flush=True)


def compare(case, make, batch_size, meshes, parallel=False):
    """Says how far several devices are from one; the states of each of them."""
    found = []
    one = trained(make(), batch_size, choose(), parallel)
    for mesh in meshes:
        several = trained(make(), batch_size, choose(*mesh), parallel)
        moved = difference(one[0].params, one[3])
        say(f"{case} {mesh}", difference=difference(one[:2], several[:2]), moved=moved)
        found.append(several[2])
    return found


@settings(max_examples=12, deadline=None, derandomize=True, database=None)
@given(st.integers(2, 8), st.integers(0, 9))
def shares(members, more):
    """Of any batch each example is in one share, in its order, and counts once in the mean over all."""
    size = members + more

    def part(own, first, device, rows, values):
        return (
            {"mean": jax.lax.dynamic_slice_in_dim(values, first, own).mean()},
            own,
            first + jnp.arange(own) + 0 * rows,
        )

    values = rng.normal(size=size)
    means, places = jax.jit(choose(members).of_shares(part, size))(jnp.arange(size), values)
    say(f"{size} of {members}", places=places.tolist(), error=float(abs(means["mean"] - values.mean())))


def main():
    jax.config.update("jax_num_cpu_devices", 8)
    jax.config.update("jax_enable_x64", True)
    compare("8 examples", lambda: spread(linear(), "x", "y"), 8, [(8,), (4, 2)])
    compare("7 examples, at once", lambda: spread(weighted(), "x", "y", "weight"), 7, [(3, 2)], parallel=True)
    compare("lengths", lambda: spread(of_lengths(), "x", "y"), 7, [(2,)])
    functions = make_functions(spread(linear(), "x"), optimizer_of(), batch_size=8, devices=choose(4, 2))
    x = functions.put(DATA)["x"]
    say("rows", shape=x.shape, shapes=[shard.data.shape for shard in x.addressable_shards])
    compare("carry", carried, 8, [(4, 2)])
    compare("carry of 7", partial(carried, True, 7), 7, [(3,)])
    (parts,) = compare("back ends, in parts", recurrent, 7, [(3, 2, 20)])
    layers = [states["manual"] for states in (parts.params, parts.opt_state[1][0].mu, parts.best_params)]
    say("parts", shapes=[[leaf.addressable_shards[0].data.shape for leaf in (lstm.w_hh, lstm.b)] for lstm in layers])
    shares()
    compare("weight unknown", lambda: weighted(known=False), 7, [(2,)])


if __name__ == "__main__":
    sys.exit(main())
