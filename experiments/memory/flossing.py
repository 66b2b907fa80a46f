"""Gradient flossing of a recurrent layer, before and during training (see `rnn_jax.diagnostics.flossing`)."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jax import lax

from experiments.common.flags import UsageError
from experiments.common.training_flags import make_config_optimizer
from experiments.memory.task import Config, Problem
from rnn_jax import cells
from rnn_jax.diagnostics.flossing import floss, flossing_loss
from rnn_jax.types import Array, Key, Params

TRAJECTORIES = 8
"""Training examples whose exponents are taken at once."""
POOL = 256
"""Images that these are drawn from; generated examples are drawn from all."""


def check(config: Config) -> None:
    """Raises `UsageError` for flags that do not go with flossing."""
    if not config.flossing:
        if config.flossing_every is not None:
            raise UsageError(f"--flossing_every={config.flossing_every}: say with --flossing=K how many exponents")
        return
    if config.num_layers > 1 or config.bidirectional:
        raise UsageError(f"--flossing={config.flossing}: it goes with one layer in one direction")
    carry = cells.get(config.cell).init_carry((), config.hidden_size)
    size = sum(array.size for array in jax.tree.leaves(carry))
    if config.flossing > size:
        raise UsageError(f"--flossing={config.flossing}: the carry has {size} numbers; take at most as many")


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
        dtype = layer.w_hh.dtype
        carry = cell.init_carry((), config.hidden_size, dtype)
        xs = jnp.swapaxes(xs, 0, 1).astype(dtype)
        return flossing_loss(lambda carry, x: cell.step(layer, carry, x)[0], carry, xs, config.flossing)

    return loss


def before_training(config: Config, problem: Problem, init: Callable[[Key], Params]) -> Callable[[Key], Params]:
    """`init`, and then `--flossing_steps` steps of the run's optimizer on the flossing loss alone."""
    loss = make_loss(config, problem)
    optimizer = make_config_optimizer(config, optax.constant_schedule(config.learning_rate))

    def flossed(key: Key) -> Params:
        return floss(loss, init(key), optimizer, config.flossing_steps, jax.random.fold_in(key, 1))[0]

    return flossed


class FlossingState(NamedTuple):
    """`done`, the number of steps so far, `[]` int32, and the state of the optimizer inside."""

    done: Array
    inner: Any


def during_training(
    config: Config, problem: Problem, optimizer: optax.GradientTransformation
) -> optax.GradientTransformation:
    """An optimizer that adds the gradient of the flossing loss to that of the task at every k-th step."""
    gradient, every = jax.grad(make_loss(config, problem)), config.flossing_every
    assert every is not None

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
