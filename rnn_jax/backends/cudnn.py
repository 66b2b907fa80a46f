"""`backend="cudnn"`: NVIDIA's LSTM, through `jax.experimental.rnn`, on the parameters of `rnn_jax.cells.lstm`.

Our gates and cuDNN's run i, f, g, o. It wants weights as `[4H, I]` and `[4H, H]`, all in one array, with a second bias
that is zero here. It is batch-major and knows lengths; backwards it runs only as half of a pair, so for `reverse` each
sequence is turned round within its length, and its outputs back.

What one gets: float32 products in full precision unless `jax_default_matmul_precision` (or the context
`jax.default_matmul_precision`) names something less, such as "tensorfloat32" or "high": then cuDNN may round their
factors to 10 bits (TF32), about 1e-3 of a gradient, for the sake of tensor cores. cuDNN itself takes TF32 unless
told not to; a comparison of gradients would blame the wrong side.

Only for an NVIDIA GPU, float32, one batch axis, the stock LSTM, and lengths as the only control. There is no `vmap` (so
no replicas in one program) and no forward-mode derivative, as JAX has no rule for them.

Tested against JAX's own reference of the same function in place of the library call; not yet run on a GPU here.

Source: Appleyard, Kocisky and Blunsom, "Optimizing performance of recurrent neural networks on GPUs", 2016.
"""

import jax
import jax.numpy as jnp
from jax import lax

from rnn_jax.backends import device
from rnn_jax.backends.refusals import (
    OPTIONS,
    Refusal,
    of_nothing_to_run,
    of_options,
    of_other_than_float32,
    of_symbolic_sizes,
)
from rnn_jax.cells import CELLS
from rnn_jax.cells.cell import Cell
from rnn_jax.cells.lstm import LSTMCarry, LSTMParams
from rnn_jax.controls import StepMasks, select
from rnn_jax.types import Array, Carry, Params

LESS_THAN_FLOAT32 = ("default", "high", "fastest", "bfloat16", "bfloat16_3x", "tensorfloat32")
"""Values of `jax_default_matmul_precision` that allow TF32; also any that name a TF32 or bfloat16 algorithm."""


def refusal(cell: Cell[Params, Carry], params: Params, carry: Carry, xs: Array, masks: StepMasks) -> Refusal | None:
    """Why cuDNN cannot compute this, or None.

    Args: those of `run`, of which shapes and types alone count.
    """
    if cell != CELLS["lstm"]:
        return Refusal("cell", f"has the cell 'lstm' alone, not this {cell.name!r}")
    if len(xs.shape) != 3:
        return Refusal("xs", f"takes one batch axis, and xs is {xs.shape}")
    return (
        of_options(masks, OPTIONS)
        or of_symbolic_sizes(xs)
        or of_nothing_to_run(params, xs)
        or of_other_than_float32(params, carry, xs)
        or of_this_machine()
    )


def of_this_machine() -> Refusal | None:
    """Why this machine cannot run the library, or None."""
    return None if device.kind() == "cuda" else Refusal("device", f"needs an NVIDIA GPU, and this is {device.kind()}")


def run(
    cell: Cell[LSTMParams, LSTMCarry],
    reverse: bool,
    params: LSTMParams,
    carry: LSTMCarry,
    xs: Array,
    masks: StepMasks,
) -> tuple[LSTMCarry, Array]:
    """Runs the LSTM over xs `[T, B, I]`: the final carry and ys `[T, B, H]`. The caller has asked `refusal`."""
    from jax.experimental import rnn  # for those who use it

    del cell
    (num_steps, batch_size, input_size), hidden_size = xs.shape, params.w_hh.shape[0]
    valid = masks.valid
    lengths = jnp.full(batch_size, num_steps, jnp.int32)
    if valid is not None:
        # cuDNN takes no sequence without a step: such a one runs over a step of padding, which is then undone.
        lengths = jnp.maximum(valid.sum(0, dtype=jnp.int32), 1)
    if reverse:
        xs = turned(xs, lengths)
    ys, h, c = rnn.lstm(
        xs.swapaxes(0, 1),
        carry.h[None],
        carry.c[None],
        flat_weights(params),
        lengths,
        input_size,
        hidden_size,
        1,  # layer
        0.0,  # dropout
        False,  # bidirectional
        precision(),
    )
    ys, final = ys.swapaxes(0, 1), LSTMCarry(h[0], c[0])
    if reverse:
        ys = turned(ys, lengths)
    if valid is not None:
        ys = select(valid, ys, jnp.zeros_like(ys))
        final = select(valid[0], final, carry)
    return final, ys


def flat_weights(params: LSTMParams) -> Array:
    """cuDNN's one array of weights: W_ih `[4H, I]`, W_hh `[4H, H]` and two biases `[4H]`, of which the second is zero.

    >>> from jax.experimental import rnn
    >>> ones = LSTMParams(jnp.ones((3, 20)), jnp.ones((5, 20)), jnp.ones(20))
    >>> flat_weights(ones).shape == (rnn.get_num_params_in_lstm(3, 5, num_layers=1, bidirectional=False),)
    True
    """
    parts = (params.w_ih.T, params.w_hh.T, params.b, jnp.zeros_like(params.b))
    return jnp.concatenate([part.ravel() for part in parts])


def turned(values: Array, lengths: Array) -> Array:
    """`values` `[T, B, N]` in reverse order of time within each length `[B]`; padding stays where it is.

    >>> turned(jnp.arange(3.0).reshape(3, 1, 1), jnp.array([2])).ravel().tolist()
    [1.0, 0.0, 2.0]
    """
    steps = jnp.arange(values.shape[0])[:, None]
    order = jnp.where(steps < lengths, lengths - 1 - steps, steps)
    return jnp.take_along_axis(values, order[..., None], axis=0)


def precision() -> lax.Precision:
    """HIGHEST, float32 throughout, unless JAX's setting names less; then HIGH, by which cuDNN may take TF32."""
    named = jax.config.jax_default_matmul_precision  # type: ignore[attr-defined]
    if named is None:
        return lax.Precision.HIGHEST
    return lax.Precision.HIGH if rounds(named) else lax.Precision.HIGHEST


def rounds(named: str) -> bool:
    """Whether products at this `jax_default_matmul_precision` may round the factors of float32.

    >>> rounds("highest"), rounds("tensorfloat32"), rounds("TF32_TF32_F32")
    (False, True, True)
    """
    return named in LESS_THAN_FLOAT32 or "tf32" in named.lower() or "bf16" in named.lower()
