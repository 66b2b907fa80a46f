"""Generated tasks that take a long memory: what matters comes early, the answer late, and noise lies between.

A task is a pure function of a key that makes one example, so that example i of a split is `f(fold_in(key, i))`: a
training set of any size takes no storage, and no example of it is one of another split.

    xs, targets = examples(ADDING.make, jax.random.key(0), jnp.arange(32), length=100)

Types do not depend on JAX's 64-bit mode: a task has the same examples in every precision.
"""

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

ADDING_FEATURES = 2

COPIED = 10
"""Symbols to copy."""
ALPHABET = 8
"""How many different symbols there are to copy."""
BLANK, DELIMITER = ALPHABET, ALPHABET + 1

DISTRACTORS = 4
X, Y, BEGIN, END = range(DISTRACTORS, DISTRACTORS + 4)


def adding(key: Any, length: int) -> tuple[Any, Any]:
    """Two of T numbers are marked, one in each half; the target is their sum.

        x_t = (v_t, m_t)    v_t ~ U(0, 1)    m_t = 1 at two steps, else 0    target = sum_t m_t v_t

    To answer 1 always has a mean squared error of 2 / 12 = 1/6.

    Args:
        key: of this example.
        length: T, at least 2.

    Returns:
        xs `[T, 2]` and the target `[1]`, float32.

    Raises:
        ValueError: a length below 2.

    Sources: Hochreiter and Schmidhuber, "Long short-term memory", 1997, experiment 4; one mark in each half: Arjovsky,
    Shah and Bengio, "Unitary evolution recurrent neural networks", 2016.
    """
    _check("adding", length, 2)
    key_values, key_first, key_second = jax.random.split(key, 3)
    values = jax.random.uniform(key_values, (length,), jnp.float32)
    first = jax.random.randint(key_first, (), 0, length // 2, jnp.int32)
    second = jax.random.randint(key_second, (), length // 2, length, jnp.int32)
    steps = jnp.arange(length)
    marks = ((steps == first) | (steps == second)).astype(jnp.float32)
    return jnp.stack((values, marks), axis=-1), jnp.sum(values * marks, keepdims=True)


def copying(key: Any, length: int) -> tuple[Any, Any]:
    """Ten symbols, T steps of nothing, and the ten symbols again.

        read     s_1 ... s_10, T - 1 blanks, a delimiter, 10 blanks
        answer   T + 10 blanks, s_1 ... s_10                          s_i one of 8 symbols

    Without a memory the best is blanks and then one symbol in eight: a cross-entropy of 10 ln 8 / (T + 20) per step.

    Args:
        key: of this example.
        length: T, at least 1.

    Returns:
        xs `[T + 20, 10]` float32, one feature per symbol (8 to copy, blank, delimiter), and the targets `[T + 20]`
        int32, of 9 classes (8 symbols and blank).

    Raises:
        ValueError: a length below 1.

    Source: Arjovsky, Shah and Bengio, "Unitary evolution recurrent neural networks", 2016, after Hochreiter and
    Schmidhuber, 1997.
    """
    _check("copying", length, 1)
    symbols = jax.random.randint(key, (COPIED,), 0, ALPHABET, jnp.int32)
    blanks = jnp.full((length + COPIED,), BLANK, jnp.int32)
    read = jnp.concatenate((symbols, blanks.at[length - 1].set(DELIMITER)))
    return jax.nn.one_hot(read, ALPHABET + 2, dtype=jnp.float32), jnp.concatenate((blanks, symbols))


def temporal_order(key: Any, length: int) -> tuple[Any, Any]:
    """Which of X and Y came first and which second, among distractors: four classes XX, XY, YX, YY.

    The sequence begins with E and ends with B; the symbol at a step t1 in T/10 <= t1 < T/5 and the one at a step t2 in
    T/2 <= t2 < 3T/5 are X or Y, the others are drawn from a, b, c, d. With T = 100 these are the paper's places.

    Args:
        key: of this example.
        length: T, at least 10.

    Returns:
        xs `[T, 8]` float32, one feature per symbol (a, b, c, d, X, Y, E, B), and the class `[]` int32, 0..3.

    Raises:
        ValueError: a length below 10.

    Source: Hochreiter and Schmidhuber, "Long short-term memory", 1997, experiment 6a, where T is drawn from 100..110.
    """
    _check("temporal_order", length, 10)
    key_noise, key_first, key_second, key_symbols = jax.random.split(key, 4)
    first = jax.random.randint(key_first, (), length // 10, length // 5, jnp.int32)
    second = jax.random.randint(key_second, (), length // 2, 3 * length // 5, jnp.int32)
    a, b = jax.random.randint(key_symbols, (2,), 0, 2, jnp.int32)
    noise = jax.random.randint(key_noise, (length,), 0, DISTRACTORS, jnp.int32)
    symbols = noise.at[first].set(X + a).at[second].set(X + b).at[0].set(BEGIN).at[-1].set(END)
    return jax.nn.one_hot(symbols, DISTRACTORS + 4, dtype=jnp.float32), 2 * a + b


class Generated(NamedTuple):
    """A generated task.

    Attributes:
        make: `(key, length) -> (xs [T, F], targets)`, one example.
        num_features: F.
        num_outputs: numbers to predict, or classes.
        every_step: whether there is an answer at every step or one at the end.
        shortest: the smallest length.
        trivial: `length -> measures` of the best answer without a memory, exactly.
    """

    make: Callable[[Any, int], tuple[Any, Any]]
    num_features: int
    num_outputs: int
    every_step: bool
    shortest: int
    trivial: Callable[[int], dict[str, float]]


TASKS = {
    "adding": Generated(adding, ADDING_FEATURES, 1, False, 2, lambda length: {"mse": 1 / 6}),
    "copying": Generated(
        copying,
        ALPHABET + 2,
        ALPHABET + 1,
        True,
        1,
        lambda length: {
            "cross_entropy": COPIED * math.log(ALPHABET) / (length + 2 * COPIED),
            "accuracy": 1 / ALPHABET,
        },
    ),
    "temporal_order": Generated(
        temporal_order, DISTRACTORS + 4, 4, False, 10, lambda length: {"cross_entropy": math.log(4), "accuracy": 1 / 4}
    ),
}


def examples(make: Callable[[Any, int], tuple[Any, Any]], key: Any, indices: Any, length: int) -> tuple[Any, Any]:
    """The examples of these numbers: of the split that the key stands for, example i is a function of i alone.

    Args:
        make: makes one example.
        key: of the split.
        indices: `[B]` integers.
        length: T.

    Returns:
        xs `[B, T, F]` and targets `[B, ...]`.

    Example:

        >>> xs, targets = examples(adding, jax.random.key(0), jnp.arange(3), length=5)
        >>> again, _ = examples(adding, jax.random.key(0), jnp.array([2]), length=5)
        >>> xs.shape, targets.shape, bool((xs[2] == again[0]).all())
        ((3, 5, 2), (3, 1), True)
    """
    return jax.vmap(lambda i: make(jax.random.fold_in(key, i), length))(indices)


def _check(name: str, length: int, shortest: int) -> None:
    if length < shortest:
        raise ValueError(f"the {name} task needs a length of at least {shortest}, got {length}")
