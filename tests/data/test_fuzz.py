"""Every reader of files on thousands of damaged ones: an answer or one line, soon.

Valid files are changed at random, by a seed, so that the same files are read every time. To look longer, and at others:

    RNN_JAX_FUZZ=5000 RNN_JAX_FUZZ_SEED=1 python -m pytest tests/data/test_fuzz.py -n0

reads 5000 files with each reader. What fails is named by its seed, and lies in pytest's folder.
"""

import gzip
import importlib.util
import io
import lzma
import os
import re
import tarfile
import time
import warnings
from functools import partial

import numpy as np
import pandas as pd
import pytest
from helpers.archives import packed
from helpers.idx import idx_bytes

from experiments.common.flags import UsageError, parse
from experiments.forecast.flags import Config
from rnn_jax.data import language
from rnn_jax.data.errors import DataError
from rnn_jax.data.images import idx
from rnn_jax.data.series.features import encode, fit_encoder
from rnn_jax.data.series.future import with_future
from rnn_jax.data.series.like import read_like
from rnn_jax.data.series.series import read_file
from rnn_jax.data.text import archive, imdb
from rnn_jax.data.text.cleaning import clean_markup, clean_words

FILES = int(os.environ.get("RNN_JAX_FUZZ", "300"))
SEED = int(os.environ.get("RNN_JAX_FUZZ_SEED", "0"))
SECONDS = 5.0
"""Of the processor, that a file of a few thousand bytes may take."""

TOKENS = (
    b"\0", b"\xff", b"\r", b"\n", b'"', b",", b";", b"\t", b"1e308", b"1e-310", b"-inf", b"nan", b"now", b"NaT",
    b"0001-01-01", b"9999-12-31", b"1677-09-21", b"2262-04-12", b"2020-01-01T00:00+14:00", b"9" * 30, b"\xef\xbb\xbf",
    b"\xed\xa0\x80", "\u0301\u0323".encode() * 40, b"<a ", b"&#x110000;", b"../", b"--flagfile=/dev/zero\n",
    b"\x80" * 12, b"today", b"\xff\xff\xff\xff", b"\x00\x00\x00\x00", b"all", b"--lag=", b"1" * 5000,
)  # fmt: skip


def series_csv() -> bytes:
    times = pd.date_range("2020-01-01", periods=60, freq="h")
    rows = [f"{t},{n % 7}.5,{'ab'[n % 2]},{n % 3},{n * 6}" for n, t in enumerate(times)]
    return "\n".join(["t,x,id,y,angle", *rows, ""]).encode()


def series_parquet() -> bytes:
    frame = pd.read_csv(io.BytesIO(series_csv()), parse_dates=["t"])
    target = io.BytesIO()
    frame.to_parquet(target)
    return target.getvalue()


REVIEWS = {
    f"aclImdb/{split}/{kind}/{n}_{n + 1}.txt": f"a {kind} film {n} <br /> caf\u00e9".encode()
    for split in ("train", "test")
    for kind in ("neg", "pos")
    for n in range(2)
}
LONG_NAMES = {f"a/{'x' * 120}.txt": b"one", "a/\u00e9.txt": b"two" * 300}
TEXT = ("It's a text, of some words.\nCaf\u00e9 au lait; to be or not to be!\n" * 40).encode()


def read_series(path):
    series = read_file(path, ["x"], ["all"], time="t", series_id="id", angles=["angle"])
    encoder = fit_encoder(series, np.ones(len(series.values), bool))
    found = encode(encoder, series)
    assert np.isfinite(found).all()
    with_future(read_like(path, encoder, "t", "id"), 3)


def read_series_without_times(path):
    series = read_file(path, ["x"], ["y"], known_future=["angle"])
    assert np.isfinite(encode(fit_encoder(series, np.ones(len(series.values), bool)), series)).all()


def read_reviews(path):
    imdb.read(path.parent, per_folder=2)


def read_text(level, path):
    corpus = language.read("text", "", level=level, text=path, vocab_size=300)
    assert corpus.vocabulary.size > corpus.train.tokens.max()


def clean(path):
    text = path.read_bytes().decode("utf-8", "replace")
    for found in (clean_markup(text), clean_words(text)):
        assert found == " ".join(found.split())


def read_flags(path):
    parse(Config, [f"--flagfile={path}"])


def plain(content):
    return content


READERS = {
    "csv": ("a.csv", series_csv, plain, read_series),
    "csv without times": ("a.csv", series_csv, plain, read_series_without_times),
    "csv, zipped": ("a.csv.gz", lambda: gzip.compress(series_csv(), mtime=0), plain, read_series),
    "parquet": ("a.parquet", series_parquet, plain, read_series),
    "tar, then zipped": (
        "a.tar.gz",
        partial(packed, LONG_NAMES),
        partial(gzip.compress, mtime=0),
        lambda path: archive.read_archive(path, re.compile("a/.*")),
    ),
    "tar of GNU, then zipped": (
        "a.tar.gz",
        partial(packed, LONG_NAMES, tarfile.GNU_FORMAT),
        partial(gzip.compress, mtime=0),
        lambda path: archive.read_archive(path, re.compile("a/.*")),
    ),
    "tar, zipped": (
        "a.tar.xz",
        lambda: lzma.compress(packed(LONG_NAMES)),
        plain,
        lambda path: archive.read_archive(path, re.compile("a/.*")),
    ),
    "imdb": (
        "aclImdb_v1.tar.gz",
        partial(packed, REVIEWS, tarfile.USTAR_FORMAT),
        partial(gzip.compress, mtime=0),
        read_reviews,
    ),
    "idx": ("a", lambda: idx_bytes(np.arange(300).reshape(3, 10, 10) % 256), plain, lambda path: idx.read(path, 3)),
    "text of characters": ("a.txt", lambda: TEXT, plain, partial(read_text, "characters")),
    "text of words": ("a.txt", lambda: TEXT, plain, partial(read_text, "words")),
    "text of subwords": ("a.txt", lambda: TEXT, plain, partial(read_text, "subwords")),
    "text, zipped": ("a.txt.gz", lambda: gzip.compress(TEXT, mtime=0), plain, partial(read_text, "characters")),
    "cleaning": ("a.txt", lambda: b"<b>Good</b> &amp; http://x.y/z :D caf\xc3\xa9 " * 10, plain, clean),
    "flagfile": ("flags.txt", lambda: b"--lag=3\n--target=x,y\n--learning_rate=0.1\n", plain, read_flags),
}
"""By name: the file, its valid content, how it is packed after it is changed, and what reads it."""


def changed(content: bytes, rng: np.random.Generator) -> bytes:
    """With one to four changes: bits, bytes, tokens, pieces that are lost, doubled, moved or cut off."""
    found = bytearray(content)
    for _ in range(rng.integers(1, 5)):
        size = len(found)
        place, other = (int(each) for each in rng.integers(0, size + 1, 2))
        length = int(min(rng.geometric(0.05), size))
        kind = rng.integers(8)
        if kind == 0 and size:
            found[place % size] ^= 1 << int(rng.integers(8))
        elif kind == 1 and size:
            found[place % size] = int(rng.integers(256))
        elif kind == 2:
            found[place:place] = TOKENS[rng.integers(len(TOKENS))]
        elif kind == 3:
            token = TOKENS[rng.integers(len(TOKENS))]
            found[place : place + len(token)] = token
        elif kind == 4:
            del found[place : place + length]
        elif kind == 5:
            found[other:other] = found[place : place + length]
        elif kind == 6:
            found[place : place + length] = rng.bytes(length)
        else:
            del found[place:]
    return bytes(found)


@pytest.mark.parametrize("name", READERS)
def test_a_damaged_file_is_an_answer_or_one_line(tmp_path, name):
    file, make, pack, read = READERS[name]
    if "parquet" in name and importlib.util.find_spec("pyarrow") is None:
        pytest.skip("needs pyarrow")
    path, content = tmp_path / file, make()
    path.write_bytes(pack(content))
    read(path)
    refused = 0
    for number in range(FILES):
        path.write_bytes(pack(changed(content, np.random.default_rng([SEED, number]))))
        begun = time.process_time()
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("error")
                read(path)
        except (DataError, UsageError) as error:
            refused += 1
            message = str(error)
            assert len(message.splitlines()) == 1, f"seed [{SEED}, {number}]: {message!r}"
            assert len(message) < 3000, f"seed [{SEED}, {number}]: {len(message)} characters"
        except Exception as error:
            raise AssertionError(f"seed [{SEED}, {number}]: {type(error).__name__}: {error}") from error
        assert time.process_time() - begun < SECONDS, f"seed [{SEED}, {number}]"
    assert refused or name == "cleaning", "no change did any harm"
