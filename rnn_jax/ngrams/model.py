"""A language model of n-grams: a probability for each that was seen, and a weight that leads to a shorter history."""

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from rnn_jax.ngrams.counts import as_tokens, marked


class Table(NamedTuple):
    """The n n-grams of one order.

    Attributes:
        keys: `[n]` int64, sorted, see `rnn_jax.ngrams.counts`.
        probabilities: `[n]` float64, P(last token | the ones before).
        backoffs: `[m + 1]` float64, of each n-gram of the order below as a history: what the probabilities after the
            shorter history are multiplied with where the n-gram was not seen. The last is that of a history that was
            not seen either.
    """

    keys: np.ndarray
    probabilities: np.ndarray
    backoffs: np.ndarray


class NGramModel(NamedTuple):
    """P(token | history) over a closed vocabulary, as `rnn_jax.ngrams.fit` makes it.

        P(w | h) = probability(h w)                 where h w was seen
                 = backoff(h) P(w | h')             otherwise; h': h without its first token

    Kneser-Ney: a history that was not seen has a back-off weight of 1. Without smoothing all are 0.

    Attributes:
        order: the longest n-gram.
        num_tokens: V.
        end: the token that ends a sentence, or None.
        smoothing: how it was fitted, `kneser_ney` or `none`.
        tables: of the orders 1 to `order`; the first has all V tokens and, last and with probability 0, the begin
            marker.
    """

    order: int
    num_tokens: int
    end: int | None
    smoothing: str
    tables: tuple[Table, ...]

    @property
    def num_params(self) -> int:
        """n-grams of all orders that have a probability: V of order 1, and all different ones of the text."""
        return self.num_tokens + sum(len(table.keys) for table in self.tables[1:])

    def log_probabilities(self, tokens: ArrayLike, *, start: ArrayLike | None = None) -> np.ndarray:
        """ln P(token_t | the `order` - 1 tokens before it), of every token of a text.

        Args:
            tokens: `[N]` integers.
            start: `[M]` integers, what came before, of which the last `order` - 1 count. None or no tokens: nothing
                did, the text begins here.

        Returns: `[N]` float64 in nats. Without smoothing -inf for what was not seen.

        Raises: `ValueError` for tokens that do not fit.

        >>> from rnn_jax import ngrams
        >>> model = ngrams.fit([0, 1, 0, 1, 1], 2, 3, smoothing="none")
        >>> np.exp(model.log_probabilities([1, 0, 1, 2])).round(3).tolist()
        [0.6, 0.5, 1.0, 0.0]
        """
        tokens = as_tokens(tokens, self.num_tokens)
        before = as_tokens([] if start is None else start, self.num_tokens, "start")[-self.order :]
        text, longest = marked(np.concatenate((before, tokens)), self.num_tokens, self.end)
        base = self.num_tokens + 1
        index = text
        probabilities = self.tables[0].probabilities[text]
        for length, table in enumerate(self.tables[1:], 1):
            at = np.flatnonzero(longest >= length)
            history = index[at - 1]
            place, seen = _look_up(table.keys, np.where(history < 0, -1, history * base + text[at]))
            probabilities[at] *= table.backoffs[history]
            probabilities[at[seen]] = table.probabilities[place[seen]]
            index = np.full(len(text), -1)
            index[at[seen]] = place[seen]
        with np.errstate(divide="ignore"):
            return np.log(probabilities[text < self.num_tokens][len(before) :])

    def probabilities(self, context: ArrayLike) -> np.ndarray:
        """P(token | context) of all V tokens, `[V]` float64; their sum is 1.

        Without smoothing they are all 0 after a history that was not seen.

        Args:
            context: `[M]` integers, what came before, of which the last `order` - 1 count; a shorter one is the begin
                of a text, as in `log_probabilities`.

        Raises: `ValueError` for tokens that do not fit.

        >>> from rnn_jax import ngrams
        >>> ngrams.fit([0, 1, 0, 1, 1], 2, 3, smoothing="none").probabilities([2, 2, 1]).tolist()
        [0.5, 0.5, 0.0]
        """
        tokens = as_tokens(context, self.num_tokens, "context")[-self.order :]
        base = self.num_tokens + 1
        if self.end is not None:
            ends = np.flatnonzero(tokens == self.end)
            tokens = np.concatenate(([self.num_tokens], tokens[ends[-1] + 1 if len(ends) else 0 :]))
        found = self.tables[0].probabilities[: self.num_tokens].copy()
        for length, table in enumerate(self.tables[1 : len(tokens) + 1], 1):
            history = self._index(tokens[len(tokens) - length :])
            found *= table.backoffs[history]
            if history >= 0:
                first, last = np.searchsorted(table.keys, (history * base, history * base + base))
                found[table.keys[first:last] - history * base] = table.probabilities[first:last]
        return found

    def _index(self, tokens: np.ndarray) -> int:
        """Of an n-gram in the table of its order; -1: not seen."""
        index = tokens[0]
        for token, table in zip(tokens[1:], self.tables[1:], strict=False):
            place, seen = _look_up(table.keys, index * (self.num_tokens + 1) + token)
            if not seen:
                return -1
            index = place
        return int(index)


def _look_up(keys: np.ndarray, wanted: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Where keys would be in a sorted table, and which of them are there."""
    if not len(keys):
        return np.zeros(np.shape(wanted), np.int64), np.zeros(np.shape(wanted), bool)
    place = np.minimum(np.searchsorted(keys, wanted), len(keys) - 1)
    return place, keys[place] == wanted
