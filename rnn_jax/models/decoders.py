"""What comes after the window has been read: four ways to forecast A rows of M' targets.

| | |
|---|---|
| `direct` | one linear layer says all steps from the last state |
| `recursive` | a linear layer says the next step, which the same recurrent layers then read, and so on |
| `sequence` | layers of their own begin with the carry, and read the step before and what is known of this one |
| `parallel` | these make one step for each segment that is forecast, all from the carry, and read its number |

Each is called with the final carries, the outputs `[B, T, D H]`, the last row that was read `[B, I']`, what is known of
the future `[B, A, K]`, the true targets `[B, A, M']` or None, and `Seen`, with which a forecast becomes what is read;
it returns raw outputs `[B, A, M', P]`.
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from flax import nnx
from jax import lax

from rnn_jax.compose import Directions
from rnn_jax.models.outputs import Output
from rnn_jax.models.recurrent import Recurrent
from rnn_jax.models.sequence import last_output
from rnn_jax.types import Array


class Seen(NamedTuple):
    """A raw output times `unit`, plus `base`, is the target as the layers read it: `[B, A, M']` and `[B, M']`."""

    base: Array
    unit: Array


class Decoder(nnx.Module):
    """What all have: sizes, dropout, a linear layer at the end."""

    def __init__(
        self,
        recurrent: Recurrent,
        width: int,
        num_targets: int,
        ahead: int,
        num_known: int,
        output: Output,
        segment: int,
        copies: int,
        *,
        head_dropout: float,
        cell: str,
        rngs: nnx.Rngs,
        options: dict[str, Any],
    ):
        self.shape = (ahead, num_targets, output.size)
        self.output = output
        self.num_known = num_known
        self.dropout = nnx.Dropout(head_dropout)
        self.build(recurrent, width, segment, copies, cell, rngs, options)

    def build(
        self, recurrent: Recurrent, width: int, segment: int, copies: int, cell: str, rngs: nnx.Rngs, options: Any
    ) -> None:
        """Makes the layers."""
        raise NotImplementedError

    def linear(self, size: int, outputs: int, rngs: nnx.Rngs, options: Any) -> nnx.Linear:
        """A linear layer in the type of the parameters."""
        return nnx.Linear(size, outputs, param_dtype=options.get("param_dtype", jnp.float32), rngs=rngs)

    def drop(self, state: Array, rngs: nnx.Rngs | None) -> Array:
        """Dropout, in training."""
        return self.dropout(state, deterministic=rngs is None, rngs=rngs)


def _summary(recurrent: tuple[Any, bool], carry: Any, ys: Array) -> Array:
    """The last output; of residual layers it is more than what the carry of the top one says."""
    cell, residual = recurrent
    if not residual:
        return last_output(cell, carry, ys=jnp.swapaxes(ys, 0, 1))
    if not isinstance(carry[-1], Directions):
        return ys[:, -1]
    half = ys.shape[-1] // 2
    return jnp.concatenate([ys[:, -1, :half], ys[:, 0, half:]], axis=-1)


class Direct(Decoder):
    """`direct`."""

    def build(
        self, recurrent: Recurrent, width: int, segment: int, copies: int, cell: str, rngs: nnx.Rngs, options: Any
    ) -> None:
        """See `Decoder`."""
        ahead, targets, size = self.shape
        self.reads = recurrent.cell, recurrent.residual
        inputs = recurrent.output_size + ahead * self.num_known
        self.head = self.linear(inputs, ahead * targets * size, rngs, options)

    def read_out(self, state: Array, future: Array, rngs: nnx.Rngs | None) -> Array:
        """States `[B, D H]` and what is known of the future `[B, A, K]` to `[B, A, M', P]`."""
        state = self.drop(state, rngs).astype(self.head.kernel[...].dtype)
        known = future.reshape(future.shape[0], -1).astype(state.dtype)
        return self.head(jnp.concatenate([state, known], axis=-1)).reshape(-1, *self.shape)

    def __call__(
        self, carry: Any, ys: Array, row: Array, future: Array, teacher: Array | None, seen: Seen,
        rngs: nnx.Rngs | None,
    ) -> Array:  # fmt: skip
        """See the head of this file."""
        return self.read_out(_summary(self.reads, carry, ys), future, rngs)


class _OneByOne(Decoder):
    """Forecasts a row, which becomes an input of the next."""

    head: nnx.Linear

    def steps(
        self, recurrent: Recurrent, carry: Any, first: Array, inputs: Any, future: Array, teacher: Array | None,
        seen: Seen,
    ) -> Array:  # fmt: skip
        """From the raw output of the first row `[B, M' P]` to those of all: `[B, A, M', P]`.

        `inputs(value [B, M'], known [B, K])` is what is read after a row. With a teacher the value is the true one
        where it was measured.
        """
        ahead, targets, size = self.shape
        shape = (-1, targets, size)

        def value(raw: Array, unit: Array, true: Array | None) -> Array:
            zero = jnp.zeros(raw.shape[:-1], raw.dtype)
            own = self.output.location(self.output.place(raw, zero, zero + unit))
            return own if true is None else jnp.where(jnp.isnan(true), own, true)

        def step(state: tuple[Any, Array], at: tuple[Array, Array, Array | None]) -> tuple[tuple[Any, Array], Array]:
            carry, raw = state
            known, unit, true = at
            carry, y = recurrent.step(carry, inputs(value(raw, unit, true), known))
            following = self.head(y.astype(first.dtype)).reshape(shape)
            return (carry, following), following

        known, unit = (jnp.moveaxis(each, 1, 0)[: ahead - 1] for each in (future, seen.unit.astype(first.dtype)))
        true = None if teacher is None else jnp.moveaxis(teacher, 1, 0)[: ahead - 1].astype(first.dtype)
        first = first.reshape(shape)
        _, rest = lax.scan(step, (carry, first), (known, unit, true))
        return jnp.moveaxis(jnp.concatenate([first[None], rest]), 0, 1)


class Recursive(_OneByOne):
    """`recursive`. What is read of a forecast row: its targets, what is known of it, of the rest the last row's."""

    def build(
        self, recurrent: Recurrent, width: int, segment: int, copies: int, cell: str, rngs: nnx.Rngs, options: Any
    ) -> None:
        """See `Decoder`."""
        if segment > 1 or options.get("bidirectional"):
            raise ValueError("decoder 'recursive' reads row after row: take segment 1 and one direction")
        self.recurrent = recurrent
        self.head = self.linear(recurrent.output_size, self.shape[1] * self.shape[2], rngs, options)

    def __call__(
        self, carry: Any, ys: Array, row: Array, future: Array, teacher: Array | None, seen: Seen,
        rngs: nnx.Rngs | None,
    ) -> Array:  # fmt: skip
        """See the head of this file."""
        targets = self.shape[1]
        rest = row[:, targets : row.shape[-1] - self.num_known]

        def inputs(value: Array, known: Array) -> Array:
            value = seen.base + value
            return jnp.concatenate([value.astype(row.dtype), rest, known.astype(row.dtype)], axis=-1)

        state = self.drop(_summary((self.recurrent.cell, self.recurrent.residual), carry, ys), rngs)
        first = self.head(state.astype(self.head.kernel[...].dtype))
        return self.steps(self.recurrent, carry, first, inputs, future, teacher, seen)


class Sequence(_OneByOne):
    """`sequence`."""

    def build(
        self, recurrent: Recurrent, width: int, segment: int, copies: int, cell: str, rngs: nnx.Rngs, options: Any
    ) -> None:
        """See `Decoder`."""
        self.layers = _beside(recurrent, self.shape[1] + self.num_known, cell, rngs, options)
        self.head = self.linear(self.layers.output_size, self.shape[1] * self.shape[2], rngs, options)

    def __call__(
        self, carry: Any, ys: Array, row: Array, future: Array, teacher: Array | None, seen: Seen,
        rngs: nnx.Rngs | None,
    ) -> Array:  # fmt: skip
        """See the head of this file."""
        dtype = self.head.kernel[...].dtype

        def inputs(value: Array, known: Array) -> Array:
            return jnp.concatenate([value.astype(row.dtype), known.astype(row.dtype)], axis=-1)

        # Before the first row the forecast is where its frame begins: 0.
        zero = jnp.zeros((row.shape[0], self.shape[1]), row.dtype)
        carry, y = self.layers.step(carry, inputs(zero, future[:, 0]))
        first = self.head(self.drop(y, rngs).astype(dtype))
        later = jnp.concatenate([future[:, 1:], future[:, :1]], axis=1)  # a row is forecast from what is known of it
        return self.steps(self.layers, carry, first, inputs, later, teacher, seen)


class Parallel(Decoder):
    """`parallel`."""

    def build(
        self, recurrent: Recurrent, width: int, segment: int, copies: int, cell: str, rngs: nnx.Rngs, options: Any
    ) -> None:
        """See `Decoder`."""
        ahead, targets, size = self.shape
        if ahead % segment:
            raise ValueError(f"decoder 'parallel' forecasts whole segments: segment {segment} does not divide {ahead}")
        hidden = recurrent.output_size
        self.segment = segment
        half = hidden // 2 if copies > 1 else hidden
        dtype = options.get("param_dtype", jnp.float32)
        self.positions = nnx.Param(0.1 * nnx.initializers.normal(1.0)(rngs.params(), (ahead // segment, half), dtype))
        if copies > 1:
            self.channels = nnx.Param(0.1 * nnx.initializers.normal(1.0)(rngs.params(), (copies, hidden - half), dtype))
        self.layers = _beside(recurrent, hidden + segment * self.num_known, cell, rngs, options)
        self.head = self.linear(hidden, segment * targets * size, rngs, options)

    def __call__(
        self, carry: Any, ys: Array, row: Array, future: Array, teacher: Array | None, seen: Seen,
        rngs: nnx.Rngs | None,
    ) -> Array:  # fmt: skip
        """See the head of this file."""
        batch, count = row.shape[0], self.positions[...].shape[0]
        parts = [jnp.broadcast_to(self.positions[...], (batch, *self.positions[...].shape))]
        if hasattr(self, "channels"):
            channels = self.channels[...]
            each = jnp.tile(channels, (batch // channels.shape[0], 1))
            parts.append(jnp.broadcast_to(each[:, None], (batch, count, channels.shape[1])))
        parts.append(future.reshape(batch, count, -1))
        read = jnp.concatenate([part.astype(row.dtype) for part in parts], axis=-1)

        def every(leaf: Array) -> Array:
            return jnp.repeat(leaf, count, axis=0)

        _, y = self.layers.step(jax.tree.map(every, carry), read.reshape(batch * count, -1))
        state = self.drop(y, rngs).astype(self.head.kernel[...].dtype)
        return self.head(state).reshape(batch, *self.shape)


def _beside(recurrent: Recurrent, width: int, cell: str, rngs: nnx.Rngs, options: dict[str, Any]) -> Recurrent:
    """Layers that can begin with the carries of others."""
    if options.get("bidirectional"):
        raise ValueError("this decoder goes on from the carry of one direction: take bidirectional=False")
    return Recurrent(cell, width, recurrent.hidden_size, rngs=rngs, **{**options, "dropout": 0.0, "zoneout": 0.0})


DECODERS: dict[str, type[Decoder]] = {
    "direct": Direct,
    "recursive": Recursive,
    "sequence": Sequence,
    "parallel": Parallel,
}
"""By name."""
