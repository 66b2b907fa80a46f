"""Words as tokens."""

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from rnn_jax.data.errors import DataError
from rnn_jax.data.language.kind import EOS, SPECIAL, UNK, Vocabulary
from rnn_jax.data.pieces import pieces
from rnn_jax.data.text.vocabulary import WORD

VOCAB_SIZE = 20_000
"""The most tokens, unless told."""

MIN_FREQ = 2
"""How often a word has to occur, unless told: from the words that occur once a model learns what `<unk>` is."""

MOST_WORDS = 2**20
"""Words that are counted at once, before the rare ones are dropped."""

PIECE = 2**16
"""Characters that are cut into words at once."""

LONGEST = 2**8
"""Characters of a word, at most; a longer one, of which there may be many in a text without blanks, is `<unk>`."""

# An unknown word as some texts have it, a line end, a word with its apostrophes, or a mark.
WORDS_AND_MARKS = re.compile(rf"<unk>|\n|{WORD}")
BETWEEN_BLANKS = re.compile(r"\n|\S+")


class Words(Vocabulary):
    """`<unk>`, `<eos>`, and words by frequency, the most frequent first and equally frequent ones in order of letters.

    Args:
        words: in that order.
        blanks: what is a word: whatever stands between blanks; else letters and digits with their apostrophes, or a
            single mark, see `rnn_jax.data.text.vocabulary.WORD`.

    >>> vocabulary = Words.build(["To be, or not to be.\\nTo be!\\n"], min_freq=2)
    >>> vocabulary.names, vocabulary.encode("To be or\\n").tolist(), vocabulary.decode([3, 2, 1, 0])
    (['<unk>', '<eos>', 'be', 'To'], [3, 2, 0, 1], 'To be\\n<unk>')
    """

    level = "words"

    def __init__(self, words: Sequence[str], blanks: bool = False):
        self.end = EOS
        self.names = [*SPECIAL, *words]
        self._blanks = blanks
        self._tokens = {name: number for number, name in enumerate(self.names)}
        if len(self._tokens) < len(self.names):
            raise ValueError("a word occurs twice in the vocabulary")
        self._tokens["\n"] = EOS

    @classmethod
    def build(
        cls, texts: Iterable[str], blanks: bool = False, vocab_size: int | None = None, min_freq: int = MIN_FREQ
    ) -> "Words":
        """Counts the words of the texts of the training part.

        Where there are more than `MOST_WORDS` different ones, the rarest are dropped on the way and counted anew if
        they come again (lossy counting, Manku and Motwani, "Approximate frequency counts over data streams", 2002).

        Args:
            texts: each ends where a word does.
            blanks: of the class.
            vocab_size: the most tokens, `<unk>` and `<eos>` among them; None: no limit.
            min_freq: how often a word has to occur.

        Raises:
            DataError: a vocabulary of fewer than three tokens, or no word that is frequent enough.
        """
        if vocab_size is not None and vocab_size < len(SPECIAL) + 1:
            raise DataError(f"vocab_size={vocab_size}: a vocabulary has {' and '.join(SPECIAL)} and at least one word")
        counts: Counter[str] = Counter()
        dropped, most = 0, max(MOST_WORDS, 4 * (vocab_size or 0))
        for text in texts:
            for piece in pieces(text, PIECE):
                counts.update(word for word in _cut(piece, blanks) if len(word) <= LONGEST)
            while len(counts) > most:
                dropped += 1
                counts = Counter({word: count for word, count in counts.items() if count > dropped})
        for name in ("\n", *SPECIAL):
            del counts[name]
        found = [word for word, count in counts.items() if count >= min_freq]
        if not found:
            raise DataError(f"min_freq={min_freq}: no word occurs so often: take a lower one, or a longer text")
        found.sort(key=lambda word: (-counts[word], word))
        return cls(found[: None if vocab_size is None else vocab_size - len(SPECIAL)], blanks)

    def encode(self, text: str) -> np.ndarray:
        """One token for each word, mark and end of line."""
        dtype, number = self.dtype, self._tokens.get
        found = [np.zeros(0, dtype)]
        for piece in pieces(text, PIECE):
            found.append(np.array([number(word, UNK) for word in _cut(piece, self._blanks)], dtype))
        return np.concatenate(found)

    def decode(self, ids: np.ndarray | Sequence[int]) -> str:
        """The words with blanks between them, and lines; what stood between them in the text is not known."""
        words = [self.names[token] for token in self._checked(ids).tolist()]
        lines = " ".join("\n" if word == SPECIAL[EOS] else word for word in words)
        return lines.replace(" \n", "\n").replace("\n ", "\n")

    @classmethod
    def from_json(cls, content: dict[str, Any]) -> "Words":
        """The class with these arguments."""
        if not all(isinstance(word, str) for word in content["words"]):
            raise ValueError("a word is no text")
        return cls(**content)

    def to_json(self) -> dict[str, Any]:
        """The arguments of the class."""
        return {"words": self.names[len(SPECIAL) :], "blanks": self._blanks}


def _cut(text: str, blanks: bool) -> list[str]:
    return (BETWEEN_BLANKS if blanks else WORDS_AND_MARKS).findall(text)
