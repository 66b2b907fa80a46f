"""Gradient flossing of a recurrent layer, before and during training (see `rnn_jax.diagnostics.flossing`)."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jax import lax

from experiments.common.fit import make_config_optimizer
from experiments.memory.flags import Config
from experiments.memory.problem import Problem
from rnn_jax import cells
from rnn_jax.cells.cell import dtype_of
from rnn_jax.diagnostics.flossing import floss, flossing_loss
from rnn_jax.training.step import Task
from rnn_jax.types import Array, Key, Params

TRAJECTORIES = 8
"""Training examples whose exponents are taken at once."""
POOL = 256
"""Images that these are drawn from; generated examples are drawn from all."""


def make_loss(config: Config, problem: Problem) -> Callable[[Params, Key], Array]:
    """`(params, key) -> scalar`: the flossing loss of the recurrent layer on random training examples."""
    cell = cells.get(config.cell)
    shapes = jax.eval_shape(lambda: cell.init_params(jax.random.key(0), problem.num_features, config.hidden_size))
    pool = {name: array[:POOL] for name, array in problem.data.items() if name.startswith("train")}
    count = min([problem.num_examples["train"], *map(len, pool.values())])

    def loss(params: Params, key: Key) -> Array:
        layer = type(shapes)(**params["recurrent"]["layers"][0])
        indices = jax.random.randint(key, (TRAJECTORIES,), 0, count)
        data = {name: jnp.asarray(array) for name, array in pool.items()}
        xs, _ = problem.take(data, "train", indices, problem.length)
        dtype = dtype_of(layer)
        carry = cell.init_carry((), config.hidden_size, dtype)
        xs = jnp.swapaxes(xs, 0, 1).astype(dtype)
        return flossing_loss(lambda carry, x: cell.step(layer, carry, x)[0], carry, xs, config.flossing)

    return loss


def before_training(config: Config, problem: Problem, task: Task) -> Task:
    """The task, its parameters drawn and then flossed: `--flossing_steps` of the run's optimizer on that loss alone."""
    if not config.flossing:
        return task
    loss = make_loss(config, problem)
    optimizer = make_config_optimizer(config, optax.constant_schedule(config.learning_rate))

    def init(key: Key) -> Params:
        return floss(loss, task.init(key), optimizer, config.flossing_steps, jax.random.fold_in(key, 1))[0]

    return task._replace(init=init)


class FlossingState(NamedTuple):
    """`done`, the number of steps so far, `[]` int32, and the state of the optimizer inside."""

    done: Array
    inner: Any


def during_training(
    config: Config, problem: Problem, optimizer: optax.GradientTransformation
) -> optax.GradientTransformation:
    """The optimizer, which with `--flossing_every=k` adds the gradient of the flossing loss at every k-th step."""
    every = config.flossing_every
    if every is None:
        return optimizer
    gradient = jax.grad(make_loss(config, problem))

    def init(params: Params) -> FlossingState:
        return FlossingState(jnp.zeros((), jnp.int32), optimizer.init(params))

    def update(grads: Params, state: FlossingState, params: Params) -> tuple[Params, FlossingState]:
        def both() -> Params:
            key = jax.random.fold_in(jax.random.key(0), state.done)
            return jax.tree.map(jnp.add, grads, gradient(params, key))

        done = state.done + 1
        grads = lax.cond(done % every == 0, both, lambda: grads)
        updates, inner = optimizer.update(grads, state.inner, params)
        return updates, FlossingState(done, inner)

    return optax.GradientTransformation(init, update)
