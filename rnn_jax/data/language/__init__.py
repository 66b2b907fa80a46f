"""Texts for language models: reading, vocabularies of three levels, splits as arrays of tokens.

A new data set is a file here with a function `read(data_dir, level, **options)` that returns a `Corpus`, and its row in
`DATASETS`. The file is imported when it is read: to list the data sets takes none of what the readers need.
"""

import importlib
from os import PathLike
from typing import TYPE_CHECKING, NamedTuple

from rnn_jax.data.errors import DataError

if TYPE_CHECKING:
    from rnn_jax.data.language.corpus import Corpus

LEVELS = ("characters", "words", "subwords")
"""What a token is."""

MAX_FILE_BYTES = 10_000_000_000
"""The largest file that is read, unpacked, unless told."""

NUM_TOKENS = 200_000
"""Of the grammar's training split, unless told."""


class Dataset(NamedTuple):
    """A row of the table.

    Attributes:
        about: a phrase for a list of the data sets.
        module: the file here whose `read` reads it.
        levels: those of `LEVELS` that it has, its default first.
        options: the keyword arguments of its `read`.
        cleaning: what its texts went through, a key of `rnn_jax.data.text.CLEANING`; a prompt has to go through it too.
            None: nothing.
    """

    about: str
    module: str
    levels: tuple[str, ...]
    options: tuple[str, ...] = ()
    cleaning: str | None = None

    @property
    def level(self) -> str:
        """The default."""
        return self.levels[0]


LIMITS = ("vocab_size", "min_freq")

DATASETS = {
    "grammar": Dataset("a made-up language of known entropy", "grammar", ("words",), ("num_tokens", "seed")),
    "tiny_shakespeare": Dataset("a megabyte of Shakespeare's plays", "tiny_shakespeare", LEVELS, LIMITS),
    "ptb": Dataset("the Penn Treebank as Mikolov prepared it", "ptb", ("words", "characters")),
    "imdb": Dataset("film reviews in English", "imdb", ("words", "subwords", "characters"), LIMITS, "markup"),
    "text": Dataset("any text file", "text_file", LEVELS, ("text", "store", "max_file_bytes", *LIMITS)),
}


def read(
    name: str,
    data_dir: str | PathLike[str],
    *,
    level: str | None = None,
    vocab_size: int | None = None,
    min_freq: int | None = None,
    text: str | PathLike[str] | None = None,
    store: str | PathLike[str] | None = None,
    max_file_bytes: int = MAX_FILE_BYTES,
    num_tokens: int = NUM_TOKENS,
    seed: int = 0,
) -> "Corpus":
    """Reads a data set of `DATASETS`.

    Args:
        name: a key of `DATASETS`.
        data_dir: the folder with data files; `grammar` and `text` do without.
        level: what a token is, one of `LEVELS` that the data set has; None: its default.
        vocab_size: of words and subwords, the most tokens; None: `words.VOCAB_SIZE`, `subwords.VOCAB_SIZE`.
        min_freq: of words, how often one has to occur; None: `words.MIN_FREQ`.
        text: the file of the data set `text`.
        store: the folder where its tokens are kept, for a text too large for memory; None: memory.
        max_file_bytes: of the data set `text`, how large its file may be, unpacked.
        num_tokens: of the training split of `grammar`; validation has a tenth of it, test a fifth.
        seed: of `grammar`: the same seed makes the same sentences.

    Those that are not among the options of the data set, or say nothing of its level, are passed over.

    Returns:
        The corpus; its vocabulary knows the training split alone.

    Raises:
        DataError: an unknown name; a level that the data set does not have; limits that leave no vocabulary; files
            that are missing, damaged or too short, with what to do.

    >>> corpus = read("grammar", "", num_tokens=500)
    >>> corpus.train.tokens.shape, corpus.test.tokens.shape, corpus.level, corpus.vocabulary.names[:2]
    ((500,), (100,), 'words', ['<unk>', '<eos>'])
    """
    if name not in DATASETS:
        raise DataError(f"dataset={name}: take one of {', '.join(DATASETS)}")
    row = DATASETS[name]
    if level is not None and level not in row.levels:
        raise DataError(f"level={level}: {name} has {' or '.join(row.levels)}")
    values = {
        "vocab_size": vocab_size,
        "min_freq": min_freq,
        "text": text,
        "store": store,
        "max_file_bytes": max_file_bytes,
        "num_tokens": num_tokens,
        "seed": seed,
    }
    options = {option: values[option] for option in row.options}
    return importlib.import_module(f"{__name__}.{row.module}").read(data_dir, level or row.level, **options)
