"""Any text file as a corpus, however large: read twice as a stream, once for the vocabulary and once for the tokens."""

from os import PathLike

from rnn_jax.data.errors import DataError
from rnn_jax.data.language import MAX_FILE_BYTES
from rnn_jax.data.language.chunks import chunks, ends_of_parts
from rnn_jax.data.language.corpus import Corpus, make_corpus
from rnn_jax.data.language.vocabulary import build

NAME = "text"
"""Of the data set."""

SHARES = (0.9, 0.05, 0.05)
"""Of the bytes, that train, validate and test."""

PROTOCOL = "the first 90 % of the file train, the next 5 % validate, the last 5 % test, cut at a line end or a blank"


def read(
    data_dir: str | PathLike[str],
    level: str,
    *,
    text: str | PathLike[str] | None = None,
    store: str | PathLike[str] | None = None,
    max_file_bytes: int = MAX_FILE_BYTES,
    vocab_size: int | None = None,
    min_freq: int | None = None,
) -> Corpus:
    """Reads a file in UTF-8, plain or gzipped; words keep their case, and each line of them ends in `<eos>`.

    Args:
        data_dir: not used: the file lies where its path says.
        level: one of `LEVELS`.
        text: the path of the file.
        store: the folder for the tokens, where they take no memory; None: memory.
        max_file_bytes: how large the file may be, unpacked.
        vocab_size, min_freq: as of `vocabulary.build`.

    Raises:
        DataError: no file is named; a file that is missing, a folder, empty, damaged, too large, not UTF-8 or too short
            to split; limits that leave no vocabulary; a folder that cannot be written.
    """
    if not text:
        raise DataError("dataset=text needs text=FILE")
    ends = ends_of_parts(text, SHARES, max_file_bytes)
    train = (chunk for _, chunk in chunks(text, ends[:1], max_file_bytes=max_file_bytes))
    vocabulary = build(level, train, vocab_size=vocab_size, min_freq=min_freq)
    return make_corpus(
        NAME, vocabulary, chunks(text, ends, max_file_bytes=max_file_bytes), PROTOCOL, source=text, store=store
    )
