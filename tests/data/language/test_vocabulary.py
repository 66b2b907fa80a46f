"""Three kinds of vocabulary, one interface: numbers, round trips, files."""

import json
import re
from collections import Counter

import numpy as np
import pytest

from rnn_jax.data.errors import DataError
from rnn_jax.data.language import LEVELS, subwords, vocabulary, words
from rnn_jax.data.language.vocabulary import KINDS, Characters, Subwords, Words, build, load
from rnn_jax.data.pieces import pieces

TRAIN = "The cat saw the dog.\nDon't the dogs see it?\n\n  The cat didn't, the dog did!\r\n" * 3
TEXTS = {
    "training text": TRAIN,
    "nothing": "",
    "a blank": " ",
    "lines alone": "\n\n\n",
    "unheard of": "a zebra, quite\u2014\u00fcber; \U0001f332\u65e5\u672c\x00\n<eos><unk>",
    "no line end": "the cat",
}
LINES = [False, True]


def made(level, lines):
    return build(level, [TRAIN], lines=lines, vocab_size=300, min_freq=1)


MADE = {(level, lines): made(level, lines) for level in LEVELS for lines in LINES}
every = pytest.mark.parametrize("known", MADE.values(), ids=[f"{level}-{lines}" for level, lines in MADE])


@every
@pytest.mark.parametrize("text", TEXTS.values(), ids=TEXTS.keys())
def test_what_encode_returns(known, text):
    tokens = known.encode(text)
    assert tokens.ndim == 1
    assert tokens.dtype == known.dtype == (np.uint8 if known.size <= 256 else np.uint16)
    assert tokens.size == 0 or 0 <= tokens.min() <= tokens.max() < known.size
    if known.end is not None:
        assert np.count_nonzero(tokens == known.end) == text.count("\n")


@every
def test_decode_is_lossless_for_what_was_trained_on(known):
    expected = TRAIN
    if known.level == "words":  # with single blanks between words and marks
        lines = [" ".join(re.findall(r"\w+(?:'\w+)*|[^\w\s]", line)) for line in TRAIN.split("\n")]
        expected = "\n".join(lines)
    assert known.decode(known.encode(TRAIN)) == expected
    assert known.decode([]) == ""


@every
@pytest.mark.parametrize("text", TEXTS.values(), ids=TEXTS.keys())
def test_decoded_text_encodes_the_same(known, text):
    tokens = known.encode(text)
    again = known.encode(known.decode(tokens))
    assert again.tolist() == tokens.tolist()


@every
def test_names(known):
    assert len(known.names) == known.size == len(set(known.names))
    assert all(isinstance(name, str) for name in known.names)
    if known.end is not None:
        assert known.names[known.end] == "<eos>"
        assert known.decode([known.end]) == "\n"
    if known.level != "subwords":
        assert known.names[0] == "<unk>"


@every
@pytest.mark.parametrize("bad", [[-1], [0, 100_000], [3, -7, 3]])
def test_no_tokens(known, bad):
    with pytest.raises(ValueError, match=f"tokens must be 0 to {known.size - 1}, got"):
        known.decode(bad)


@every
def test_saved_and_loaded(known, tmp_path):
    known.save(tmp_path / "vocabulary.json")
    found = load(tmp_path / "vocabulary.json")
    assert (type(found), found.level, found.names, found.end) == (type(known), known.level, known.names, known.end)
    for text in TEXTS.values():
        assert found.encode(text).tolist() == known.encode(text).tolist()
        assert found.decode(known.encode(text)) == known.decode(known.encode(text))


def test_a_saved_vocabulary_cuts_at_blanks_as_before(tmp_path):
    known = Words.build(["don't , stop\n"], blanks=True, min_freq=1)
    known.save(tmp_path / "vocabulary.json")
    assert load(tmp_path / "vocabulary.json").encode("don't,").tolist() == known.encode("don't,").tolist() == [0]


FOREIGN = {
    "nothing": b"",
    "no json": b"\xff\xfe",
    "another json": b"[1, 2]",
    "no level": b"{}",
    "another level": b'{"level": "phonemes"}',
    "a level that is no text": b'{"level": []}',
    "nothing but a level": b'{"level": "words"}',
    "numbers for words": b'{"level": "words", "words": [1, 2], "blanks": false}',
    "a word twice": b'{"level": "words", "words": ["a", "a"], "blanks": false}',
    "a special word twice": b'{"level": "words", "words": ["a", "<eos>"], "blanks": false}',
    "a character twice": b'{"level": "characters", "characters": "aba", "lines": false}',
    "lines twice": b'{"level": "characters", "characters": "a\\n", "lines": true}',
    "numbers for characters": b'{"level": "characters", "characters": [1], "lines": false}',
    "no tokenizer": b'{"level": "subwords", "tokenizer": {"version": "1.0"}, "lines": false}',
    "something besides": b'{"level": "characters", "characters": "ab", "lines": false, "more": 1}',
}


@pytest.mark.parametrize("content", FOREIGN.values(), ids=FOREIGN.keys())
def test_foreign_files(tmp_path, content):
    (tmp_path / "vocabulary.json").write_bytes(content)
    with pytest.raises(ValueError, match=r"vocabulary\.json is no vocabulary: "):
        load(tmp_path / "vocabulary.json")


@pytest.mark.parametrize("level", LEVELS)
def test_files_cut_short(tmp_path, level):
    MADE[level, True].save(tmp_path / "vocabulary.json")
    content = (tmp_path / "vocabulary.json").read_bytes()
    (tmp_path / "vocabulary.json").write_bytes(content[: len(content) // 2])
    with pytest.raises(ValueError, match="is no vocabulary"):
        load(tmp_path / "vocabulary.json")


def test_no_file(tmp_path):
    with pytest.raises(FileNotFoundError):
        load(tmp_path / "vocabulary.json")


def test_a_kind_for_every_level():
    assert tuple(KINDS) == LEVELS


@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize("lines", LINES)
def test_texts_may_come_in_pieces(level, lines):
    whole = build(level, [TRAIN], lines=lines, vocab_size=280, min_freq=1)
    split = build(level, pieces(TRAIN, 40), lines=lines, vocab_size=280, min_freq=1)
    assert whole.names == split.names


@pytest.mark.parametrize("level", LEVELS)
def test_errors_of_texts_pass_through(level):
    def texts():
        yield TRAIN
        raise DataError("the file is damaged")

    with pytest.raises(DataError, match="the file is damaged"):
        build(level, texts())


# Characters.


@pytest.mark.parametrize("text", ["", "b", "banana\n", "\U0001f332 z\u65e5\r\n\u00fc\x00", "\ufffd?"])
@pytest.mark.parametrize("lines", LINES)
def test_characters_are_in_order_of_code_points(text, lines):
    found = Characters.build([text], lines)
    expected = ["<unk>"] + ["<eos>"] * lines + sorted(set(text) - ({"\n"} if lines else set()))
    assert found.names == expected
    by_name = {name: number for number, name in enumerate(expected)} | ({"\n": 1} if lines else {})
    asked = text + "qX\u00e9\U0001f333"
    assert found.encode(asked).tolist() == [by_name.get(character, 0) for character in asked]


def test_unknown_characters_are_seen_as_such():
    assert Characters.build(["ab"]).decode([0, 1, 0, 2]) == "\ufffda\ufffdb"
    assert Characters.build(["ab"]).encode("\ud800a").tolist() == [0, 1]


@pytest.mark.parametrize(
    ("count", "dtype"), [(255, np.uint8), (256, np.uint16), (65_535, np.uint16), (65_536, np.uint32)]
)
def test_the_smallest_type(count, dtype):
    found = Characters.build(["".join(map(chr, range(0x10000, 0x10000 + count)))])
    assert found.size == count + 1
    assert found.dtype == found.encode("a").dtype == dtype
    assert found.encode(chr(0x10000 + count - 1)).tolist() == [count]


# Words.


def counted(text, vocab_size, min_freq):
    """A reference: count with the pattern itself, then sort."""
    counts = Counter(re.findall("\\w+(?:['\u2019]\\w+)*|[^\\w\\s]", text))
    ranked = sorted(counts, key=lambda word: (-counts[word], word))
    return ["<unk>", "<eos>", *[word for word in ranked if counts[word] >= min_freq]][:vocab_size]


@pytest.mark.parametrize("min_freq", [1, 2, 4, 6])
@pytest.mark.parametrize("vocab_size", [3, 7, 100])
def test_words_by_frequency(vocab_size, min_freq):
    found = Words.build([TRAIN], vocab_size=vocab_size, min_freq=min_freq)
    assert found.names == counted(TRAIN, vocab_size, min_freq)


def test_words_and_marks():
    known = Words.build(["The don't o\u2019clock a_b 3rd, \u00fcber <unk> end\n"], min_freq=1)
    text = "the The don't \t dont,o\u2019clock\r\n\n a_b  3rd <unk>\u00fcber"
    assert [known.names[token] for token in known.encode(text)] == [
        *("<unk>", "The", "don't", "<unk>", ",", "o\u2019clock", "<eos>", "<eos>", "a_b", "3rd", "<unk>", "\u00fcber")
    ]


def test_words_between_blanks():
    known = Words.build([" a n't N <unk> \n don't. a \n"], blanks=True, min_freq=1)
    assert known.names == ["<unk>", "<eos>", "a", "N", "don't.", "n't"]
    assert known.encode(" a don't. don't \n<unk> N").tolist() == [2, 4, 0, 1, 0, 3]
    assert known.decode([2, 4, 1, 1, 0, 3, 1]) == "a don't.\n\n<unk> N\n"


def test_special_words_are_not_counted():
    known = Words.build(["<unk> <unk> <unk> a a\n\n\n"], min_freq=1)
    assert known.names == ["<unk>", "<eos>", "a"]


@pytest.mark.parametrize(("limits", "message"), [
    ({"vocab_size": 2}, "vocab_size=2: a vocabulary has <unk> and <eos> and at least one word"),
    ({"vocab_size": 0}, "vocab_size=0"),
    ({"min_freq": 10}, "min_freq=10: no word occurs so often"),
])  # fmt: skip
def test_limits_that_leave_no_words(limits, message):
    with pytest.raises(DataError, match=message):
        build("words", [TRAIN], **limits)


def test_defaults_of_words():
    assert build("words", ["once twice twice"]).names == ["<unk>", "<eos>", "twice"]
    many = " ".join(f"w{i} w{i}" for i in range(30_000))
    assert build("words", [many]).size == words.VOCAB_SIZE == 20_000


def test_frequent_words_outlive_the_dropping_of_rare_ones(monkeypatch):
    """More different words than are counted at once: the frequent ones are found, in their order."""
    monkeypatch.setattr(words, "MOST_WORDS", 200)
    rng = np.random.default_rng(0)
    frequent = rng.choice([f"w{i}" for i in range(10)], 4_000, p=np.arange(19, 0, -2) / 100)
    rare = [f"r{i}" for i in range(4_000)]
    text = " ".join(word for pair in zip(frequent, rare, strict=True) for word in pair)
    found = Words.build([text[i : i + 100] for i in range(0, len(text), 100)], vocab_size=12)
    assert found.names[2:] == [f"w{i}" for i in range(10)]


def test_words_do_not_depend_on_where_a_text_is_cut(monkeypatch):
    known = MADE["words", False]
    expected = [known.encode(text).tolist() for text in TEXTS.values()]
    names = known.names
    monkeypatch.setattr(words, "PIECE", 11)
    assert [known.encode(text).tolist() for text in TEXTS.values()] == expected
    assert made("words", False).names == names


# Subwords.


def test_subwords_are_bytes_and_pieces_of_words():
    known = build("subwords", [TRAIN], vocab_size=270)
    assert known.size == 270
    assert {"the", " the", " cat"} & set(known.names)
    assert known.end is None
    assert known.decode(known.encode("\n")) == "\n"


@pytest.mark.parametrize("lines", LINES)
def test_every_byte_has_a_subword(lines):
    known = Subwords.build(["aa"], lines, 256 + lines)
    text = "".join(map(chr, [*range(0x300), *range(0x4E00, 0x4E40), 0x1F332]))
    tokens = known.encode(text)
    assert known.decode(tokens) == text
    # Every byte once; the line end, where it is special, too.
    assert len(tokens) == len(text.encode())


def test_no_subword_joins_lines_where_they_end():
    text = "one\n\n\n\ntwo\n" * 40
    for lines in LINES:  # the byte itself is one of 256, and never comes where lines end
        longer = [name for name in Subwords.build([text], lines, 300).names if "\n" in name and name != "\n"]
        assert bool(longer) is not lines


@pytest.mark.parametrize("lines", LINES)
def test_too_few_subwords(lines):
    with pytest.raises(DataError, match=f"vocab_size={255 + lines}: subwords need {256 + lines} or more"):
        Subwords.build([TRAIN], lines, 255 + lines)


def test_default_of_subwords():
    rng = np.random.default_rng(0)
    text = " ".join("".join(map(chr, rng.integers(97, 123, 6))) for _ in range(20_000))
    assert build("subwords", [text]).size == subwords.VOCAB_SIZE == 4_096


def test_subwords_that_are_pieces_of_characters_have_names():
    known = Subwords.build(["\u65e5\u672c" * 50], False, 300)
    assert {"\u65e5\u672c"} <= set(known.names)
    assert "\ufffd" not in "".join(known.names)


def test_a_lone_surrogate():
    known = MADE["subwords", False]
    assert known.decode(known.encode("a\ud800b")) == "a?b"


@pytest.mark.parametrize("lines", LINES)
def test_subwords_do_not_depend_on_where_a_text_is_cut(monkeypatch, lines):
    rng = np.random.default_rng(0)
    words = ["the", "cat", "'t", "!?", "a\tb", "\r.", "\u3000x", "x\x1c!", "!\x1cy", "\u65e5"]
    ends = [" ", "\n", "\r\n", "  ", " \n", "\n ", "\n\n", " \t "]
    texts = ["".join(rng.choice(words) + rng.choice(ends) for _ in range(30)) for _ in range(30)]
    known = Subwords.build([TRAIN, *texts], lines, 320)
    expected = [known.encode(text).tolist() for text in texts]
    monkeypatch.setattr(subwords, "PIECE", 24)
    assert [known.encode(text).tolist() for text in texts] == expected


def test_names_of_vocabulary_module():
    """What the files say is read by `json` alone: no code runs from them."""
    for known in MADE.values():
        assert json.loads(json.dumps(known.to_json())) == known.to_json()
    assert set(vocabulary.__all__) >= {"build", "load", "Vocabulary"}


def test_words_of_any_length_take_bounded_memory():
    """A text without blanks would fill the table with pieces of itself."""
    vocabulary = Words.build([f"{'x' * 300}{n} short " for n in range(50)] * 2)
    assert vocabulary.names == ["<unk>", "<eos>", "short"]
