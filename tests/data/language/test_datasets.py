"""The table of data sets, and those that come as files of a known size: the Penn Treebank and tiny Shakespeare."""

import gzip
import importlib
import inspect
import io
import os
import tarfile
from collections import Counter

import numpy as np
import pytest
from helpers.imports import third_party_imports

from rnn_jax.data.errors import DataError
from rnn_jax.data.language import DATASETS, LEVELS, read

LINES = {
    "train": [*([" the cat <unk> n't see N dogs ", " the dogs do ", "", " no  it 's the cat "] * 4), " once "],
    "valid": [" the zebra sees N dogs "] * 2,
    "test": [" no \t cats do n't ", " they <unk> the dogs "] * 2,
}
FILES = {f"ptb.{part}.txt": "".join(f"{line}\n" for line in lines).encode() for part, lines in LINES.items()}


def splits(corpus):
    return corpus.train, corpus.validation, corpus.test


def real(name, **options):
    if "RNN_JAX_DATA" not in os.environ:
        pytest.skip("RNN_JAX_DATA is not set")
    return read(name, os.environ["RNN_JAX_DATA"], **options)


def unpack(folder, files):
    folder.mkdir(parents=True)
    for name, content in files.items():
        (folder / name).write_bytes(content)


def pack(path, files, folder, mode="w:gz"):
    with tarfile.open(path, mode) as tar:
        for name, content in files.items():
            member = tarfile.TarInfo(f"{folder}/{name}")
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))


# The table.


@pytest.mark.parametrize("name", DATASETS)
def test_row(name):
    row = DATASETS[name]
    assert row.about
    assert row.level == row.levels[0]
    assert set(row.levels) <= set(LEVELS)
    assert row.cleaning == ("markup" if name == "imdb" else None)
    module = importlib.import_module(f"rnn_jax.data.language.{row.module}")
    assert name == module.NAME
    assert list(inspect.signature(module.read).parameters) == ["data_dir", "level", *row.options]


def test_defaults():
    defaults = {"grammar": "words", "tiny_shakespeare": "characters", "ptb": "words", "imdb": "words"}
    assert {name: row.level for name, row in DATASETS.items()} == defaults | {"text": "characters"}


def test_imports():
    assert third_party_imports("rnn_jax.data.language") == set()
    modules = ("grammar", "vocabulary", "corpus", "chunks", "text_file")
    assert third_party_imports(*(f"rnn_jax.data.language.{module}" for module in modules)) <= {"numpy"}


def test_an_unknown_name():
    with pytest.raises(DataError, match="dataset=wikitext: take one of grammar, tiny_shakespeare, ptb, imdb, text"):
        read("wikitext", "")


@pytest.mark.parametrize("name", DATASETS)
def test_levels_that_a_data_set_does_not_have(name):
    for level in {*LEVELS, "phonemes"} - set(DATASETS[name].levels):
        with pytest.raises(DataError, match=f"level={level}: {name} has {' or '.join(DATASETS[name].levels)}"):
            read(name, "", level=level)


@pytest.mark.parametrize(("name", "message"), [
    ("ptb", "no ptb in data_dir=.*: download simple-examples.tgz .* and put it there"),
    ("tiny_shakespeare", r"no tinyshakespeare\.txt in data_dir=.*: download .* and put its tinyshakespeare\.txt there"),
])  # fmt: skip
def test_no_files(tmp_path, name, message):
    with pytest.raises(DataError, match=message):
        read(name, tmp_path)


def test_options_reach_the_data_set(tmp_path):
    (tmp_path / "text").write_text("one two\n" * 200)
    options = {"level": "words", "vocab_size": 3, "min_freq": 1, "text": tmp_path / "text", "store": tmp_path / "here"}
    corpus = read("text", "", num_tokens=7, seed=-5, **options)
    assert corpus.vocabulary.names == ["<unk>", "<eos>", "one"]
    assert (tmp_path / "here").is_dir()


# The Penn Treebank.


def reference(level):
    """By hand: the texts as words or characters, each line ended by <eos>."""
    found = {}
    for part, lines in LINES.items():
        found[part] = []
        for line in lines:
            found[part] += [*(line.split() if level == "words" else " ".join(line.split())), "<eos>"]
    return found


PLACES = {
    "folder": lambda root: unpack(root / "ptb", FILES),
    "tar.xz": lambda root: pack(root / "ptb.tar.xz", FILES, "ptb", "w:xz"),
    "tar.gz": lambda root: pack(root / "ptb.tar.gz", FILES, "ptb"),
    "as published": lambda root: pack(root / "simple-examples.tgz", FILES, "./simple-examples/data"),
}


@pytest.mark.parametrize("place", PLACES.values(), ids=PLACES.keys())
@pytest.mark.parametrize("level", ["words", "characters"])
def test_ptb(tmp_path, level, place):
    place(tmp_path)
    corpus = read("ptb", tmp_path, level=level, vocab_size=4, min_freq=99)  # the words are part of the data set
    expected = reference(level)
    known = set(expected["train"])
    for split, part in zip(splits(corpus), LINES, strict=True):
        names = [corpus.vocabulary.names[token] for token in split.tokens]
        assert names == [name if name in known else "<unk>" for name in expected[part]]
        assert split.num_characters == sum(len(" ".join(line.split())) + 1 for line in LINES[part])
        assert split.documents is None
    assert set(corpus.vocabulary.names) == known | {"<unk>"}
    assert corpus.end == corpus.vocabulary.end == 1


@pytest.mark.parametrize(("change", "message"), [
    ({"ptb.valid.txt": None}, r"no ptb\.valid\.txt in the ptb of data_dir=.*: fetch the data set again"),
    ({"ptb.test.txt": b"caf\xe9 \n"}, r"ptb\.test\.txt in data_dir=.* is not UTF-8 \(byte 3\): fetch it again"),
    ({"ptb.valid.txt": b""}, "ptb: validation has 1 tokens"),
])  # fmt: skip
def test_damaged_ptb(tmp_path, change, message):
    unpack(tmp_path / "ptb", {name: content for name, content in (FILES | change).items() if content is not None})
    with pytest.raises(DataError, match=message):
        read("ptb", tmp_path)


def test_real_ptb():
    corpus = real("ptb")
    assert corpus.vocabulary.size == 10_000
    assert [len(split.tokens) for split in splits(corpus)] == [929_589, 73_760, 82_430]
    assert [split.num_characters for split in splits(corpus)] == [5_017_482, 393_042, 442_423]
    counts = np.bincount(corpus.train.tokens, minlength=10_000)
    assert counts.min() > 0
    assert np.all(np.diff(counts[2:]) <= 0)
    assert corpus.vocabulary.names[:5] == ["<unk>", "<eos>", "the", "N", "of"]
    assert [np.count_nonzero(split.tokens == corpus.end) for split in splits(corpus)] == [42_068, 3_370, 3_761]
    assert corpus.vocabulary.decode(corpus.test.tokens[:7]) == "no it was n't black monday\n"
    assert corpus.train.tokens.dtype == np.uint16
    text = corpus.vocabulary.decode(corpus.validation.tokens)
    assert len(text) == 393_042
    assert corpus.vocabulary.encode(text).tolist() == corpus.validation.tokens.tolist()


def test_characters_of_real_ptb():
    corpus = real("ptb", level="characters")
    assert corpus.vocabulary.size == 51  # with <unk>, which never comes
    assert [len(split.tokens) for split in splits(corpus)] == [5_017_482, 393_042, 442_423]
    assert corpus.remarks == ()
    assert min(split.tokens.min() for split in splits(corpus)) == 1


# Tiny Shakespeare.

PLAY = "First Citizen:\nSpeak, speak.\n\nAll:\nResolved. resolved. \u00e9?\n" * 9 + "ZZ" * 20


def test_tiny_shakespeare(tmp_path):
    (tmp_path / "tinyshakespeare.txt.gz").write_bytes(gzip.compress(PLAY.encode()))
    corpus = read("tiny_shakespeare", tmp_path)
    cut = int(0.9 * len(PLAY))
    assert corpus.vocabulary.decode(corpus.train.tokens) == PLAY[:cut]
    assert corpus.vocabulary.names == ["<unk>", *sorted(set(PLAY[:cut]))]
    assert "Z" not in corpus.vocabulary.names
    assert corpus.vocabulary.decode(corpus.test.tokens) == PLAY[cut:].replace("Z", "\ufffd")
    assert corpus.test is corpus.validation
    assert "test" in corpus.protocol
    assert corpus.end is None


@pytest.mark.parametrize("level", ["words", "subwords"])
def test_other_levels_of_tiny_shakespeare(tmp_path, level):
    (tmp_path / "tinyshakespeare.txt").write_bytes(PLAY.encode())
    corpus = read("tiny_shakespeare", tmp_path, level=level, vocab_size=260)
    assert (corpus.level, corpus.end) == (level, 1 if level == "words" else None)
    assert corpus.train.num_characters == int(0.9 * len(PLAY))
    if level == "subwords":
        assert corpus.vocabulary.decode(corpus.train.tokens) == PLAY[: int(0.9 * len(PLAY))]
        assert corpus.vocabulary.size == 260
    else:
        assert {"Speak", "speak", "Resolved", ":"} < set(corpus.vocabulary.names)


def test_damaged_tiny_shakespeare(tmp_path):
    (tmp_path / "tinyshakespeare.txt.gz").write_bytes(gzip.compress(PLAY.encode())[:-9])
    with pytest.raises(DataError, match="damaged or cut short"):
        read("tiny_shakespeare", tmp_path)


def test_real_tiny_shakespeare():
    corpus = real("tiny_shakespeare")
    assert corpus.vocabulary.size == 66  # with <unk>, which never comes
    assert (len(corpus.train.tokens), len(corpus.test.tokens)) == (1_003_854, 111_540)
    assert corpus.remarks == ()
    text = "".join(corpus.vocabulary.decode(split.tokens) for split in (corpus.train, corpus.test))
    assert len(text) == 1_115_394
    assert text.count("\n") == 40_000
    assert text.startswith("First Citizen:\nBefore we proceed")


def test_words_of_real_tiny_shakespeare():
    corpus = real("tiny_shakespeare", level="words")
    assert np.count_nonzero(corpus.train.tokens == corpus.end) + np.count_nonzero(corpus.test.tokens == 1) == 40_000
    counts = Counter(corpus.train.tokens.tolist())
    assert [counts[token] for token in range(2, 50)] == sorted((counts[token] for token in range(2, 50)), reverse=True)
    assert min(counts[token] for token in range(2, corpus.vocabulary.size)) == 2


def test_subwords_of_real_tiny_shakespeare():
    corpus = real("tiny_shakespeare", level="subwords", vocab_size=1_000)
    assert corpus.vocabulary.size == 1_000
    text = corpus.vocabulary.decode(corpus.test.tokens)
    assert len(text) == corpus.test.num_characters == 111_540
    assert 2 < 111_540 / len(corpus.test.tokens) < 3
