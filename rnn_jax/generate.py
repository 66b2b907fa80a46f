"""One input, many outputs: a cell that reads what it wrote."""

from collections.abc import Callable

import jax

from rnn_jax.cells.cell import Cell
from rnn_jax.types import Array, Carry, Params


def generate(
    cell: Cell,
    params: Params,
    x: Array,
    num_steps: int,
    feedback: Callable[[Array], Array],
    *,
    carry: Carry | None = None,
) -> tuple[Carry, Array]:
    """Runs a cell on its own outputs: carry_t, y_t = step(params, carry_{t-1}, x_t), x_{t+1} = feedback(y_t).

    Args:
        cell: a `Cell`.
        params: its parameters.
        x: the first input `[*batch, I]`.
        num_steps: T, how many outputs.
        feedback: makes the next input `[*batch, I]` from an output `[*batch, H]` (a read-out, an embedded choice).
        carry: the carry before the first step, from reading a prompt with `unroll`, say; None: zeros.

    Returns: the final carry, and ys `[T, *batch, H]`.

    Raises: `ValueError` for a negative number of steps.

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
    if carry is None:
        carry = cell.init_carry(x.shape[:-1], params.w_hh.shape[0], params.w_hh.dtype)

    def step(state: tuple[Carry, Array], _: None) -> tuple[tuple[Carry, Array], Array]:
        carry, x = state
        carry, y = cell.step(params, carry, x)
        return (carry, feedback(y).astype(x.dtype)), y

    (carry, _), ys = jax.lax.scan(step, (carry, x), length=num_steps)
    return carry, ys
