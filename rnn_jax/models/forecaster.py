"""A forecaster: recurrent layers read a window, a decoder says what comes next.

    window  ->  normalized  ->  segments  ->  recurrent layers  ->  decoder  ->  placed back in units of the targets

Decoders: `rnn_jax.models.decoders`. What is said of a value (a point, a Gaussian, quantiles): `rnn_jax.models.outputs`.
The linear forecast beside the network: `rnn_jax.models.line`.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np
from flax import nnx

from rnn_jax.models.decoders import DECODERS, Direct, Seen
from rnn_jax.models.line import FORMS, LinePath
from rnn_jax.models.outputs import Output, Point
from rnn_jax.models.recurrent import BothDirections, Recurrent
from rnn_jax.types import Array

NORMALIZATIONS = ("none", "change", "last", "mean")
"""Of a window's targets: as they are; as they are, and the network adds to the last value; less the last value, which
is added to the forecast; less the window's mean and divided by its deviation, undone on the forecast (Kim et al.,
"Reversible instance normalization for accurate time-series forecasting against distribution shift", 2022, there with
learnt factors too)."""


class Frame(NamedTuple):
    """Where the forecasts of a window begin, and the size of a step there: `[B, 1, M]` each."""

    base: Array
    spread: Array


class Forecaster(nnx.Module):
    """From windows `[B, lag, I]` to `[B, ahead, M, P]`, P numbers for each value that is forecast.

    Of the I features of a row the first M are the targets, scaled, and the last K are known of the future too.

    Args:
        cell: the name of a cell.
        input_size: I.
        hidden_size: H.
        num_targets: M.
        lag, ahead: rows read and rows forecast.
        num_known: K.
        decoder: a key of `decoders.DECODERS`.
        segment: rows that the recurrent layers read as one step; divides lag.
        separate: each target is read and forecast by itself, by the same weights, with all features that are no target.
        normalize: one of `NORMALIZATIONS`.
        output: what is said of a value.
        unit: `[ahead, M]`, the size of a typical change at each step, which the network's outputs are multiplied by;
            None: 1.
        line: one of `line.FORMS`.
        head_dropout: rate of dropout on what the decoder's last layer reads.
        rngs: draws the parameters.
        options: of `Recurrent`.

    Raises: `ValueError` for words that there are not, a segment that does not divide lag, and what `Recurrent` raises.

    Sources of shapes: Lin et al., "SegRNN: Segment recurrent neural network for long-term time series forecasting",
    2023 (segments, one step of a decoder for each segment that is forecast); Sutskever, Vinyals and Le, "Sequence to
    sequence learning with neural networks", 2014.

    Example:

        >>> from rnn_jax.models import num_params
        >>> model = Forecaster("lstm", 1, 400, num_targets=1, lag=24, ahead=8, rngs=nnx.Rngs(0))
        >>> model(jnp.ones((2, 24, 1)), jnp.ones((2, 8, 0))).shape, num_params(model)
        ((2, 8, 1, 1), 646408)
    """

    def __init__(
        self,
        cell: str,
        input_size: int,
        hidden_size: int,
        *,
        num_targets: int,
        lag: int,
        ahead: int,
        num_known: int = 0,
        decoder: str = "direct",
        segment: int = 1,
        separate: bool = False,
        normalize: str = "none",
        output: Output | None = None,
        unit: Sequence[Sequence[float]] | None = None,
        line: str = "none",
        head_dropout: float = 0.0,
        rngs: nnx.Rngs,
        **options: Any,
    ):
        for name, word, known in (
            ("decoder", decoder, tuple(DECODERS)), ("normalize", normalize, NORMALIZATIONS), ("line", line, FORMS),
        ):  # fmt: skip
            if word not in known:
                raise ValueError(f"unknown {name} {word!r}: take one of {', '.join(known)}")
        if lag % segment:
            raise ValueError(f"segment {segment} does not divide lag {lag}")
        self.num_targets, self.num_known, self.lag, self.ahead = num_targets, num_known, lag, ahead
        self.segment, self.separate, self.normalize = segment, separate, normalize
        self.output: Output = Point() if output is None else output  # one without fields is false
        self.unit = None if unit is None else tuple(tuple(float(each) for each in row) for row in unit)
        param_dtype = options.get("param_dtype", jnp.float32)
        own = 1 if separate else num_targets
        width = input_size - num_targets + own
        self.recurrent = Recurrent(cell, segment * width, hidden_size, rngs=rngs, **options)
        self.decoder = DECODERS[decoder](
            self.recurrent, width, own, ahead, num_known, self.output, segment, num_targets if separate else 1,
            head_dropout=head_dropout, cell=cell, rngs=rngs, options=options,
        )  # fmt: skip
        if line != "none":
            self.line = LinePath(line, lag, ahead, input_size - num_known, num_targets, num_known, param_dtype)

    def __call__(
        self, past: Array, future: Array, *, teacher: Array | None = None, rngs: nnx.Rngs | None = None
    ) -> Array:
        """Forecasts of windows.

        Args:
            past: `[B, lag, I]`.
            future: `[B, ahead, K]`, what is known of the rows that are forecast.
            teacher: `[B, ahead, M]`, the true targets, NaN where not measured, for a decoder that reads its own
                forecasts and is to read these in their place; None: it reads its own.
            rngs: draws the masks of dropout and zoneout from its `dropout` stream; None: evaluation.

        Returns: `[B, ahead, M, P]`, in float32 or wider.
        """
        frame, read = self._frame(past), self._read(past)
        carry, ys = self.recurrent(self._segments(read), rngs=rngs)
        taught = None if teacher is None else self._own((teacher - frame.base) / frame.spread)
        raw = self.decoder(carry, ys, read[:, -1], self._repeat(future), taught, self._seen(frame), rngs)
        return self._placed(self._joined(raw), frame, past, future)

    def from_origins(self, past: Array, future: Array, count: int, *, rngs: nnx.Rngs | None = None) -> Array:
        """Forecasts from the last `count` rows of a window, as if it ended there: `[B, count, ahead, M, P]`.

        The last of them is the forecast of the window. Raises: `ValueError` where an earlier one would know more than
        its past: windows that are normalized by their last rows, two directions; segments and decoders other than
        `direct`.
        """
        both = any(isinstance(layer, BothDirections) for layer in self.recurrent.layers)
        alike = self.normalize in ("none", "change")
        if not isinstance(self.decoder, Direct) or self.segment > 1 or both or not alike:
            raise ValueError(
                "several origins take decoder 'direct', segment 1, one direction, and normalize 'none' or 'change'"
            )
        _, ys = self.recurrent(self._segments(self._read(past)), rngs=rngs)
        known = jnp.concatenate([past[..., past.shape[-1] - self.num_known :], future], axis=1)
        ends = self.lag - count + 1 + np.arange(count)
        ahead = known[:, ends[:, None] + np.arange(self.ahead)]
        flat = ys[:, -count:].reshape(-1, ys.shape[-1])
        ahead = self._repeat(ahead).reshape(flat.shape[0], self.ahead, -1)
        raw = self._joined(self.decoder.read_out(flat, ahead, rngs).reshape(-1, count, *self.decoder.shape))
        last = past[:, -count:, None, : self.num_targets]
        base = last if self.normalize == "change" else jnp.zeros_like(last)
        return self.output.place(raw, base.astype(raw.dtype), self._unit(raw.dtype))

    def _frame(self, past: Array) -> Frame:
        own = past[..., : self.num_targets].astype(jnp.promote_types(past.dtype, jnp.float32))
        last = own[:, -1:]
        if self.normalize == "none":
            return Frame(jnp.zeros_like(last), jnp.ones_like(last))
        if self.normalize == "mean":
            deviation = jnp.sqrt(own.var(axis=1, keepdims=True) + 1e-5)
            return Frame(own.mean(axis=1, keepdims=True), deviation)
        return Frame(last, jnp.ones_like(last))

    def _seen(self, frame: Frame) -> Seen:
        """How a forecast becomes what the layers read: they read targets relative to the frame, but for `change`."""
        base = self._own(frame.base)[:, 0]
        unit = jnp.broadcast_to(self._unit(base.dtype), (frame.base.shape[0], self.ahead, self.num_targets))
        return Seen(base if self.normalize == "change" else jnp.zeros_like(base), self._own(unit))

    def _read(self, past: Array) -> Array:
        """What the layers read, `[B', lag, I']`; B' = B M for separate targets."""
        own, others = past[..., : self.num_targets], past[..., self.num_targets :]
        if self.normalize in ("last", "mean"):
            frame = self._frame(past)
            own = ((own - frame.base) / frame.spread).astype(past.dtype)
        return jnp.concatenate([self._own(own), self._repeat(others)], axis=-1)

    def _own(self, values: Array) -> Array:
        """`[B, T, M]` to `[B M, T, 1]` for separate targets."""
        if not self.separate:
            return values
        return jnp.moveaxis(values, -1, 1).reshape(-1, values.shape[1], 1)

    def _repeat(self, values: Array) -> Array:
        """`[B, ...]` to `[B M, ...]` for separate targets: the same for each."""
        return jnp.repeat(values, self.num_targets, axis=0) if self.separate else values

    def _segments(self, read: Array) -> Array:
        return read.reshape(read.shape[0], self.lag // self.segment, -1)

    def _joined(self, raw: Array) -> Array:
        """`[B M, ..., ahead, 1, P]` to `[B, ..., ahead, M, P]` for separate targets."""
        if not self.separate:
            return raw
        apart = raw.reshape(-1, self.num_targets, *raw.shape[1:])
        return jnp.moveaxis(apart, 1, -3)[..., 0, :]

    def _unit(self, dtype: Any) -> Array:
        return jnp.ones((self.ahead, self.num_targets), dtype) if self.unit is None else jnp.asarray(self.unit, dtype)

    def _placed(self, raw: Array, frame: Frame, past: Array, future: Array) -> Array:
        outputs = self.output.place(raw, frame.base.astype(raw.dtype), self._unit(raw.dtype) * frame.spread)
        if not hasattr(self, "line"):
            return outputs
        return self.output.shift(outputs, self.line.blend(self.output.location(outputs), past, future))
