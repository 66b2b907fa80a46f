"""The device's part of training: pure functions of the state, for S seeds at once.

A replica is one seed's training, and goes on as if it were alone: its parameters, its order of the data and its
dropout masks are functions of its own seed, and it stops when its own validation loss says so.

A batch may be split over several devices, which then exchange gradients at every step. The cores of a CPU can be such
devices: the loop over time is sequential and keeps a single core busy, however many there are.
"""

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax import lax
from jax.flatten_util import ravel_pytree
from jax.sharding import AxisType, NamedSharding, PartitionSpec

from rnn_jax.types import Array, Key, Params


class Task(NamedTuple):
    """What is trained, as pure functions.

    Attributes:
        init: `key -> params`.
        loss: `(params, batch, key) -> (scalar, measures)`, a mean over the batch's examples, and other such means by
            name, for the log; the key draws dropout masks.
        batch: `(data, indices [B]) -> batch`: takes examples from data on the device. With `lengths` it is
            `(data, indices [B], length) -> batch`.
        evaluate: `(params, data) -> {"loss": scalar, ...}`, on validation data. The loss chooses the best.
        num_examples: how many examples `batch` can index.
        lengths: what a batch may be padded to, ascending; each is compiled once. None: batches of one shape.
        length_index: `[num_examples]`, the number of the smallest of `lengths` that holds each example.
    """

    init: Callable[[Key], Params]
    loss: Callable[[Params, Any, Key], tuple[Array, dict[str, Array]]]
    batch: Callable[..., Any]
    evaluate: Callable[[Params, Any], dict[str, Array]]
    num_examples: int
    lengths: tuple[int, ...] | None = None
    length_index: np.ndarray | None = None


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
    """

    seed: Array
    params: Params
    opt_state: Any
    average: Params | None
    best_params: Params
    best_loss: Array
    best_epoch: Array
    stale: Array
    active: Array


class StepSummary(NamedTuple):
    """What training says of itself, `[]` each: means over the steps of a dispatch, parameter norm after the last.

    `measures` are those that the task's loss returns beside it.
    """

    loss: Array
    grad_norm: Array
    update_norm: Array
    param_norm: Array
    measures: dict[str, Array]


INIT, ORDER, DROPOUT, PLAN = range(4)
"""A seed's key is folded with one of these, so that each purpose draws its own random numbers."""


def seed_key(seed: Array, purpose: int) -> Key:
    """The key of one seed for one purpose."""
    return jax.random.fold_in(jax.random.key(seed), purpose)


class Functions(NamedTuple):
    """The jitted functions of a run; states and results have a leading axis S.

    Attributes:
        init: `seeds [S] -> states`.
        order: `(seeds, epoch) -> [S, N]`: the order of the data in an epoch, a function of (seed, epoch) alone.
        steps: `(states, orders, data, epoch, first, count) -> (states, StepSummary)`: `count` steps of the epoch
            from its step `first` on. The states passed in are consumed.
        evaluate: `(states, data, epoch) -> (states, {"loss": [S], ...})`: validation, choice of the best, early end.
        sharding: where states and data lie: on every device in full.
    """

    init: Callable[..., TrainState]
    order: Callable[..., Array]
    steps: Callable[..., tuple[TrainState, StepSummary]]
    evaluate: Callable[..., tuple[TrainState, dict[str, Array]]]
    sharding: NamedSharding


def map_over_seeds(function: Callable[..., Any], parallel: bool) -> Callable[..., Any]:
    """Applies `function` to each entry of the leading axes, at once (`vmap`) or one after another (`lax.map`).

    On a CPU one after another is faster: vmapped products with S different weights are S small products, and S
    replicas side by side leave the cache (benchmarks/README.md has the measurement).
    """
    return jax.vmap(function) if parallel else lambda *args: lax.map(lambda each: function(*each), args)


def _with_length(function: Callable[..., Any], length: int, *args: Any) -> Any:
    return function(*args, length)


def make_functions(
    task: Task,
    optimizer: optax.GradientTransformation,
    *,
    batch_size: int,
    patience: int | None = None,
    parallel: bool | None = None,
    num_devices: int = 1,
    average_decay: float | None = None,
) -> Functions:
    """Builds the functions of a run.

    Args:
        task: what to train.
        optimizer: an optax optimizer.
        batch_size: B. An epoch has `num_examples // B` steps: what is left over is seen in another epoch.
        patience: evaluations without improvement after which a replica stops; None: never.
        parallel: how replicas run, see `map_over_seeds`; None: at once, but on a CPU one after another.
        num_devices: over how many of the local devices a batch is split.
        average_decay: d of the average of the parameters, average = d average + (1 - d) params after each step, with
            the smaller d = (1 + t) / (10 + t) in the first steps t. Evaluated and kept as the best is then the average
            (Polyak and Juditsky, "Acceleration of stochastic approximation by averaging", 1992). None: no average.

    Raises: `ValueError` where there are fewer devices, or where they do not divide the batch.
    """
    devices = jax.local_devices()[:num_devices]
    if len(devices) < num_devices or batch_size % num_devices:
        raise ValueError(f"cannot split a batch of {batch_size} over {num_devices} devices, there are {len(devices)}")
    mesh = jax.make_mesh((num_devices,), ("data",), axis_types=(AxisType.Auto,), devices=devices)
    share = batch_size // num_devices
    parallel = jax.default_backend() != "cpu" if parallel is None else parallel
    steps_per_epoch = task.num_examples // batch_size

    def init(seed: Array) -> TrainState:
        params = task.init(seed_key(seed, INIT))
        zero = jnp.zeros((), jnp.int32)
        best_loss = jnp.full((), jnp.inf, jnp.result_type(float))
        # Buffers of their own: `steps` consumes the ones it is given.
        best = jax.tree.map(jnp.copy, params)
        average = None if average_decay is None else jax.tree.map(jnp.copy, params)
        return TrainState(seed, params, optimizer.init(params), average, best, best_loss, zero, zero, jnp.array(True))

    def plan(epoch: Array) -> tuple[Array, Array, Array]:
        """Of an epoch with lengths: the examples it uses, the order of its batches and the length of each.

        Not a function of the seed: side by side on an accelerator, replicas have batches of one length at a time.
        """
        keys = jax.random.split(jax.random.fold_in(seed_key(jnp.uint32(0), PLAN), epoch))
        used = jax.random.permutation(keys[0], task.num_examples)[: steps_per_epoch * batch_size]
        rows = jax.random.permutation(keys[1], steps_per_epoch)
        longest = jnp.sort(jnp.asarray(task.length_index)[used])[batch_size - 1 :: batch_size]
        return used, rows, longest[rows]

    def order(seed: Array, epoch: Array) -> Array:
        key = jax.random.fold_in(seed_key(seed, ORDER), epoch)
        if task.lengths is None:
            return jax.random.permutation(key, task.num_examples)
        used, rows, _ = plan(epoch)
        shuffled = jax.random.permutation(key, used)
        by_length = shuffled[jnp.argsort(jnp.asarray(task.length_index)[shuffled])]
        return by_length.reshape(-1, batch_size)[rows].ravel()

    def mean_over_devices(tree: Any) -> Any:
        if num_devices == 1:
            return tree
        flat, unravel = ravel_pytree(tree)  # one message instead of one per array
        return unravel(lax.pmean(flat, "data"))

    def gradient(params: Params, indices: Array, data: Any, key: Key, *length: int):
        return jax.value_and_grad(task.loss, has_aux=True)(params, task.batch(data, indices, *length), key)

    by_length = [partial(_with_length, gradient, length) for length in task.lengths or ()]

    def one_step(state: TrainState, order: Array, lengths: Array, data: Any, epoch: Array, position: Array):
        device = lax.axis_index("data")
        indices = lax.dynamic_slice_in_dim(order, position * batch_size + device * share, share)
        key = jax.random.fold_in(seed_key(state.seed, DROPOUT), epoch * steps_per_epoch + position)
        key = jax.random.fold_in(key, device)
        if task.lengths is None:
            found = gradient(state.params, indices, data, key)
        else:
            found = lax.switch(lengths[position], by_length, state.params, indices, data, key)
        (loss, measures), grads = mean_over_devices(found)
        updates, opt_state = optimizer.update(grads, state.opt_state, state.params)
        params = optax.apply_updates(state.params, updates)
        grad_norm, update_norm, param_norm = (optax.tree.norm(tree) for tree in (grads, updates, params))
        average = state.average
        if average_decay is not None:
            t = (epoch * steps_per_epoch + position).astype(jnp.float32)
            decay = jnp.minimum(average_decay, (1 + t) / (10 + t))
            average = optax.incremental_update(params, average, 1 - decay)
        state = state._replace(params=params, opt_state=opt_state, average=average)
        return state, StepSummary(loss, grad_norm, update_norm, param_norm, measures)

    def steps(state: TrainState, order: Array, data: Any, epoch: Array, first: Array, count: Array):
        def body(i: Array, state: tuple[TrainState, StepSummary]) -> tuple[TrainState, StepSummary]:
            state, sums = state
            state, now = one_step(state, order, lengths, data, epoch, first + i)
            return state, jax.tree.map(jnp.add, sums, now)._replace(param_norm=now.param_norm)

        lengths = jnp.zeros(0, jnp.int32) if task.lengths is None else plan(epoch)[2]
        shapes = jax.eval_shape(one_step, state, order, lengths, data, epoch, first)[1]
        sums = jax.tree.map(lambda s: jnp.zeros(s.shape, s.dtype), shapes)
        # A bound that is data, not shape: one program serves every count, and a replica that has stopped makes no step.
        count = jnp.where(state.active, count, 0)
        state, sums = lax.fori_loop(0, count, body, (state, sums))
        mean = jax.tree.map(lambda s: s / jnp.maximum(count, 1).astype(s.dtype), sums)
        return state, mean._replace(param_norm=optax.tree.norm(state.params))

    def evaluate(state: TrainState, data: Any, epoch: Array) -> tuple[TrainState, dict[str, Array]]:
        params = state.params if average_decay is None else state.average
        measures = task.evaluate(params, data)
        loss = measures["loss"].astype(state.best_loss.dtype)
        better = state.active & (loss < state.best_loss)
        stale = jnp.where(better, 0, state.stale + state.active)
        best_params = jax.tree.map(lambda a, b: jnp.where(better, a, b), params, state.best_params)
        return state._replace(
            best_params=best_params,
            best_loss=jnp.where(better, loss, state.best_loss),
            best_epoch=jnp.where(better, epoch + 1, state.best_epoch),
            stale=stale,
            active=state.active if patience is None else state.active & (stale < patience),
        ), measures

    def over_seeds(function, shared):
        """Jits `function` over S states; its last `shared` arguments are the same for all."""

        def mapped(*args):
            per_seed, common = args[: len(args) - shared], args[len(args) - shared :]
            return map_over_seeds(lambda *each: function(*each, *common), parallel)(*per_seed)

        return mapped

    return Functions(
        init=jax.jit(over_seeds(init, 0)),
        order=jax.jit(over_seeds(order, 1)),
        steps=jax.jit(
            jax.shard_map(
                over_seeds(steps, 4),
                mesh=mesh,
                in_specs=PartitionSpec(),
                out_specs=PartitionSpec(),
                check_vma=False,  # that all devices agree follows from the mean over them, which it cannot see
            ),
            donate_argnums=0,
        ),
        evaluate=jax.jit(over_seeds(evaluate, 2)),
        sharding=NamedSharding(mesh, PartitionSpec()),
    )
