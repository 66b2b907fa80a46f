"""The label of a made-up review is in the order of its words, and in nothing else."""

from collections import Counter

import numpy as np
import pytest

from rnn_jax.data.errors import DataError
from rnn_jax.data.text import synthetic_reviews
from rnn_jax.data.text.cleaning import clean_markup
from rnn_jax.data.text.reviews import fingerprint, repeated_in_train
from rnn_jax.data.text.synthetic_reviews import NEGATIVE, POSITIVE, generate


@pytest.fixture(scope="module")
def data():
    return generate()


def test_shape(data):
    assert (data.name, data.classes, data.validation) == ("synthetic_reviews", ("negative", "positive"), None)
    for split, size in ((data.train, 4_000), (data.test, 1_000)):
        assert len(split.texts) == len(split.names) == len(set(split.names)) == len(set(split.texts)) == size
        assert split.labels.dtype == np.int32
        assert np.bincount(split.labels).tolist() == [size // 2, size // 2]
        lengths = [len(text.replace(".", "").split()) for text in split.texts]
        assert 10 <= min(lengths) < 20
        assert 60 < max(lengths) <= 80
    assert not repeated_in_train(data).any()
    assert len(data.remarks) == 1
    assert "made up by a program" in data.remarks[0]


def test_cleaning_changes_nothing(data):
    assert [clean_markup(text) for text in data.test.texts] == data.test.texts


def test_the_same_words_occur_under_both_labels(data):
    """Any function of the counts of words gives both labels equally often."""
    for split in (data.train, data.test):
        by_label = [Counter(), Counter()]
        for text, label in zip(split.texts, split.labels.tolist(), strict=True):
            by_label[label][" ".join(sorted(text.split()))] += 1
        assert by_label[0] == by_label[1]


def test_as_many_positive_as_negative_words(data):
    for text in data.train.texts:
        words = text.split()
        positive, negative = (sum(word in kind for word in words) for kind in (POSITIVE, NEGATIVE))
        assert positive == negative
        assert 1 <= positive <= synthetic_reviews.MAX_OPINIONS


def test_reading_in_order_tells_all(data):
    def late_opinion(text):
        return int([word for word in text.split() if word in POSITIVE + NEGATIVE][-1] in POSITIVE)

    assert [late_opinion(text) for text in data.test.texts] == data.test.labels.tolist()


@pytest.mark.parametrize("ngrams", [(1, 1), (1, 3), (3, 3)])
def test_counting_tells_nothing(data, ngrams):
    text = pytest.importorskip("sklearn.feature_extraction.text")
    linear_model = pytest.importorskip("sklearn.linear_model")
    counter = text.CountVectorizer(ngram_range=ngrams, token_pattern=r"\S+")
    model = linear_model.LogisticRegression(C=0.1, max_iter=500)
    model.fit(counter.fit_transform(data.train.texts), data.train.labels)
    score = model.score(counter.transform(data.test.texts), data.test.labels)
    assert 0.4 < score < 0.6


def test_the_seed(data):
    assert fingerprint(generate()) == fingerprint(data)
    assert fingerprint(generate(seed=1)) != fingerprint(data)


@pytest.mark.parametrize(("sizes", "name"), [((3, 2), "num_train"), ((2, 0), "num_test"), ((-2, 2), "num_train")])
def test_odd_numbers(sizes, name):
    with pytest.raises(DataError, match=rf"^{name} must be even and at least 2"):
        generate(*sizes)
