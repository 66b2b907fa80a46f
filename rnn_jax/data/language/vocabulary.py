"""From texts to token numbers and back: vocabularies of characters, words and subwords, each kind in its own file."""

import json
from collections.abc import Iterable
from os import PathLike
from pathlib import Path

from rnn_jax.data.language import subwords, words
from rnn_jax.data.language.characters import Characters
from rnn_jax.data.language.kind import Vocabulary
from rnn_jax.data.language.subwords import Subwords
from rnn_jax.data.language.words import Words

__all__ = ["KINDS", "Characters", "Subwords", "Vocabulary", "Words", "build", "load"]

KINDS: dict[str, type[Vocabulary]] = {kind.level: kind for kind in (Characters, Words, Subwords)}
"""By level."""


def build(
    level: str,
    texts: Iterable[str],
    *,
    lines: bool = False,
    vocab_size: int | None = None,
    min_freq: int | None = None,
) -> Vocabulary:
    """The vocabulary of a level, from the texts of the training part.

    Args:
        level: one of `LEVELS`.
        texts: each ends where a word does.
        lines: whether "\\n" is `<eos>`; of words it always is.
        vocab_size: the most words or subwords; None: their `VOCAB_SIZE`. Characters are all taken.
        min_freq: how often a word has to occur; None: their `MIN_FREQ`.

    Raises:
        DataError: a limit that leaves no vocabulary.
    """
    if level == "characters":
        return Characters.build(texts, lines)
    if level == "words":
        frequency = _or(min_freq, words.MIN_FREQ)
        return Words.build(texts, vocab_size=_or(vocab_size, words.VOCAB_SIZE), min_freq=frequency)
    return Subwords.build(texts, lines, _or(vocab_size, subwords.VOCAB_SIZE))


def load(path: str | PathLike[str]) -> Vocabulary:
    """The vocabulary of any kind that its `save` wrote.

    Raises: `OSError` for a file that cannot be read, `ValueError` for one that is no vocabulary.
    """
    try:
        content = json.loads(Path(path).read_bytes())
        level = content.pop("level")
        return KINDS[level].from_json(content)
    except (OSError, ModuleNotFoundError):
        raise
    except Exception as error:  # the Rust library raises bare Exceptions
        raise ValueError(f"{path} is no vocabulary: {error}") from error


def _or(value: int | None, default: int) -> int:
    return default if value is None else value
