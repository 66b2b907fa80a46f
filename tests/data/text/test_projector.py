"""The files of the Embedding Projector, read back the way the projector reads them."""

import os

import numpy as np
import pytest

from rnn_jax.data.text.projector import write_projector

VECTORS = np.array([[0.5, -1.25, 3e-9], [1 / 3, 2.0, 123456.7]], dtype=np.float32)


def lines(path):
    """Split at line feeds alone, as the projector does; blank lines are passed over."""
    return [line for line in path.read_bytes().decode("utf-8").split("\n") if line.strip()]


def test_words_alone_have_no_header(tmp_path):
    write_projector(tmp_path / "new" / "folder", VECTORS, ["good", "tệ"])
    found = [line.split("\t") for line in lines(tmp_path / "new" / "folder" / "vectors.tsv")]
    np.testing.assert_allclose(np.array(found, dtype=float), VECTORS, rtol=1e-5)
    assert lines(tmp_path / "new" / "folder" / "metadata.tsv") == ["good", "tệ"]
    assert sorted(os.listdir(tmp_path / "new" / "folder")) == ["metadata.tsv", "vectors.tsv"]


def test_columns_have_a_header(tmp_path):
    write_projector(tmp_path, VECTORS, ["good", "bad"], {"count": np.array([10, 7]), "score": [0.5, -0.5]})
    assert lines(tmp_path / "metadata.tsv") == ["word\tcount\tscore", "good\t10\t0.5", "bad\t7\t-0.5"]
    assert len(lines(tmp_path / "vectors.tsv")) == 2


def test_no_word_breaks_the_table(tmp_path):
    words = ["a\tb", "c\nd", "e\r", "", " ", "\u2028", "\x85", "don't", "\\t"]
    write_projector(tmp_path, np.ones((len(words), 2)), words)
    expected = [r"a\tb", r"c\nd", r"e\r", "''", "' '", r"\u2028", r"\x85", "don't", "\\t"]
    assert lines(tmp_path / "metadata.tsv") == expected
    write_projector(tmp_path, np.ones((len(words), 2)), words, {"of\tsome": words})
    assert [line.split("\t") for line in lines(tmp_path / "metadata.tsv")] == [
        ["word", r"of\tsome"],
        *([word, word] for word in expected),
    ]


def test_lengths_that_differ(tmp_path):
    with pytest.raises(ValueError, match=r"^vectors \(2, 3\) need as many values of 'word', got 1$"):
        write_projector(tmp_path, VECTORS, ["one"])
    with pytest.raises(ValueError, match=r"^vectors \(2, 3\) need as many values of 'count', got 3$"):
        write_projector(tmp_path, VECTORS, ["good", "bad"], {"count": [1, 2, 3]})
    assert not os.listdir(tmp_path)


def test_what_the_projector_cannot_read(tmp_path):
    for shape in ((2,), (2, 1), (2, 3, 4)):
        with pytest.raises(ValueError, match=r"^vectors must be \[V, D\] with D of 2 or more, got \(2,"):
            write_projector(tmp_path, np.ones(shape), ["good", "bad"])
    with pytest.raises(ValueError, match=r"^vectors \(2, 3\) must be finite$"):
        write_projector(tmp_path, VECTORS * np.nan, ["good", "bad"])
    with pytest.raises(ValueError, match=r"^no column may be named 'word'"):
        write_projector(tmp_path, VECTORS, ["good", "bad"], {"word": ["x", "y"]})


def test_whole_or_not_at_all(tmp_path, monkeypatch):
    write_projector(tmp_path, VECTORS, ["good", "bad"])
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}

    def fails(*_):
        raise OSError("no space left on device")

    monkeypatch.setattr(os, "replace", fails)
    with pytest.raises(OSError, match="no space left"):
        write_projector(tmp_path, 2 * VECTORS, ["more", "less"])
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before
