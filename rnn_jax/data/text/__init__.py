"""Labelled texts: reading, cleaning, vocabulary, batches by length, count ratios, NB-SVM, the Embedding Projector.

A new data set is a file here with a function `read(data_dir, **options)` that returns a `ReviewData`, and its row in
`DATASETS`. The file is imported when it is read: to list the data sets takes none of what the readers need.
"""

import importlib
from os import PathLike
from typing import TYPE_CHECKING, Any, NamedTuple

from rnn_jax.data.errors import DataError
from rnn_jax.data.text.cleaning import clean_markup, clean_words

if TYPE_CHECKING:
    from rnn_jax.data.text.reviews import ReviewData

CLEANING = {"markup": clean_markup, "words": clean_words}
"""What is taken out of a text before its words are counted, by name."""

TRUNCATE = ("head", "tail", "both")
"""Which part of a long text is kept; both: the first half of the tokens from its head, the others from its tail."""

LONGEST_NGRAM = 3
"""Of `rnn_jax.data.text.count_ratios`: keys of V^3 fit 64 bits for any vocabulary below two million words."""


class Dataset(NamedTuple):
    """A row of the table.

    Attributes:
        about: a phrase for a list of the data sets.
        module: the file here whose `read` reads it.
        cleaning: the name of the cleaning that suits its texts, see `CLEANING`.
        options: the keyword arguments of its `read`.
    """

    about: str
    module: str
    cleaning: str
    options: tuple[str, ...] = ()


DATASETS = {
    "imdb": Dataset("film reviews in English", "imdb", "markup"),
    "ntc_scv": Dataset("restaurant reviews in Vietnamese", "ntc_scv", "words"),
    "synthetic_reviews": Dataset("made-up reviews", "synthetic_reviews", "markup", ("num_texts",)),
}


def read(name: str, data_dir: str | PathLike[str], **options: Any) -> "ReviewData":
    """Reads a data set of `DATASETS`, its texts as they are.

    Args:
        name: a key of `DATASETS`.
        data_dir: the folder with data files; the made-up reviews do without.
        options: those of the data set.

    Returns:
        The reviews in two splits, or in three where the data set has one for validation; labels are `[N]` int32.

    Raises:
        DataError: an unknown name; files that are missing or damaged, with what to do.
        TypeError: an option that the data set does not have.

    >>> [len(split.texts) for split in read("synthetic_reviews", "", num_texts=16) if hasattr(split, "texts")]
    [16, 4]
    """
    if name not in DATASETS:
        raise DataError(f"dataset={name}: take one of {', '.join(DATASETS)}")
    return importlib.import_module(f"{__name__}.{DATASETS[name].module}").read(data_dir, **options)
