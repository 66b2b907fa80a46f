"""How much a word, a pair or a triple of words speaks for a class, as inputs of a network: what counts alone can tell.

For each n-gram the log-count ratio of naive Bayes,

    r = log((p + 1) / sum (p + 1)) - log((q + 1) / sum (q + 1))

with p and q the numbers of training texts of class 1 and of class 0 that have it (Wang and Manning, "Baselines and
bigrams: simple, good sentiment and topic classification", 2012). A linear classifier adds them up; a recurrent network
reads them in place, one for each length n of the n-grams that end at a step, and can weigh them by what it has read.

A training text may not be described by counts that it is part of: an n-gram of that text alone would give its label
away, and nothing alike happens in a test text. So the training texts are dealt into folds, and the ratios of each fold
are counted in the others (Wolpert, "Stacked generalization", 1992). Texts that belong together, as the reviews of one
film do, go to one fold: the names of its actors would tell more there than they ever will of another film.
"""

import zipfile
from os import PathLike
from typing import Any, NamedTuple

import numpy as np

from rnn_jax.data.text import LONGEST_NGRAM
from rnn_jax.data.text.vocabulary import SPECIAL, Tokens

NUM_FOLDS = 10
LARGEST = 2**32
"""Bytes that a file may unpack to: of 300 million n-grams."""


class CountRatios(NamedTuple):
    """The ratios of all n-grams of the training texts.

    The key of the n-gram w_1 ... w_n of tokens below V is w_1 V^(n-1) + ... + w_n.

    Attributes:
        vocab_size: V.
        keys: for n = 1, 2, ... the sorted keys, int64.
        ratios: the ratio of each, float32.
    """

    vocab_size: int
    keys: tuple[np.ndarray, ...]
    ratios: tuple[np.ndarray, ...]


def build(
    tokens: Tokens,
    labels: np.ndarray,
    vocab_size: int,
    longest: int,
    min_freq: int = 2,
    groups: np.ndarray | None = None,
    seed: int = 0,
) -> tuple[CountRatios, np.ndarray]:
    """Counts the n-grams of the training texts.

    Args:
        tokens: of the training split, and of no other.
        labels: `[N]`, 0 or 1.
        vocab_size: V.
        longest: n of the longest n-gram, 0 for none, at most 3.
        min_freq: how often an n-gram has to occur; the ratio of a rarer one is 0.
        groups: `[N]`: texts of one number go to one fold; None: each on its own.
        seed: deals the groups into folds.

    Returns: the ratios counted in all texts, and `[longest, total]` float32, for each token of these texts the ratios
    counted in the other folds. Unknown words count for nothing on their own.

    Raises: `ValueError` for n out of that range, or labels of another shape or value.
    """
    if not 0 <= longest <= LONGEST_NGRAM:
        raise ValueError(f"n-grams of up to {longest} words: take 0 to {LONGEST_NGRAM}")
    if np.shape(labels) != (len(tokens.lengths),) or not np.isin(labels, (0, 1)).all():
        raise ValueError(f"{len(tokens.lengths)} texts need labels 0 or 1 of that shape, got {np.shape(labels)}")
    numbers = np.arange(len(labels)) if groups is None else np.unique(groups, return_inverse=True)[1]
    fold = (np.random.default_rng(seed).permutation(numbers.max(initial=0) + 1) % NUM_FOLDS)[numbers]
    owner = np.repeat(np.arange(len(labels)), tokens.lengths)
    all_keys, all_ratios, out_of_fold = [], [], []
    for n in range(1, longest + 1):
        keys = _keys(tokens, vocab_size, n)
        known, counts = np.unique(keys[keys >= 0], return_counts=True)
        known = known[counts >= min_freq]
        place, found = _find(known, keys)
        texts = np.unique(owner[found] * len(known) + place[found]) if len(known) else np.zeros(0, np.int64)
        text, number = np.divmod(texts, max(len(known), 1))
        cell = (number * 2 + labels[text]) * NUM_FOLDS + fold[text]
        present = np.bincount(cell, minlength=len(known) * 2 * NUM_FOLDS).reshape(-1, 2, NUM_FOLDS)
        total = present.sum(axis=-1)
        by_fold = np.stack([_ratio(total - present[..., f]) for f in range(NUM_FOLDS)])
        out_of_fold.append(np.where(found, by_fold[fold[owner], place], 0) if len(known) else np.zeros(len(keys)))
        all_keys.append(known)
        all_ratios.append(_ratio(total))
    rows = np.asarray(out_of_fold, np.float32).reshape(longest, len(tokens.values))
    return CountRatios(vocab_size, tuple(all_keys), tuple(all_ratios)), rows


def lookup(ratios: CountRatios, tokens: Tokens) -> np.ndarray:
    """For each token of other texts the ratio of the n-grams that end there.

    Args:
        ratios: of the training texts.
        tokens: of other texts, by the same vocabulary.

    Returns:
        `[longest, total]` float32; 0 for an n-gram that is not known.
    """
    rows = []
    for n, (known, values) in enumerate(zip(ratios.keys, ratios.ratios, strict=True), start=1):
        place, found = _find(known, _keys(tokens, ratios.vocab_size, n))
        rows.append(np.where(found, values[place], 0) if len(known) else np.zeros(len(tokens.values)))
    return np.asarray(rows, np.float32).reshape(len(ratios.keys), len(tokens.values))


def _ratio(counts: np.ndarray) -> np.ndarray:
    """r of each n-gram from the texts of both classes that have it, `[K, 2]` to `[K]`; 0 where none has."""
    smooth = counts + 1.0
    ratio = np.log(smooth[:, 1] / smooth[:, 1].sum()) - np.log(smooth[:, 0] / smooth[:, 0].sum())
    return np.where(counts.sum(axis=-1) > 0, ratio, 0).astype(np.float32)


def _find(known: np.ndarray, keys: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The place of each key among the sorted known ones, and whether it is there."""
    if not len(known):
        return np.zeros(len(keys), np.int64), np.zeros(len(keys), bool)
    place = np.minimum(np.searchsorted(known, keys), len(known) - 1)
    return place, known[place] == keys


def _keys(tokens: Tokens, vocab_size: int, n: int) -> np.ndarray:
    """The key of the n tokens that end at each place; -1 where the text began less than n tokens ago.

    Also -1 for `<pad>` and `<unk>` alone, which are no words.
    """
    values = tokens.values.astype(np.int64)
    keys = values.copy()
    for back in range(1, min(n, len(values))):
        keys[back:] += values[:-back] * vocab_size**back
    place = np.arange(len(values)) - np.repeat(tokens.starts, tokens.lengths)
    valid = place >= n - 1
    return np.where(valid & (values >= len(SPECIAL)) if n == 1 else valid, keys, -1)


def save(ratios: CountRatios, file: str | PathLike[str]) -> None:
    """Writes the ratios to an `.npz` file that `load` reads."""
    arrays: dict[str, Any] = {f"keys_{n}": keys for n, keys in enumerate(ratios.keys, start=1)}
    arrays |= {f"ratios_{n}": values for n, values in enumerate(ratios.ratios, start=1)}
    np.savez_compressed(file, vocab_size=ratios.vocab_size, longest=len(ratios.keys), **arrays)


def load(file: str | PathLike[str]) -> CountRatios:
    """What `save` wrote. Raises `ValueError` for a file that is none, or that unpacks to more than `LARGEST` bytes."""
    try:
        with open(file, "rb") as opened:  # NumPy leaves a damaged file open
            if sum(member.file_size for member in zipfile.ZipFile(opened).infolist()) > LARGEST:
                raise ValueError(f"it unpacks to more than {LARGEST:,} bytes")
            opened.seek(0)
            with np.load(opened, allow_pickle=False) as arrays:
                longest = int(arrays["longest"])
                if not 0 <= longest <= LONGEST_NGRAM:
                    raise ValueError(f"n-grams of up to {longest} words")
                numbers = range(1, longest + 1)
                keys, values = (tuple(arrays[f"{name}_{n}"] for n in numbers) for name in ("keys", "ratios"))
                found = CountRatios(int(arrays["vocab_size"]), keys, values)
        _check(found)
        return found
    except Exception as error:  # what is in the file decides what NumPy and zipfile raise
        raise ValueError(f"{file} holds no count ratios: {error}") from error


def _check(found: CountRatios) -> None:
    for keys, ratios in zip(found.keys, found.ratios, strict=True):
        if keys.dtype != np.int64 or ratios.dtype != np.float32 or keys.ndim != 1 or keys.shape != ratios.shape:
            raise ValueError(f"keys {keys.dtype}{keys.shape}, ratios {ratios.dtype}{ratios.shape}")
        if not np.isfinite(ratios).all() or (np.diff(keys) <= 0).any():
            raise ValueError("keys that do not ascend, or ratios that are not finite")
