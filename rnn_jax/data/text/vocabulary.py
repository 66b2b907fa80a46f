"""From texts to token numbers: a vocabulary of words, and texts as one flat array.

The vocabulary is a Hugging Face tokenizer, so that the one file `tokenizer.json` says all about it: how a text is cut
into words, which words there are and what number each has.
"""

from collections.abc import Sequence
from os import PathLike
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from rnn_jax.data.pieces import pieces
from rnn_jax.data.text import TRUNCATE
from rnn_jax.extras import need

if TYPE_CHECKING:
    from tokenizers import Tokenizer

PAD, UNK = 0, 1
SPECIAL = ("<pad>", "<unk>")
"""Tokens of every vocabulary, numbered 0 and 1: what fills up a batch, and every word that is not in the vocabulary."""

PIECE = 2**16
"""Characters that are cut into words at once: of each word the library keeps a hundred bytes and more."""

# A word with its apostrophes (don't, o'clock) and underscores, or a single mark.
WORD = "\\w+(?:['\u2019]\\w+)*|[^\\w\\s]"


class Tokens(NamedTuple):
    """N tokenized texts.

    Attributes:
        values: `[total]` int32, the tokens of all texts, one text after another.
        starts: `[N]` int32, where each text begins in `values`.
        lengths: `[N]` int32, tokens of each text; 0 for a text without any.
    """

    values: np.ndarray
    starts: np.ndarray
    lengths: np.ndarray

    def text(self, index: int) -> np.ndarray:
        """The tokens of the text with this index, `[length]` int32."""
        return self.values[self.starts[index] : self.starts[index] + self.lengths[index]]

    def split(self, number: int) -> tuple["Tokens", "Tokens"]:
        """The first `number` texts, and the others."""
        end = int(self.lengths[:number].sum())
        first = Tokens(self.values[:end], self.starts[:number], self.lengths[:number])
        return first, Tokens(self.values[end:], self.starts[number:] - end, self.lengths[number:])


def build(texts: Sequence[str], vocab_size: int, min_freq: int = 1) -> "Tokenizer":
    """Counts the words of `texts` and numbers the most frequent ones, from 2 on, the most frequent first.

    Args:
        texts: cleaned texts of the training split, and of no other.
        vocab_size: V, the largest number of tokens, `<pad>` and `<unk>` among them.
        min_freq: how often a word has to occur.

    Raises: `ValueError` for a vocabulary of fewer than three tokens, or where no word is frequent enough.

    >>> vocabulary = build(["good film, good film", "a good one"], vocab_size=4)
    >>> vocabulary.get_vocab_size(), vocabulary.encode("a good film").tokens
    (4, ['<unk>', 'good', 'film'])
    """
    need(__name__, "tokenizers")
    from tokenizers import Regex, Tokenizer, models, pre_tokenizers, trainers

    if vocab_size < len(SPECIAL) + 1:
        raise ValueError(f"vocab_size={vocab_size}: a vocabulary has {' and '.join(SPECIAL)} and at least one word")
    tokenizer = Tokenizer(models.WordLevel(unk_token=SPECIAL[UNK]))
    tokenizer.pre_tokenizer = pre_tokenizers.Split(Regex(WORD), behavior="removed", invert=True)
    trainer = trainers.WordLevelTrainer(
        vocab_size=vocab_size, min_frequency=min_freq, special_tokens=list(SPECIAL), show_progress=False
    )
    tokenizer.train_from_iterator((piece for text in texts for piece in pieces(text, PIECE)), trainer)
    if tokenizer.get_vocab_size() == len(SPECIAL):
        raise ValueError(f"no word occurs {min_freq} times in {len(texts)} texts: lower min_freq")
    return tokenizer


def load(file: str | PathLike[str]) -> "Tokenizer":
    """The vocabulary that `Tokenizer.save` wrote. Raises `ValueError` for a file that is none."""
    need(__name__, "tokenizers")
    from tokenizers import Tokenizer

    try:
        return Tokenizer.from_file(str(file))
    except Exception as error:  # the Rust library raises bare Exceptions
        raise ValueError(f"{file} is no vocabulary: {error}") from error


def words(tokenizer: "Tokenizer") -> list[str]:
    """The V words of a tokenizer, in the order of their numbers."""
    by_number = sorted(tokenizer.get_vocab().items(), key=lambda item: item[1])
    return [word for word, _ in by_number]


def truncated(ids: Sequence[int], max_tokens: int, truncate: str) -> Sequence[int]:
    """At most so many of a text's tokens.

    Args:
        ids: the tokens.
        max_tokens: how many may stay.
        truncate: which part of a longer text, one of `TRUNCATE`.

    >>> [truncated([1, 2, 3, 4, 5], 3, part) for part in ("head", "tail", "both")]
    [[1, 2, 3], [3, 4, 5], [1, 2, 5]]
    """
    if len(ids) <= max_tokens:
        return ids
    if truncate == "head":
        return ids[:max_tokens]
    if truncate == "tail":
        return ids[-max_tokens:]
    tail = max_tokens // 2
    return [*ids[: max_tokens - tail], *ids[len(ids) - tail :]]


def encode(tokenizer: "Tokenizer", texts: Sequence[str], max_tokens: int, truncate: str = "head") -> Tokens:
    """Texts as numbers.

    Args:
        tokenizer: the vocabulary.
        texts: N cleaned texts.
        max_tokens: how many of a text are kept, at least 1.
        truncate: which part of a longer text, one of `TRUNCATE`.

    Raises: `ValueError` for `max_tokens` below 1 or an unknown `truncate`.

    >>> vocabulary = build(["a film, a good film"], vocab_size=9)
    >>> tokens = encode(vocabulary, ["good film", "", "bad"], max_tokens=5)
    >>> tokens.lengths.tolist(), tokens.text(2).tolist()
    ([2, 0, 1], [1])
    """
    if max_tokens < 1 or truncate not in TRUNCATE:
        raise ValueError(f"max_tokens={max_tokens}, truncate={truncate!r}: at least 1, and {' or '.join(TRUNCATE)}")
    ids = [truncated(each, max_tokens, truncate) for each in _ids(tokenizer, texts)]
    lengths = np.array([len(each) for each in ids], np.int32)
    starts = np.concatenate(([0], np.cumsum(lengths)[:-1])).astype(np.int32) if ids else lengths
    values = np.concatenate([np.asarray(each, np.int32) for each in ids]) if ids else np.zeros(0, np.int32)
    return Tokens(values, starts, lengths)


def _ids(tokenizer: "Tokenizer", texts: Sequence[str]) -> list[list[int]]:
    """Of each text; all at once, but for the long ones, which are read piece by piece."""
    ids = [each.ids for each in tokenizer.encode_batch_fast([text if len(text) <= PIECE else "" for text in texts])]
    for number, text in enumerate(texts):
        if len(text) > PIECE:
            ids[number] = [token for piece in pieces(text, PIECE) for token in tokenizer.encode(piece).ids]
    return ids
