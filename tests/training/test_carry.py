"""Batches that go on where those before them ended: the carry between steps, epochs, processes and devices."""

import os
import signal
import subprocess
import sys
from functools import cache
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from helpers.toy_tasks import assert_same_bits

from rnn_jax.training.errors import Interrupted
from rnn_jax.training.functions import make_functions
from rnn_jax.training.log import read_log
from rnn_jax.training.loop import Schedule, train
from rnn_jax.training.step import Task

ROWS, CHUNKS, STEPS = 4, 5, 3
SEEDS, EPOCHS = [3, 11], 2
SCHEDULE = Schedule(CHUNKS, EPOCHS, steps_per_dispatch=2)
"""Dispatches of 2, 2 and 1 chunks."""
X = np.random.default_rng(0).normal(size=(ROWS, CHUNKS * STEPS)).astype(np.float32)


def make_task(keep_carry=False, noise=0.0):
    """c_t = tanh(w c_{t-1} + x_t), to be near 0.3; the carry also counts what was read. Some x may be fed."""

    def batch(data, indices):
        start = (indices[0] // ROWS - data.get("first", 0)) * STEPS
        return jax.lax.dynamic_slice_in_dim(data["x"], start, STEPS, axis=1)[indices % ROWS]

    def loss(params, batch, key, carry):
        def step(c, x):
            c = jnp.tanh(params["w"] * c + x)
            return c, c

        c, cs = jax.lax.scan(step, carry["c"], (batch + noise * jax.random.normal(key, batch.shape, jnp.float32)).T)
        after = {"c": jax.lax.stop_gradient(c), "read": carry["read"] + STEPS}
        return jnp.mean((cs - 0.3) ** 2), ({"mean": jnp.mean(cs)}, after)

    return Task(
        init=lambda key: {"w": jax.random.normal(key, (), jnp.float32)},
        loss=loss,
        batch=batch,
        evaluate=lambda params, data: {"loss": (params["w"] - 0.1) ** 2},
        num_examples=CHUNKS * ROWS,
        init_carry=lambda: {"c": jnp.zeros(ROWS, jnp.float32), "read": jnp.zeros(ROWS, jnp.int32)},
        keep_carry=keep_carry,
    )


@cache  # compiled once for all tests
def functions_of(rate, keep_carry=False, noise=0.0):
    return make_functions(make_task(keep_carry, noise), optax.sgd(rate), batch_size=ROWS)


def by_numpy(w, xs, c=None):
    """The states `[T, ROWS]` of one long unroll."""
    c, found = np.zeros(ROWS) if c is None else c, []
    for x in xs.T:
        c = np.tanh(w * c + x)
        found.append(c)
    return np.stack(found)


def feed_of(calls, dispatch=SCHEDULE.steps_per_dispatch):
    """The chunks of a dispatch, and whatever comes behind the last one."""

    def feed(epoch, first):
        calls.append((epoch, first))
        places = (first * STEPS + np.arange(dispatch * STEPS)) % X.shape[1]
        return {"x": X[:, places], "first": np.int32(first)}

    return feed


def records_of(folder):
    return [
        {name: value for name, value in record.items() if name != "train_seconds"}
        for record in read_log(folder / "metrics.jsonl")
    ]


def test_examples_keep_their_order():
    functions = functions_of(0.1)
    for epoch in (0, 3):
        order = functions.order(jnp.asarray(SEEDS, jnp.uint32), epoch)
        np.testing.assert_array_equal(order, [np.arange(CHUNKS * ROWS)] * 2)


@pytest.mark.parametrize("keep_carry", [False, True])
def test_without_learning_it_is_one_long_unroll(tmp_path, keep_carry):
    """Of an epoch, or of both."""
    trained = train(functions_of(0.0, keep_carry), SEEDS, {"x": X}, SCHEDULE, tmp_path)
    text = np.concatenate((X, X), axis=1) if keep_carry else X
    losses = []
    for number, w in enumerate(np.asarray(trained.states.params["w"], np.float64)):
        states = by_numpy(w, text)
        np.testing.assert_allclose(trained.states.carry["c"][number], states[-1], rtol=1e-5, atol=1e-6)
        assert trained.states.carry["read"][number].tolist() == [text.shape[1]] * ROWS
        states = states if keep_carry else np.concatenate((states, states))
        losses.append(((states - 0.3) ** 2).reshape(EPOCHS, CHUNKS, -1).mean(axis=2))
    expected = np.stack(losses)  # [S, epochs, chunks]
    dispatches = [expected[..., cut].mean(axis=2) for cut in (slice(0, 2), slice(2, 4), slice(4, 5))]
    found = [record["losses"] for record in records_of(tmp_path)]
    want = np.stack(dispatches, axis=2).reshape(len(SEEDS), -1).T
    np.testing.assert_allclose(found, want, rtol=1e-5)
    assert (np.abs(want[:3] - want[3:]) > 1e-4).any() == keep_carry


def test_with_learning_it_is_a_loop_over_chunks(tmp_path):
    """Each chunk begins where the one before ended, with the parameters after that step; no gradient goes back."""
    rate = 0.5
    trained = train(functions_of(rate), SEEDS, {"x": X}, SCHEDULE, tmp_path)
    start = functions_of(rate).init(jnp.asarray(SEEDS, jnp.uint32)).params["w"]
    for number in range(len(SEEDS)):
        w = float(start[number])
        for _ in range(EPOCHS):
            c = np.zeros(ROWS)
            for chunk in np.split(X, CHUNKS, axis=1):
                up, down = (((by_numpy(w + move, chunk, c) - 0.3) ** 2).mean() for move in (1e-5, -1e-5))
                c = by_numpy(w, chunk, c)[-1]
                w -= rate * (up - down) / 2e-5
        assert abs(w - float(start[number])) > 0.01
        np.testing.assert_allclose(trained.states.params["w"][number], w, rtol=1e-4)
        np.testing.assert_allclose(trained.states.carry["c"][number], c, rtol=1e-4)


def test_seeds_are_each_as_alone(tmp_path):
    together = train(functions_of(0.5, noise=0.1), SEEDS, {"x": X}, SCHEDULE, tmp_path / "both").states
    for number, seed in enumerate(SEEDS):
        alone = train(functions_of(0.5, noise=0.1), [seed], {"x": X}, SCHEDULE, tmp_path / str(seed)).states
        assert_same_bits(jax.tree.map(lambda leaf, n=number: leaf[n : n + 1], together), alone)
    assert (together.carry["c"][0] != together.carry["c"][1]).all()


class TestInterrupted:
    @pytest.mark.parametrize("keep_carry", [False, True])
    @pytest.mark.parametrize("at_step", [4, 5, 7])
    def test_it_goes_on_to_the_same_bits(self, tmp_path, at_step, keep_carry):
        """In the middle of an epoch, at its end, in that of the next."""
        functions = functions_of(0.5, keep_carry, noise=0.1)
        expected = train(functions, SEEDS, {"x": X}, SCHEDULE, tmp_path / "through", lambda step: 0.5)

        def rate(step):
            if step + 1 == at_step:
                os.kill(os.getpid(), signal.SIGTERM)
            return 0.5

        with pytest.raises(Interrupted, match=f"stopped at step {at_step} "):
            train(functions, SEEDS, {"x": X}, SCHEDULE, tmp_path / "stopped", rate)
        trained = train(functions, SEEDS, {"x": X}, SCHEDULE, tmp_path / "stopped", lambda step: 0.5)
        assert_same_bits(trained.states, expected.states)
        assert records_of(tmp_path / "stopped") == records_of(tmp_path / "through")


class TestFeed:
    def test_what_it_is_asked_for(self, tmp_path):
        """For shapes once, then before each dispatch; a run that goes on, from where it stands."""
        calls = []

        def rate(step):
            if step + 1 == 7:
                os.kill(os.getpid(), signal.SIGTERM)
            return 0.5

        functions = functions_of(0.5)
        with pytest.raises(Interrupted):
            train(functions, SEEDS, {}, SCHEDULE, tmp_path, rate, feed=feed_of(calls))
        assert calls == [(0, 0), (0, 0), (0, 2), (0, 4), (1, 0)]
        calls.clear()
        trained = train(functions, SEEDS, {}, SCHEDULE, tmp_path, lambda step: 0.5, feed=feed_of(calls))
        assert calls == [(0, 0), (1, 2), (1, 4)]
        whole = train(functions, SEEDS, {"x": X}, SCHEDULE, tmp_path / "not_fed")
        jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-6), trained.states, whole.states)


ON_TWO_DEVICES = """
import sys, tempfile
from pathlib import Path
import jax, numpy as np, optax
jax.config.update("jax_num_cpu_devices", 2)
from test_carry import ROWS, SCHEDULE, SEEDS, X, make_task
from rnn_jax.training.loop import train
from rnn_jax.training.devices import choose
from rnn_jax.training.functions import make_functions

found = []
for num_devices in (1, 2):
    functions = make_functions(make_task(True), optax.sgd(0.5), batch_size=ROWS, devices=choose(num_devices))
    found.append(train(functions, SEEDS, {"x": X}, SCHEDULE, Path(tempfile.mkdtemp())).states)
for each in found:
    assert each.carry["c"].shape == (len(SEEDS), ROWS)
jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-6), *found)
print("agree")
"""


def test_each_device_carries_its_own_rows():
    tests = Path(__file__).parents[1]
    env = os.environ | {"PYTHONPATH": os.pathsep.join(map(str, (tests, tests.parent, Path(__file__).parent)))}
    ran = subprocess.run([sys.executable, "-c", ON_TWO_DEVICES], env=env, capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stderr
    assert ran.stdout == "agree\n"
