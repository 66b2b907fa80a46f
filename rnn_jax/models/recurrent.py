"""Flax NNX modules: they own parameters and call the pure functions.

`RNN`, `LSTM` and `GRU` are whole layers (stacked, bidirectional, over time); `FlaxCell` is one step in Flax's form, so
that `nnx.RNN(FlaxCell(...))` runs our cells in Flax's own loop.
"""

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx

from rnn_jax import cells, compose
from rnn_jax.backends import CHOICES
from rnn_jax.cells import Cell
from rnn_jax.cells.cell import zero_carry
from rnn_jax.compose import Directions
from rnn_jax.dropout import check_rate, drop_weights
from rnn_jax.types import Array, Carry, DType, Key, Params, same_structure


class Weights(nnx.Module):
    """The parameters of one cell, any pytree `params`: an `nnx.Param` for each array, named after its place in it."""

    def __init__(self, params: Params):
        leaves, self.structure = jax.tree_util.tree_flatten_with_path(params)
        self.names = tuple(jax.tree_util.keystr(path, simple=True, separator="_") or "params" for path, _ in leaves)
        for name, (_, value) in zip(self.names, leaves, strict=True):
            setattr(self, name, nnx.Param(value))

    def load(self, params: Params) -> None:
        """Takes the values of a pytree of the same structure and shapes, in the type that is here."""
        for name, value in zip(self.names, jax.tree.leaves(params), strict=True):
            param = getattr(self, name)
            param[...] = jnp.asarray(value, param[...].dtype)

    def tree(self, dtype: DType | None = None) -> Params:
        """The pytree that the pure functions take, cast to `dtype` if one is given."""
        values = (getattr(self, name)[...] for name in self.names)
        cast = [value if dtype is None else value.astype(dtype) for value in values]
        return jax.tree_util.tree_unflatten(self.structure, cast)


class BothDirections(nnx.Module):
    """The parameters of a layer with two directions, from `Directions` of two pytrees, `params`."""

    def __init__(self, params: Directions[Params]):
        self.forward = Weights(params.forward)
        self.backward = Weights(params.backward)

    def load(self, params: Directions[Params]) -> None:
        """Takes the values of both."""
        self.forward.load(params.forward)
        self.backward.load(params.backward)

    def tree(self, dtype: DType | None = None) -> Directions[Params]:
        """`Directions` of the two pytrees, cast to `dtype` if one is given."""
        return Directions(self.forward.tree(dtype), self.backward.tree(dtype))


class Recurrent(nnx.Module):
    """Layers of one cell over time, batch-major at the border.

    Args:
        cell: a `Cell`, or the name of one.
        input_size: I.
        hidden_size: H, or one for each layer.
        num_layers: L.
        bidirectional: two directions per layer; the outputs have 2 O features.
        residual: a layer above the first adds what it reads to its outputs, which must be of that size.
        layer_norm: outputs are normalized over their features before the next layer reads them.
        projection: outputs are projected to so many features before the next layer reads them.
        dropout: rate between layers. In training mode (`module.train()`) a call without random keys is an error, in
            evaluation mode (`module.eval()`) keys are not used; in neither, the keys decide.
        variational: one dropout mask per sequence instead of one per step.
        zoneout: share of the units that skip a step in training.
        weight_drop: share of the recurrent weights that are absent from a call in training, see `rnn_jax.dropout`.
        dtype: of the computation; None: that of the parameters.
        param_dtype: of the parameters.
        backend, checkpoint_every, truncate_every: as in `unroll`.
        rngs: draws the parameters from its `params` stream.
        options: of the cell's `init_params` for every layer and direction: `init`, `gain`, and where the cell has
            them `forget_bias` and `chrono`.

    Raises: `ValueError` for an unknown cell, scheme or back end, a rate outside [0, 1), or sizes below 1;
    `TypeError` for an option that the cell does not have.

    Example:

        >>> import jax.numpy as jnp
        >>> from flax import nnx
        >>> from rnn_jax.models.recurrent import LSTM
        >>> lstm = LSTM(3, 5, num_layers=2, forget_bias=1.0, rngs=nnx.Rngs(0))
        >>> carry, ys = lstm(jnp.ones((2, 7, 3)), lengths=jnp.array([7, 4]))
        >>> ys.shape, len(carry), carry[0].c.shape
        ((2, 7, 5), 2, (2, 5))
    """

    perturbations: tuple[Carry, ...] | None = None
    """Of `compose.unroll_stack`; `rnn_jax.models.gradient_flow` puts them here for one call."""

    def __init__(
        self,
        cell: Cell[Params, Carry] | str,
        input_size: int,
        hidden_size: int | Sequence[int],
        *,
        num_layers: int = 1,
        bidirectional: bool = False,
        residual: bool = False,
        layer_norm: bool = False,
        projection: int | None = None,
        dropout: float = 0.0,
        variational: bool = False,
        zoneout: float = 0.0,
        weight_drop: float = 0.0,
        dtype: DType | None = None,
        param_dtype: DType = jnp.float32,
        backend: str = "auto",
        checkpoint_every: int | None = None,
        truncate_every: int | None = None,
        rngs: nnx.Rngs,
        **options: Any,
    ):
        for name, rate in (("dropout", dropout), ("zoneout", zoneout), ("weight_drop", weight_drop)):
            check_rate(name, rate)
        if backend not in CHOICES:
            raise ValueError(f"unknown backend {backend!r}: take one of {', '.join(CHOICES)}")
        self.cell = cells.get(cell) if isinstance(cell, str) else cell
        self.residual = residual
        self.dropout = dropout
        self.variational = variational
        self.zoneout = zoneout
        self.weight_drop = weight_drop
        self.dtype = dtype
        self.backend = backend
        self.checkpoint_every = checkpoint_every
        self.truncate_every = truncate_every
        self.deterministic: bool | None = None
        self.hidden_size = hidden_size if isinstance(hidden_size, int) else tuple(hidden_size)
        params = compose.init_stack(
            rngs.params(), self.cell, input_size, hidden_size, num_layers, bidirectional, param_dtype,
            between_size=projection, **options,
        )  # fmt: skip
        self.layers = nnx.List([BothDirections(p) if isinstance(p, Directions) else Weights(p) for p in params])
        widths = [
            compose.output_size(self.cell, input_size, size, **options) * (1 + bidirectional)
            for size in compose.per_layer(hidden_size, num_layers)
        ]
        self.output_size = widths[-1]
        read = widths[:-1] if projection is None else [projection] * (num_layers - 1)
        if residual and read != widths[1:]:
            raise ValueError(
                f"residual adds what a layer reads to its outputs: they have {read} and {widths[1:]} features"
            )
        if layer_norm:
            self.norms = nnx.List([nnx.LayerNorm(size, param_dtype=param_dtype, rngs=rngs) for size in widths[:-1]])
        if projection is not None:
            self.projections = nnx.List(
                [nnx.Linear(size, projection, param_dtype=param_dtype, rngs=rngs) for size in widths[:-1]]
            )

    def __call__(
        self,
        xs: Array,
        *,
        lengths: Array | None = None,
        mask: Array | None = None,
        resets: Array | None = None,
        carry: tuple[Carry, ...] | None = None,
        whole: bool = False,
        time_major: bool = False,
        rngs: nnx.Rngs | None = None,
    ) -> tuple[tuple[Carry, ...], Array]:
        """Runs the layers over a batch of sequences.

        Args:
            xs: inputs `[B, T, I]`, or `[T, B, I]` with `time_major`.
            lengths: `[B]` integers; past it the carry is held and outputs are zero.
            mask: `[B, T]` bool (`[T, B]` with `time_major`): False is padding, wherever it is.
            resets: `[B, T]` bool (`[T, B]` with `time_major`): a new segment begins here.
            carry: one carry per layer, as a call returns them; None: zeros. Of two directions, `Directions(forward,
                None)`.
            whole: `carry` has one for the backward direction too, since xs is the whole sequence, to its end. Else that
                is an error: what an earlier chunk left there comes from before the chunk, and not from behind it.
            time_major: says how xs, resets and the outputs are laid out.
            rngs: draws masks from its `dropout` stream; None: evaluation.

        Returns: the final carries, one per layer, and outputs `[B, T, D * O]` (`[T, B, D * O]` with `time_major`).

        Raises: `ValueError` for a backward carry without `whole`, for no `rngs` in training mode where something is
        drawn, and what `unroll` raises.
        """
        given = () if carry is None else carry
        if not whole and any(isinstance(each, Directions) and each.backward is not None for each in given):
            raise ValueError(
                "carry has a backward direction, which begins at the end of xs and not where an earlier chunk ended: "
                "give Directions(forward, None), or whole=True where xs is the whole sequence"
            )
        if not time_major:
            xs = jnp.swapaxes(xs, 0, 1)
            mask, resets = (None if each is None else jnp.swapaxes(each, 0, 1) for each in (mask, resets))
        key = self._key(rngs)
        carry, ys = compose.unroll_stack(
            self.cell,
            self.params() if key is None else self._dropped(key),
            xs if self.dtype is None else xs.astype(self.dtype),
            carry=carry,
            hidden_size=self.hidden_size,
            lengths=lengths,
            mask=mask,
            resets=resets,
            dropout_rate=self.dropout,
            variational=self.variational,
            zoneout_rate=self.zoneout,
            key=key,
            between=self.between,
            perturbations=self.perturbations,
            backend=self.backend,
            checkpoint_every=self.checkpoint_every,
            truncate_every=self.truncate_every,
        )
        return carry, ys if time_major else jnp.swapaxes(ys, 0, 1)

    def _key(self, rngs: nnx.Rngs | None) -> Key | None:
        if not (self.dropout or self.zoneout or self.weight_drop) or self.deterministic:
            return None
        if rngs is None and self.deterministic is False:
            raise ValueError(
                "dropout, zoneout and weight_drop draw in training mode: give rngs, or call eval() on the module"
            )
        return None if rngs is None else rngs.dropout()

    def _dropped(self, key: Key) -> tuple[Params, ...]:
        """`params` with some recurrent weights absent, of each layer and direction others."""
        if not self.weight_drop:
            return self.params()
        key = jax.random.fold_in(key, len(self.layers) * 2)  # beyond those that `unroll_stack` folds in
        dropped = []
        for number, layer in enumerate(self.params()):
            keys = jax.random.split(jax.random.fold_in(key, number))
            if isinstance(layer, Directions):
                each = (drop_weights(one, params, self.weight_drop) for one, params in zip(keys, layer, strict=True))
                dropped.append(Directions(*each))
            else:
                dropped.append(drop_weights(keys[0], layer, self.weight_drop))
        return tuple(dropped)

    def between(self, layer: int, read: Array, ys: Array) -> Array:
        """What becomes of the outputs `ys` of a layer that has read `read`: a residual sum, a norm, a projection."""
        if self.residual and layer > 0:
            ys = ys + read
        if layer == len(self.layers) - 1:
            return ys
        if hasattr(self, "norms"):
            ys = self.norms[layer](ys)
        return self.projections[layer](ys) if hasattr(self, "projections") else ys

    def load(self, params: tuple[Params, ...]) -> None:
        """Takes parameters as `params` gives them: `from_torch` of `rnn_jax.convert`, a draw of `init_stack`.

        Raises: `ValueError` for another structure or other shapes, with them; then nothing is changed.
        """
        shapes = [jax.tree.map(jnp.shape, each) for each in (self.params(), tuple(params))]
        if not same_structure(tuple(params), self.params()) or shapes[0] != shapes[1]:
            raise ValueError(f"parameters must be {shapes[0]}, got {shapes[1]}")
        for layer, given in zip(self.layers, params, strict=True):
            layer.load(given)

    def params(self) -> tuple[Params, ...]:
        """The parameters of each layer, as `compose.unroll_stack` takes them, in the type of the computation."""
        return tuple(layer.tree(self.dtype) for layer in self.layers)

    def init_carry(self, batch_size: int) -> tuple[Carry, ...]:
        """The carries before the first step, zeros `[B, H]`, one per layer."""
        return compose.zero_carries(self.cell, self.params(), (batch_size,), self.hidden_size)

    def step(self, carry: tuple[Carry, ...], x: Array) -> tuple[tuple[Carry, ...], Array]:
        """One step of all layers, for a stream that is read as it comes; without dropout, and in one direction.

        Args:
            carry: one per layer, of `init_carry`, of the step before, or of a call over what came before.
            x: `[B, I]`.

        Returns: the carries after it and y `[B, O]`: what a call over the whole sequence has at that step.

        Raises: `ValueError` for layers of two directions: the second one begins at the end.
        """
        if any(isinstance(layer, BothDirections) for layer in self.layers):
            raise ValueError("a step has one direction, and these layers have two: build them with bidirectional=False")
        x = x if self.dtype is None else x.astype(self.dtype)
        carry, ys = compose.unroll_stack(
            self.cell, self.params(), x[None], carry=carry, hidden_size=self.hidden_size, zoneout_rate=self.zoneout,
            between=self.between,
        )  # fmt: skip
        return carry, ys[0]


class RNN(Recurrent):
    """`Recurrent` with the Elman cell.

    Args:
        input_size: I.
        hidden_size: H.
        activation: tanh, relu or identity.
        options: of `Recurrent`, `rngs` among them.
    """

    def __init__(self, input_size: int, hidden_size: int, *, activation: str = "tanh", **options: Any):
        name = "rnn" if activation == "tanh" else f"rnn_{activation}"
        super().__init__(name, input_size, hidden_size, **options)


class LSTM(Recurrent):
    """`Recurrent` with the LSTM cell.

    Args:
        input_size: I.
        hidden_size: H.
        options: of `Recurrent`, `rngs` among them.
    """

    def __init__(self, input_size: int, hidden_size: int, **options: Any):
        super().__init__("lstm", input_size, hidden_size, **options)


class GRU(Recurrent):
    """`Recurrent` with the GRU cell.

    Args:
        input_size: I.
        hidden_size: H.
        options: of `Recurrent`, `rngs` among them.
    """

    def __init__(self, input_size: int, hidden_size: int, **options: Any):
        super().__init__("gru", input_size, hidden_size, **options)


class FlaxCell(nnx.RNNCellBase):
    """One of our cells as a Flax cell: `carry, y = cell(carry, x)`.

    Args:
        cell: a `Cell`, or the name of one.
        input_size: I.
        hidden_size: H.
        rngs: draws the parameters from its `params` stream.
        options: of the cell's `init_params`, `dtype` among them.

    Example:

        >>> import jax.numpy as jnp
        >>> from flax import nnx
        >>> from rnn_jax.models.recurrent import FlaxCell
        >>> nnx.RNN(FlaxCell("lstm", 3, 5, rngs=nnx.Rngs(0)))(jnp.ones((2, 7, 3))).shape
        (2, 7, 5)
    """

    def __init__(
        self, cell: Cell[Params, Carry] | str, input_size: int, hidden_size: int, *, rngs: nnx.Rngs, **options: Any
    ):
        self.cell = cells.get(cell) if isinstance(cell, str) else cell
        self.hidden_size = hidden_size
        self.weights = Weights(self.cell.init_params(rngs.params(), input_size, hidden_size, **options))

    def initialize_carry(self, input_shape: tuple[int, ...], rngs: Any = None, carry_init: Any = None) -> Carry:
        """The carry before the first step, `[*batch, H]`, for inputs `[*batch, I]`: zeros, or what `carry_init` draws.

        `carry_init` is a Flax initializer, `(key, shape, dtype) -> array`, and takes its keys from `rngs`.
        """
        zeros = zero_carry(self.cell, self.weights.tree(), input_shape[:-1], self.hidden_size)
        if carry_init is None:
            return zeros
        return jax.tree.map(
            lambda c: carry_init(rngs.carry() if hasattr(rngs, "carry") else rngs(), c.shape, c.dtype), zeros
        )

    def __call__(self, carry: Carry, inputs: Array) -> tuple[Carry, Array]:
        """One step: inputs `[*batch, I]` to the new carry and y `[*batch, H]`."""
        return self.cell.step(self.weights.tree(), carry, inputs)

    @property
    def num_feature_axes(self) -> int:
        """Flax asks how many trailing axes of the inputs are features: one."""
        return 1
