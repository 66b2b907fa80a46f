"""Tiny Shakespeare: 1,115,394 characters of his plays, 65 different ones.

Source: Karpathy, "The unreasonable effectiveness of recurrent neural networks", 2015. Split as his nanoGPT does: the
last tenth both validates and tests, which is kept so that figures compare, and said in the protocol.
"""

from os import PathLike

from rnn_jax.data.find import find
from rnn_jax.data.language.chunks import chunks, size_of
from rnn_jax.data.language.corpus import Corpus, make_corpus
from rnn_jax.data.language.vocabulary import build

NAME = "tiny_shakespeare"
"""Of the data set."""

FILE = "tinyshakespeare.txt"
SOURCE = "data/tinyshakespeare/input.txt of github.com/karpathy/char-rnn, rename it"

SHARE = 0.9
"""Of the characters, to train on."""

PROTOCOL = "the first 90 % of the characters train, the last 10 % validate and test, as in nanoGPT"


def read(
    data_dir: str | PathLike[str], level: str, *, vocab_size: int | None = None, min_freq: int | None = None
) -> Corpus:
    """Reads the plays; words keep their case, and each line ends in `<eos>`.

    Args:
        data_dir: the folder with `tinyshakespeare.txt`, or the same with `.gz`.
        level: one of `LEVELS`.
        vocab_size, min_freq: as of `vocabulary.build`.

    Returns: the corpus; `validation` and `test` are the same arrays.

    Raises:
        DataError: a file that is missing, damaged or not UTF-8; limits that leave no vocabulary.
    """
    path = find(data_dir, FILE, SOURCE)
    text = "".join(chunk for _, chunk in chunks(path, [size_of(path)]))
    cut = int(SHARE * len(text))
    train, rest = text[:cut], text[cut:]
    vocabulary = build(level, [train], vocab_size=vocab_size, min_freq=min_freq)
    corpus = make_corpus(NAME, vocabulary, [(0, train), (1, rest), (2, rest)], PROTOCOL, source=path)
    return corpus._replace(test=corpus.validation)
