"""What moves while one seed is trained: how it starts, how a gradient moves it, what an evaluation makes of it."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jax.typing import ArrayLike

from rnn_jax.types import Array, Params


class TrainState(NamedTuple):
    """All that moves while one seed is trained; with S seeds every array has a leading axis S.

    Attributes:
        seed: `[]` uint32.
        params, opt_state: pytrees.
        average: the exponential moving average of the parameters; None where none is kept.
        best_params: those of the lowest validation loss so far.
        best_loss: `[]`, inf before the first evaluation.
        best_epoch: `[]` int32, epochs done when it was reached.
        stale: `[]` int32, evaluations since then.
        active: `[]` bool; False: stopped early, nothing changes any more.
        carry: what the batches so far have left, of a task whose batches follow each other; else None.
    """

    seed: Array
    params: Params
    opt_state: optax.OptState
    average: Params | None
    best_params: Params
    best_loss: Array
    best_epoch: Array
    stale: Array
    active: Array
    carry: Any = None


def init_state(
    seed: Array, params: Params, optimizer: optax.GradientTransformation, averaged: bool, carry: Any = None
) -> TrainState:
    """The state before the first step.

    Args:
        seed: `[]` uint32.
        params: a pytree, the parameters to begin with.
        optimizer: whose state begins with them.
        averaged: whether an average of the parameters is kept; it begins with them.
        carry: before the first batch.

    Returns: the state, in buffers of its own but for `params`.
    """
    zero = jnp.zeros((), jnp.int32)
    best_loss = jnp.full((), jnp.inf, jnp.result_type(float))
    # Copies: training consumes the buffers that it is given, and may not be given one twice.
    best = jax.tree.map(jnp.copy, params)
    average = jax.tree.map(jnp.copy, params) if averaged else None
    active = jnp.array(True)
    return TrainState(seed, params, optimizer.init(params), average, best, best_loss, zero, zero, active, carry)


def apply_gradient(
    state: TrainState,
    gradient: Params,
    optimizer: optax.GradientTransformation,
    step: Array,
    average_decay: float | None = None,
) -> tuple[TrainState, dict[str, Array]]:
    """One step of the optimizer, and of the average of the parameters.

    average = d average + (1 - d) params, with d = `average_decay`, or (1 + t) / (10 + t) in the first steps t, where
    that is smaller.

    Args:
        state: before the step.
        gradient: of the loss, a pytree like `state.params`.
        optimizer: an optax optimizer.
        step: `[]` integer, t: steps made before this one.
        average_decay: None where no average is kept.

    Returns: the state after the step, and `grad_norm`, `update_norm` and `param_norm`, `[]` each: Euclidean norms over
    all arrays of the gradient, of the update and of the parameters after it.
    """
    updates, opt_state = optimizer.update(gradient, state.opt_state, state.params)
    params = optax.apply_updates(state.params, updates)
    trees = {"grad_norm": gradient, "update_norm": updates, "param_norm": params}
    norms = {name: optax.tree.norm(tree) for name, tree in trees.items()}
    average = state.average
    if average_decay is not None:
        t = step.astype(jnp.float32)
        decay = jnp.minimum(average_decay, (1 + t) / (10 + t))
        average = optax.incremental_update(params, average, 1 - decay)
    return state._replace(params=params, opt_state=opt_state, average=average), norms


def note_validation(
    state: TrainState, params: Params, loss: Array, epoch: ArrayLike, patience: int | None = None
) -> TrainState:
    """Keeps the best parameters, and stops a replica that has not improved for too long. A stopped one stays as it is.

    Args:
        state: after an epoch.
        params: those that were evaluated, a pytree like `state.params`.
        loss: `[]`, their validation loss. NaN is no improvement, and neither is the same loss again.
        epoch: `[]` integer, the epoch that has ended, from 0.
        patience: evaluations without improvement after which the replica stops; None: never.

    Returns: the state after the evaluation.
    """
    loss = loss.astype(state.best_loss.dtype)
    better = state.active & (loss < state.best_loss)
    stale = jnp.where(better, 0, state.stale + state.active)
    return state._replace(
        best_params=jax.tree.map(lambda new, old: jnp.where(better, new, old), params, state.best_params),
        best_loss=jnp.where(better, loss, state.best_loss),
        best_epoch=jnp.where(better, epoch + 1, state.best_epoch),
        stale=stale,
        active=state.active if patience is None else state.active & (stale < patience),
    )
