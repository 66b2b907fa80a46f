"""Batches of several lengths, and averaged parameters."""

import jax.numpy as jnp
import numpy as np
import optax
import pytest
from helpers.toy_tasks import BATCH, EXAMPLES, PER_EPOCH, assert_same_bits, regression_data, regression_task, start

from rnn_jax.training.step import Task, make_functions

LENGTHS = (4, 9, 25)
INDEX = np.random.default_rng(0).choice(3, EXAMPLES, p=[0.5, 0.3, 0.2]).astype(np.int32)
SEEDS = [3, 11]


def length_task():
    """The loss of a step is the length that its batch was padded to; parameters count how often each example came."""
    return Task(
        init=lambda key: jnp.zeros(EXAMPLES),
        loss=lambda seen, batch, key: (batch[1] - seen[batch[0]].sum() + 0 * seen.sum(), {}),
        batch=lambda data, indices, length: (indices, jnp.float32(length)),
        evaluate=lambda seen, data: {"loss": seen.sum()},
        num_examples=EXAMPLES,
        lengths=LENGTHS,
        length_index=INDEX,
    )


@pytest.fixture(scope="module", params=[False, True], ids=["one_after_another", "at_once"])
def functions(request):
    # Parameters that do not move, but for the first step's gradient, would count nothing: a step of 1 per example.
    return make_functions(length_task(), optax.sgd(1.0), batch_size=BATCH, parallel=request.param)


def lengths_of(functions, seeds, epoch):
    """The length of every step of an epoch, `[PER_EPOCH, S]`; each step starts from fresh parameters."""
    order = functions.order(start(functions, seeds).seed, epoch)
    losses = [functions.steps(start(functions, seeds), order, None, epoch, i, 1)[1].loss for i in range(PER_EPOCH)]
    return np.asarray(losses), np.asarray(order).reshape(len(seeds), PER_EPOCH, BATCH)


def test_a_batch_has_the_length_of_its_longest_example(functions):
    for epoch in range(3):
        lengths, batches = lengths_of(functions, SEEDS, epoch)
        expected = np.asarray(LENGTHS)[INDEX[batches].max(axis=-1)]
        np.testing.assert_array_equal(lengths, expected.T)


def test_replicas_have_batches_of_one_length_at_a_time(functions):
    lengths, batches = lengths_of(functions, SEEDS, 0)
    np.testing.assert_array_equal(lengths[:, 0], lengths[:, 1])
    assert (batches[0] != batches[1]).any()


def test_batches_mix_few_lengths(functions):
    """Sorted by length, examples of K lengths make at most K - 1 batches of more than one."""
    _, batches = lengths_of(functions, SEEDS, 0)
    mixed = INDEX[batches].min(axis=-1) != INDEX[batches].max(axis=-1)
    assert (mixed.sum(axis=-1) <= len(LENGTHS) - 1).all()


def test_an_epoch_uses_each_example_once_and_leaves_others_out_each_time(functions):
    used = []
    for epoch in range(5):
        order = np.asarray(functions.order(start(functions, SEEDS).seed, epoch))
        assert order.shape == (len(SEEDS), PER_EPOCH * BATCH)
        assert len(set(order[0])) == len(order[0])
        used.append(frozenset(order[0].tolist()))
    assert len(set(used)) > 1


def test_the_order_of_lengths_changes_with_the_epoch(functions):
    orders = {tuple(lengths_of(functions, [3], epoch)[0][:, 0]) for epoch in range(5)}
    assert len(orders) > 1


def test_average():
    decay, rate = 0.9, 0.05
    functions = make_functions(
        regression_task(), optax.sgd(rate), batch_size=BATCH, parallel=False, average_decay=decay
    )
    data, average = regression_data(), None
    states = start(functions, [5])
    average = np.asarray(states.params["w"][0], np.float64)
    step = 0
    for epoch in range(3):
        order = functions.order(states.seed, epoch)
        for position in range(PER_EPOCH):
            states, _ = functions.steps(states, order, data, epoch, position, 1)
            d = min(decay, (1 + step) / (10 + step))
            average = d * average + (1 - d) * np.asarray(states.params["w"][0], np.float64)
            step += 1
    np.testing.assert_allclose(states.average["w"][0], average, rtol=1e-4)
    assert np.abs(average - np.asarray(states.params["w"][0])).max() > 1e-3
    evaluated, measures = functions.evaluate(states, data, 2)
    w, b = states.average["w"][0], states.average["b"][0]
    np.testing.assert_allclose(measures["loss"][0], np.mean((data["x"] @ w + b - data["y"]) ** 2), rtol=1e-5)
    np.testing.assert_array_equal(evaluated.best_params["w"], states.average["w"])


def test_without_average_nothing_is_kept():
    functions = make_functions(regression_task(), optax.sgd(0.1), batch_size=BATCH, parallel=False)
    assert start(functions, [5]).average is None


def test_the_same_bits_however_an_epoch_is_cut(functions):
    def run(counts):
        states, losses = start(functions, SEEDS), []
        for epoch in range(2):
            order, first = functions.order(states.seed, epoch), 0
            for count in counts:
                states, summary = functions.steps(states, order, None, epoch, first, count)
                losses.append(np.asarray(summary.loss) * count)
                first += count
        return states, np.sum(losses, axis=0)

    whole, losses = run([PER_EPOCH])
    parts, of_parts = run([2, 0, 4, PER_EPOCH - 6])
    assert_same_bits(whole, parts)
    np.testing.assert_allclose(losses, of_parts, rtol=1e-5)
