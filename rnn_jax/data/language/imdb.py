"""Film reviews of IMDB for language models: the labelled training reviews, cleaned as for the classifier.

The classifier's training part trains and its validation part validates and tests, half and half: a language model whose
parameters start a classifier has seen nothing that the classifier is judged by. No test review is read.
"""

from os import PathLike

import numpy as np

from rnn_jax.data.language.corpus import Corpus, make_corpus
from rnn_jax.data.language.vocabulary import build
from rnn_jax.data.text import imdb
from rnn_jax.data.text.cleaning import clean_markup
from rnn_jax.data.text.reviews import ReviewData, Reviews, cut_validation

NAME = imdb.NAME
"""Of the data set."""

SHARE = 0.1
"""Of the training reviews, that the classifier validates with."""

PROTOCOL = "labelled training reviews: 90 % train, 5 % validate, 5 % test, each film in one of the three"


def read(
    data_dir: str | PathLike[str], level: str, *, vocab_size: int | None = None, min_freq: int | None = None
) -> Corpus:
    """Reads the reviews, in random order, each with its label and an `<eos>` after it.

    Args:
        data_dir: as of `rnn_jax.data.text.imdb.read`.
        level: one of `LEVELS`.
        vocab_size, min_freq: as of `vocabulary.build`.

    Raises:
        DataError: as `rnn_jax.data.text.imdb.read`; limits that leave no vocabulary.
    """
    return from_reviews(imdb.read(data_dir), level, vocab_size=vocab_size, min_freq=min_freq)


def from_reviews(data: ReviewData, level: str, *, vocab_size: int | None = None, min_freq: int | None = None) -> Corpus:
    """The corpus of reviews that are read already, see `read`; those of their test split are not looked at."""
    rng = np.random.default_rng(0)
    splits = [_mixed(split, rng) for split in cut(data)]
    texts = ["".join(f"{clean_markup(text)}\n" for text in split.texts) for split in splits]
    vocabulary = build(level, texts[:1], lines=True, vocab_size=vocab_size, min_freq=min_freq)
    labels = [split.labels for split in splits]
    return make_corpus(NAME, vocabulary, enumerate(texts), PROTOCOL, labels=labels, remarks=data.remarks)


def cut(data: ReviewData) -> tuple[Reviews, Reviews, Reviews]:
    """Reviews that train, validate and test, all from the training split of the data set."""
    outer = cut_validation(data, SHARE, seed=0)
    assert outer.validation is not None
    inner = cut_validation(outer._replace(train=outer.validation, validation=None), 0.5, seed=0)
    assert inner.validation is not None
    return outer.train, inner.train, inner.validation


def _mixed(reviews: Reviews, rng: np.random.Generator) -> Reviews:
    """In random order: as they come, all negative ones are first."""
    order = rng.permutation(len(reviews.texts))
    return Reviews([reviews.texts[i] for i in order], reviews.labels[order], [reviews.names[i] for i in order])
