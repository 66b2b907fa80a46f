"""One input, many outputs: a cell that reads what it wrote."""

from collections.abc import Callable

import jax

from rnn_jax.cells.cell import Cell, zero_carry
from rnn_jax.types import Array, C, P


def generate(
    cell: Cell[P, C],
    params: P,
    x: Array,
    num_steps: int,
    feedback: Callable[[Array], Array],
    *,
    carry: C | None = None,
    hidden_size: int | None = None,
) -> tuple[C, Array]:
    """Runs a cell on its own outputs: carry_t, y_t = step(params, carry_{t-1}, x_t), x_{t+1} = feedback(y_t).

    Args:
        cell: a `Cell`.
        params: its parameters.
        x: the first input `[*batch, I]`.
        num_steps: T, how many outputs.
        feedback: makes the next input `[*batch, I]` from an output `[*batch, H]` (a read-out, an embedded choice).
        carry: the carry before the first step, from reading a prompt with `unroll`, say; None: zeros.
        hidden_size: H, for a cell whose parameters do not tell it; None: what `cell.sizes` says.

    Returns: the final carry, and ys `[T, *batch, H]`.

    Raises: `ValueError` for a negative number of steps, and for no carry where `params` do not tell its size.

    Example: a linear cell without input weights halves its state at every step.

        >>> import jax.numpy as jnp
        >>> from rnn_jax import cells
        >>> params = cells.RNNParams(jnp.zeros((1, 1)), 0.5 * jnp.eye(1), jnp.zeros(1))
        >>> start = cells.RNNCarry(jnp.ones((1, 1)))
        >>> _, ys = generate(cells.get("rnn_identity"), params, jnp.ones((1, 1)), 3, lambda y: y, carry=start)
        >>> ys.ravel().tolist()
        [0.5, 0.25, 0.125]
    """
    if num_steps < 0:
        raise ValueError(f"num_steps must be at least 0, got {num_steps}")
    start = zero_carry(cell, params, x.shape[:-1], hidden_size) if carry is None else carry

    def step(state: tuple[C, Array], _: None) -> tuple[tuple[C, Array], Array]:
        carry, x = state
        carry, y = cell.step(params, carry, x)
        return (carry, feedback(y).astype(x.dtype)), y

    (final, _), ys = jax.lax.scan(step, (start, x), length=num_steps)
    return final, ys
