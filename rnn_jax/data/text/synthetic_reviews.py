"""Made-up reviews whose label is in the order of their words alone; not written by anyone.

For runs without a download, and to see whether a model reads order. A text has an early and a late part:

    at first  the acting seemed brilliant to my eyes .  in the end  the story felt dull on the whole .

As many positive as negative words of opinion occur, all of one kind before the turn and all of the other kind after it,
and the label is the kind of the late ones. Texts come in pairs that swap the opinions of the two parts: the same words
equally often, the other label. So counts of words say nothing; and as at least two words that know nothing of the part
stand between a marker and an opinion, nor do counts of pairs or triples of words.
"""

from os import PathLike

import numpy as np

from rnn_jax.data.errors import DataError
from rnn_jax.data.text.reviews import CLASSES, ReviewData, Reviews

__all__ = ["CLASSES", "NAME", "NEGATIVE", "POSITIVE", "generate", "read"]

NAME = "synthetic_reviews"
"""Of the data set, as its texts and results carry it."""

POSITIVE = (
    "brilliant",
    "charming",
    "delightful",
    "gripping",
    "lovely",
    "moving",
    "splendid",
    "superb",
    "warm",
    "witty",
)
"""Words that praise."""

NEGATIVE = (
    "awful",
    "boring",
    "clumsy",
    "dreary",
    "dull",
    "hollow",
    "lifeless",
    "messy",
    "stale",
    "tedious",
)
"""Words that complain."""

EARLY = ("at first", "initially", "early on", "to begin with", "for a while")
LATE = ("in the end", "finally", "later on", "by the close", "after that")

# All of these stand before and after the turn alike.
SUBJECTS = ("it", "the acting", "the story", "the music", "the dialogue", "the camera work", "the whole thing")
VERBS = ("seemed", "felt", "looked", "appeared")
TAILS = ("to me", "to my eyes", "on the whole", "for the most part", "as far as i can tell", "if you ask me")
FILLERS = (
    "we sat in the third row",
    "the hall was half full that evening",
    "my sister had bought the tickets",
    "it runs for about two hours",
    "the trailer shows most of this",
    "i had read the book some years ago",
    "nobody around us said a word",
    "most of it takes place in a small town by the sea",
)
MAX_OPINIONS = 3
"""The most opinions in either part."""

MAX_WORDS = 80
"""The longest text, full stops counted."""


def read(data_dir: str | PathLike[str], *, num_texts: int = 4_000) -> ReviewData:
    """About `num_texts` reviews to train on and a quarter as many to test on, see `generate`.

    Args:
        data_dir: not used: the reviews are made up.
        num_texts: at least 8; odd numbers are rounded down.

    Raises:
        DataError: too few.
    """
    if num_texts < 8:
        raise DataError(f"num_texts={num_texts}: take at least 8")
    return generate(2 * (num_texts // 2), 2 * (num_texts // 8))


def generate(num_train: int = 4_000, num_test: int = 1_000, seed: int = 0) -> ReviewData:
    """Made-up reviews of about 10 to 80 words, half of each label, no text twice, no validation split.

    Args:
        num_train, num_test: even, as texts come in pairs.
        seed: the same seed makes the same texts.

    Raises:
        DataError: a number of texts that is odd or below 2.

    >>> reviews = generate(2, 2, seed=8).train
    >>> sorted(reviews.texts[0].split()) == sorted(reviews.texts[1].split()), sorted(reviews.labels.tolist())
    (True, [0, 1])
    """
    for name, number in (("num_train", num_train), ("num_test", num_test)):
        if number < 2 or number % 2:
            raise DataError(f"{name} must be even and at least 2, as the texts come in pairs, got {number}")
    rng = np.random.default_rng(seed)
    seen: set[str] = set()
    train, test = (_split(rng, name, size, seen) for name, size in (("train", num_train), ("test", num_test)))
    remark = f"{NAME}: these reviews are made up by a program, their label is in the order of their words alone"
    return ReviewData(NAME, CLASSES, train, None, test, (remark,))


def _split(rng: np.random.Generator, name: str, size: int, seen: set[str]) -> Reviews:
    texts: list[str] = []
    while len(texts) < size:
        pair = _pair(rng)
        if len(pair[0].split()) <= MAX_WORDS and seen.isdisjoint(pair):
            seen.update(pair)
            texts += pair
    order = rng.permutation(size)
    labels = (order % 2).astype(np.int32)
    names = [f"{name}/{CLASSES[label][:3]}/{number}" for number, label in enumerate(labels.tolist())]
    return Reviews([texts[i] for i in order], labels, names)


def _pair(rng: np.random.Generator) -> tuple[str, str]:
    """A negative text and the positive one that has its words in another order."""
    count = int(rng.integers(1, MAX_OPINIONS + 1))
    good, bad = ([str(word) for word in rng.choice(words, count, replace=False)] for words in (POSITIVE, NEGATIVE))
    # The frame has a hole for each opinion; the same frame serves both texts.
    fillers = [FILLERS[i] for i in rng.permutation(len(FILLERS))]
    early, middle, late = (fillers[2 * i : 2 * i + int(rng.choice(3, p=(0.5, 0.35, 0.15)))] for i in range(3))
    sentences = [*early, _part(rng, EARLY, count), *middle, _part(rng, LATE, count), *late]
    frame = " ".join(f"{sentence} ." for sentence in sentences)
    return frame.format(*good, *bad), frame.format(*bad, *good)


def _part(rng: np.random.Generator, markers: tuple[str, ...], count: int) -> str:
    opinions = [f"{_one(rng, SUBJECTS)} {_one(rng, VERBS)} {{}} {_one(rng, TAILS)}" for _ in range(count)]
    return f"{_one(rng, markers)} {' and '.join(opinions)}"


def _one(rng: np.random.Generator, options: tuple[str, ...]) -> str:
    return options[int(rng.integers(len(options)))]
