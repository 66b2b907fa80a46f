"""The functions of a run: those of one seed, `rnn_jax.training.step`, for S at once, split over devices, compiled."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import optax
from jax import lax

from rnn_jax.training.devices import EVERYWHERE, Devices, choose, put
from rnn_jax.training.spread import padded, seen
from rnn_jax.training.step import Recipe, Task, epoch_order, evaluate, init, steps


def map_over_seeds(function: Callable[..., Any], parallel: bool) -> Callable[..., Any]:
    """Applies `function` to each entry of the leading axes, at once (`vmap`) or one after another (`lax.map`).

    The values are the same but for rounding; one after another they are to the bit those of each seed alone.

    On a CPU one after another is faster: vmapped products with S different weights are S small products, and S
    replicas side by side leave the cache (benchmarks/README.md has the measurement).
    """
    return jax.vmap(function) if parallel else lambda *args: lax.map(lambda each: function(*each), args)


class Functions(NamedTuple):
    """The jitted functions of a run; states and results have a leading axis S.

    Attributes:
        init: `seeds [S] -> states`.
        order: `(seeds [S], epoch) -> [S, N]`: the order of the data in an epoch, a function of (seed, epoch) alone.
        steps: `(states, orders, data, epoch, first, count) -> (states, StepSummary)`: `count` steps of the epoch
            from its step `first` on. The states passed in are consumed.
        evaluate: `(states, data, epoch) -> (states, {"loss": [S], ...})`: validation, choice of the best, early end.
        devices: on which they run; data lies on each of them in full, but for what `rows` and `spread` name.
        rows, spread: of the task.
    """

    init: jax.stages.Wrapped
    order: jax.stages.Wrapped
    steps: jax.stages.Wrapped
    evaluate: jax.stages.Wrapped
    devices: Devices
    rows: tuple[str, ...] = ()
    spread: tuple[str, ...] = ()

    def padded(self, data: Any) -> Any:
        """Data with as many rows as the devices can divide, where they keep parts."""
        return padded(data, self.spread, self.devices)

    def shardings(self, data: Any) -> Any:
        """Where the functions find such data, a pytree like it."""
        everywhere, names = self.devices.everywhere(), (*self.rows, *self.spread)
        whole = jax.tree.map(lambda _: everywhere, data)
        return (
            {**whole, **{name: self.devices.of_rows(data[name]) for name in names if name in data}} if names else whole
        )

    def put(self, data: Any) -> Any:
        """Data of the host, where the functions find it."""
        data = self.padded(data)
        return put(data, self.shardings(data))

    def seen(self, data: Any) -> Any:
        """That data as a task sees it, inside a program."""
        return seen(data, self.spread, self.devices)


def make_functions(
    task: Task,
    optimizer: optax.GradientTransformation,
    *,
    batch_size: int,
    patience: int | None = None,
    parallel: bool | None = None,
    devices: Devices | None = None,
    average_decay: float | None = None,
) -> Functions:
    """Builds the functions of a run: those of one seed, mapped over seeds, split over devices, compiled at first use.

    Args:
        task: what to train.
        optimizer: an optax optimizer.
        batch_size: B. An epoch has `num_examples // B` steps: what is left over is seen in another epoch.
        patience: evaluations without improvement after which a replica stops; None: never.
        parallel: how replicas run, see `map_over_seeds`; None: at once, but on a CPU one after another.
        devices: of `rnn_jax.training.devices.choose`; None: one.
        average_decay: d of the average of the parameters, see `apply_gradient`. Evaluated and kept as the best is then
            the average (Polyak and Juditsky, "Acceleration of stochastic approximation by averaging", 1992). None: no
            average.

    Raises: `ValueError` where the devices are more than the examples of a batch.
    """
    devices = choose() if devices is None else devices
    if devices.batch > batch_size:
        raise ValueError(f"num_devices={devices.batch} cannot share batch_size={batch_size}")
    recipe = Recipe(task, optimizer, batch_size, patience, average_decay, devices)
    at_once = jax.default_backend() != "cpu" if parallel is None else parallel

    def of_all_seeds(function: Callable[..., Any], shared: int) -> Callable[..., Any]:
        """`function` of S seeds; its last `shared` arguments are the same for all."""

        def mapped(*args: Any) -> Any:
            per_seed, common = args[: len(args) - shared], args[len(args) - shared :]
            return map_over_seeds(lambda *each: function(recipe, *each, *common), at_once)(*per_seed)

        return devices.of_groups(mapped, shared)

    def with_states(function: Callable[..., Any]) -> Callable[..., Any]:
        """`function`, whose result is states and what every process may read of them."""

        def placed(*args: Any) -> Any:
            states, found = function(*args)
            return devices.constrain_states(states), devices.constrain(found, EVERYWHERE)

        return placed

    init_all = of_all_seeds(init, 0)
    return Functions(
        init=jax.jit(lambda seeds: devices.constrain_states(init_all(seeds))),
        order=jax.jit(of_all_seeds(epoch_order, 1)),
        steps=jax.jit(with_states(of_all_seeds(steps, 4)), donate_argnums=0),
        evaluate=jax.jit(with_states(of_all_seeds(evaluate, 2))),
        devices=devices,
        rows=task.rows,
        spread=task.spread,
    )
