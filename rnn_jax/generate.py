"""One input, many outputs: a cell that reads what it wrote."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from rnn_jax.cells.cell import Cell, zero_carry
from rnn_jax.controls import select
from rnn_jax.types import Array, C, Carry, Key, P


class Generated(NamedTuple):
    """What `generate` returns.

    Attributes:
        carry: the carry after the last step of each sequence.
        ys: `[T, *batch, O]`, the outputs; zero after the end of a sequence.
        choices: `[T, *batch, ...]`, what was chosen at each step: `choices[t]` is read at step t + 1. After the end of
            a sequence it is its last choice.
        lengths: `[*batch]`, steps until `stop` said so, that one included; T where it never did.
    """

    carry: Carry
    ys: Array
    choices: Array
    lengths: Array


def generate(
    cell: Cell[P, C],
    params: P,
    first: Array,
    num_steps: int,
    choose: Callable[..., Array],
    *,
    embed: Callable[[Array], Array] = lambda choice: choice,
    carry: C | None = None,
    hidden_size: int | None = None,
    key: Key | None = None,
    known: Array | None = None,
    targets: Array | None = None,
    target_rate: float | Array = 1.0,
    stop: Callable[[Array], Array] | None = None,
) -> Generated:
    """Runs a cell on its own outputs.

        x_t = embed(choice_t), known_t          side by side, where something is known
        carry_t, y_t = step(params, carry_{t-1}, x_t)
        choice_{t+1} = choose(y_t)              or of `targets`, or drawn: choose(y_t, key_t)

    Args:
        cell: a `Cell`; layers on top of each other are one by `compose.stacked`.
        params: its parameters.
        first: the choice that the first step reads, `[*batch, ...]`: a value, the number of a token.
        num_steps: T, how many outputs.
        choose: makes the next choice, like `first`, from an output `[*batch, O]`: a read-out, the likeliest token, with
            a `key` a sample.
        embed: makes an input `[*batch, I]` of a choice. None is needed where a choice is an input.
        carry: the carry before the first step, from reading a prompt with `unroll`, say; None: zeros.
        hidden_size: H, for a cell whose parameters do not tell it.
        key: `choose` gets a key of its own for every step.
        known: `[T, *batch, F]`, what is known of every step beforehand: the calendar, a plan. x_t has it at its end.
        targets: `[T, *batch, ...]`, what should have been chosen: read in place of the choice at a share of the steps
            (scheduled sampling; with a share of 1 teacher forcing).
        target_rate: that share, drawn by `key` for every step and sequence; 0 to 1, may be traced.
        stop: of a choice, to bool `[*batch]`: the sequence ends with it. Its carry is held from there.

    Returns: `Generated`.

    Raises: `ValueError` for a negative number of steps, for `known` or `targets` of another length, for a rate below 1
    without a key, and for no carry where parameters do not tell its size.

    Source: Bengio, Vinyals, Jaitly and Shazeer, "Scheduled sampling for sequence prediction with recurrent neural
    networks", 2015.

    Example: a linear cell without input weights halves its state at every step.

        >>> import jax.numpy as jnp
        >>> from rnn_jax import cells
        >>> params = cells.RNNParams(jnp.zeros((1, 1)), 0.5 * jnp.eye(1), jnp.zeros(1))
        >>> start = cells.RNNCarry(jnp.ones((1, 1)))
        >>> found = generate(cells.get("rnn_identity"), params, jnp.ones((1, 1)), 4, lambda y: y, carry=start,
        ...                  stop=lambda y: y[..., 0] < 0.2)
        >>> found.ys.ravel().tolist(), found.lengths.tolist()
        ([0.5, 0.25, 0.125, 0.0], [3])
    """
    if num_steps < 0:
        raise ValueError(f"num_steps must be at least 0, got {num_steps}")
    for name, per_step in (("known", known), ("targets", targets)):
        if per_step is not None and per_step.shape[0] != num_steps:
            raise ValueError(f"{name} must be [{num_steps}, *batch, ...], got {per_step.shape}")
    if key is None and targets is not None and not (isinstance(target_rate, float | int) and target_rate >= 1):
        raise ValueError("target_rate below 1 draws which steps read a target: give a key")
    x = jax.eval_shape(lambda: _input(embed(first), None if known is None else jnp.zeros(known.shape[1:], known.dtype)))
    batch = x.shape[:-1]
    start = zero_carry(cell, params, batch, hidden_size, x.dtype) if carry is None else carry

    def body(state: tuple[C, Array, Array], inputs: tuple[Any, ...]) -> tuple[Any, tuple[Array, Array, Array]]:
        (carry, choice, going), (number, now_known, target) = state, inputs
        keys = (None, None) if key is None else tuple(jax.random.split(jax.random.fold_in(key, number)))
        after, y = cell.step(params, carry, _input(embed(choice), now_known))
        chosen = (choose(y) if key is None else choose(y, keys[0])).astype(choice.dtype)
        read = chosen
        if target is not None:
            taken = True if key is None else jax.random.bernoulli(keys[1], target_rate, batch)
            read = select(jnp.broadcast_to(taken, batch), target.astype(choice.dtype), chosen)
        carry = select(going, after, carry)
        y = select(going, y, jnp.zeros_like(y))
        read, chosen = select(going, read, choice), select(going, chosen, choice)
        still = going if stop is None else going & ~stop(chosen)
        return (carry, read, still), (y, chosen, going)

    inputs = (jnp.arange(num_steps), known, targets)
    (final, _, _), (ys, choices, took) = jax.lax.scan(body, (start, first, jnp.ones(batch, bool)), inputs)
    return Generated(final, ys, choices, took.sum(axis=0, dtype=jnp.int32))


def _input(embedded: Array, known: Array | None) -> Array:
    return embedded if known is None else jnp.concatenate((embedded, known.astype(embedded.dtype)), axis=-1)
