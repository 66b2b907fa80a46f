"""Reviews with a label each: what every data set of texts becomes, and what is asked of all of them."""

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np

from rnn_jax.data.errors import DataError
from rnn_jax.files import fingerprint as fingerprint_of_parts

CLASSES = ("negative", "positive")
"""The name of label 0 and of label 1."""

FOLDERS = ("neg", "pos")
"""The folder that data sets keep label 0 and label 1 in."""


class Reviews(NamedTuple):
    """N labelled texts.

    Attributes:
        texts: N texts as the data set has them.
        labels: `[N]` int32, indices into the classes.
        names: N names, such as `test/pos/0_10`.
        groups: `[N]` int32: texts of one number belong together, such as the reviews of one film. A model is judged on
            other groups than it was trained on. None: each text is a group.
    """

    texts: list[str]
    labels: np.ndarray
    names: list[str]
    groups: np.ndarray | None = None


class ReviewData(NamedTuple):
    """A data set of reviews.

    Attributes:
        name: of the data set, for messages and results.
        classes: the name of each label.
        train, test: two splits.
        validation: the data set's own third split; None where it has none, see `cut_validation`.
        remarks: sentences saying what was dropped or repaired in reading, to be printed.
    """

    name: str
    classes: tuple[str, ...]
    train: Reviews
    validation: Reviews | None
    test: Reviews
    remarks: tuple[str, ...] = ()


def from_files(files: Mapping[str, bytes], folder: str, expected: int, source: str) -> Reviews:
    """The reviews of one split, from one file each.

    Args:
        files: content by name; those below `folder/neg` and `folder/pos` are read, in the order of their names.
        folder: such as `aclImdb/train`.
        expected: how many files each of the two must hold.
        source: where the files are from, for messages.

    Raises:
        DataError: fewer or more files than expected; a file that is not UTF-8.
    """
    texts, labels, names = [], [], []
    for label, kind in enumerate(FOLDERS):
        prefix = f"{folder}/{kind}/"
        found = sorted(name for name in files if name.startswith(prefix))
        if len(found) != expected:
            raise DataError(
                f"{source}: {prefix} should hold {expected:,} reviews, found {len(found):,}: fetch the data set again"
            )
        for name in found:
            try:
                texts.append(files[name].decode("utf-8"))
            except UnicodeDecodeError as error:
                raise DataError(
                    f"{source}: {name} is not UTF-8 (byte {error.start}): fetch the data set again"
                ) from error
            names.append(name.partition("/")[2].removesuffix(".txt"))
        labels += [label] * len(found)
    return Reviews(texts, np.array(labels, np.int32), names)


def select(reviews: Reviews, chosen: np.ndarray) -> Reviews:
    """Some of the reviews, in their order.

    Args:
        reviews: N of them.
        chosen: `[N]` bool, which.
    """
    indices = np.flatnonzero(chosen)
    return Reviews(
        [reviews.texts[i] for i in indices],
        reviews.labels[indices],
        [reviews.names[i] for i in indices],
        None if reviews.groups is None else reviews.groups[indices],
    )


def connected(reviews: Reviews) -> np.ndarray:
    """Which reviews belong together: the texts of one group and texts that are equal, also by way of others.

    Returns:
        `[N]`, a number from 0 on for each of the N reviews, the same for those that belong together.
    """
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    count = len(reviews.texts)
    number_of_text: dict[str, int] = {}
    texts = np.array([number_of_text.setdefault(text, len(number_of_text)) for text in reviews.texts], dtype=np.int64)
    groups = np.arange(count) if reviews.groups is None else np.unique(reviews.groups, return_inverse=True)[1]
    edges = coo_array((np.ones(count), (groups, count + texts)), shape=(2 * count, 2 * count))
    return connected_components(edges, directed=False)[1][groups]


def cut_validation(data: ReviewData, share: float, seed: int) -> ReviewData:
    """Cuts a validation split from the training split, the same share of each class, at random.

    Texts of one group, and texts that repeat inside the training split, all go to the same side: a model may not be
    judged on a text that it was trained on, nor on a film whose other reviews it knows. See `connected`.

    Args:
        data: returned as it is if it has a validation split.
        share: of the training texts of each class, between 0 and 1. It is met as far as the groups allow, and not
            exceeded.
        seed: the same seed cuts the same.

    Raises:
        DataError: a share that would leave a class without a text on one of the sides.
    """
    if data.validation is not None:
        return data
    labels, groups = data.train.labels, connected(data.train)
    texts = np.zeros((groups.max(initial=-1) + 1, len(data.classes)), np.int64)  # of each group, by class
    np.add.at(texts, (groups, labels), 1)
    sizes, taken = texts.sum(axis=0), np.zeros(len(data.classes), np.int64)
    wanted = np.round(share * sizes)
    rng = np.random.default_rng(seed)
    held_out = np.zeros(len(texts), dtype=bool)
    mixed = np.count_nonzero(texts, axis=1) > 1
    # Groups of several classes first: those of one class then fill what is left of its share.
    for kind in (mixed, *(~mixed & (texts[:, label] > 0) for label in range(len(data.classes)))):
        for group in rng.permutation(np.flatnonzero(kind)):
            if (taken + texts[group] <= wanted).all():
                held_out[group] = True
                taken += texts[group]
    for name, size, number in zip(data.classes, sizes.tolist(), taken.tolist(), strict=True):
        if not 0 < number < size:
            raise DataError(
                f"{data.name}: a validation share of {share:g} takes {number} of the {size} texts of class {name!r}: "
                "take a share that leaves some on both sides"
            )
    held_out = held_out[groups]
    return data._replace(train=select(data.train, ~held_out), validation=select(data.train, held_out))


def repeated_in_train(data: ReviewData) -> np.ndarray:
    """Which test texts of the data occur, letter for letter, in its training split: `[N_test]` bool.

    Ask before `cut_validation` to compare with the training split as it was published.
    """
    train = set(data.train.texts)
    return np.array([text in train for text in data.test.texts], dtype=bool)


def fingerprint(data: ReviewData) -> str:
    """SHA-256 of the texts and labels of each split in their order: the same for the same data."""
    parts: list[str | bytes] = []
    for split in (data.train, data.validation, data.test):
        parts.append("none" if split is None else f"{len(split.texts)}")
        # Each text with its length, so that no two lists of texts run together to the same bytes.
        for text, label in zip(split.texts, split.labels.tolist(), strict=True) if split else ():
            encoded = text.encode("utf-8", "surrogatepass")
            parts += [f" {label} {len(encoded)} ", encoded]
    return fingerprint_of_parts(*parts)
