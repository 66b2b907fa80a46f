"""The device's part of training: pure functions of the state of one seed.

A replica is one seed's training, and goes on as if it were alone: its parameters, its order of the data and its
dropout masks are functions of its own seed, and it stops when its own validation loss says so.

A batch may be split over several devices, which then exchange gradients at every step: `rnn_jax.training.devices`. The
cores of a CPU can be such devices: the loop over time is sequential and keeps a single core busy, however many there
are.

`rnn_jax.training.functions` makes `init`, `epoch_order`, `steps` and `evaluate` those of S seeds, compiled.
"""

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax import lax
from jax.typing import ArrayLike

from rnn_jax.training.devices import Devices
from rnn_jax.training.keys import DROPOUT, INIT, seed_key
from rnn_jax.training.order import plan, shuffle, shuffle_by_length
from rnn_jax.training.spread import seen
from rnn_jax.training.state import TrainState, apply_gradient, init_state, note_validation
from rnn_jax.types import Array, Key, Params


class Task(NamedTuple):
    """What is trained, as pure functions.

    Attributes:
        init: `key -> params`.
        loss: `(params, batch, key) -> (scalar, measures)`, a mean over the batch's examples, and other such means by
            name, for the log; the key draws dropout masks.
        batch: `(data, indices [B]) -> batch`: takes examples from data on the device, arrays `[B, ...]` where several
            devices share them. With `lengths` it is `(data, indices [B], length) -> batch`.
        evaluate: `(params, data) -> {"loss": scalar, ...}`, on validation data. The loss chooses the best.
        num_examples: how many examples `batch` can index.
        lengths: what a batch may be padded to, ascending; each is compiled once. None: batches of one shape.
        length_index: `[num_examples]`, the number of the smallest of `lengths` that holds each example.
        init_carry: `() -> carry`, arrays `[B, ...]`, of a task whose batches go on where those before them ended: its
            examples are taken in their order, b, b + B, b + 2 B, ... by row b of the batch, and its loss is
            `(params, batch, key, carry) -> (scalar, (measures, carry))`.
        keep_carry: an epoch begins with the carry that the one before has left, and not anew.
        rows: names of what in the data, a dictionary, has a row `[B, ...]` for each of the batch, in a task with
            carries: of these a device keeps its own.
        spread: names of arrays of the data, a dictionary, of which each device that shares a batch keeps a part. All
            that `batch` and `evaluate` do with such an array is to index its first axis: `data[name][integers]`.
        weight: `batch -> []`, of a loss that is no mean over examples but over something of which they have more or
            less, tokens or measured values: how much of it they have. None: a mean over examples.
    """

    init: Callable[[Key], Params]
    loss: Callable[..., tuple[Array, Any]]
    batch: Callable[..., Any]
    evaluate: Callable[[Params, Any], dict[str, Array]]
    num_examples: int
    lengths: tuple[int, ...] | None = None
    length_index: np.ndarray | None = None
    init_carry: Callable[[], Any] | None = None
    keep_carry: bool = False
    rows: tuple[str, ...] = ()
    spread: tuple[str, ...] = ()
    weight: Callable[[Any], Array] | None = None


class Recipe(NamedTuple):
    """A task and how it is trained; `rnn_jax.training.functions.make_functions` says what each part means."""

    task: Task
    optimizer: optax.GradientTransformation
    batch_size: int
    patience: int | None = None
    average_decay: float | None = None
    devices: Devices | None = None

    @property
    def steps_per_epoch(self) -> int:
        """Full batches in the data."""
        return self.task.num_examples // self.batch_size


class StepSummary(NamedTuple):
    """What training says of itself, `[]` each: means over the steps of a dispatch, parameter norm after the last.

    `measures` are those that the task's loss returns beside it.
    """

    loss: Array
    grad_norm: Array
    update_norm: Array
    param_norm: Array
    measures: dict[str, Array]


def init(recipe: Recipe, seed: Array) -> TrainState:
    """The state of one seed, `[]` uint32, before the first step."""
    params = recipe.task.init(seed_key(seed, INIT))
    carry = None if recipe.task.init_carry is None else recipe.task.init_carry()
    return init_state(seed, params, recipe.optimizer, recipe.average_decay is not None, carry)


def epoch_order(recipe: Recipe, seed: Array, epoch: ArrayLike) -> Array:
    """The examples of an epoch in their order, `[N]`, or `[M B]` where they have lengths: see `rnn_jax.training.order`.

    Step m takes those from m B to (m + 1) B.
    """
    if recipe.task.init_carry is not None:
        return jnp.arange(recipe.task.num_examples)
    if recipe.task.length_index is None:
        return shuffle(seed, epoch, recipe.task.num_examples)
    return shuffle_by_length(seed, epoch, recipe.task.length_index, recipe.batch_size)


def loss_and_gradient(
    task: Task, params: Params, batch: Any, key: Key, carry: Any = None
) -> tuple[tuple[Array, tuple[dict[str, Array], Any]], Params]:
    """The loss of some examples and its gradient.

    Args:
        task: whose loss it is.
        params: a pytree.
        batch: of `task.batch`.
        key: draws dropout masks.
        carry: before them, of a task with carries.

    Returns: `((loss [], (measures, carry)), gradient)`, the gradient a pytree like `params`.
    """

    def loss(params: Params) -> tuple[Array, tuple[dict[str, Array], Any]]:
        if task.init_carry is not None:
            return task.loss(params, batch, key, carry)
        value, measures = task.loss(params, batch, key)
        return value, (measures, None)

    return jax.value_and_grad(loss, has_aux=True)(params)


def one_step(
    recipe: Recipe, state: TrainState, order: Array, length: Array | None, data: Any, epoch: Array, position: Array
) -> tuple[TrainState, StepSummary]:
    """One step of one seed.

    Each device that shares the batch draws the dropout masks of its examples: with dropout, another number of devices
    draws other masks. Without it, the step is the same but for rounding.

    Args:
        recipe: what is trained and how.
        state: before the step.
        order: of the epoch's examples, from `epoch_order`.
        length: `[]` integer, the number of the batch's length; None where the task has no lengths.
        data: what `task.batch` takes examples from.
        epoch, position: `[]` integers: the step is the `position`-th of that epoch, both from 0.

    Returns: the state after the step, and what is said of it.
    """
    task, batch_size = recipe.task, recipe.batch_size
    step = epoch * recipe.steps_per_epoch + position
    indices = lax.dynamic_slice_in_dim(order, position * batch_size, batch_size)
    key = jax.random.fold_in(seed_key(state.seed, DROPOUT), step)

    data = seen(data, task.spread, recipe.devices)

    def part(size: int, first: ArrayLike, device: ArrayLike, rows: Any, params: Params, key: Key) -> Any:
        batch, carry = rows
        key = jax.random.fold_in(key, device)
        (loss, (measures, carry)), gradient = loss_and_gradient(task, params, batch, key, carry)
        weight = size if task.weight is None else task.weight(batch)
        return (loss, measures, gradient), weight, carry

    def padded_to(*length: int) -> tuple[Any, Any]:
        rows = task.batch(data, indices, *length), _carry_before(recipe, state, position)
        if recipe.devices is None or recipe.devices.batch == 1:
            means, _, carry = part(batch_size, 0, 0, rows, state.params, key)
            return means, carry
        return recipe.devices.of_shares(part, batch_size)(rows, state.params, key)

    if length is None:
        (loss, measures, gradient), carry = padded_to()
    else:
        branches = [partial(padded_to, each) for each in task.lengths or ()]
        (loss, measures, gradient), carry = lax.switch(length, branches)
    state, norms = apply_gradient(state, gradient, recipe.optimizer, step, recipe.average_decay)
    return state._replace(carry=carry), StepSummary(loss, **norms, measures=measures)


def _carry_before(recipe: Recipe, state: TrainState, position: Array) -> Any:
    """The carry that a step begins with; None where the task has none."""
    if recipe.task.init_carry is None or recipe.task.keep_carry:
        return state.carry
    return jax.tree.map(lambda new, old: jnp.where(position == 0, new, old), recipe.task.init_carry(), state.carry)


def steps(
    recipe: Recipe, state: TrainState, order: Array, data: Any, epoch: Array, first: Array, count: Array
) -> tuple[TrainState, StepSummary]:
    """Steps of one seed within an epoch; none where it has stopped.

    Args:
        recipe, state, order, data, epoch: as for `one_step`.
        first: `[]` integer, the position of the first step in the epoch.
        count: `[]` integer, how many.

    Returns: the state after them and the means over them, 0 where there was no step.
    """
    lengths = None
    if recipe.task.length_index is not None:
        lengths = plan(epoch, recipe.task.length_index, recipe.batch_size).lengths

    def step(state: TrainState, position: Array) -> tuple[TrainState, StepSummary]:
        length = None if lengths is None else lengths[position]
        return one_step(recipe, state, order, length, data, epoch, position)

    def body(i: Array, carry: tuple[TrainState, StepSummary]) -> tuple[TrainState, StepSummary]:
        state, sums = carry
        state, now = step(state, first + i)
        return state, jax.tree.map(jnp.add, sums, now)._replace(param_norm=now.param_norm)

    _, shapes = jax.eval_shape(step, state, first)
    sums = jax.tree.map(lambda s: jnp.zeros(s.shape, s.dtype), shapes)
    # A bound that is data, not shape: one program serves every count, and a replica that has stopped makes no step.
    count = jnp.where(state.active, count, 0)
    state, sums = lax.fori_loop(0, count, body, (state, sums))
    mean = jax.tree.map(lambda s: s / jnp.maximum(count, 1).astype(s.dtype), sums)
    return state, mean._replace(param_norm=optax.tree.norm(state.params))


def evaluate(recipe: Recipe, state: TrainState, data: Any, epoch: ArrayLike) -> tuple[TrainState, dict[str, Array]]:
    """Evaluates one seed, its averaged parameters where there is an average, and keeps the best: `note_validation`.

    Args:
        recipe: what is trained and how.
        state: after an epoch.
        data: what `task.evaluate` takes.
        epoch: `[]` integer, the epoch that has ended, from 0.

    Returns: the state, and the measures of the validation data, `[]` each, `loss` among them.
    """
    params = state.params if state.average is None else state.average
    measures = recipe.task.evaluate(params, seen(data, recipe.task.spread, recipe.devices))
    return note_validation(state, params, measures["loss"], epoch, recipe.patience), measures
