"""The order of the data: what an epoch goes through, as a function of (seed, epoch) alone."""

from itertools import product

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rnn_jax.training.keys import ORDER, seed_key
from rnn_jax.training.order import plan, shuffle, shuffle_by_length

EXAMPLES, BATCH = 23, 3
STEPS = EXAMPLES // BATCH  # 7, and 2 examples are left over
SEEDS, EPOCHS = (3, 11, 5), range(4)
INDEX = np.random.default_rng(0).choice(3, EXAMPLES, p=[0.5, 0.3, 0.2]).astype(np.int32)


def by_length(seed, epoch):
    """Batches `[STEPS, BATCH]` of examples whose lengths differ."""
    order = np.asarray(shuffle_by_length(jnp.uint32(seed), epoch, INDEX, BATCH))
    assert order.shape == (STEPS * BATCH,)
    return order.reshape(STEPS, BATCH)


class TestShuffle:
    def test_every_example_once_in_an_order_of_its_own_for_each_seed_and_epoch(self):
        orders = [np.asarray(shuffle(jnp.uint32(s), e, EXAMPLES)).tolist() for s, e in product(SEEDS, EPOCHS)]
        assert all(sorted(order) == list(range(EXAMPLES)) for order in orders)
        assert len({tuple(order) for order in orders}) == len(orders)

    def test_checkpoints_written_before_go_on_in_the_same_order(self):
        key = jax.random.fold_in(jax.random.fold_in(jax.random.key(11), 1), 3)
        np.testing.assert_array_equal(shuffle(jnp.uint32(11), 3, EXAMPLES), jax.random.permutation(key, EXAMPLES))

    def test_compiled_for_many_seeds_at_once(self):
        together = jax.jit(jax.vmap(lambda seed, epoch: shuffle(seed, epoch, EXAMPLES), (0, None)))
        alone = [shuffle(jnp.uint32(seed), 2, EXAMPLES) for seed in SEEDS]
        np.testing.assert_array_equal(together(jnp.array(SEEDS, jnp.uint32), 2), alone)


class TestPlan:
    @pytest.mark.parametrize("epoch", EPOCHS)
    def test_no_example_twice_and_every_batch_once(self, epoch):
        planned = plan(epoch, INDEX, BATCH)
        assert len(set(planned.used.tolist())) == STEPS * BATCH
        assert set(planned.used.tolist()) <= set(range(EXAMPLES))
        assert sorted(planned.rows.tolist()) == list(range(STEPS))

    @pytest.mark.parametrize("epoch", EPOCHS)
    def test_lengths_are_those_of_the_longest_in_sorted_batches(self, epoch):
        planned = plan(epoch, INDEX, BATCH)
        batches = np.sort(INDEX[np.asarray(planned.used)]).reshape(STEPS, BATCH)
        assert planned.lengths.tolist() == [batches[row].max() for row in planned.rows.tolist()]

    def test_changes_with_the_epoch(self):
        planned = [plan(epoch, INDEX, BATCH) for epoch in EPOCHS]
        assert len({frozenset(each.used.tolist()) for each in planned}) > 1, "others are left out each time"
        assert len({tuple(each.lengths.tolist()) for each in planned}) > 1, "lengths come in another order"


class TestByLength:
    @pytest.mark.parametrize(("seed", "epoch"), list(product(SEEDS, EPOCHS)))
    def test_is_what_was_planned(self, seed, epoch):
        planned, batches = plan(epoch, INDEX, BATCH), by_length(seed, epoch)
        assert sorted(batches.ravel().tolist()) == sorted(planned.used.tolist())
        np.testing.assert_array_equal(INDEX[batches].max(axis=1), planned.lengths)

    def test_every_seed_has_batches_of_its_own(self):
        assert len({tuple(by_length(seed, 0).ravel().tolist()) for seed in SEEDS}) == len(SEEDS)

    @pytest.mark.parametrize("seed", SEEDS)
    def test_batches_mix_few_lengths(self, seed):
        """Sorted by length, examples of K lengths make at most K - 1 batches of more than one."""
        lengths = INDEX[by_length(seed, 0)]
        assert (lengths.min(axis=1) != lengths.max(axis=1)).sum() <= len(np.unique(INDEX)) - 1

    def test_checkpoints_written_before_go_on_in_the_same_order(self):
        """Spelled out: a plan from the key of seed 0, purpose 3; then the seed's own shuffle, purpose 1."""
        of_plan = jax.random.fold_in(jax.random.fold_in(jax.random.key(0), 3), 2)
        of_seed = jax.random.fold_in(jax.random.fold_in(jax.random.key(5), 1), 2)
        first, second = jax.random.split(of_plan)
        used = jax.random.permutation(first, EXAMPLES)[: STEPS * BATCH]
        shuffled = np.asarray(jax.random.permutation(of_seed, used))
        batches = shuffled[np.argsort(INDEX[shuffled], kind="stable")].reshape(STEPS, BATCH)
        np.testing.assert_array_equal(by_length(5, 2), batches[np.asarray(jax.random.permutation(second, STEPS))])


def test_purposes_do_not_share_a_key():
    keys = [jax.random.key_data(seed_key(jnp.uint32(seed), purpose)) for seed, purpose in product(SEEDS, range(4))]
    assert len({tuple(np.asarray(key).tolist()) for key in keys}) == len(keys)
    assert ORDER == 1, "checkpoints written before go on in the same order"
