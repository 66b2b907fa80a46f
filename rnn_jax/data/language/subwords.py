"""Subwords as tokens."""

import json
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from rnn_jax.data.errors import DataError
from rnn_jax.data.language.kind import EOS, SPECIAL, Vocabulary
from rnn_jax.data.pieces import pieces
from rnn_jax.extras import need

if TYPE_CHECKING:
    from tokenizers import Tokenizer

VOCAB_SIZE = 4_096
"""The most tokens, unless told."""

PIECE = 2**16
"""Characters that are encoded at once."""

TRAINING_PIECE = 2**10
"""Characters at once where subwords are found: the work on text without any blank grows with the square of it."""


class Subwords(Vocabulary):
    """`<eos>` where lines end, the 256 bytes, and pieces of words, the sooner the more frequent: byte-level BPE.

    Every text is spelled in them, and comes back as it was. Sources: Sennrich, Haddow and Birch, "Neural machine
    translation of rare words with subword units", 2016; Radford et al., "Language models are unsupervised multitask
    learners", 2019 (of bytes).

    Args:
        tokenizer: of Hugging Face's `tokenizers`; where lines end its first token is "\\n".
        lines: whether "\\n" is `<eos>`.

    >>> vocabulary = Subwords.build(["low lower lowest"], vocab_size=258)
    >>> vocabulary.names[-2:], vocabulary.decode(vocabulary.encode("slow \u00e9"))
    (['lo', 'low'], 'slow \u00e9')
    """

    level = "subwords"

    def __init__(self, tokenizer: "Tokenizer", lines: bool = False):
        self.end = 0 if lines else None
        self._tokenizer = tokenizer
        decoded = [tokenizer.decode([token], skip_special_tokens=False) for token in range(tokenizer.get_vocab_size())]
        # A piece of a character has no text of its own.
        self.names = [
            str(tokenizer.id_to_token(token)) if "\ufffd" in text else text for token, text in enumerate(decoded)
        ]
        if lines:
            self.names[0] = SPECIAL[EOS]

    @classmethod
    def build(cls, texts: Iterable[str], lines: bool = False, vocab_size: int = VOCAB_SIZE) -> "Subwords":
        """Joins the most frequent pair of tokens into one, over and over, in the texts of the training part.

        Args:
            texts: each ends where a word does.
            lines: of the class.
            vocab_size: V, at least the bytes and `<eos>`; fewer where no pair is left that occurs twice.

        Raises:
            DataError: a smaller one.
        """
        need(__name__, "tokenizers")
        from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

        if vocab_size < 256 + lines:
            raise DataError(f"vocab_size={vocab_size}: subwords need {256 + lines} or more, the bytes among them")
        tokenizer = Tokenizer(models.BPE())
        tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
        tokenizer.decoder = decoders.ByteLevel()
        trainer = trainers.BpeTrainer(
            vocab_size=vocab_size,
            min_frequency=2,
            special_tokens=["\n"] if lines else [],
            initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
            show_progress=False,
        )
        found = (piece for text in texts for piece in pieces(text, TRAINING_PIECE))
        # Only what is encoded is cut at special tokens; what is trained on is not.
        tokenizer.train_from_iterator(
            (line for piece in found for line in piece.split("\n")) if lines else found, trainer
        )
        return cls(tokenizer, lines)

    def encode(self, text: str) -> np.ndarray:
        """Tokens that spell the text."""
        valid = text.encode("utf-8", "replace").decode()  # a lone surrogate has no spelling
        encoded = self._tokenizer.encode_batch_fast(list(pieces(valid, PIECE)))
        return np.concatenate([np.zeros(0, self.dtype), *(np.array(each.ids, self.dtype) for each in encoded)])

    def decode(self, ids: np.ndarray | Sequence[int]) -> str:
        """The text; bytes that are no UTF-8 become U+FFFD."""
        return self._tokenizer.decode(self._checked(ids).tolist(), skip_special_tokens=False)

    @classmethod
    def from_json(cls, content: dict[str, Any]) -> "Subwords":
        """The class with these arguments."""
        need(__name__, "tokenizers")
        from tokenizers import Tokenizer

        return cls(Tokenizer.from_str(json.dumps(content["tokenizer"])), content["lines"])

    def to_json(self) -> dict[str, Any]:
        """The arguments of the class."""
        return {"tokenizer": json.loads(self._tokenizer.to_str()), "lines": self.end is not None}
