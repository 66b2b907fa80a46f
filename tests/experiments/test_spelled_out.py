"""The example with the hand-derived gradient alone: the gradient is that of JAX, and with it the error falls."""

import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from helpers.finished import RUNS, finished
from helpers.running import as_in_a_new_process, contents, refused, results_of, run

from experiments import spelled_out
from rnn_jax import bptt, cells

MAIN = spelled_out.EXPERIMENT.main
SHORT = RUNS["spelled_out"].flags
BOUND = {"rnn": 0.183, "lstm": 0.176}
"""The sound gradient reaches 0.169 and 0.170 with the worse seed; the faults below 0.197 and 0.182 with the better."""


def train_errors(results):
    return {name: entry["metrics"]["train_mse"]["values"] for name, entry in results["cells"].items()}


@pytest.fixture
def made(tmp_path_factory):
    return finished(tmp_path_factory, "spelled_out")


@pytest.mark.parametrize("name", spelled_out.CELLS)
def test_the_gradient_is_that_of_autodiff(name):
    cell = cells.get(name)
    rng = np.random.default_rng(0)
    with as_in_a_new_process():
        model = spelled_out.init_model(cell, 5, jax.random.key(0))
        model = model._replace(weights=jnp.asarray(rng.normal(size=5), jnp.float32), bias=jnp.float32(0.3))
        xs, targets = (jnp.asarray(rng.normal(size=shape), jnp.float32) for shape in ((7, 3, 1), (7, 3)))
        loss, gradient = spelled_out.loss_and_gradient(cell, model, xs, targets)

        def autodiff(model):
            def step(carry, x):
                return cell.step(model.cell, carry, x)

            _, ys = jax.lax.scan(step, cell.init_carry((3,), 5), xs)
            return jnp.mean((ys @ model.weights + model.bias - targets) ** 2)

        expected_loss, expected = jax.value_and_grad(autodiff)(model)
    np.testing.assert_allclose(loss, expected_loss, rtol=1e-6)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-6), gradient, expected)


def test_the_error_falls(made):
    errors = train_errors(made.results)
    assert all(max(errors[name]) < BOUND[name] for name in errors), errors
    assert max(errors["rnn"]) < made.results["baselines"]["persistence"]["train_mse"]["mean"]


def test_results(made):
    results = made.results
    assert results["cell"] == "lstm"
    assert set(results["metrics"]) == {"train_mse", "mse"}
    assert results["num_params"] == 4 * 8 * (1 + 8 + 1) + 8 + 1
    assert results["cells"]["rnn"]["num_params"] == 8 * (1 + 8 + 1) + 8 + 1
    assert all(results["cells"]["lstm"][name] == results[name] for name in results["cells"]["lstm"])
    assert results["compile_seconds"] > 0
    assert (results["steps"], results["seeds"]) == (1000, [2**31 - 1, 2**31])
    assert len(set(results["metrics"]["mse"]["values"])) == 2, "a seed beyond the largest key is another"
    assert (made.folder / "plots" / "loss.png").read_bytes().startswith(b"\x89PNG")


def test_again_it_only_prints(made):
    table = made.ran.out[made.ran.out.index("\nmean squared standardized error after 1000 steps") :]
    before = contents(made.folder)
    again = run(MAIN, f"--workdir={made.folder}", *SHORT)
    assert again.out.endswith(f"this run is finished; its results:\n{table}")
    assert "step" not in again.out.removesuffix(table), "trained again"
    assert contents(made.folder) == before


@pytest.mark.usefixtures("all_traced_anew")
def test_a_broken_gradient_does_not_get_there(tmp_path, monkeypatch):
    """Nothing passes from step to step; for the LSTM, nothing along the cell state. Both still learn something."""

    def break_path(name, cut):
        rule = bptt.RULES[name]

        def step(params, local, dcarry):
            dbefore, dz = rule.step(params, local, dcarry)
            return cut(dbefore), dz

        monkeypatch.setitem(bptt.RULES, name, rule._replace(step=step))

    break_path("rnn", lambda dbefore: dbefore._replace(h=0 * dbefore.h))
    break_path("lstm", lambda dbefore: dbefore._replace(c=0 * dbefore.c))
    ran = run(MAIN, f"--workdir={tmp_path}", *SHORT)
    assert ran.status == 0, ran.err
    errors = train_errors(results_of(tmp_path))
    assert all(min(errors[name]) > BOUND[name] for name in errors), errors


def test_a_loss_that_is_not_finite(tmp_path):
    flags = ("--num_steps=205", "--lag=4", "--steps=200", "--num_seeds=1", "--hidden_size=2", "--learning_rate=1e30")
    message = run(MAIN, f"--workdir={tmp_path}", *flags).one_error()
    assert re.fullmatch(r"loss of seed 0 is (nan|inf) at step \d+ of the rnn; lower learning_rate", message)
    assert not (tmp_path / "results.json").exists()


def test_windows_predict_the_next_value():
    config = spelled_out.Config(num_steps=200, lag=10)
    (xs, targets), (test_xs, test_targets) = spelled_out.make_windows(config)
    assert xs.shape == (10, 150, 1)
    assert targets.shape == (10, 150)
    assert test_xs.shape == (10, 30, 1)
    np.testing.assert_array_equal(xs[1:, :, 0], targets[:-1])
    np.testing.assert_array_equal(test_xs[1:, :, 0], test_targets[:-1])
    everything = np.concatenate((np.asarray(xs[0, :, 0]), np.asarray(xs[1:, -1, 0]), np.asarray(targets[-1:, -1])))
    assert len(everything) == 160
    np.testing.assert_allclose((everything.mean(), everything.std()), (0, 1), atol=1e-5)


def test_the_shortest_series():
    _, (xs, targets) = spelled_out.make_windows(spelled_out.Config(num_steps=205))
    assert xs.shape == (40, 1, 1)
    assert targets.shape == (40, 1)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--num_steps=20"], "--num_steps=20: must be at least 205"),
        (["--num_steps=1000000"], "--num_steps=1000000: must be at most 100000"),
        (
            ["--num_steps=205", "--lag=41"],
            "--lag=41: the test split of --num_steps=205 has only 41 values; take a smaller --lag or a larger "
            "--num_steps",
        ),
    ],
)
def test_errors(tmp_path, arguments, message):
    assert refused(MAIN, tmp_path, *arguments) == message
