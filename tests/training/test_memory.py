"""Training that takes more memory than is free is refused with the numbers, before anything is computed."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from helpers.toy_tasks import PER_EPOCH, regression_data, regression_functions

from rnn_jax.training import memory
from rnn_jax.training.devices import Devices
from rnn_jax.training.errors import OutOfMemory
from rnn_jax.training.loop import Schedule, train

SEEDS = [3, 11]


def test_the_size_of_arrays_and_of_shapes():
    tree = {"a": np.zeros((3, 5), np.float32), "b": [np.zeros(7, np.int8), jax.ShapeDtypeStruct((2, 2), jnp.float64)]}
    here = jax.sharding.SingleDeviceSharding(jax.devices()[0])
    there = jax.tree.map(lambda _: here, tree)
    assert memory.size(tree, there) == 60 + 7 + 32
    assert memory.size({**tree, "a": jnp.zeros((3, 5))}, there) == 7 + 32, "what lies there has its place"


def test_what_lies_in_parts_counts_on_each_device_as_its_part():
    """The states of two groups of devices, the rows of a batch; all else is on each in full."""
    devices = Devices(jax.sharding.AbstractMesh((2, 4), ("seeds", "batch")), shard_above=20)
    functions = regression_functions()._replace(devices=devices, rows=("rows",))
    states = jax.eval_shape(functions.init, jax.ShapeDtypeStruct((2,), jnp.uint32))
    of_one = sum(leaf.size * leaf.dtype.itemsize for leaf in jax.tree.leaves(states)) // 2
    assert memory.size(states, devices.state_shardings(states)) == of_one
    states = states._replace(carry={"h": jax.ShapeDtypeStruct((2, 8), jnp.float32)})
    states = states._replace(average={"w": jax.ShapeDtypeStruct((2, 3, 16), jnp.float32)})
    assert memory.size(states, devices.state_shardings(states)) == of_one + 8 // 4 * 4 + 3 * 16 // 4 * 4
    data = {"rows": np.zeros((8, 3), np.float32), "x": np.zeros((8, 3), np.float32), "odd": {"y": np.zeros(5, np.int8)}}
    assert memory.size(data, functions.shardings(data)) == 2 * 3 * 4 + 8 * 3 * 4 + 5


def test_of_a_program():
    """Temporaries and results, and what may be written in place of an argument not twice."""

    def outer(x):
        return jnp.sort(x[:, None] * x, axis=0) + x

    shape = jax.ShapeDtypeStruct((256,), jnp.float32)
    program = jax.jit(outer).lower(shape).compile()
    assert 256**2 * 4 <= memory.of_program(program) <= 4 * 256**2 * 4
    in_place = jax.jit(lambda x: x + 1, donate_argnums=0).lower(shape).compile()
    assert memory.of_program(in_place) < 1024


def test_what_is_said():
    devices = set(jax.devices()[:1])
    memory.check("training", {"data": 1000}, devices)
    with pytest.raises(OutOfMemory) as caught:
        memory.check("a step of training", {"arrays": 3 * 2**50, "data": 2**30}, devices)
    text = str(caught.value)
    assert text.startswith("a step of training takes 3,145,729.0 GiB of memory (arrays 3,145,728.0, data 1.0), and ")
    assert text.endswith(" are free")


@pytest.mark.parametrize("refused", ["training", "drawing parameters", "a step of training", "an evaluation"])
def test_nothing_is_computed(tmp_path, monkeypatch, refused):
    def too_little(what, parts, devices):
        assert sum(parts.values()) > 0
        if what == refused:
            raise OutOfMemory(what)

    monkeypatch.setattr(memory, "check", too_little)
    with pytest.raises(OutOfMemory, match=refused):
        train(regression_functions(), SEEDS, regression_data(), Schedule(PER_EPOCH, 2), tmp_path)
    assert not (tmp_path / "metrics.jsonl").exists()


def test_cpus_share_what_is_free(monkeypatch):
    monkeypatch.setattr(memory, "available_bytes", lambda: 1000)
    devices = set(jax.devices("cpu"))
    assert memory.free(devices) == 1000 // len(devices)
    monkeypatch.setattr(memory, "available_bytes", lambda: None)
    assert memory.free(devices) is None
    memory.check("training", {"data": 2**60}, devices)
