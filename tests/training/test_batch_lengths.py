"""Batches of several lengths."""

import jax.numpy as jnp
import numpy as np
import optax
import pytest
from helpers.toy_tasks import BATCH, EXAMPLES, PER_EPOCH, assert_same_bits, start

from rnn_jax.training.functions import make_functions
from rnn_jax.training.step import Task

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
