"""Words, numbers and truncation."""

import numpy as np
import pytest

from rnn_jax.data.text import TRUNCATE, vocabulary
from rnn_jax.data.text.vocabulary import PAD, SPECIAL, UNK, build, encode, load, truncated, words

TEXTS = ["the film is good , the end is not", "don't see the film", "nhà_hàng ngon quá"]


def test_special_tokens_come_first():
    tokenizer = build(TEXTS, 100)
    assert words(tokenizer)[:2] == list(SPECIAL) == ["<pad>", "<unk>"]
    assert (tokenizer.token_to_id("<pad>"), tokenizer.token_to_id("<unk>")) == (PAD, UNK)


def test_words_are_numbered_by_frequency():
    assert words(build(TEXTS, 100))[2] == "the"
    assert set(words(build(TEXTS, 5))[2:]) == {"the", "film", "is"}


def test_a_word_keeps_apostrophes_and_underscores_and_marks_stand_alone():
    tokenizer = build(TEXTS, 100)
    assert {"don't", "nhà_hàng", ","} <= set(words(tokenizer))
    assert tokenizer.encode("film,good!").tokens == ["film", ",", "good", "<unk>"]


def test_min_freq():
    assert set(words(build(TEXTS, 100, min_freq=2))[2:]) == {"the", "film", "is"}
    with pytest.raises(ValueError, match="no word occurs 7 times in 3 texts"):
        build(TEXTS, 100, min_freq=7)


def test_too_small():
    with pytest.raises(ValueError, match="vocab_size=2"):
        build(TEXTS, 2)


def test_the_same_texts_make_the_same_vocabulary():
    rng = np.random.default_rng(0)
    texts = [" ".join(rng.choice([f"w{i}" for i in range(50)], 30)) for _ in range(40)]
    assert len({build(texts, 30).to_str() for _ in range(5)}) == 1


def test_saved_and_loaded(tmp_path):
    tokenizer = build(TEXTS, 100)
    tokenizer.save(str(tmp_path / "tokenizer.json"))
    assert load(tmp_path / "tokenizer.json").encode("the ngon end !").ids == tokenizer.encode("the ngon end !").ids


@pytest.mark.parametrize("content", [b"", b"{}", b"\xff\xfe"])
def test_no_vocabulary(tmp_path, content):
    (tmp_path / "tokenizer.json").write_bytes(content)
    with pytest.raises(ValueError, match=r"tokenizer\.json is no vocabulary"):
        load(tmp_path / "tokenizer.json")


@pytest.mark.parametrize("truncate", vocabulary.TRUNCATE)
@pytest.mark.parametrize("length", range(8))
@pytest.mark.parametrize("max_tokens", [1, 2, 5])
def test_truncated(truncate, length, max_tokens):
    ids = list(range(10, 10 + length))
    kept = list(truncated(ids, max_tokens, truncate))
    assert len(kept) == min(length, max_tokens)
    if length <= max_tokens:
        assert kept == ids
    elif truncate == "both":
        head = max_tokens - max_tokens // 2
        assert kept == ids[:head] + ids[length - max_tokens // 2 :]
    else:
        assert kept == (ids[:max_tokens] if truncate == "head" else ids[length - max_tokens :])


def test_encode():
    tokenizer = build(TEXTS, 100)
    texts = ["", *TEXTS, "unheard of", "the " * 30]
    tokens = encode(tokenizer, texts, max_tokens=9, truncate="tail")
    assert tokens.lengths.tolist() == [0, 9, 4, 3, 2, 9]
    assert (tokens.values.dtype, tokens.starts.dtype, tokens.lengths.dtype) == (np.int32, np.int32, np.int32)
    for index, text in enumerate(texts):
        assert tokens.text(index).tolist() == tokenizer.encode(text).ids[-9:]
    assert tokens.text(4).tolist() == [UNK, UNK]


def test_nothing_to_encode():
    tokens = encode(build(TEXTS, 100), [], max_tokens=9)
    assert [len(part) for part in tokens] == [0, 0, 0]


@pytest.mark.parametrize(("max_tokens", "truncate"), [(0, "head"), (5, "middle")])
def test_bad_truncation(max_tokens, truncate):
    with pytest.raises(ValueError, match="max_tokens="):
        encode(build(TEXTS, 100), TEXTS, max_tokens, truncate)


@pytest.mark.parametrize("number", range(7))
def test_split(number):
    texts = ["", *TEXTS, "unheard of", ""]
    tokens = encode(build(TEXTS, 100), texts, max_tokens=9)
    parts = tokens.split(number)
    assert [len(part.lengths) for part in parts] == [number, 6 - number]
    found = [part.text(i).tolist() for part in parts for i in range(len(part.lengths))]
    assert found == [tokens.text(i).tolist() for i in range(6)]
    assert sum(len(part.values) for part in parts) == len(tokens.values)


@pytest.mark.parametrize("truncate", TRUNCATE)
def test_a_long_text_is_read_in_pieces(truncate, monkeypatch):
    """As at once, as long as there is a blank now and then."""
    rng = np.random.default_rng(0)
    text = " ".join(rng.choice(["good", "bad", "film,", "it's", "!!"], 500))
    vocabulary = build([text], 6)
    expected = encode(vocabulary, ["bad", text, ""], 70, truncate)
    monkeypatch.setattr("rnn_jax.data.text.vocabulary.PIECE", 50)
    found = encode(vocabulary, ["bad", text, ""], 70, truncate)
    assert all(np.array_equal(a, b) for a, b in zip(found, expected, strict=True))
    assert build([text], 6).get_vocab() == vocabulary.get_vocab()
