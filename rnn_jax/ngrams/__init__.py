"""Language models that count: n-grams of any order, by maximum likelihood or with Kneser-Ney smoothing.

| | |
|---|---|
| `fit` | counts the n-grams of a text: an `NGramModel` |
| `NGramModel` | probabilities of every token of a text, and of all tokens after a context |
| `write_arpa` | a model as a file that KenLM and SRILM read |

Nothing is trained: what a recurrent language model of the same text has to beat.
"""

from typing import Literal

from numpy.typing import ArrayLike

from rnn_jax.ngrams import kneser_ney, maximum_likelihood
from rnn_jax.ngrams.arpa import write_arpa
from rnn_jax.ngrams.counts import count
from rnn_jax.ngrams.model import NGramModel

SMOOTHING = {"kneser_ney": kneser_ney.estimate, "none": maximum_likelihood.estimate}
"""How counts become probabilities, by name."""


def fit(
    tokens: ArrayLike,
    order: int,
    num_tokens: int,
    *,
    end: int | None = None,
    smoothing: Literal["kneser_ney", "none"] = "kneser_ney",
) -> NGramModel:
    """A language model of the n-grams of a text.

    `none`: P(w | h) = c(h w) / c(h), relative frequencies, see `rnn_jax.ngrams.maximum_likelihood`. `kneser_ney`:
    interpolated modified Kneser-Ney smoothing, see `rnn_jax.ngrams.kneser_ney`: no token of the vocabulary has
    probability 0, after whatever history.

    Args:
        tokens: `[N]` integers from 0 to V - 1, N at least 1.
        order: the longest n-gram: `order` - 1 tokens of history and the one that they predict; at least 1.
        num_tokens: V, tokens of the vocabulary, whether or not they occur.
        end: the token that ends a sentence, a line or a document. It is predicted like any other, and the next token
            has no history before it but a begin marker. None: the text is one stream.
        smoothing: `kneser_ney` or `none`.

    Raises: `ValueError` for tokens or an `end` that do not fit, none at all, an order below 1, or another smoothing.

    Example: a sentence, word by word.

        >>> words = "trăm năm trong cõi người ta".split()
        >>> tokens = list(range(6))
        >>> fit(tokens, 1, 6, smoothing="none").probabilities([]).round(3).tolist()
        [0.167, 0.167, 0.167, 0.167, 0.167, 0.167]
        >>> bigrams = fit(tokens, 2, 6, smoothing="none")
        >>> words[bigrams.probabilities([words.index("trăm")]).argmax()], bigrams.probabilities([0]).max().item()
        ('năm', 1.0)
        >>> fit(tokens, 2, 6).probabilities([0]).round(3).tolist()
        [0.042, 0.592, 0.092, 0.092, 0.092, 0.092]
    """
    if smoothing not in SMOOTHING:
        raise ValueError(f"smoothing must be one of {', '.join(SMOOTHING)}, got {smoothing!r}")
    tables = SMOOTHING[smoothing](count(tokens, order, num_tokens, end), num_tokens)
    return NGramModel(order, num_tokens, end, smoothing, tables)


__all__ = ["NGramModel", "fit", "write_arpa"]
