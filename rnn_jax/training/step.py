"""The device's part of training: pure functions of the state, for S replicas at once.

Every replica is trained as if it were alone: its parameters, its order of the data and its dropout masks are functions
of its own seed, and it stops when its own validation loss says so.

A batch may be split over several devices, which then exchange gradients at every step. The cores of a CPU can be such
devices: the loop over time is sequential and keeps a single core busy, however many there are.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jax import lax
from jax.flatten_util import ravel_pytree
from jax.sharding import AxisType, NamedSharding, PartitionSpec

from rnn_jax.types import Array, Key, Params


class Task(NamedTuple):
    """What is trained, as pure functions.

    Attributes:
        init: `key -> params`.
        loss: `(params, batch, key) -> scalar`, a mean over the batch's examples; the key draws dropout masks.
        batch: `(data, indices [B]) -> batch`: takes examples from data on the device.
        evaluate: `(params, data) -> scalar`, the validation loss.
        num_examples: how many examples `batch` can index.
    """

    init: Callable[[Key], Params]
    loss: Callable[[Params, Any, Key], Array]
    batch: Callable[[Any, Array], Any]
    evaluate: Callable[[Params, Any], Array]
    num_examples: int


class Replica(NamedTuple):
    """All that moves while one seed is trained; with S seeds every array has a leading axis S.

    Attributes:
        seed: `[]` uint32.
        params, opt_state: pytrees.
        best_params: those of the lowest validation loss so far.
        best_loss: `[]`, inf before the first evaluation.
        best_epoch: `[]` int32, epochs done when it was reached.
        stale: `[]` int32, evaluations since then.
        active: `[]` bool; False: stopped early, nothing changes any more.
    """

    seed: Array
    params: Params
    opt_state: Any
    best_params: Params
    best_loss: Array
    best_epoch: Array
    stale: Array
    active: Array


class StepMetrics(NamedTuple):
    """What training says of itself, `[]` each: means over the steps of a dispatch, parameter norm after the last."""

    loss: Array
    grad_norm: Array
    update_norm: Array
    param_norm: Array


INIT, ORDER, DROPOUT = range(3)
"""A seed's key is folded with one of these, so that each purpose draws its own random numbers."""


def seed_key(seed: Array, purpose: int) -> Key:
    """The key of one seed for one purpose."""
    return jax.random.fold_in(jax.random.key(seed), purpose)


class Functions(NamedTuple):
    """The jitted functions of a run; states and results have a leading axis S.

    Attributes:
        init: `seeds [S] -> states`.
        order: `(seeds, epoch) -> [S, N]`: the order of the data in an epoch, a function of (seed, epoch) alone.
        steps: `(states, orders, data, epoch, first, count) -> (states, StepMetrics)`: `count` steps of the epoch
            from its step `first` on. The states passed in are consumed.
        evaluate: `(states, data, epoch) -> (states, losses [S])`: validation, choice of the best, early stopping.
        sharding: where states and data lie: on every device in full.
    """

    init: Callable[..., Replica]
    order: Callable[..., Array]
    steps: Callable[..., tuple[Replica, StepMetrics]]
    evaluate: Callable[..., tuple[Replica, Array]]
    sharding: NamedSharding


def map_over_seeds(function: Callable[..., Any], parallel: bool) -> Callable[..., Any]:
    """Applies `function` to each entry of the leading axes, at once (`vmap`) or one after another (`lax.map`).

    On a CPU one after another is faster: vmapped products with S different weights are S small products, and S
    replicas side by side leave the cache (benchmarks/README.md has the measurement).
    """
    return jax.vmap(function) if parallel else lambda *args: lax.map(lambda each: function(*each), args)


def make_functions(
    task: Task,
    optimizer: optax.GradientTransformation,
    *,
    batch_size: int,
    patience: int | None = None,
    parallel: bool | None = None,
    num_devices: int = 1,
) -> Functions:
    """Builds the functions of a run.

    Args:
        task: what to train.
        optimizer: an optax optimizer.
        batch_size: B. An epoch has `num_examples // B` steps: what is left over is seen in another epoch.
        patience: evaluations without improvement after which a replica stops; None: never.
        parallel: how replicas run, see `map_over_seeds`; None: at once, but on a CPU one after another.
        num_devices: over how many of the local devices a batch is split.

    Raises: `ValueError` where there are fewer devices, or where they do not divide the batch.
    """
    devices = jax.local_devices()[:num_devices]
    if len(devices) < num_devices or batch_size % num_devices:
        raise ValueError(f"cannot split a batch of {batch_size} over {num_devices} devices, there are {len(devices)}")
    mesh = jax.make_mesh((num_devices,), ("data",), axis_types=(AxisType.Auto,), devices=devices)
    share = batch_size // num_devices
    parallel = jax.default_backend() != "cpu" if parallel is None else parallel
    steps_per_epoch = task.num_examples // batch_size

    def init(seed: Array) -> Replica:
        params = task.init(seed_key(seed, INIT))
        zero = jnp.zeros((), jnp.int32)
        best_loss = jnp.full((), jnp.inf, jnp.result_type(float))
        best = jax.tree.map(jnp.copy, params)  # a buffer of its own: `steps` consumes the ones it is given
        return Replica(seed, params, optimizer.init(params), best, best_loss, zero, zero, jnp.array(True))

    def order(seed: Array, epoch: Array) -> Array:
        key = jax.random.fold_in(seed_key(seed, ORDER), epoch)
        return jax.random.permutation(key, task.num_examples)

    def mean_over_devices(tree: Any) -> Any:
        if num_devices == 1:
            return tree
        flat, unravel = ravel_pytree(tree)  # one message instead of one per array
        return unravel(lax.pmean(flat, "data"))

    def one_step(replica: Replica, order: Array, data: Any, epoch: Array, position: Array):
        device = lax.axis_index("data")
        indices = lax.dynamic_slice_in_dim(order, position * batch_size + device * share, share)
        key = jax.random.fold_in(seed_key(replica.seed, DROPOUT), epoch * steps_per_epoch + position)
        key = jax.random.fold_in(key, device)
        loss, grads = jax.value_and_grad(task.loss)(replica.params, task.batch(data, indices), key)
        loss, grads = mean_over_devices((loss, grads))
        updates, opt_state = optimizer.update(grads, replica.opt_state, replica.params)
        params = optax.apply_updates(replica.params, updates)
        norms = (optax.tree.norm(tree) for tree in (grads, updates, params))
        return replica._replace(params=params, opt_state=opt_state), StepMetrics(loss, *norms)

    def steps(replica: Replica, order: Array, data: Any, epoch: Array, first: Array, count: Array):
        def body(i: Array, state: tuple[Replica, StepMetrics]) -> tuple[Replica, StepMetrics]:
            replica, sums = state
            replica, now = one_step(replica, order, data, epoch, first + i)
            return replica, jax.tree.map(jnp.add, sums, now)._replace(param_norm=now.param_norm)

        shapes = jax.eval_shape(one_step, replica, order, data, epoch, first)[1]
        sums = jax.tree.map(lambda s: jnp.zeros(s.shape, s.dtype), shapes)
        # A bound that is data, not shape: one program serves every count, and a stopped replica does no step.
        count = jnp.where(replica.active, count, 0)
        replica, sums = lax.fori_loop(0, count, body, (replica, sums))
        mean = jax.tree.map(lambda s: s / jnp.maximum(count, 1).astype(s.dtype), sums)
        return replica, mean._replace(param_norm=optax.tree.norm(replica.params))

    def evaluate(replica: Replica, data: Any, epoch: Array) -> tuple[Replica, Array]:
        loss = task.evaluate(replica.params, data).astype(replica.best_loss.dtype)
        better = replica.active & (loss < replica.best_loss)
        stale = jnp.where(better, 0, replica.stale + replica.active)
        best_params = jax.tree.map(lambda a, b: jnp.where(better, a, b), replica.params, replica.best_params)
        return replica._replace(
            best_params=best_params,
            best_loss=jnp.where(better, loss, replica.best_loss),
            best_epoch=jnp.where(better, epoch + 1, replica.best_epoch),
            stale=stale,
            active=replica.active if patience is None else replica.active & (stale < patience),
        ), loss

    def over_seeds(function, shared):
        """Jits `function` over S replicas; its last `shared` arguments are the same for all."""

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
