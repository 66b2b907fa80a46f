"""Any text file: splits, what the vocabulary knows, hostile files, memory."""

import gzip
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from rnn_jax.data.errors import DataError
from rnn_jax.data.language import LEVELS, read
from rnn_jax.data.language.corpus import fingerprint

ROOT = Path(__file__).resolve().parents[3]
RNG = np.random.default_rng(0)
SYLLABLES = ["ba", "B\u00e4", "ch", "do", "'s", "\u65e5", "-", "x", "yz"]


def line(rng):
    return " ".join("".join(rng.choice(SYLLABLES, rng.integers(1, 4))) for _ in range(rng.integers(1, 12)))


TEXT = "".join(f"{line(RNG)}\n" * (1 + (number % 50 == 0)) for number in range(3_000))


def splits(corpus):
    return corpus.train, corpus.validation, corpus.test


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    found = tmp_path_factory.mktemp("texts") / "text.txt"
    found.write_text(TEXT, encoding="utf-8", newline="")
    return found


def parts_of(text):
    """A reference: by bytes, then on to the next line end."""
    content, ends = text.encode(), []
    for share in (0.9, 0.95):
        ends.append(content.index(b"\n", int(share * len(content))) + 1)
    return [part.decode() for part in (content[: ends[0]], content[ends[0] : ends[1]], content[ends[1] :])]


@pytest.mark.parametrize("store", [False, True])
@pytest.mark.parametrize("level", LEVELS)
def test_splits(path, tmp_path, level, store):
    corpus = read("text", "", level=level, text=path, store=tmp_path if store else None, vocab_size=400)
    assert (corpus.name, corpus.level) == ("text", level)
    assert corpus.end == (1 if level == "words" else None)
    for split, text in zip(splits(corpus), parts_of(TEXT), strict=True):
        assert split.num_characters == len(text)
        assert split.tokens.tolist() == corpus.vocabulary.encode(text).tolist()
        if level != "words":
            assert corpus.vocabulary.decode(split.tokens) == text


def test_characters_unless_told(path):
    assert read("text", "", text=str(path)).level == "characters"


@pytest.mark.parametrize("level", LEVELS)
def test_the_same_in_files_zipped_and_in_small_chunks(path, tmp_path, level, monkeypatch):
    zipped = tmp_path / "text.gz"
    zipped.write_bytes(gzip.compress(TEXT.encode()))
    expected = fingerprint(read("text", "", level=level, text=path, vocab_size=500))
    assert fingerprint(read("text", "", level=level, text=zipped, vocab_size=500)) == expected
    assert fingerprint(read("text", "", level=level, text=path, vocab_size=500, store=tmp_path)) == expected
    monkeypatch.setattr("rnn_jax.data.language.chunks.chunks.__defaults__", (777, 10**9))
    assert fingerprint(read("text", "", level=level, text=path, vocab_size=500)) == expected


@pytest.mark.parametrize("level", LEVELS)
def test_the_vocabulary_knows_the_training_part_alone(path, tmp_path, level):
    """Another end of the file, of the same length: the same vocabulary."""
    train, validation, test = parts_of(TEXT)
    strange = "\u00e9ab\n" * (len((validation + test).encode()) // 5)
    strange += "q" * (len((validation + test).encode()) - len(strange.encode()))
    (tmp_path / "other").write_text(train + strange, encoding="utf-8", newline="")
    options = {"level": level, "vocab_size": 300, "min_freq": 1}
    corpus, other = (read("text", "", text=each, **options) for each in (path, tmp_path / "other"))
    assert other.vocabulary.names == corpus.vocabulary.names
    assert other.train.tokens.tolist() == corpus.train.tokens.tolist()
    assert not {"q", "\u00e9"} & set(other.vocabulary.names) or level == "subwords"
    if level != "subwords":
        unknown = np.mean(other.test.tokens == 0)
        assert other.remarks == (f"text: {unknown:.2%} of the tokens of the test split are <unk>",)
        assert unknown > 0.2


def test_limits_of_words(path):
    corpus = read("text", "", level="words", text=path, vocab_size=50)
    assert corpus.vocabulary.size == 50
    frequent = read("text", "", level="words", text=path, min_freq=40).vocabulary
    assert corpus.vocabulary.names[:20] == frequent.names[:20]
    assert 2 < frequent.size < read("text", "", level="words", text=path, min_freq=1).vocabulary.size


def test_case_and_line_ends_are_kept(tmp_path):
    (tmp_path / "text").write_bytes(b"One line.\r\nTwo Lines;\r\n" * 40)
    known = read("text", "", text=tmp_path / "text").vocabulary
    assert {"O", "T", "L", "\r", "\n"} < set(known.names)
    corpus = read("text", "", level="words", text=tmp_path / "text")
    assert corpus.vocabulary.decode(corpus.test.tokens) == "Two Lines ;\nOne line .\nTwo Lines ;\n"


LARGE_ENOUGH = {
    "one character": b"a" * 300,
    "one character of several bytes": "\u65e5".encode() * 200,
    "one line end": b"\n" * 500,
    "zeros": b"\x00" * 1_000,
    "a byte order mark": b"\xef\xbb\xbf" + b"abc\n" * 100,
    "a long line": b"ab" * 30_000,
}


@pytest.mark.parametrize("content", LARGE_ENOUGH.values(), ids=LARGE_ENOUGH.keys())
def test_strange_files_that_are_texts(tmp_path, content):
    (tmp_path / "text").write_bytes(content)
    corpus = read("text", "", text=tmp_path / "text")
    whole = "".join(corpus.vocabulary.decode(split.tokens) for split in splits(corpus))
    assert whole == content.decode()
    assert sum(split.num_characters for split in splits(corpus)) == len(whole)


@pytest.mark.parametrize(("content", "options", "message"), [
    (b"", {}, "text is empty"),
    (b"too short", {}, "text: validation has . tokens, at least 8 are needed: take more text"),
    (b"a" * 300, {"level": "words"}, "min_freq=2: no word occurs so often"),
    (b"a" * 250, {"level": "words", "min_freq": 1}, "text: train has 1 tokens"),
    (b"a" * 300, {"level": "subwords"}, "text: train has . tokens"),
    (b" \n" * 300, {"level": "words"}, "no word occurs"),
    (b"caf\xe9 au lait\n" * 99, {}, r"text is not UTF-8 \(byte 3\)"),
    (b"cafe au lait\n" * 99 + b"\xe9" + b"cafe au lait\n", {}, r"text is not UTF-8 \(byte 1287\)"),
    ("Text\n".encode("utf-16") * 50, {"level": "subwords"}, r"text is not UTF-8 \(byte 0\)"),
    (TEXT.encode(), {"level": "words", "vocab_size": 2}, "vocab_size=2"),
    (TEXT.encode(), {"level": "subwords", "vocab_size": 255}, "vocab_size=255: subwords need 256 or more"),
    (TEXT.encode(), {"level": "phonemes"}, "level=phonemes: text has characters or words or subwords"),
])  # fmt: skip
def test_no_texts(tmp_path, content, options, message):
    (tmp_path / "text").write_bytes(content)
    with pytest.raises(DataError, match=message) as caught:
        read("text", "", text=tmp_path / "text", **options)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("text", [None, ""])
def test_no_file_is_named(text):
    with pytest.raises(DataError, match="dataset=text needs text=FILE"):
        read("text", "", text=text)


def test_no_file_and_a_folder(tmp_path):
    with pytest.raises(DataError, match=r"no file .*absent: check the path"):
        read("text", "", text=tmp_path / "absent")
    with pytest.raises(DataError, match="is a folder: name a file"):
        read("text", "", text=tmp_path)


MEASURE = """
import sys
from rnn_jax.data.language import read
from rnn_jax.machine import forget_peak, peak_bytes
level, small, large, store = sys.argv[1:]
found = []
for path in (small, large):
    forget_peak()
    corpus = read("text", "", level=level, text=path, store=store)
    found.append(peak_bytes())
    print(len(corpus.train.tokens))
print(*found)
"""


@pytest.mark.parametrize(("level", "megabytes"), [("characters", 48), ("words", 6), ("subwords", 4)])
def test_memory_does_not_grow_with_the_file(tmp_path, level, megabytes):
    """Twice the text takes no more: only chunks of it are held, and its tokens lie in the file."""
    rng = np.random.default_rng(1)
    page = "".join(f"{line(rng)}\n" for _ in range(30_000)).encode()
    for name, count in (("small", megabytes), ("large", 2 * megabytes)):
        with (tmp_path / name).open("wb") as file:
            while file.tell() < count * 2**20:
                file.write(page)
    arguments = [level, tmp_path / "small", tmp_path / "large", tmp_path / "store"]
    ran = subprocess.run(
        [sys.executable, "-c", MEASURE, *arguments], cwd=ROOT, capture_output=True, text=True, check=True
    )
    *sizes, peaks = ran.stdout.splitlines()
    assert int(sizes[1]) > 1.8 * int(sizes[0])
    small, large = map(int, peaks.split())
    assert small > 0
    assert large - small < (6 + 0.5 * megabytes) * 2**20  # some MiB go to threads and caches, whatever the file
