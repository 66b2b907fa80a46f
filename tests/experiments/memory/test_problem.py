"""What `memory` trains on: answers without a memory, measures, images a pixel at a time."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from experiments.common.flags import parse
from experiments.memory import problem, task
from experiments.memory.flags import Config
from experiments.memory.problem import evaluation_lengths, read_problem
from rnn_jax import models
from rnn_jax.data.tasks import memory_tasks


def problem_of(*arguments):
    return read_problem(parse(Config, arguments))


@pytest.mark.parametrize(
    ("name", "length", "trivial"),
    [("copying", 3, 10 * np.log(8) / 23), ("temporal_order", 10, np.log(4)), ("adding", 5, 1 / 6)],
)
class TestTrivialAnswers:
    def test_level(self, name, length, trivial):
        """Measured on the examples and calculated."""
        made = problem_of(f"--task={name}", f"--length={length}", "--num_evaluation=2000")
        found = task.mean_measures(made, lambda _, targets: made.trivial(targets), {}, "test", length)
        exact = made.exact(length)
        assert float(found[made.loss]) == pytest.approx(trivial, rel=0.05)
        assert exact[made.loss] == pytest.approx(trivial)
        if "accuracy" in exact:
            assert float(found["accuracy"]) == pytest.approx(exact["accuracy"], rel=0.1)

    def test_splits_share_no_example(self, name, length, trivial):
        made = problem_of(f"--task={name}", "--length=30")
        xs = [np.asarray(made.take({}, split, jnp.arange(50), 30)[0]) for split in problem.SPLITS]
        assert len({x.tobytes() for split in xs for x in split}) == 150

    def test_a_perfect_answer(self, name, length, trivial):
        made = problem_of(f"--task={name}", f"--length={length}", "--num_evaluation=100")

        def answer(xs, targets):
            return targets if name == "adding" else 50.0 * jax.nn.one_hot(targets, made.num_outputs)

        found = task.mean_measures(made, answer, {}, "validation", length)
        assert float(found[made.loss]) == pytest.approx(0, abs=1e-6)
        assert found["accuracy"] == 1


class TestMeasures:
    def test_recall_counts_the_ten_symbols_alone(self):
        """All blanks right, and three of the symbols."""
        _, targets = memory_tasks.examples(memory_tasks.copying, jax.random.key(0), jnp.arange(1), 4)
        said = targets.at[0, -7:].set((targets[0, -7:] + 1) % 8)
        found = problem.recall(9.0 * jax.nn.one_hot(said, 9), targets)
        assert found["accuracy"].tolist() == pytest.approx([0.3])
        entropy = np.log(np.exp(9) + 8)
        assert found["cross_entropy"].tolist() == pytest.approx([(17 * (entropy - 9) + 7 * entropy) / 24])

    def test_close_sums(self):
        found = problem.regression(jnp.array([[1.03], [0.95], [2.0]]), jnp.ones((3, 1)))
        assert found["accuracy"].tolist() == [1, 0, 0]
        np.testing.assert_allclose(found["mse"], [0.0009, 0.0025, 1], rtol=1e-4)

    @pytest.mark.parametrize("at_once", [1, 40, 10**9])
    def test_every_example_counts_once(self, monkeypatch, at_once):
        """Whatever the batches that they are evaluated in."""
        monkeypatch.setattr(task, "STEPS_AT_ONCE", at_once)
        made = problem_of("--length=6", "--num_evaluation=17")
        ticks = []
        found = task.mean_measures(made, lambda xs, _: xs[:, -1, :1], {}, "test", 6, lambda: ticks.append(1))
        jax.effects_barrier()
        assert len(ticks) == task.num_batches(made, "test", 6) == {1: 17, 40: 3, 10**9: 1}[at_once]
        xs, targets = made.take({}, "test", jnp.arange(17), 6)
        assert float(found["mse"]) == pytest.approx(float(jnp.mean((xs[:, -1, :1] - targets) ** 2)), rel=1e-5)


@pytest.mark.parametrize(("name", "shape"), [("copying", (2, 25, 9)), ("temporal_order", (2, 4)), ("adding", (2, 1))])
def test_the_model_answers_at_every_step_or_at_the_end(name, shape):
    """And what is looked at is the last answer."""
    config = parse(Config, [f"--task={name}", "--length=20", "--hidden_size=3", "--backend=scan"])
    made = read_problem(config)
    apply, params = models.pure(models.abstract(partial(task.make_model, config, **task.sizes(made))))
    length = 5 if name == "copying" else 20
    xs, _ = jax.eval_shape(lambda indices: made.take({}, "train", indices, length), jnp.arange(2))
    assert jax.eval_shape(apply, params, xs).shape == shape
    outputs = np.random.default_rng(0).normal(size=shape)
    last = outputs[:, -1] if name == "copying" else outputs
    np.testing.assert_allclose(task.make_look(made, 2).score(outputs), last.sum(axis=-1), rtol=1e-6)


@pytest.mark.parametrize(
    ("arguments", "lengths"),
    [
        (["--length=50"], [50, 100, 200]),
        ([], [100, 200, 400]),
        (["--length=50", "--evaluate_lengths=70,20"], [20, 50, 70]),
    ],
)
def test_lengths_of_the_test_split(arguments, lengths):
    """By default beyond those of training, which are always among them."""
    config = parse(Config, arguments)
    assert evaluation_lengths(config, read_problem(config)) == lengths
