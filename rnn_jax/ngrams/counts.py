"""The n-grams of a text and how often each occurs, in sorted tables without a hash.

An n-gram is its history, the n-gram one shorter, and its last token. Both fit one integer:

    key(w_1 ... w_k) = index(w_1 ... w_{k-1}) (V + 1) + w_k

where `index` is the place in the sorted table of the order below. All n-grams with the same history lie side by side.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike


class Counts(NamedTuple):
    """The n different n-grams of order k, sorted by their keys.

    Of order 1 it is the whole vocabulary, whether or not a token occurs, and the begin marker V with a count of 0.

    Attributes:
        keys: `[n]` int64.
        occurrences: `[n]` int64, how often each occurs.
        suffixes: `[n]` int64, the index of the n-gram without its first token in the table of the order below.
        at_begin: `[n]` bool, which ones have the begin marker in front.
    """

    keys: np.ndarray
    occurrences: np.ndarray
    suffixes: np.ndarray
    at_begin: np.ndarray


def as_tokens(tokens: ArrayLike, num_tokens: int, name: str = "tokens") -> np.ndarray:
    """Tokens as `[N]` int64. Raises `ValueError` for another number of axes, no integers, or numbers beyond V - 1."""
    array = np.asarray(tokens)
    if array.ndim != 1 or (array.size and not np.issubdtype(array.dtype, np.integer)):
        raise ValueError(f"{name} must be [N] integers, got {array.dtype} {array.shape}")
    if array.size and not 0 <= array.min() <= array.max() < num_tokens:
        raise ValueError(f"{name} must be 0 to {num_tokens - 1}, got {array.min()} to {array.max()}")
    return array.astype(np.int64)


def marked(tokens: np.ndarray, num_tokens: int, end: int | None) -> tuple[np.ndarray, np.ndarray]:
    """A text with begin markers, and how many tokens of the same sentence stand before each.

    Args:
        tokens: `[N]` int64.
        num_tokens: V, the number of the begin marker.
        end: the token that ends a sentence; None: the text is one stream without a marker.

    Returns: `[M]` int64, the text with a marker before every sentence, and `[M]` int64, the longest history of each
    token, its marker included.

    >>> [part.tolist() for part in marked(np.array([1, 2, 0, 2, 2, 0]), 3, end=0)]
    [[3, 1, 2, 0, 3, 2, 2, 0], [0, 1, 2, 3, 0, 1, 2, 3]]
    """
    if end is None:
        return tokens, np.arange(len(tokens))
    firsts = np.flatnonzero(np.append(end, tokens)[:-1] == end)
    text = np.insert(tokens, firsts, num_tokens)
    place = np.arange(len(text))
    return text, place - np.maximum.accumulate(np.where(text == num_tokens, place, 0))


def count(tokens: ArrayLike, order: int, num_tokens: int, end: int | None) -> list[Counts]:
    """The n-grams of a text, of all orders.

    Args:
        tokens: `[N]` integers from 0 to V - 1, N at least 1.
        order: the longest n-gram, at least 1.
        num_tokens: V.
        end: the token that ends a sentence, which no n-gram crosses; None: none does.

    Returns: `Counts` of the orders 1 to `order`.

    Raises: `ValueError` for tokens that do not fit, none at all, an order below 1, or an `end` beyond V - 1.

    >>> unigrams, bigrams = count([0, 1, 1, 0, 1], 2, 2, end=None)
    >>> [(int(key) // 3, int(key) % 3) for key in bigrams.keys], bigrams.occurrences.tolist()
    ([(0, 1), (1, 0), (1, 1)], [2, 1, 1])
    """
    if order < 1:
        raise ValueError(f"order must be at least 1, got {order}")
    if end is not None and not 0 <= end < num_tokens:
        raise ValueError(f"end must be 0 to {num_tokens - 1}, got {end}")
    tokens = as_tokens(tokens, num_tokens)
    if not len(tokens):
        raise ValueError("no tokens to count: tokens are (0,)")
    text, longest = marked(tokens, num_tokens, end)
    base = num_tokens + 1
    vocabulary = np.arange(base)
    unigrams = np.bincount(tokens, minlength=base)
    tables = [Counts(vocabulary, unigrams, np.zeros(base, np.int64), vocabulary == num_tokens)]
    index = text  # of the n-gram of the order below that ends at each place; -1 where there is none
    for length in range(1, order):
        at = np.flatnonzero(longest >= length)
        keys, first, inverse, occurrences = np.unique(
            index[at - 1] * base + text[at], return_index=True, return_inverse=True, return_counts=True
        )
        at_begin = tables[-1].at_begin[keys // base]
        tables.append(Counts(keys, occurrences, index[at[first]], at_begin))
        index = np.full(len(text), -1)
        index[at] = inverse
    return tables
