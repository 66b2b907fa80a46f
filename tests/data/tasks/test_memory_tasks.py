"""The generated tasks: targets by plain loops over what is read, and the level of the answer without a memory."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rnn_jax.data.tasks.memory_tasks import TASKS, adding, copying, examples, temporal_order

KEY = jax.random.key(3)


def draw(name, length, count=200):
    xs, targets = examples(TASKS[name].make, KEY, jnp.arange(count), length)
    return np.asarray(xs), np.asarray(targets)


@pytest.mark.parametrize("length", [2, 3, 10, 101])
def test_adding(length):
    xs, targets = draw("adding", length)
    assert xs.shape == (200, length, 2)
    assert targets.shape == (200, 1)
    places = set()
    for x, target in zip(xs, targets, strict=True):
        marked = [t for t in range(length) if x[t, 1] == 1]
        assert len(marked) == 2
        assert marked[0] < length // 2 <= marked[1]
        assert set(x[:, 1]) <= {0, 1}
        assert target == pytest.approx(sum(x[t, 0] for t in marked))
        places |= set(marked)
    assert xs[..., 0].min() >= 0
    assert xs[..., 0].max() < 1
    if length <= 10:
        assert places == set(range(length)), "every place is marked in some example"


def test_adding_numbers_are_uniform():
    values = draw("adding", 50)[0][..., 0].ravel()
    np.testing.assert_allclose(np.quantile(values, [0.25, 0.5, 0.75]), [0.25, 0.5, 0.75], atol=0.02)


@pytest.mark.parametrize("length", [1, 2, 7, 50])
def test_copying(length):
    xs, targets = draw("copying", length, 50)
    assert xs.shape == (50, length + 20, 10)
    assert targets.shape == (50, length + 20)
    for x, target in zip(xs, targets, strict=True):
        assert (x.sum(axis=1) == 1).all()
        read = [list(row).index(1) for row in x]
        symbols = read[:10]
        assert all(0 <= symbol < 8 for symbol in symbols)
        assert read[10:] == [8] * (length - 1) + [9] + [8] * 10
        assert target.tolist() == [8] * (length + 10) + symbols


def test_copying_draws_every_symbol_everywhere():
    targets = draw("copying", 1)[1][:, -10:]
    assert all(set(targets[:, place]) == set(range(8)) for place in range(10))


@pytest.mark.parametrize("length", [10, 35, 100])
def test_temporal_order(length):
    xs, targets = draw("temporal_order", length)
    assert xs.shape == (200, length, 8)
    names = "abcdXYEB"
    for x, target in zip(xs, targets, strict=True):
        assert (x.sum(axis=1) == 1).all()
        read = "".join(names[list(row).index(1)] for row in x)
        assert (read[0], read[-1]) == ("E", "B")
        found = [(t, symbol) for t, symbol in enumerate(read) if symbol in "XY"]
        assert len(found) == 2
        (first, a), (second, b) = found
        assert length // 10 <= first < length // 5
        assert length // 2 <= second < 3 * length // 5
        assert ["XX", "XY", "YX", "YY"][target] == a + b
        assert set(read) <= set(names)
        assert not set(read[1:-1]) & set("EB")
    assert np.bincount(targets, minlength=4).min() > 25


def test_levels_without_a_memory():
    _, targets = draw("adding", 20, 20_000)
    assert np.mean((targets - 1.0) ** 2) == pytest.approx(TASKS["adding"].trivial(20)["mse"], rel=0.02)
    assert TASKS["copying"].trivial(100)["cross_entropy"] == pytest.approx(10 * np.log(8) / 120)
    assert TASKS["temporal_order"].trivial(100) == pytest.approx({"cross_entropy": np.log(4), "accuracy": 0.25})


@pytest.mark.parametrize("name", TASKS)
def test_an_example_is_a_function_of_its_number(name):
    task = TASKS[name]
    make = jax.jit(lambda key, numbers: examples(task.make, key, numbers, 30))
    whole = make(KEY, jnp.arange(20))
    some = make(KEY, jnp.array([17, 3], jnp.int32))
    for a, b in zip(whole, some, strict=True):
        np.testing.assert_array_equal(a[jnp.array([17, 3])], b)
    other, _ = make(jax.random.key(4), jnp.arange(20))
    assert not any((a == b).all() for a in whole[0] for b in other), "another split has other examples"
    assert len({np.asarray(x).tobytes() for x in whole[0]}) == 20


@pytest.mark.parametrize("name", TASKS)
def test_examples_do_not_depend_on_the_precision(name):
    found = []
    for wide in (False, True):
        with jax.enable_x64(wide):
            make = partial(examples, TASKS[name].make, length=25)
            xs, targets = jax.jit(make)(jax.random.key(0), jnp.arange(5))
            assert xs.dtype == jnp.float32
            found.append((np.asarray(xs), np.asarray(targets)))
    for a, b in zip(*found, strict=True):
        assert a.dtype == b.dtype
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize(("make", "shortest"), [(adding, 2), (copying, 1), (temporal_order, 10)])
def test_too_short(make, shortest):
    make(KEY, shortest)
    with pytest.raises(ValueError, match=f"at least {shortest}, got {shortest - 1}"):
        make(KEY, shortest - 1)
    assert [task.shortest for task in TASKS.values() if task.make is make] == [shortest]
