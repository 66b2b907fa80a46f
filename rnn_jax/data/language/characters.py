"""Characters as tokens."""

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from rnn_jax.data.language.kind import EOS, SPECIAL, Vocabulary

CODE_POINTS = 0x110000
"""That there can be."""

REPLACEMENT = 0xFFFD
"""The code point that stands for an unknown character."""


class Characters(Vocabulary):
    """`<unk>`, `<eos>` where lines end, and characters in the order of their code points.

    Args:
        characters: each once, in that order.
        lines: whether "\\n", then none of `characters`, is `<eos>`.

    >>> vocabulary = Characters.build(["banana"])
    >>> vocabulary.names, vocabulary.encode("bandana").tolist(), vocabulary.decode([2, 1, 3])
    (['<unk>', 'a', 'b', 'n'], [2, 1, 3, 0, 1, 3, 1], 'ban')
    """

    level = "characters"

    def __init__(self, characters: str, lines: bool = False):
        special = SPECIAL[: 1 + lines]
        self.end = EOS if lines else None
        self.names = [*special, *characters]
        known = ("\n" if lines else "") + characters
        self._codes = np.array([REPLACEMENT, *map(ord, known)], "<u4")
        self._tokens = np.zeros(CODE_POINTS, self.dtype)
        self._tokens[self._codes[1:]] = np.arange(1, self.size)
        if np.count_nonzero(self._tokens) < self.size - 1:
            raise ValueError("a character occurs twice in the vocabulary")

    @classmethod
    def build(cls, texts: Iterable[str], lines: bool = False) -> "Characters":
        """Of all characters in the texts of the training part."""
        seen = np.zeros(CODE_POINTS, bool)
        for text in texts:
            seen[_code_points(text)] = True
        seen[ord("\n")] &= not lines
        return cls(_text(np.flatnonzero(seen)), lines)

    def encode(self, text: str) -> np.ndarray:
        """One token for each character."""
        return self._tokens[_code_points(text)]

    def decode(self, ids: np.ndarray | Sequence[int]) -> str:
        """The same text, but for unknown characters, which become U+FFFD."""
        return _text(self._codes[self._checked(ids)])

    @classmethod
    def from_json(cls, content: dict[str, Any]) -> "Characters":
        """The class with these arguments."""
        return cls(**content)

    def to_json(self) -> dict[str, Any]:
        """The arguments of the class."""
        return {"characters": "".join(self.names[1 + (self.end is not None) :]), "lines": self.end is not None}


def _code_points(text: str) -> np.ndarray:
    return np.frombuffer(text.encode("utf-32-le", "surrogatepass"), "<u4")


def _text(codes: np.ndarray) -> str:
    return codes.astype("<u4").tobytes().decode("utf-32-le", "surrogatepass")
