"""Reviews in groups that cut no film: on made-up films, and on the real ones."""

import re
from collections import Counter

import numpy as np
import pytest

from rnn_jax.data.text import films
from rnn_jax.data.text.reviews import connected, cut_validation

SEEN, MISSED = 150, 150
"""Films with reviews of both classes, or of the positive one alone, and films with negative ones alone."""


def made_up(seed):
    """Texts, labels, numbers and the film of each: numbers go by film, and each review names three of five people."""
    rng = np.random.default_rng(seed)
    rows = []
    for label in (0, 1):
        number = 0
        for film in range(SEEN + MISSED if label == 0 else SEEN):
            most = 13 if film < SEEN and label == 0 else 20
            for _ in range(int(rng.integers(0 if film < SEEN else 1, most))):
                people = rng.choice(5, 3, replace=False)
                words = [f"person{film}x{person}" for person in people] + [f"word{rng.integers(20)}" for _ in range(9)]
                rows.append((" ".join(rng.permutation(words)), label, number, film))
                number += 1
    texts, labels, numbers, film = zip(*rows, strict=True)
    return list(texts), np.array(labels), np.array(numbers), np.array(film)


def sign(texts, name, *indices):
    """Three words that no other review has at the end of some, as an author signs."""
    for index in indices:
        texts[index] += f" {name} lives{name} likes{name}"


@pytest.mark.parametrize("seed", range(3))
def test_no_film_is_cut(seed):
    texts, labels, numbers, film = made_up(seed)
    groups = films.film_groups(texts, labels, numbers)
    assert groups.dtype == np.int32
    assert not [number for number in range(SEEN + MISSED) if len(set(groups[film == number])) > 1]
    sizes = np.bincount(groups)
    smallest, largest = films.SIZES
    assert sizes[:-1].min() >= smallest
    assert sizes.max() <= largest
    assert len(sizes) > 20
    mixed = [len(set(labels[groups == number])) == 2 for number in range(len(sizes))]
    assert sum(mixed) > 5


def test_authors_who_sign_move_nothing():
    texts, labels, numbers, _ = made_up(0)
    before = films.film_groups(texts, labels, numbers)
    negative, positive = (np.flatnonzero(labels == label) for label in (0, 1))
    sign(texts, "anne", negative[5], positive[-5])
    sign(texts, "bert", negative[200], positive[3], positive[-300])
    # Beyond the films of both classes: with it the chain would be longer, and run past reviews of other films.
    assert len(negative) > films.LARGEST_HOLE + 1_500
    sign(texts, "carl", negative[-20], positive[-1])
    np.testing.assert_array_equal(films.film_groups(texts, labels, numbers), before)


def test_borders_and_what_they_cut():
    """Counted pair by pair: every border cuts as much as it says, and no other place in the negative reviews less."""
    texts, labels, numbers, _ = made_up(1)
    pairs = films.pairs_that_share(texts)
    borders = films.film_borders(pairs, labels, numbers)
    count = np.bincount(labels)
    assert (borders.positive[: count[1] + 1] == np.arange(count[1] + 1)).all()
    assert (np.diff(borders.negative[count[1] :]) == 1).all()
    assert (borders.negative[-1], borders.positive[-1]) == (count[0], count[1])
    first, second = (numbers[part] for part in pairs[:2])
    same = labels[pairs.first] == labels[pairs.second]
    mates = same & (np.abs(first - second) < films.MOST_REVIEWS)
    label = labels[pairs.second]

    def cut(negative, positive, far):
        border = np.array((negative, positive))[label]
        inside = mates & ((first < border) != (second < border))
        across = ~same & ~far & ((first < negative) != (second < positive))
        return pairs.shared[inside | across].sum()

    middle = np.interp(second, borders.positive[: count[1] + 1], borders.negative[: count[1] + 1])
    far = np.abs(first - middle) > 2 * films.MOST_REVIEWS
    for border in range(0, count[1], 97):
        negative, positive = borders.negative[border], borders.positive[border]
        assert borders.cut[border] == cut(negative, positive, far)
        assert borders.cut[border] <= min(cut(negative + step, positive, far) for step in range(-9, 10))
    for border in range(count[1] + 40, len(borders.cut), 97):
        assert borders.cut[border] == cut(borders.negative[border], count[1], far)


def test_chosen_borders():
    """The least cut of 40 to 120 reviews on, the first of equals; where there is none, the next one."""
    negative, positive = np.array([0, 0, 10, 20, 25, 600, 610]), np.array([0, 30, 40, 50, 55, 60, 65])
    borders = films.Borders(negative, positive, np.array([0, 0, 5, 3, 3, 9, 0]))
    chosen = films.chosen_borders(borders)
    assert [part.tolist() for part in chosen] == [[20, 600], [50, 60]]


def test_nothing_shared():
    """Then nothing says where films end: neighbours of one class, and no review of the other."""
    texts = [f"number{i}" for i in range(700)]
    labels, numbers = np.repeat((0, 1), 350), np.tile(np.arange(350), 2)
    groups = films.film_groups(texts, labels, numbers)
    for label in (0, 1):
        assert (np.diff(groups[labels == label]) >= 0).all()
    assert np.bincount(groups).max() <= films.SIZES[1]
    assert len(np.bincount(groups)) > 5


def test_rare_words():
    """Of four letters, in any case, in 2 to 30 texts; a word counts once for a text."""
    texts = ["Common alpha alpha the", "ALPHA beta the", "beta alpha, alone the", *["common other the"] * 30]
    pairs = films.pairs_that_share(texts)
    found = {pair[:2]: pair[2] for pair in zip(*map(np.ndarray.tolist, pairs), strict=True)}
    assert found[0, 1] == 1
    assert found[1, 2] == 2
    assert (0, 3) not in found  # "common" is in 31
    assert found[3, 4] == 1
    assert len(found) == 3 + 30 * 29 // 2


@pytest.mark.parametrize("seed", range(20))
def test_rising_chain(seed):
    rng = np.random.default_rng(seed)
    first, second = rng.integers(0, 12, (2, int(rng.integers(0, 30))))
    chosen = films.rising_chain(first, second)
    for part in chosen:
        assert (np.diff(part) >= 0).all()
    points = sorted(zip(first.tolist(), second.tolist(), strict=True))
    assert not Counter(zip(*map(np.ndarray.tolist, chosen), strict=True)) - Counter(points)
    longest = []
    for i, point in enumerate(points):
        longest.append(1 + max((longest[j] for j in range(i) if points[j][1] <= point[1]), default=0))
    assert len(chosen[0]) == max(longest, default=0)


def test_two_real_reviews_of_one_film(real_imdb):
    groups = dict(zip(real_imdb.train.names, real_imdb.train.groups.tolist(), strict=True))
    assert groups["train/pos/5402_9"] == groups["train/neg/1593_4"]


def test_sizes_of_real_groups(real_imdb):
    sizes = np.bincount(connected(real_imdb.train))
    assert sizes.max() < 350
    assert 60 < np.median(sizes) < 80
    cut = cut_validation(real_imdb, 0.1, seed=0)
    assert cut.validation is not None
    assert np.bincount(cut.validation.labels).min() >= 1_240
    assert np.bincount(cut.validation.labels).max() <= 1_250
    assert len(set(cut.validation.groups.tolist())) > 30


def test_what_still_crosses_real_groups(real_imdb):
    """Of what shares four rare words, nothing of one class and near each other, and little of both classes."""
    numbers = np.array([int(re.split("[/_]", name)[2]) for name in real_imdb.train.names])
    labels, groups = real_imdb.train.labels, connected(real_imdb.train)
    pairs = films.pairs_that_share(real_imdb.train.texts)
    alike = pairs.shared >= 4
    first, second = pairs.first[alike], pairs.second[alike]
    near = (labels[first] == labels[second]) & (np.abs(numbers[first] - numbers[second]) < films.MOST_REVIEWS)
    mixed = labels[first] != labels[second]
    crosses = groups[first] != groups[second]
    assert (near.sum(), crosses[near].sum()) == (6_438, 0)
    assert mixed.sum() > 1_000
    assert crosses[mixed].sum() < 150
