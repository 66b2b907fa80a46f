"""Relative frequencies: what was not seen is impossible."""

import numpy as np

from rnn_jax.ngrams.counts import Counts
from rnn_jax.ngrams.model import Table


def estimate(counts: list[Counts], num_tokens: int) -> tuple[Table, ...]:
    """Probabilities and back-off weights, which are 0.

        P(w | h) = c(h w) / c(h)        c(h) = sum over w of c(h w): how often h occurs with a token after it

    Args:
        counts: of the orders 1 to N.
        num_tokens: V.
    """
    tables, num_histories = [], 1
    for here in counts:
        history = here.keys // (num_tokens + 1)
        totals = np.bincount(history, here.occurrences, num_histories)
        tables.append(Table(here.keys, here.occurrences / totals[history], np.zeros(num_histories + 1)))
        num_histories = len(here.keys)
    return tuple(tables)
