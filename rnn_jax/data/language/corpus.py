"""A text as three splits of tokens: what every data set for language models becomes."""

import contextlib
import os
from collections.abc import Iterable, Iterator, Sequence
from os import PathLike
from pathlib import Path
from typing import NamedTuple

import numpy as np

from rnn_jax.data.errors import DataError
from rnn_jax.data.language.kind import SPECIAL, UNK, Vocabulary
from rnn_jax.files import fingerprint as fingerprint_of_parts

SPLITS = ("train", "validation", "test")

FEWEST = 8
"""Tokens that every split must have."""

STORED = "tokens.bin"
"""The file inside the folder where tokens are kept."""

HASHED = 2**22
"""Tokens that are hashed at once."""


class Documents(NamedTuple):
    """D documents, which fill their split one after another.

    Attributes:
        starts: `[D]` int64, the first token of each in its split.
        labels: `[D]` int32, or None where documents have none.
    """

    starts: np.ndarray
    labels: np.ndarray | None

    def lengths(self, num_tokens: int) -> np.ndarray:
        """Tokens of each in a split of `num_tokens`, `[D]` int64."""
        return np.diff(self.starts, append=num_tokens)


class Split(NamedTuple):
    """N tokens in the order of the text.

    Attributes:
        tokens: `[N]` of the smallest unsigned type that holds V; may lie in a file, as a `np.memmap`.
        num_characters: of the text that the tokens stand for, blanks and line ends included: what bits per character
            are counted by.
        documents: where they begin; None for one running text.
    """

    tokens: np.ndarray
    num_characters: int
    documents: Documents | None = None


class Corpus(NamedTuple):
    """A data set for language models.

    Attributes:
        name: of the data set.
        vocabulary: of the training split.
        train, validation, test: the splits.
        protocol: a phrase on how it was split.
        entropy: nats per token of a perfect model, where it is known.
        remarks: sentences to be printed.
    """

    name: str
    vocabulary: Vocabulary
    train: Split
    validation: Split
    test: Split
    protocol: str
    entropy: float | None = None
    remarks: tuple[str, ...] = ()

    @property
    def level(self) -> str:
        """What a token is, one of `LEVELS`."""
        return self.vocabulary.level

    @property
    def end(self) -> int | None:
        """The token that ends a line, a document or a sentence; None where there is none."""
        return self.vocabulary.end


def make_corpus(
    name: str,
    vocabulary: Vocabulary,
    chunks: Iterable[tuple[int, str]],
    protocol: str,
    *,
    labels: Sequence[np.ndarray] | None = None,
    source: str | PathLike[str] = "",
    store: str | PathLike[str] | None = None,
    remarks: tuple[str, ...] = (),
) -> Corpus:
    """Encodes the text of three splits.

    Args:
        name: of the data set.
        vocabulary: of the training split.
        chunks: the number of a split, in ascending order, and text of it, which is encoded by itself.
        protocol: how it was split.
        labels: `[D]` int32 of each split, where each line is a document with a label.
        source: where the text is from, for messages; the name unless told.
        store: the folder for the tokens, made if need be; None: memory.
        remarks: of the data set; what share of the test tokens is unknown is added.

    Raises:
        DataError: a split of fewer than `FEWEST` tokens; a folder that cannot be written.
    """
    has_unknown = vocabulary.names[UNK] == SPECIAL[UNK]
    counts, characters, unknown = ([0] * len(SPLITS) for _ in range(3))

    def encoded() -> Iterator[np.ndarray]:
        for number, text in chunks:
            tokens = vocabulary.encode(text)
            counts[number] += len(tokens)
            characters[number] += len(text)
            if has_unknown:
                unknown[number] += int(np.count_nonzero(tokens == UNK))
            yield tokens

    if store is None:
        tokens = np.concatenate([np.zeros(0, vocabulary.dtype), *encoded()])
    else:
        tokens = _stored(Path(store), vocabulary.dtype, encoded())
    for split, count in zip(SPLITS, counts, strict=True):
        if count < FEWEST:
            raise DataError(
                f"{source or name}: {split} has {count} tokens, at least {FEWEST} are needed: take more text"
            )
    if unknown[-1]:
        remarks += (f"{name}: {unknown[-1] / counts[-1]:.2%} of the tokens of the test split are {SPECIAL[UNK]}",)
    parts = np.split(tokens, np.cumsum(counts)[:-1])
    documents = [None] * len(SPLITS) if labels is None else list(map(_documents, parts, [vocabulary.end] * 3, labels))
    train, validation, test = map(Split, parts, characters, documents)
    return Corpus(name, vocabulary, train, validation, test, protocol, remarks=remarks)


def fingerprint(corpus: Corpus) -> str:
    """SHA-256 of the tokens, the labels and the vocabulary: the same for the same data, wherever the tokens lie."""
    parts: list[str | np.ndarray] = [corpus.level, *(f" {len(name)} {name}" for name in corpus.vocabulary.names)]
    for split in (corpus.train, corpus.validation, corpus.test):
        parts.append(f" {len(split.tokens)}")
        parts += [split.tokens[first : first + HASHED] for first in range(0, len(split.tokens), HASHED)]
        if split.documents is not None:
            parts += [each for each in split.documents if each is not None]
    return fingerprint_of_parts(*parts)


def _stored(folder: Path, dtype: np.dtype, encoded: Iterable[np.ndarray]) -> np.ndarray:
    partial, size = folder / f"{STORED}.partial", 0
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with partial.open("wb") as file:
            for tokens in encoded:
                tokens.tofile(file)
                size += len(tokens)
        # A run that still reads the tokens of before keeps them.
        os.replace(partial, folder / STORED)
    except OSError as error:
        with contextlib.suppress(OSError):  # a disk that is full stays full otherwise
            partial.unlink(missing_ok=True)
        raise DataError(
            f"cannot write to store={folder} ({error.strerror or error}): take a folder that can be written"
        ) from error
    return np.memmap(folder / STORED, dtype, "r", shape=(size,)) if size else np.zeros(0, dtype)


def _documents(tokens: np.ndarray, end: int | None, labels: np.ndarray) -> Documents:
    starts = np.append(0, np.flatnonzero(tokens == end)[:-1] + 1)
    return Documents(starts.astype(np.int64), labels)
