"""The Penn Treebank as Mikolov prepared it: the Wall Street Journal in 10,000 words, lower case, numbers as N.

929,589 tokens to train on, 73,760 to validate, 82,430 to test, one `<eos>` a line among them; or 5,017,482, 393,042 and
442,423 characters. Words that are not among the 10,000 are `<unk>` in the files themselves.

Sources: Marcus, Santorini and Marcinkiewicz, "Building a large annotated corpus of English: the Penn Treebank", 1993;
Mikolov, Karafiat, Burget, Cernocky and Khudanpur, "Recurrent neural network based language model", 2010.
"""

import re
from os import PathLike

from rnn_jax.data.errors import DataError
from rnn_jax.data.language.corpus import Corpus, make_corpus
from rnn_jax.data.language.vocabulary import Characters, Vocabulary, Words
from rnn_jax.data.text import archive

NAME = "ptb"
"""Of the data set."""

FOLDER = "ptb"
ARCHIVES = ("ptb.tar.xz", "ptb.tar.gz", "simple-examples.tgz")
FILES = ("train", "valid", "test")
MEMBERS = re.compile(r"(?:ptb|simple-examples/data)/ptb\.(?:train|valid|test)\.txt")
SOURCE = "simple-examples.tgz of Mikolov's RNNLM toolkit"

PROTOCOL = "Mikolov's split: sections 0 to 20 train, 21 and 22 validate, 23 and 24 test"


def read(data_dir: str | PathLike[str], level: str) -> Corpus:
    """Reads the three files; a word is what stands between blanks, and every line ends in `<eos>`.

    Args:
        data_dir: with the folder `ptb`, or one of `ARCHIVES`.
        level: `words` or `characters`, of which `<unk>` in the text then has five.

    Raises:
        DataError: files that are missing, damaged or not UTF-8.
    """
    files = archive.read_members(data_dir, FOLDER, ARCHIVES, MEMBERS)
    if files is None:
        raise DataError(f"no ptb in data_dir={data_dir}: download {SOURCE} and put it there")
    texts = [_text(files, f"ptb.{part}.txt", data_dir) for part in FILES]
    vocabulary: Vocabulary
    if level == "words":
        vocabulary = Words.build(texts[:1], blanks=True, min_freq=1)  # all: they are part of the data set
    else:
        vocabulary = Characters.build(texts[:1], lines=True)
    return make_corpus(NAME, vocabulary, enumerate(texts), PROTOCOL)


def _text(files: dict[str, bytes], file: str, data_dir: str | PathLike[str]) -> str:
    """A file with single blanks between its words, and none around its lines."""
    content = next((content for name, content in files.items() if name.endswith(f"/{file}")), None)
    if content is None:
        raise DataError(f"no {file} in the ptb of data_dir={data_dir}: fetch the data set again")
    try:
        lines = content.decode("utf-8").removesuffix("\n").split("\n")
    except UnicodeDecodeError as error:
        raise DataError(f"{file} in data_dir={data_dir} is not UTF-8 (byte {error.start}): fetch it again") from error
    return "".join(" ".join(line.split()) + "\n" for line in lines)
