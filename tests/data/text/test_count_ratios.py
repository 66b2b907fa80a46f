"""Log-count ratios: by counting, out of fold, and no label given away."""

from collections import Counter

import numpy as np
import pytest

from rnn_jax.data.text import count_ratios
from rnn_jax.data.text.count_ratios import NUM_FOLDS, build, lookup
from rnn_jax.data.text.vocabulary import UNK, Tokens

V = 7


def make_tokens(texts):
    lengths = np.array([len(text) for text in texts], np.int32)
    starts = np.concatenate(([0], np.cumsum(lengths)[:-1])).astype(np.int32)
    return Tokens(np.concatenate([np.asarray(text, np.int32) for text in texts]), starts, lengths)


@pytest.fixture(scope="module")
def corpus():
    rng = np.random.default_rng(0)
    texts = [rng.integers(1, V, rng.integers(0, 9)).tolist() for _ in range(60)]
    return texts, rng.integers(0, 2, 60)


def ngrams_of(text, n):
    return [tuple(text[i - n + 1 : i + 1]) if i >= n - 1 else None for i in range(len(text))]


def counted(texts, labels, n, frequent):
    """r by its definition: from the texts of each class that have an n-gram."""
    have = [Counter(), Counter()]
    for text, label in zip(texts, labels, strict=True):
        have[label].update(set(ngrams_of(text, n)) & frequent)
    p, q = ({g: have[label][g] + 1 for g in frequent} for label in (1, 0))
    sums = sum(p.values()), sum(q.values())
    return {g: np.log(p[g] / sums[0]) - np.log(q[g] / sums[1]) if have[0][g] + have[1][g] else 0.0 for g in frequent}


def frequent_ngrams(texts, n, min_freq):
    counts = Counter(g for text in texts for g in ngrams_of(text, n) if g is not None)
    return {g for g, count in counts.items() if count >= min_freq and g != (UNK,)}


@pytest.mark.parametrize("min_freq", [1, 3])
def test_ratios_of_other_texts(corpus, min_freq):
    texts, labels = corpus
    ratios, _ = build(make_tokens(texts), labels, V, 3, min_freq)
    others = [[2, 3, 2, 3, 5], [], [UNK, UNK, 4], [6]]
    found = lookup(ratios, make_tokens(others))
    assert found.shape == (3, 9)
    assert found.dtype == np.float32
    for n in (1, 2, 3):
        expected = counted(texts, labels, n, frequent_ngrams(texts, n, min_freq))
        want = [expected.get(g, 0.0) for text in others for g in ngrams_of(text, n)]
        np.testing.assert_allclose(found[n - 1], want, rtol=1e-5, atol=1e-6)
    assert np.abs(found).max() > 0.3


def test_a_training_text_is_described_by_the_other_folds(corpus):
    texts, labels = corpus
    tokens = make_tokens(texts)
    _, found = build(tokens, labels, V, 2, 2, seed=5)
    fold = np.random.default_rng(5).permutation(len(texts)) % NUM_FOLDS
    for f in range(NUM_FOLDS):
        kept = np.flatnonzero(fold != f)
        for n in (1, 2):
            expected = counted([texts[i] for i in kept], labels[kept], n, frequent_ngrams(texts, n, 2))
            for i in np.flatnonzero(fold == f):
                here = slice(tokens.starts[i], tokens.starts[i] + tokens.lengths[i])
                want = [expected.get(g, 0.0) for g in ngrams_of(texts[i], n)]
                np.testing.assert_allclose(found[n - 1, here], want, rtol=1e-5, atol=1e-6)


def test_texts_of_one_group_are_in_one_fold(corpus):
    """Then a group's own n-grams, in no other group, count for nothing in it."""
    texts, labels = corpus
    groups = np.random.default_rng(2).integers(0, 12, len(texts)) * 7
    marked = [[*text, V + 1 + group // 7] for text, group in zip(texts, groups, strict=True)]
    tokens = make_tokens(marked)
    ratios, found = build(tokens, labels, V + 20, 1, min_freq=1, groups=groups)
    ends = tokens.starts + tokens.lengths - 1
    assert not found[0, ends].any()
    assert lookup(ratios, tokens)[0, ends].any()
    _, apart = build(tokens, labels, V + 20, 1, min_freq=1)
    assert apart[0, ends].any()


def test_labels_by_chance_are_not_given_away():
    """With labels drawn at random the ratios of a training text say nothing about its label; counted in it, they do."""
    rng = np.random.default_rng(1)
    texts, labels = [rng.integers(2, 400, 12).tolist() for _ in range(2000)], rng.integers(0, 2, 2000)
    tokens = make_tokens(texts)
    ratios, out_of_fold = build(tokens, labels, 400, 2, min_freq=1)
    owner = np.repeat(np.arange(2000), 12)

    def accuracy(rows):
        return np.mean((np.bincount(owner, rows.sum(axis=0)) > 0) == labels)

    assert 0.45 < accuracy(out_of_fold) < 0.55
    assert accuracy(lookup(ratios, tokens)) > 0.95


@pytest.mark.parametrize("longest", [0, 1, 3])
def test_shapes(corpus, longest):
    texts, labels = corpus
    tokens = make_tokens(texts)
    ratios, rows = build(tokens, labels, V, longest)
    assert rows.shape == lookup(ratios, tokens).shape == (longest, len(tokens.values))


def test_nothing_is_frequent_enough(corpus):
    texts, labels = corpus
    ratios, rows = build(make_tokens(texts), labels, V, 2, min_freq=10_000)
    assert not rows.any()
    assert not lookup(ratios, make_tokens([[2, 3]])).any()


def test_saved_and_loaded(corpus, tmp_path):
    texts, labels = corpus
    ratios, _ = build(make_tokens(texts), labels, V, 3)
    count_ratios.save(ratios, tmp_path / "r.npz")
    again = count_ratios.load(tmp_path / "r.npz")
    tokens = make_tokens([[2, 3, 4, 5], [6, 6]])
    np.testing.assert_array_equal(lookup(again, tokens), lookup(ratios, tokens))


def saved(path, **changes):
    """A file with two known words, changed."""
    arrays = {"keys_1": np.array([2, 5]), "ratios_1": np.array([0.5, -1.0], np.float32), "vocab_size": 9, "longest": 1}
    np.savez_compressed(path, **{**arrays, **changes})
    return path


@pytest.mark.parametrize(
    "changes",
    [
        {"longest": 2},
        {"longest": 10**12},
        {"longest": np.array([1, 2])},
        {"keys_1": np.array([5, 2])},
        {"keys_1": np.array([2.0, 5.0])},
        {"keys_1": np.array([2])},
        {"ratios_1": np.array([0.5, np.nan], np.float32)},
        {"ratios_1": np.array([{}, {}])},  # objects, which would have to be executed
    ],
)
def test_what_does_not_fit_together(tmp_path, changes):
    assert count_ratios.load(saved(tmp_path / "right.npz")).vocab_size == 9
    with pytest.raises(ValueError, match=r"r\.npz holds no count ratios"):
        count_ratios.load(saved(tmp_path / "r.npz", **changes))


def test_a_small_file_that_would_fill_the_memory(tmp_path, monkeypatch):
    monkeypatch.setattr(count_ratios, "LARGEST", 10**6)
    saved(tmp_path / "r.npz", keys_1=np.zeros(10**6, np.int64))
    assert (tmp_path / "r.npz").stat().st_size < 20_000
    with pytest.raises(ValueError, match="it unpacks to more than 1,000,000 bytes"):
        count_ratios.load(tmp_path / "r.npz")


def test_a_file_that_asks_for_a_password(tmp_path):
    content = bytearray(saved(tmp_path / "r.npz").read_bytes())
    content[content.rindex(b"PK\x01\x02") + 8] |= 1
    content[6] |= 1
    (tmp_path / "r.npz").write_bytes(content)
    with pytest.raises(ValueError, match=r"r\.npz holds no count ratios"):
        count_ratios.load(tmp_path / "r.npz")


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04 nothing", b"words"])
def test_no_ratios(tmp_path, content):
    (tmp_path / "r.npz").write_bytes(content)
    with pytest.raises(ValueError, match=r"r\.npz holds no count ratios"):
        count_ratios.load(tmp_path / "r.npz")


@pytest.mark.parametrize(
    ("labels", "longest", "message"),
    [(np.zeros(60, int), 4, "n-grams of up to 4 words"), (np.zeros(59, int), 1, r"60 texts .* got \(59,\)"),
     (np.full(60, 2), 1, "labels 0 or 1")],
)  # fmt: skip
def test_bad_input(corpus, labels, longest, message):
    with pytest.raises(ValueError, match=message):
        build(make_tokens(corpus[0]), labels, V, longest)
