"""Encoded splits, in memory and in files, and their fingerprint."""

import numpy as np
import pytest

from rnn_jax.data.errors import DataError
from rnn_jax.data.language.corpus import Documents, Split, fingerprint, make_corpus
from rnn_jax.data.language.vocabulary import Characters, Words, build

TEXTS = ("a good film\na bad one\n" * 3, "a film\n" * 5, "a bad film, a good cat\n" * 2)
CHUNKS = [(0, TEXTS[0][:30]), (0, TEXTS[0][30:]), (1, TEXTS[1]), (2, TEXTS[2])]
WORDS = build("words", TEXTS[:1])


def made(vocabulary=WORDS, chunks=CHUNKS, **options):
    return make_corpus("toy", vocabulary, chunks, "as told", **options)


def splits(corpus):
    return corpus.train, corpus.validation, corpus.test


@pytest.mark.parametrize("store", [None, "tokens"])
@pytest.mark.parametrize("level", ["characters", "words", "subwords"])
def test_splits(tmp_path, level, store):
    known = build(level, TEXTS[:1])
    corpus = made(known, store=store and tmp_path / "new" / store)
    assert (corpus.name, corpus.level, corpus.end, corpus.protocol) == ("toy", level, known.end, "as told")
    assert (corpus.entropy, corpus.vocabulary) == (None, known)
    for split, text in zip(splits(corpus), TEXTS, strict=True):
        assert split.num_characters == len(text)
        assert split.tokens.dtype == known.dtype
        assert split.documents is None
        if split is not corpus.train or level == "characters":  # which is encoded in two pieces
            assert split.tokens.tolist() == known.encode(text).tolist()


def test_tokens_in_a_file(tmp_path):
    corpus = made(store=tmp_path)
    for split in splits(corpus):
        assert isinstance(split.tokens, np.memmap)
        assert not split.tokens.flags.writeable
    assert [file.name for file in tmp_path.iterdir()] == ["tokens.bin"]
    assert (tmp_path / "tokens.bin").read_bytes() == b"".join(split.tokens.tobytes() for split in splits(made()))


def test_a_later_corpus_in_the_same_folder_leaves_the_first_as_it_is(tmp_path):
    first = made(store=tmp_path)
    before = first.train.tokens.tolist()
    made(chunks=[(number, text[::-1]) for number, text in CHUNKS], store=tmp_path)
    assert first.train.tokens.tolist() == before


def test_a_store_that_cannot_be_written(tmp_path):
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(DataError, match=r"cannot write to store=.*file.*: take a folder that can be written"):
        made(store=tmp_path / "file" / "folder")


def test_unknown_words_are_remarked():
    assert made().remarks == ("toy: 25.00% of the tokens of the test split are <unk>",)  # "," and "cat"
    assert made(remarks=("so it is",)).remarks[0] == "so it is"
    assert made(Characters.build(TEXTS)).remarks == ()
    assert made(build("subwords", TEXTS[:1])).remarks == ()


@pytest.mark.parametrize("store", [None, "tokens"])
@pytest.mark.parametrize(("chunks", "message"), [
    ([], "toy: train has 0 tokens, at least 8 are needed"),
    ([(0, "a " * 9), (1, "a " * 7), (2, "a " * 9)], "toy: validation has 7 tokens"),
    ([(0, "a " * 9), (1, "a " * 8), (2, "a")], "toy: test has 1 tokens"),
])  # fmt: skip
def test_too_few_tokens(tmp_path, chunks, message, store):
    with pytest.raises(DataError, match=message):
        made(chunks=chunks, store=store and tmp_path / store)


def test_messages_name_the_source():
    with pytest.raises(DataError, match=r"here\.txt: train has 0 tokens"):
        made(chunks=[], source="here.txt")


def test_eight_tokens_are_enough():
    assert len(made(chunks=[(i, "a " * 8) for i in range(3)]).test.tokens) == 8


def test_documents():
    texts = ["good film\n\na bad one\nx\n", "bad\n" * 8, "good\n" * 9]
    labels = [np.arange(text.count("\n"), dtype=np.int32) % 2 for text in texts]
    corpus = made(chunks=list(enumerate(texts)), labels=labels)
    assert corpus.train.documents.starts.tolist() == [0, 3, 4, 8]
    assert corpus.train.documents.starts.dtype == np.int64
    assert corpus.validation.documents.starts.tolist() == [0, 2, 4, 6, 8, 10, 12, 14]
    for split, expected in zip(splits(corpus), labels, strict=True):
        assert split.documents.labels is expected
        assert len(split.documents.starts) == len(expected)
        assert np.all(split.tokens[split.documents.starts[1:] - 1] == corpus.end)


def changed(corpus, **of_train):
    return corpus._replace(train=corpus.train._replace(**of_train))


def test_fingerprint(tmp_path):
    """The same wherever the tokens lie; another for each thing that is another."""
    corpus = made()
    twisted = corpus.train.tokens.copy()
    twisted[-1] ^= 1
    starts = np.array([0, 9])
    others = [
        corpus,
        changed(corpus, tokens=twisted),
        changed(corpus, tokens=corpus.train.tokens[:-1]),
        changed(corpus, documents=Documents(starts, None)),
        changed(corpus, documents=Documents(starts, np.array([0, 1], np.int32))),
        changed(corpus, documents=Documents(starts, np.array([1, 0], np.int32))),
        corpus._replace(vocabulary=Words([*WORDS.names[2:-1], "other"])),
        corpus._replace(train=corpus.test, test=corpus.train),
    ]
    assert len({fingerprint(each) for each in others}) == len(others)
    assert fingerprint(made(store=tmp_path)) == fingerprint(corpus) == fingerprint(made())
    assert fingerprint(corpus._replace(remarks=(), protocol="")) == fingerprint(corpus)


def test_fingerprint_of_long_texts(monkeypatch):
    """They are hashed in parts, and where a split ends counts still."""
    monkeypatch.setattr("rnn_jax.data.language.corpus.HASHED", 8)
    tokens = np.zeros(32, np.uint8)
    found = set()
    for sizes in ((16, 8, 8), (8, 16, 8), (8, 8, 16), (9, 15, 8)):
        parts = [Split(tokens[:size], size) for size in sizes]
        found.add(fingerprint(made()._replace(train=parts[0], validation=parts[1], test=parts[2])))
    assert len(found) == 4
