"""The pure training step: what it computes, in which order, and for each seed as if it were alone."""

from functools import cache
from itertools import product

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from helpers.toy_tasks import (
    BATCH,
    EXAMPLES,
    PER_EPOCH,
    assert_same_bits,
    counting_optimizer,
    counting_task,
    regression_data,
    regression_functions,
    regression_task,
    run_epochs,
    seeds_by_sign,
    start,
)

from rnn_jax.training.functions import make_functions
from rnn_jax.training.order import shuffle
from rnn_jax.training.step import Recipe, Task, init, one_step

SEEDS = [3, 11, 5]


def take(tree, index):
    """The state of one seed out of many, with its leading axis."""
    return jax.tree.map(lambda a: a[index : index + 1], tree)


class TestOneStep:
    def test_against_numpy(self):
        """Gradient descent on the squared error, written out in NumPy, over two epochs."""
        data, rate = regression_data(), 0.05
        functions = make_functions(regression_task(), optax.sgd(rate), batch_size=BATCH, parallel=False)
        states = start(functions, [7])
        w, b = np.asarray(states.params["w"][0], np.float64), 0.0
        for epoch in range(2):
            order = functions.order(states.seed, epoch)
            states, summary = functions.steps(states, order, data, epoch, 0, PER_EPOCH)
            losses, grad_norms = [], []
            for position in range(PER_EPOCH):
                batch = np.asarray(order[0])[position * BATCH : (position + 1) * BATCH]
                x, error = data["x"][batch], data["x"][batch] @ w + b - data["y"][batch]
                dw, db = 2 * x.T @ error / BATCH, 2 * error.mean()
                losses.append((error**2).mean())
                grad_norms.append(np.sqrt(dw @ dw + db**2))
                w, b = w - rate * dw, b - rate * db
            np.testing.assert_allclose(states.params["w"][0], w, rtol=1e-5)
            np.testing.assert_allclose(states.params["b"][0], b, rtol=1e-5)
            np.testing.assert_allclose(summary.loss[0], np.mean(losses), rtol=1e-5)
            np.testing.assert_allclose(summary.grad_norm[0], np.mean(grad_norms), rtol=1e-5)
            np.testing.assert_allclose(summary.update_norm[0], rate * np.mean(grad_norms), rtol=1e-5)
            np.testing.assert_allclose(summary.param_norm[0], np.sqrt(w @ w + b**2), rtol=1e-5)

    def test_validation_loss(self):
        data = regression_data()
        functions = make_functions(regression_task(), optax.sgd(0.1), batch_size=BATCH, parallel=False)
        states = start(functions, [7])
        w = np.asarray(states.params["w"][0])
        states, measures = functions.evaluate(states, data, 0)
        losses = measures["loss"]
        np.testing.assert_allclose(losses, [np.mean((data["x"] @ w - data["y"]) ** 2)], rtol=1e-5)
        np.testing.assert_array_equal(states.best_loss, losses)

    def test_it_learns(self):
        losses = run_epochs(regression_functions(dropout=0.0), [0], regression_data(), 60)[1]
        assert losses[0, 0] > 1
        assert losses[-1, 0] < 0.02  # the noise of the data has the variance 0.01


class TestParts:
    """What a run is made of, called alone."""

    def test_one_step(self):
        recipe = Recipe(regression_task(0.3), optax.adam(0.05), BATCH)
        data, state = regression_data(), init(recipe, jnp.uint32(11))
        order = shuffle(jnp.uint32(11), 4, EXAMPLES)
        alone, summary = one_step(recipe, state, order, None, data, jnp.int32(4), jnp.int32(2))
        functions = make_functions(recipe.task, recipe.optimizer, batch_size=BATCH, parallel=False)
        states, summaries = functions.steps(start(functions, [11]), order[None], data, 4, 2, 1)
        for a, b in zip(jax.tree.leaves((alone, summary)), jax.tree.leaves((states, summaries)), strict=True):
            np.testing.assert_allclose(a, b[0], rtol=1e-6)
        assert (alone.params["w"] != state.params["w"]).all()


class TestSeveralSeeds:
    def test_one_after_another_is_each_alone_to_the_bit(self):
        functions, data = regression_functions(patience=4), regression_data()
        together, losses = run_epochs(functions, SEEDS, data, 5)
        for index, seed in enumerate(SEEDS):
            alone, loss = run_epochs(functions, [seed], data, 5)
            assert_same_bits(take(together, index), alone)
            np.testing.assert_array_equal(losses[:, index], loss[:, 0])
        assert len(np.unique(losses[-1])) == len(SEEDS), "the seeds must differ, or nothing has been tested"

    def test_at_once_is_close_to_each_alone(self):
        data = regression_data()
        together, losses = run_epochs(regression_functions(parallel=True), SEEDS, data, 5)
        alone, alone_losses = run_epochs(regression_functions(parallel=False), SEEDS, data, 5)
        np.testing.assert_allclose(losses, alone_losses, rtol=1e-5)
        jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-6), together, alone)

    @pytest.mark.parametrize("parallel", [False, True])
    def test_leading_axis(self, parallel):
        functions = regression_functions(parallel=parallel)
        states = start(functions, SEEDS)
        order = functions.order(states.seed, 0)
        assert order.shape == (3, EXAMPLES)
        states, summary = functions.steps(states, order, regression_data(), 0, 0, 2)
        assert {leaf.shape[0] for leaf in jax.tree.leaves((states, summary))} == {3}
        assert states.seed.tolist() == SEEDS


def test_average():
    """It counts steps over all epochs; it is what is evaluated and kept as the best."""
    decay, data = 0.9, regression_data()
    functions = make_functions(
        regression_task(), optax.sgd(0.05), batch_size=BATCH, parallel=False, average_decay=decay
    )
    states = start(functions, [5])
    average = np.asarray(states.params["w"][0], np.float64)
    for step in range(3 * PER_EPOCH):
        epoch, position = divmod(step, PER_EPOCH)
        states, _ = functions.steps(states, functions.order(states.seed, epoch), data, epoch, position, 1)
        d = min(decay, (1 + step) / (10 + step))
        average = d * average + (1 - d) * np.asarray(states.params["w"][0], np.float64)
    np.testing.assert_allclose(states.average["w"][0], average, rtol=1e-4)
    assert np.abs(average - np.asarray(states.params["w"][0])).max() > 1e-3
    evaluated, measures = functions.evaluate(states, data, 2)
    w, b = states.average["w"][0], states.average["b"][0]
    np.testing.assert_allclose(measures["loss"][0], np.mean((data["x"] @ w + b - data["y"]) ** 2), rtol=1e-5)
    np.testing.assert_array_equal(evaluated.best_params["w"], states.average["w"])


class TestOrder:
    def test_nothing_but_seed_and_epoch_has_a_part_in_it(self):
        """Neither the other seeds, nor the model, the optimizer or what was trained before."""
        functions = regression_functions()
        states, _ = run_epochs(functions, SEEDS, regression_data(), 2)
        for seed, order in zip(SEEDS, functions.order(states.seed, 3), strict=True):
            np.testing.assert_array_equal(order, shuffle(jnp.uint32(seed), 3, EXAMPLES))

    def test_steps_take_it_batch_by_batch_and_drop_the_rest(self):
        task = Task(
            init=lambda key: jnp.zeros(EXAMPLES),
            loss=lambda seen, indices, key: (-seen[indices].sum(), {}),
            batch=lambda data, indices: indices,
            evaluate=lambda seen, data: {"loss": seen.sum()},
            num_examples=EXAMPLES,
        )
        functions = make_functions(task, optax.sgd(1.0), batch_size=BATCH, parallel=False)
        states = start(functions, [0])
        order = functions.order(states.seed, 0)
        states, _ = functions.steps(states, order, None, 0, 2, 1)
        in_order = np.asarray(states.params[0])[np.asarray(order[0])]
        np.testing.assert_array_equal(np.flatnonzero(in_order), np.arange(2 * BATCH, 3 * BATCH))

        states = start(functions, [0])
        states, _ = functions.steps(states, order, None, 0, 0, PER_EPOCH)
        in_order = np.asarray(states.params[0])[np.asarray(order[0])]
        used = PER_EPOCH * BATCH
        np.testing.assert_array_equal(in_order, np.r_[np.ones(used), np.zeros(EXAMPLES - used)])

        left_over = {tuple(sorted(np.asarray(functions.order(states.seed, e)[0])[used:])) for e in range(5)}
        assert len(left_over) > 1, "what is left over in one epoch must be seen in another"


class TestDispatches:
    @pytest.mark.parametrize("counts", [(3, 4), (1,) * 7, (6, 1), (0, 7)])
    def test_the_same_bits_however_they_are_cut(self, counts):
        functions, data = regression_functions(), regression_data()
        whole, whole_losses = run_epochs(functions, SEEDS, data, 3)
        parts, losses = run_epochs(functions, SEEDS, data, 3, counts)
        assert_same_bits(whole, parts)
        assert_same_bits(whole_losses, losses)

    def test_a_summary_has_means_over_the_steps(self):
        functions, data = regression_functions(), regression_data()
        states = start(functions, SEEDS)
        order = functions.order(states.seed, 0)
        single = []
        for position in range(4):
            states, summary = functions.steps(states, order, data, 0, position, 1)
            single.append(summary)
        _, together = functions.steps(start(functions, SEEDS), order, data, 0, 0, 4)
        for name in ("loss", "grad_norm", "update_norm"):
            values = [getattr(summary, name) for summary in single]
            np.testing.assert_allclose(getattr(together, name), np.mean(values, axis=0), rtol=1e-6)
        values = [summary.measures["mean_x"] for summary in single]
        np.testing.assert_allclose(together.measures["mean_x"], np.mean(values, axis=0), rtol=1e-5)
        np.testing.assert_array_equal(together.param_norm, single[-1].param_norm)

    def test_no_step_changes_nothing(self):
        functions, data = regression_functions(), regression_data()
        before = start(functions, SEEDS)
        order = functions.order(before.seed, 0)
        after, summary = functions.steps(start(functions, SEEDS), order, data, 0, 3, 0)
        assert_same_bits(before, after)
        assert summary.loss.tolist() == [0, 0, 0]

    def test_one_program_for_every_count_and_epoch(self):
        task, traced = regression_task(), []

        def loss(*arguments):
            traced.append(1)
            return task.loss(*arguments)

        functions = make_functions(task._replace(loss=loss), optax.sgd(0.1), batch_size=BATCH)
        data = regression_data()
        states = start(functions, SEEDS)  # where `steps` leaves them
        order, counts = functions.order(states.seed, 0), []
        for epoch, first, count in ((0, 0, 3), (0, 3, 4), (1, 0, 7)):
            states, _ = functions.steps(states, order, data, epoch, first, count)
            counts.append(len(traced))
        assert counts[0] == counts[1] == counts[2] > 0


class TestDropoutKeys:
    def losses(self, seeds, epochs=3):
        """The key of every step as a random number: `[epochs * PER_EPOCH, S]`."""
        functions, drawn = self.functions(), []
        states = start(functions, seeds)
        for epoch, position in product(range(epochs), range(PER_EPOCH)):
            order = functions.order(states.seed, epoch)
            states, summary = functions.steps(states, order, regression_data(), epoch, position, 1)
            drawn.append(np.asarray(summary.loss))
        return np.array(drawn)

    @staticmethod
    @cache
    def functions():
        task = regression_task()._replace(
            loss=lambda params, batch, key: (jax.random.uniform(key, dtype=jnp.float32) + 0 * params["b"], {})
        )
        return make_functions(task, optax.sgd(0.0), batch_size=BATCH, parallel=False)

    def test_differ_by_step_epoch_and_seed(self):
        drawn = self.losses(SEEDS)
        assert len(np.unique(drawn)) == drawn.size

    def test_are_a_function_of_seed_and_step(self):
        np.testing.assert_array_equal(self.losses(SEEDS)[:, 1], self.losses([SEEDS[1]])[:, 0])


class TestChoiceOfTheBest:
    def test_kept_from_the_middle(self):
        """t counts 7 steps an epoch: 7, 14, 21, 28; a loss of (t - 15)^2 is lowest after the second."""
        task = counting_task(lambda t, sign: (t - 15) ** 2)
        functions = make_functions(task, counting_optimizer(), batch_size=BATCH, parallel=False)
        states, losses = run_epochs(functions, [0], None, 4)
        assert losses[:, 0].tolist() == [64, 1, 36, 169]
        assert states.params["t"].tolist() == [28]
        assert states.best_params["t"].tolist() == [14]
        assert states.best_loss.tolist() == [1]
        assert states.best_epoch.tolist() == [2]
        assert states.stale.tolist() == [2]
        assert states.active.tolist() == [True]

    def test_an_equal_loss_is_no_improvement(self):
        task = counting_task(lambda t, sign: jnp.float32(2))
        functions = make_functions(task, counting_optimizer(), batch_size=BATCH, parallel=False)
        states, _ = run_epochs(functions, [0], None, 3)
        assert states.best_params["t"].tolist() == [7]
        assert states.best_epoch.tolist() == [1]

    def test_nan_is_never_the_best(self):
        task = counting_task(lambda t, sign: jnp.where(t < 8, jnp.nan, t))
        functions = make_functions(task, counting_optimizer(), batch_size=BATCH, parallel=False)
        states, _ = run_epochs(functions, [0], None, 3)
        assert states.best_loss.tolist() == [14]
        assert states.best_epoch.tolist() == [2]


class TestEarlyStopping:
    @pytest.mark.parametrize("parallel", [False, True])
    def test_one_stops_and_another_goes_on(self, parallel):
        """The loss is sign * t: it gets worse from the first epoch on, or better throughout."""
        task = counting_task(lambda t, sign: sign * t)
        functions = make_functions(task, counting_optimizer(), batch_size=BATCH, patience=2, parallel=parallel)
        better, worse = seeds_by_sign(functions)
        states, _ = run_epochs(functions, [worse, better], None, 6)
        assert states.active.tolist() == [False, True]
        assert states.params["t"].tolist() == [3 * PER_EPOCH, 6 * PER_EPOCH]
        assert states.best_params["t"].tolist() == [PER_EPOCH, 6 * PER_EPOCH]
        assert states.best_epoch.tolist() == [1, 6]
        assert states.stale.tolist() == [2, 0]

    def test_nothing_of_a_stopped_replica_moves(self):
        """Neither steps nor a better validation loss; it stands as it would with fewer epochs."""
        data = regression_data()
        functions = make_functions(regression_task(0.9), optax.adam(0.5), batch_size=BATCH, patience=1, parallel=False)
        states, _ = run_epochs(functions, SEEDS, data, 30)
        stopped = np.flatnonzero(~np.asarray(states.active))
        assert stopped.size, "the test needs a replica that stops"
        order = functions.order(states.seed, 30)
        before = jax.tree.map(np.array, take(states, stopped[0]))
        states, summary = functions.steps(states, order, data, 30, 0, PER_EPOCH)
        states, _ = functions.evaluate(states, jax.tree.map(np.zeros_like, data), 30)
        assert_same_bits(before, jax.tree.map(np.array, take(states, stopped[0])))
        assert summary.loss[stopped[0]] == 0

    def test_never_without_patience(self):
        functions = make_functions(
            counting_task(lambda t, sign: t), counting_optimizer(), batch_size=BATCH, parallel=False
        )
        states, _ = run_epochs(functions, [0], None, 9)
        assert states.active.tolist() == [True]
        assert states.stale.tolist() == [8]
