"""Pairs and triples of words as tokens of their own: what ends at each step of a text."""

import zipfile
from os import PathLike
from typing import Any, NamedTuple

import numpy as np

from rnn_jax.data.vocabulary import Tokens

NONE = 0
"""The number of an n-gram that is not among the known ones, or reaches over the text's beginning."""

LARGEST = 3
"""The longest n-gram: keys of V^3 fit 64 bits for any vocabulary below two million words."""


class NGrams(NamedTuple):
    """The n-grams that training texts have, numbered from 1 on, pairs before triples.

    The key of the n-gram w_1 ... w_n of tokens below V is w_1 V^(n-1) + ... + w_n.

    Attributes:
        vocab_size: V.
        keys: for n = 2, 3, ... the sorted keys, int64.
    """

    vocab_size: int
    keys: tuple[np.ndarray, ...]

    @property
    def num_ngrams(self) -> int:
        """How many numbers there are, `NONE` among them."""
        return 1 + sum(len(keys) for keys in self.keys)


def build(tokens: Tokens, vocab_size: int, longest: int, min_freq: int) -> NGrams:
    """Counts the n-grams of the training texts.

    Args:
        tokens: of the training split, and of no other.
        vocab_size: V.
        longest: n of the longest, 1 for none, at most 3.
        min_freq: how often an n-gram has to occur.

    Raises: `ValueError` for n out of that range.

    >>> tokens = Tokens(np.array([2, 3, 4, 2, 3]), np.array([0, 3]), np.array([3, 2]))
    >>> [keys.tolist() for keys in build(tokens, 10, 3, min_freq=2).keys]
    [[23], []]
    """
    if not 1 <= longest <= LARGEST:
        raise ValueError(f"n-grams of up to {longest} words: take 1 to {LARGEST}")
    found = []
    for n in range(2, longest + 1):
        keys, counts = np.unique(_keys(tokens, vocab_size, n), return_counts=True)
        found.append(keys[(counts >= min_freq) & (keys >= 0)])
    return NGrams(vocab_size, tuple(found))


def lookup(ngrams: NGrams, tokens: Tokens) -> np.ndarray:
    """The number of the n-gram that ends at each token, `[longest - 1, total]` int32.

    >>> tokens = Tokens(np.array([2, 3, 4, 2, 3]), np.array([0, 3]), np.array([3, 2]))
    >>> lookup(build(tokens, 10, 2, min_freq=2), tokens).tolist()
    [[0, 1, 0, 0, 1]]
    """
    rows, first = [], 1
    for n, known in enumerate(ngrams.keys, start=2):
        row = np.full(len(tokens.values), NONE, np.int32)
        if len(known):
            keys = _keys(tokens, ngrams.vocab_size, n)
            place = np.minimum(np.searchsorted(known, keys), len(known) - 1)
            row = np.where(known[place] == keys, place + first, NONE).astype(np.int32)
        rows.append(row)
        first += len(known)
    return np.stack(rows) if rows else np.zeros((0, len(tokens.values)), np.int32)


def _keys(tokens: Tokens, vocab_size: int, n: int) -> np.ndarray:
    """The key of the n tokens that end at each place; -1 where the text began less than n tokens ago."""
    values = tokens.values.astype(np.int64)
    keys = values.copy()
    for back in range(1, min(n, len(values))):
        keys[back:] += values[:-back] * vocab_size**back
    place = np.arange(len(values)) - np.repeat(tokens.starts, tokens.lengths)
    return np.where(place >= n - 1, keys, -1)


def save(ngrams: NGrams, file: str | PathLike[str]) -> None:
    """Writes an `.npz` that `load` reads."""
    arrays: dict[str, Any] = {f"keys_{n}": keys for n, keys in enumerate(ngrams.keys, start=2)}
    np.savez_compressed(file, vocab_size=ngrams.vocab_size, **arrays)


def load(file: str | PathLike[str]) -> NGrams:
    """What `save` wrote. Raises `ValueError` for a file that is none."""
    try:
        with np.load(file) as arrays:
            keys = tuple(arrays[f"keys_{n}"] for n in range(2, len(arrays.files) + 1))
            return NGrams(int(arrays["vocab_size"]), keys)
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile) as error:
        raise ValueError(f"{file} holds no n-grams: {error}") from error
