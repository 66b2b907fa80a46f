"""ARPA files: read by a few lines here, by KenLM where it is installed, and words that do not fit."""

import math

import numpy as np
import pytest

from rnn_jax import ngrams
from rnn_jax.ngrams import write_arpa

# order, V, end
CASES = [(1, 4, None), (1, 4, 0), (2, 9, None), (2, 9, 8), (3, 30, 0), (5, 6, None), (5, 6, 2), (6, 20, 0)]
EVERY = pytest.mark.parametrize(("order", "num_tokens", "end"), CASES)


@pytest.fixture
def written(order, num_tokens, end, tmp_path):
    """A model, its file, its words, and a text of whole sentences to score."""
    rng = np.random.default_rng(num_tokens)
    often = rng.dirichlet(np.ones(num_tokens))
    tokens, other = (rng.choice(num_tokens, size, p=often) for size in (700, 90))
    if end is not None:
        other[[20, 21, -1]] = end
    model = ngrams.fit(tokens, order, num_tokens, end=end)
    words = [f"từ{number}" for number in range(num_tokens)]
    write_arpa(model, tmp_path / "model.arpa", words)
    return model, tmp_path / "model.arpa", words, other


def read(file):
    """By order: of each n-gram its log10 probability and its back-off weight, None where it has none."""
    lines = file.read_text(encoding="utf-8").splitlines()
    assert (lines[0], lines[-1]) == ("\\data\\", "\\end\\")
    sizes = [int(line.split("=")[1]) for line in lines if line.startswith("ngram ")]
    orders = []
    for line in lines[1:-1]:
        if line.endswith("-grams:"):
            orders.append({})
            assert line == f"\\{len(orders)}-grams:"
        elif "\t" in line:
            probability, gram, *backoff = line.split("\t")
            orders[-1][tuple(gram.split())] = float(probability), float(backoff[0]) if backoff else None
    assert sizes == [len(grams) for grams in orders]
    return orders


def backed_off(orders, gram):
    probability, _ = orders[len(gram) - 1].get(gram, (None, None))
    if probability is not None:
        return probability
    _, weight = orders[len(gram) - 2].get(gram[:-1], (None, 0.0))
    return weight + backed_off(orders, gram[1:])


@EVERY
def test_the_file_says_what_the_model_says(written, order, num_tokens, end):
    model, file, words, text = written
    orders = read(file)
    assert len(orders) == order
    assert set(orders[0]) == {(word,) for number, word in enumerate(words) if number != end} | {("<s>",), ("</s>",)}
    assert orders[0][("<s>",)][0] == -99
    assert {backoff for _, backoff in orders[-1].values()} == {None}
    history, expected = ["<s>"] * (end is not None), []
    for token in text:
        word = "</s>" if token == end else words[token]
        expected.append(backed_off(orders, (*history, word)[-order:]))
        history = ["<s>"] if token == end else [*history, word]
    np.testing.assert_allclose(model.log_probabilities(text) / math.log(10), expected, atol=1e-5)


@EVERY
def test_kenlm_reads_it(written, order, num_tokens, end):
    kenlm = pytest.importorskip("kenlm")
    if order == 1:
        pytest.skip("KenLM reads no unigram models")
    model, file, words, text = written
    reader = kenlm.Model(str(file))
    assert reader.order == order
    sentences = np.split(text, np.flatnonzero(text == end) + 1)[:-1] if end is not None else [text]
    found = []
    for sentence in sentences:
        line = " ".join(words[token] for token in sentence if token != end)
        found += [score for score, _, _ in reader.full_scores(line, bos=end is not None, eos=end is not None)]
    assert len(found) == 90
    np.testing.assert_allclose(found, model.log_probabilities(text) / math.log(10), atol=1e-5)


@pytest.mark.parametrize(
    ("words", "end", "message"),
    [
        (["a", "b"], None, r"^3 tokens need as many words, got 2$"),
        (["a", "b", "a"], None, r"got \['a'\]$"),
        (["a", "b", ""], None, r"got \[''\]$"),
        (["a", "b c", "\n"], None, r"got \['b c', '\\n'\]$"),
        (["a", "b", "<s>"], 0, r"got \['<s>'\]$"),
        (["a", "b", "</s>"], None, r"got \['</s>'\]$"),
        (["a", "b", "</s>"], 0, r"got \['</s>'\]$"),
    ],
)
def test_words_that_do_not_fit(words, end, message, tmp_path):
    model = ngrams.fit([0, 1, 2, 0], 2, 3, end=end)
    with pytest.raises(ValueError, match=message):
        write_arpa(model, tmp_path / "model.arpa", words)
    assert not (tmp_path / "model.arpa").exists()


def test_the_word_of_the_end_may_be_any(tmp_path):
    model = ngrams.fit([0, 1, 2, 0], 2, 3, end=2)
    files = [tmp_path / name for name in ("a", "b", "c")]
    for file, word in zip(files, ("</s>", "<s>", " "), strict=True):
        write_arpa(model, file, ["x", "y", word])
    assert files[0].read_bytes() == files[1].read_bytes() == files[2].read_bytes()


def test_a_model_without_smoothing(tmp_path):
    model = ngrams.fit([0, 1, 2, 0], 2, 3, smoothing="none")
    with pytest.raises(ValueError, match=r"^an ARPA file cannot tell a model without smoothing"):
        write_arpa(model, tmp_path / "model.arpa", ["a", "b", "c"])
