"""Reviews for language models: which ones, in which split, and where each begins."""

import os

import numpy as np
import pytest

from rnn_jax.data.language import imdb
from rnn_jax.data.text import imdb as reviews_of_imdb
from rnn_jax.data.text.cleaning import clean_markup
from rnn_jax.data.text.reviews import ReviewData, Reviews, connected, cut_validation


def splits(corpus):
    return corpus.train, corpus.validation, corpus.test


def toy(count=200):
    """Reviews of films of four reviews each, and a test split that may not be seen."""
    rng = np.random.default_rng(0)
    texts = [f"Film {i // 4}<br />is <b>{rng.choice(['GOOD', 'bad'])}</b>,\nreview {i}" for i in range(count)]
    labels = (np.arange(count) % 8 >= 4).astype(np.int32)
    train = Reviews(texts, labels, [f"train/{i}" for i in range(count)], np.arange(count, dtype=np.int32) // 4)
    test = Reviews(["secret words"] * 9, np.zeros(9, np.int32), [f"test/{i}" for i in range(9)])
    return ReviewData("imdb", ("negative", "positive"), train, None, test, ("a remark",))


@pytest.fixture(scope="module")
def real_reviews():
    if "RNN_JAX_DATA" not in os.environ:
        pytest.skip("RNN_JAX_DATA is not set")
    return reviews_of_imdb.read(os.environ["RNN_JAX_DATA"])


@pytest.fixture(scope="module")
def real_corpus(real_reviews):
    return imdb.from_reviews(real_reviews, "words")


def check_cut(data):
    """The classifier's training part trains; each review and each film is in one split."""
    train, validation, test = imdb.cut(data)
    classifier = cut_validation(data, 0.1, seed=0)
    assert train.names == classifier.train.names
    assert sorted(validation.names + test.names) == sorted(classifier.validation.names)
    group = dict(zip(data.train.names, connected(data.train).tolist(), strict=True))
    films = [{group[name] for name in split.names} for split in (train, validation, test)]
    assert sum(map(len, films)) == len(set.union(*films))
    return train, validation, test


def test_cut():
    sizes = [len(split.texts) for split in check_cut(toy())]
    assert sizes == [184, 8, 8]


@pytest.mark.parametrize("level", ["words", "subwords", "characters"])
def test_documents(level):
    data = toy()
    corpus = imdb.from_reviews(data, level, vocab_size=300, min_freq=1)
    assert (corpus.name, corpus.level, corpus.remarks[0]) == ("imdb", level, "a remark")
    for split, reviews in zip(splits(corpus), imdb.cut(data), strict=True):
        known = dict(zip(map(clean_markup, reviews.texts), reviews.labels.tolist(), strict=True))
        assert split.num_characters == sum(len(text) + 1 for text in known)
        ends = np.append(split.documents.starts[1:], len(split.tokens))
        found = {}
        for start, end, label in zip(split.documents.starts, ends, split.documents.labels, strict=True):
            assert split.tokens[end - 1] == corpus.end
            assert corpus.end not in split.tokens[start : end - 1]
            found[corpus.vocabulary.decode(split.tokens[start : end - 1])] = int(label)
        if split is corpus.train or level == "subwords":  # others have numbers that training has not
            assert found == known
        assert list(found) != sorted(found)


def test_labels_are_mixed():
    labels = imdb.from_reviews(toy(), "words").train.documents.labels
    assert np.count_nonzero(np.diff(labels)) > 60
    again = imdb.from_reviews(toy(), "words").train.documents.labels
    assert labels.tolist() == again.tolist()


@pytest.mark.parametrize("level", ["words", "subwords", "characters"])
def test_test_reviews_change_nothing(level):
    data = toy()
    other = data._replace(test=Reviews(["\u00fc \u00fc"], np.zeros(1, np.int32), ["test/0"]))
    found, expected = (imdb.from_reviews(each, level, vocab_size=300) for each in (other, data))
    assert found.vocabulary.names == expected.vocabulary.names
    assert [split.tokens.tolist() for split in splits(found)] == [split.tokens.tolist() for split in splits(expected)]
    assert "secret" not in expected.vocabulary.names


def test_the_vocabulary_knows_the_training_part_alone():
    data = toy()
    train, *others = imdb.cut(data)
    known = set(imdb.from_reviews(data, "words", min_freq=1).vocabulary.names)
    words = [set(" ".join(map(clean_markup, split.texts)).replace(",", "").split()) for split in (train, *others)]
    assert known == words[0] | {"<unk>", "<eos>", ","}
    assert (words[1] | words[2]) - known


def test_real_cut(real_reviews):
    sizes = [len(split.texts) for split in check_cut(real_reviews)]
    assert sum(sizes) == 25_000
    assert sizes[0] >= 22_500
    assert min(sizes[1:]) > 1_200


def test_real_corpus(real_corpus, real_reviews):
    assert real_corpus.vocabulary.size == 20_000
    assert real_corpus.train.tokens.dtype == np.uint16
    counts = np.bincount(real_corpus.train.tokens, minlength=20_000)
    assert np.all(np.diff(counts[2:]) <= 0)
    for split, reviews in zip(splits(real_corpus), imdb.cut(real_reviews), strict=True):
        assert len(split.documents.starts) == len(split.documents.labels) == len(reviews.texts)
        assert np.count_nonzero(split.tokens == real_corpus.end) == len(reviews.texts)
        assert split.documents.labels.mean() == reviews.labels.mean() == pytest.approx(0.5, abs=0.01)
    assert 0.02 < np.mean(real_corpus.test.tokens == 0) < 0.04


def test_real_documents(real_corpus, real_reviews):
    """A review, from its file to its tokens."""
    train, *_ = imdb.cut(real_reviews)
    label_of = {
        " ".join(clean_markup(text).split()[:6]): label for text, label in zip(train.texts, train.labels, strict=True)
    }
    documents, found = real_corpus.train.documents, 0
    for start, label in zip(documents.starts[:300], documents.labels[:300], strict=True):
        words = real_corpus.vocabulary.decode(real_corpus.train.tokens[start : start + 6])
        if words in label_of:
            assert label_of[words] == label
            found += 1
    assert found > 50
