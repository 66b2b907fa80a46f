"""Which training reviews of IMDB lie together when some are set apart, so that no film is on both sides.

The names of the files do not say which film a review is of, but its words do: two reviews that share three rare words,
of which most are names, are nearly always of one film. Counted so, in the training split:

* The numbers of a class go by film. Of the 12,677 pairs of one class that share three rare words and whose numbers
  differ by less than 100, all but 8 differ by less than 30, as many reviews as a film may have.
* The films with reviews of both classes come in the same order in both, and before those with negative ones alone. Of
  the 2,172 pairs that share three rare words and join a positive review to one of the first 3,962 negative ones, 93 %
  lie within 40 numbers of one rising line; beyond there is no such line.

So borders divide both classes at once, each where the fewest rare words are shared across. What still shares three
across a border are sequels, films of the same people or of the same war, and authors who sign.
"""

import itertools
import re
from bisect import bisect_right
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from scipy.sparse import csr_array, triu

WORD = re.compile(r"\w{4,}")

MOST_REVIEWS = 30
"""Of one film in the whole data set, as its authors say; a word of more reviews is hardly the name of one film."""

SAME_FILM = 3
"""Reviews of both classes that share as many rare words count as of one film."""

LARGEST_HOLE = 300
"""Negative numbers between two such pairs, at most: beyond lie pairs by chance."""

SIZES = (40, 120)
"""Of a group, the second no more allowed: so far apart that a border is found between them that cuts no film, and so
small that a tenth of the groups is a sample. The last group may be smaller."""


class Pairs(NamedTuple):
    """Pairs of texts that share rare words.

    Attributes:
        first, second: `[P]` int32, indices of texts, first < second.
        shared: `[P]`, how many rare words both have, at least 1.
    """

    first: np.ndarray
    second: np.ndarray
    shared: np.ndarray


class Borders(NamedTuple):
    """Borders between films, each before a review of both classes.

    Attributes:
        negative, positive: `[K]`, the number in its class of the first review after the border.
        cut: `[K]`, how many rare words are shared across it by reviews that may be of one film.
    """

    negative: np.ndarray
    positive: np.ndarray
    cut: np.ndarray


def film_groups(texts: Sequence[str], labels: np.ndarray, numbers: np.ndarray) -> np.ndarray:
    """Groups of 40 to 120 reviews, of both classes, that do not cut a film as far as its names tell.

    Args:
        texts: N reviews, those of label 0 first.
        labels: `[N]`, 0 or 1.
        numbers: `[N]`, that of each review in its class, from 0 on, in the names of the files; they go by film.

    Returns:
        `[N]` int32, the number of each review's group.
    """
    chosen = chosen_borders(film_borders(pairs_that_share(texts), labels, numbers))
    in_class = (np.searchsorted(border, numbers, side="right") for border in chosen)
    return np.where(labels == 0, *in_class).astype(np.int32)


def pairs_that_share(texts: Sequence[str]) -> Pairs:
    """The pairs of texts that share a word of four letters or more that occurs in 2 to 30 texts, in any case.

    >>> pairs = pairs_that_share(["Kolchak at night", "The Night Stalker: Kolchak!", "day", "a stalker"])
    >>> list(zip(pairs.first.tolist(), pairs.second.tolist(), pairs.shared.tolist()))
    [(0, 1, 2), (1, 3, 1)]
    """
    number_of_word: dict[str, int] = {}
    words = [
        [number_of_word.setdefault(word, len(number_of_word)) for word in set(WORD.findall(text.lower()))]
        for text in texts
    ]
    ends = np.cumsum([0, *map(len, words)])
    columns = np.fromiter(itertools.chain.from_iterable(words), np.int64, ends[-1])
    found = csr_array((np.ones(ends[-1], np.int32), columns, ends), shape=(len(texts), len(number_of_word)))
    counts = np.bincount(columns, minlength=len(number_of_word))
    rare = found[:, np.flatnonzero((counts >= 2) & (counts <= MOST_REVIEWS))]
    shared = triu(rare @ rare.T, k=1).tocoo()
    return Pairs(shared.row, shared.col, shared.data)


def film_borders(pairs: Pairs, labels: np.ndarray, numbers: np.ndarray) -> Borders:
    """One border before each positive review, then one before each negative review of the films without any.

    A border divides both classes: before a positive review it divides the negative ones where it cuts the fewest words
    that reviews share. Of one class count the pairs less than `MOST_REVIEWS` numbers apart, of both those less than
    that away from the line; the others share words by chance.

    Args:
        pairs: of the reviews.
        labels: `[N]`, 0 or 1, all 0 before all 1.
        numbers: `[N]`, from 0 on in each class.
    """
    line = _line(pairs, labels, numbers)
    in_negative, in_positive = (_cut_in_class(pairs, labels, numbers, label) for label in (0, 1))
    both = labels[pairs.first] != labels[pairs.second]
    negative, positive, shared = numbers[pairs.first[both]], numbers[pairs.second[both]], pairs.shared[both]
    near = np.abs(negative - np.interp(positive, line[1], line[0])) < MOST_REVIEWS
    order = np.flatnonzero(near)[np.argsort(positive[near])]
    # Where the line ends, counted in negative reviews: later films have no others.
    end = min(int(line[0][-1]) + MOST_REVIEWS, len(in_negative) - 1)
    # What a border cuts more that passes a negative review too: the words it shares with positive reviews after the
    # border, less those it shares with positive ones before it.
    gain = np.zeros(end + 1, np.int64)
    np.add.at(gain, negative[order] + 1, shared[order])
    best, cut, passed, done = [], [], 0, 0
    for border in range(len(in_positive)):
        while done < len(order) and positive[order[done]] < border:
            gain[negative[order[done]] + 1] -= 2 * shared[order[done]]
            passed += shared[order[done]]
            done += 1
        words = in_negative[: end + 1] + np.cumsum(gain) + passed
        best.append(int(np.argmin(words)))
        cut.append(in_positive[border] + words[best[-1]])
    later = np.arange(best[-1] + 1, len(in_negative))
    return Borders(
        np.concatenate((best, later)),
        np.concatenate((np.arange(len(in_positive)), np.full(len(later), len(in_positive) - 1))),
        np.concatenate((cut, in_negative[later])),
    )


def chosen_borders(borders: Borders) -> tuple[np.ndarray, np.ndarray]:
    """The borders that cut the fewest words, each as far from the last as `SIZES` say, or the next if there is none.

    Returns:
        `[G - 1]` and `[G - 1]`, the first negative and the first positive review after each.
    """
    smallest, largest = SIZES
    size = borders.negative + borders.positive
    chosen, last = [], 0
    while size[-1] - size[last] > largest:
        later = (borders.negative >= borders.negative[last]) & (borders.positive >= borders.positive[last])
        allowed = later & (size >= size[last] + smallest)
        allowed &= size <= max(size[last] + largest, size[allowed].min())  # where there is none so near, the next
        last = int(np.argmin(np.where(allowed, borders.cut, np.inf)))
        chosen.append(last)
    return borders.negative[chosen], borders.positive[chosen]


def rising_chain(first: np.ndarray, second: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The longest part of some points that falls in neither number: what lies on one line, and not by chance.

    Args:
        first, second: `[P]`, the two numbers of each point.

    Returns:
        Those of the L points of the chain, `[L]` and `[L]`, in their order.

    Source: C. Schensted, "Longest increasing and decreasing subsequences", 1961, in time P log P.

    >>> first, second = rising_chain(np.array([1, 2, 3, 4]), np.array([10, 90, 20, 30]))
    >>> first.tolist(), second.tolist()
    ([1, 3, 4], [10, 20, 30])
    """
    order = np.lexsort((second, first))
    lowest: list[int] = []  # the lowest end of a chain of each length so far
    points: list[int] = []  # the point there
    before = np.full(len(order), -1)
    for point, height in enumerate(second[order].tolist()):
        length = bisect_right(lowest, height)
        before[point] = points[length - 1] if length else -1
        lowest[length : length + 1], points[length : length + 1] = [height], [point]
    chosen = []
    point = points[-1] if points else -1
    while point >= 0:
        chosen.append(point)
        point = before[point]
    kept = order[chosen[::-1]]
    return first[kept], second[kept]


def _line(pairs: Pairs, labels: np.ndarray, numbers: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Numbers of negative and of positive reviews of the same films, rising, from the start of both."""
    linked = (labels[pairs.first] != labels[pairs.second]) & (pairs.shared >= SAME_FILM)
    negative, positive = rising_chain(numbers[pairs.first[linked]], numbers[pairs.second[linked]])
    holes = np.flatnonzero(np.diff(negative) > LARGEST_HOLE)
    end = holes[0] + 1 if len(holes) else len(negative)
    return np.append(0, negative[:end]), np.append(0, positive[:end])


def _cut_in_class(pairs: Pairs, labels: np.ndarray, numbers: np.ndarray, label: int) -> np.ndarray:
    """How many shared words of one class a border before each number cuts: `[M + 1]` for M reviews."""
    inside = (labels[pairs.first] == label) & (labels[pairs.second] == label)
    low, high = np.sort(np.stack((numbers[pairs.first[inside]], numbers[pairs.second[inside]])), axis=0)
    near = high - low < MOST_REVIEWS
    steps = np.zeros(numbers[labels == label].max(initial=-1) + 3, np.int64)
    np.add.at(steps, low[near] + 1, pairs.shared[inside][near])
    np.subtract.at(steps, high[near] + 1, pairs.shared[inside][near])
    return np.cumsum(steps)[:-1]
