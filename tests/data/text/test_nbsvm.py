"""NB-SVM: its ratio by hand, what n-grams and marks add, input that does not fit, and a level on real reviews."""

import os
import tarfile
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("sklearn")

from rnn_jax.data.text.nbsvm import NBSVM, log_count_ratio

ARCHIVE = Path(os.environ.get("RNN_JAX_DATA", "")) / "aclImdb_labelled.tar.xz"

# Each word occurs once in either class: the order alone tells.
GOOD, BAD = ["good not bad", "fun not dull"], ["bad not good", "dull not fun"]
TEXTS, LABELS = (GOOD + BAD) * 5, np.array([1, 1, 0, 0] * 5)


def test_the_ratio_by_hand():
    # Counts (2, 1, 0) with label 1 and (0, 1, 2) with label 0; one more of each: p = (3, 2, 1) / 6, q = (1, 2, 3) / 6.
    present = np.array([[1, 1, 0], [1, 0, 0], [0, 1, 1], [0, 0, 1]])
    labels = np.array([1, 1, 0, 0])
    ratio = log_count_ratio(present, labels)
    np.testing.assert_allclose(ratio, np.log([3, 1, 1 / 3]), atol=1e-15)
    assert ratio.dtype == np.float64
    # With more smoothing all ratios are nearer to 1.
    np.testing.assert_allclose(log_count_ratio(present, labels, smoothing=2.0), np.log([2, 1, 1 / 2]), atol=1e-15)


def test_the_ratio_of_a_sparse_matrix():
    sparse = pytest.importorskip("scipy.sparse")
    rng = np.random.default_rng(0)
    present, labels = (rng.random((50, 20)) < 0.2).astype(np.float32), rng.integers(2, size=50)
    np.testing.assert_array_equal(log_count_ratio(sparse.csr_matrix(present), labels), log_count_ratio(present, labels))


def test_a_text_is_scored_by_its_n_grams():
    model = NBSVM(ngrams=1, min_count=1).fit(["Great film!", "great fun", "dull film", "dull dull plot"], [1, 1, 0, 0])
    weights = dict(zip(model.terms, model.weights, strict=True))
    assert set(weights) == {"great", "film", "!", "fun", "dull", "plot"}
    scores = model.decision_function(["Great great !", "dull plot", "unknown", ""])
    assert scores.dtype == np.float32
    expected = [weights["great"] + weights["!"], weights["dull"] + weights["plot"], 0, 0]  # a word counts once
    np.testing.assert_allclose(scores, np.array(expected) + model.intercept, rtol=1e-6)
    assert scores[0] > 0 > scores[1]


def test_the_svm_minimizes_what_the_docstring_says():
    texts, y = ["a b", "a c", "b c", "c d", "a d", "b d"], np.array([1, 1, 0, 0, 1, 0])
    model = NBSVM(ngrams=1, min_count=1, regularization=0.7).fit(texts, y)
    present = np.array([[term in text.split() for term in model.terms] for text in texts], dtype=float)
    ratio = log_count_ratio(present, y)
    w, x, s = model.weights / ratio, present * ratio, 2 * y - 1

    def objective(w, b):
        return (w @ w + b**2) / 2 + 0.7 * (np.maximum(0, 1 - s * (x @ w + b)) ** 2).sum()

    least = objective(w, model.intercept)
    for step in np.random.default_rng(0).normal(scale=0.01, size=(100, len(w) + 1)):
        assert objective(w + step[:-1], model.intercept + step[-1]) > least - 1e-6


def scores(texts, labels, test_texts, **settings):
    return NBSVM(**settings).fit(texts, labels).decision_function(test_texts)


def test_bigrams_see_the_order():
    accuracy = [np.mean((scores(TEXTS, LABELS, TEXTS, ngrams=n) > 0) == LABELS) for n in (1, 2)]
    assert accuracy == [0.5, 1.0]
    model = NBSVM().fit(TEXTS, LABELS)
    assert set(model.terms) >= {"not bad", "bad not", "good"}
    assert not any(len(term.split()) > 2 for term in model.terms)


def test_words_marks_and_line_breaks():
    model = NBSVM(ngrams=1, min_count=1).fit(["Don't!<br /><br />ngon_quá :)", "x<BR>y"], [1, 0])
    assert set(model.terms) == {"don't", "!", "ngon_quá", ":", ")", "x", "y"}


def test_rare_n_grams_are_left_out():
    assert NBSVM(ngrams=1, min_count=2).fit(["a a b", "b c", "c"], [1, 0, 0]).terms.tolist() == ["b", "c"]


def test_interpolation():
    svm, bayes, mixed = (NBSVM(interpolation=b).fit(TEXTS, LABELS) for b in (1.0, 0.0, 0.25))
    np.testing.assert_allclose(mixed.weights, 0.75 * bayes.weights + 0.25 * svm.weights, rtol=1e-5, atol=1e-7)
    assert np.all(bayes.weights[[term == "not bad" for term in bayes.terms]] > 0)


def test_the_same_texts_give_the_same_scores():
    first, second = (scores(TEXTS, LABELS, GOOD + BAD) for _ in range(2))
    np.testing.assert_array_equal(first, second)
    assert scores(TEXTS, LABELS, []).shape == (0,)


def test_labels_that_do_not_fit():
    for labels in ([1, 1], [0, 0], [0, 2], [0.5, 1]):
        with pytest.raises(ValueError, match=r"^labels have to be 0 and 1, both of them present, got \["):
            NBSVM(min_count=1).fit(["a", "b"], labels)
    with pytest.raises(ValueError, match=r"^2 texts need labels of shape \(2,\), got \(3,\)$"):
        NBSVM().fit(["a", "b"], [0, 1, 1])
    with pytest.raises(ValueError, match=r"^labels have to be 0 and 1"):
        NBSVM().fit([], [])


def test_texts_that_do_not_fit():
    with pytest.raises(ValueError, match=r"^expected a sequence of texts, got one text$"):
        NBSVM().fit("ab", [0, 1])
    for texts, min_count in ((["a", "b"], 2), (["a", "b"], 3), (["", " "], 1)):
        with pytest.raises(ValueError, match=rf"^no n-gram occurs in {min_count} or more of the 2 texts$"):
            NBSVM(min_count=min_count).fit(texts, [0, 1])
    with pytest.raises(ValueError, match="has to be fitted before"):
        NBSVM().decision_function(["a"])


@pytest.mark.parametrize(
    "settings",
    [
        {"ngrams": 0},
        {"min_count": 0},
        {"regularization": 0.0},
        {"smoothing": 0.0},
        {"interpolation": 1.5},
        {"interpolation": float("nan")},
    ],
)
def test_settings_that_do_not_fit(settings):
    with pytest.raises(ValueError, match=r"have to be"):
        NBSVM(**settings)


@pytest.mark.skipif(not ARCHIVE.is_file(), reason="RNN_JAX_DATA is not set or without the reviews of IMDB")
def test_real_reviews():
    """Every 10th review of each folder: 2,500 to learn from and 2,500 to tell."""
    texts, labels = {"train": [], "test": []}, {"train": [], "test": []}
    with tarfile.open(ARCHIVE) as archive:
        for member in archive:
            if member.isfile() and member.name.split("_")[0].endswith("0"):  # aclImdb/train/pos/1230_8.txt
                split, label = member.name.split("/")[1:3]
                texts[split].append(archive.extractfile(member).read().decode("utf-8"))
                labels[split].append(int(label == "pos"))
    assert [len(part) for part in texts.values()] == [2500, 2500]
    found = scores(texts["train"], labels["train"], texts["test"])
    assert np.mean((found > 0) == np.array(labels["test"])) > 0.84
