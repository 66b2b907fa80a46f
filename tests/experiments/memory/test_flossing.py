"""Gradient flossing before training and during it."""

import jax
import jax.numpy as jnp
import optax
from helpers.running import as_in_a_new_process

from experiments.common.flags import parse
from experiments.memory import flossing, task
from experiments.memory.flags import Config
from experiments.memory.problem import read_problem


def test_before_training():
    """It brings the exponents of what training begins with nearer to 0, on examples it has not seen."""
    with as_in_a_new_process():
        arguments = ["--length=20", "--hidden_size=8", "--cell=rnn", "--flossing=2", "--learning_rate=0.01"]
        config = parse(Config, [*arguments, "--flossing_steps=40"])
        problem = read_problem(config)
        plain = task.make_task(config, problem, None)
        flossed = flossing.before_training(config, problem, plain)
        assert flossed._replace(init=plain.init) == plain
        loss, key = jax.jit(flossing.make_loss(config, problem)), jax.random.key(0)
        before, after = (float(loss(jax.jit(each.init)(key), jax.random.key(9))) for each in (plain, flossed))
    assert after < 0.3 * before


def test_not_without_the_flag():
    config = parse(Config, ["--length=10"])
    problem, optimizer = read_problem(config), optax.sgd(1.0)
    plain = task.make_task(config, problem, None)
    assert flossing.before_training(config, problem, plain) is plain
    assert flossing.during_training(config, problem, optimizer) is optimizer


def test_during_training_at_every_kth_step():
    with as_in_a_new_process():
        config = parse(Config, ["--length=10", "--hidden_size=4", "--flossing=1", "--flossing_every=3"])
        problem = read_problem(config)
        params = jax.jit(task.make_task(config, problem, None).init)(jax.random.key(0))
        inner = optax.GradientTransformation(lambda params: (), lambda grads, state, params: (grads, state))
        optimizer = flossing.during_training(config, problem, inner)
        zeros, state, seen = jax.tree.map(jnp.zeros_like, params), optimizer.init(params), []
        update = jax.jit(optimizer.update)
        for _ in range(7):
            grads, state = update(zeros, state, params)
            seen.append(grads)
    floss = [float(jnp.abs(grads["recurrent"]["layers"][0]["w_hh"]).max()) > 0 for grads in seen]
    assert floss == [False, False, True, False, False, True, False]
    assert all(not grads["head"]["kernel"].any() for grads in seen)
