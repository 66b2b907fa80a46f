"""What a forecaster says of a value: a point, a Gaussian, or quantiles. Each knows its loss.

A raw output `[..., P]` is made into numbers of the same shape on the scale of the target; then base and unit, the value
that a forecast starts from and the size of a typical change, put it in its place. Targets are NaN where there is no
measurement: they have no part in a loss, and no gradient.
"""

from typing import Any, NamedTuple, Protocol

import jax
import jax.numpy as jnp

from rnn_jax.types import Array

LOSSES = ("mse", "mae", "huber")
"""Of a point: the squared error, the absolute one, or Huber's, squared up to 1 and absolute beyond, times two."""


class Output(Protocol):
    """A family of outputs."""

    @property
    def size(self) -> int:
        """P, numbers per value."""
        ...

    def place(self, raw: Array, base: Array, unit: Array) -> Array:
        """Raw outputs `[..., P]` around `base` in steps of `unit`, both `[...]`: `[..., P]`."""
        ...

    def location(self, outputs: Any) -> Any:
        """The forecast itself: placed outputs `[..., P]`, of JAX or NumPy, to `[...]`."""
        ...

    def shift(self, outputs: Array, by: Array) -> Array:
        """Moves placed outputs `[..., P]` by `[...]`."""
        ...

    def loss(self, outputs: Array, targets: Array, unit: Array) -> Array:
        """The mean loss over the targets `[...]` that were measured, errors in steps of `unit`: `[]`."""
        ...


class Point(NamedTuple):
    """One number.

    >>> output = Point("mse")
    >>> placed = output.place(jnp.array([[0.5], [2.0]]), jnp.array(10.0), jnp.array(2.0))
    >>> output.location(placed).tolist(), float(output.loss(placed, jnp.array([10.0, jnp.nan]), jnp.array(1.0)))
    ([11.0, 14.0], 1.0)
    """

    kind: str = "mse"

    @property
    def size(self) -> int:
        """See `Output`."""
        return 1

    def place(self, raw: Array, base: Array, unit: Array) -> Array:
        """See `Output`."""
        return base[..., None] + unit[..., None] * raw

    def location(self, outputs: Any) -> Any:
        """See `Output`."""
        return outputs[..., 0]

    def shift(self, outputs: Array, by: Array) -> Array:
        """See `Output`."""
        return outputs + by[..., None]

    def loss(self, outputs: Array, targets: Array, unit: Array) -> Array:
        """See `Output`."""
        error = (outputs[..., 0] - jnp.where(jnp.isnan(targets), outputs[..., 0], targets)) / unit
        size = jnp.abs(error)
        each = {"mse": error**2, "mae": size, "huber": jnp.where(size < 1, error**2, 2 * size - 1)}[self.kind]
        return _mean(each, targets)


class Gaussian(NamedTuple):
    """Mean and standard deviation; the loss is the negative log-likelihood but for its constant, in nats.

    >>> output = Gaussian()
    >>> placed = output.place(jnp.array([0.5, 0.0]), jnp.array(10.0), jnp.array(2.0))
    >>> [round(float(each), 3) for each in placed]
    [11.0, 1.388]
    """

    @property
    def size(self) -> int:
        """See `Output`."""
        return 2

    def place(self, raw: Array, base: Array, unit: Array) -> Array:
        """See `Output`."""
        deviation = unit * (jax.nn.softplus(raw[..., 1]) + 1e-3)
        return jnp.stack([base + unit * raw[..., 0], deviation], axis=-1)

    def location(self, outputs: Any) -> Any:
        """See `Output`."""
        return outputs[..., 0]

    def shift(self, outputs: Array, by: Array) -> Array:
        """See `Output`."""
        return outputs + jnp.stack([by, jnp.zeros_like(by)], axis=-1)

    def loss(self, outputs: Array, targets: Array, unit: Array) -> Array:
        """See `Output`."""
        mean, deviation = outputs[..., 0], outputs[..., 1] / unit
        error = (mean - jnp.where(jnp.isnan(targets), mean, targets)) / unit
        return _mean(0.5 * (error / deviation) ** 2 + jnp.log(deviation), targets)


class Quantiles(NamedTuple):
    """Quantiles at ascending levels, 0.5 among them; the loss is twice the mean pinball loss.

    At 0.5 that is the absolute error. Outputs are sorted, so that quantiles do not cross.

    Source of the loss: Koenker and Bassett, "Regression quantiles", 1978.

    >>> output = Quantiles((0.1, 0.5, 0.9))
    >>> placed = output.place(jnp.array([-1.0, 0.25, 1.0]), jnp.array(0.0), jnp.array(2.0))
    >>> placed.tolist(), float(output.location(placed))
    ([-2.0, 0.5, 2.0], 0.5)
    """

    levels: tuple[float, ...] = (0.05, 0.25, 0.5, 0.75, 0.95)

    @property
    def size(self) -> int:
        """See `Output`."""
        return len(self.levels)

    def place(self, raw: Array, base: Array, unit: Array) -> Array:
        """See `Output`."""
        return jnp.sort(base[..., None] + unit[..., None] * raw, axis=-1)

    def location(self, outputs: Any) -> Any:
        """See `Output`."""
        return outputs[..., self.levels.index(0.5)]

    def shift(self, outputs: Array, by: Array) -> Array:
        """See `Output`."""
        return outputs + by[..., None]

    def loss(self, outputs: Array, targets: Array, unit: Array) -> Array:
        """See `Output`."""
        measured = jnp.where(jnp.isnan(targets), 0.0, targets)[..., None]
        error = (measured - outputs) / unit[..., None]
        levels = jnp.asarray(self.levels, outputs.dtype)
        return _mean(2 * jnp.mean(jnp.maximum(levels * error, (levels - 1) * error), axis=-1), targets)


def _mean(each: Array, targets: Array) -> Array:
    measured = ~jnp.isnan(targets)
    return jnp.sum(jnp.where(measured, each, 0.0)) / jnp.maximum(jnp.sum(measured), 1)
