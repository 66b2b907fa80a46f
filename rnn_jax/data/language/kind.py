"""What every kind of vocabulary has.

All know their tokens from the training part of a text alone. What else may come is `<unk>`, unknown; subwords spell
everything. Where the lines of a text count, "\\n" is the token `<eos>`, end of sequence, in both directions.
"""

import abc
import json
from collections.abc import Sequence
from os import PathLike
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from rnn_jax.files import write_whole

SPECIAL = ("<unk>", "<eos>")
"""Tokens 0 and 1 of words, and of characters where lines end; without lines characters have the first alone."""

UNK, EOS = 0, 1


class Vocabulary(abc.ABC):
    """V tokens.

    Attributes:
        level: one of `LEVELS`.
        names: V strings, for display; `save` writes what `vocabulary.load` reads.
        end: the number of `<eos>`, which stands for "\\n"; None where "\\n" is a character like others.
    """

    level: ClassVar[str]
    names: list[str]
    end: int | None

    @property
    def size(self) -> int:
        """V."""
        return len(self.names)

    @property
    def dtype(self) -> np.dtype:
        """The smallest unsigned type that holds all tokens."""
        return np.min_scalar_type(self.size - 1)

    @abc.abstractmethod
    def encode(self, text: str) -> np.ndarray:
        """The tokens of a text, `[N]` of `dtype`."""

    @abc.abstractmethod
    def decode(self, ids: np.ndarray | Sequence[int]) -> str:
        """The text of N tokens. Raises `ValueError` for numbers that are no tokens."""

    @classmethod
    @abc.abstractmethod
    def from_json(cls, content: dict[str, Any]) -> "Vocabulary":
        """Of what `to_json` gave. Raises an error for anything else."""

    @abc.abstractmethod
    def to_json(self) -> dict[str, Any]:
        """All that `vocabulary.load` needs, besides the level."""

    def save(self, path: str | PathLike[str]) -> None:
        """Writes a file for `vocabulary.load`. Raises `OSError` where it cannot be written."""
        write_whole(Path(path), json.dumps({"level": self.level, **self.to_json()}))

    def _checked(self, ids: np.ndarray | Sequence[int]) -> np.ndarray:
        values = np.asarray(ids)
        if values.size and not 0 <= values.min() <= values.max() < self.size:
            raise ValueError(f"tokens must be 0 to {self.size - 1}, got {values.min()} to {values.max()}")
        return values.astype(np.int64)
