"""Languages whose entropy is known exactly: probabilistic automata whose state the tokens tell.

    state_{t+1} = following[state_t, token_t],    p(token_t | all before) = probabilities[state_t, token_t]

As the state is a function of the tokens so far (the automaton is unifilar), the perfect model of the language is the
automaton itself, and its loss per token has a closed form, the entropy rate

    H = -sum over s of pi(s) sum over v of p(v | s) log p(v | s)

with pi the stationary distribution of the states. The best that any n-gram model can do has one too: with H_n the
entropy of n tokens in a row, its loss is H_n - H_(n-1).

Sources: Shannon, "A mathematical theory of communication", 1948 (section 7, the entropy of such a source); Crutchfield
and Feldman, "Regularities unseen, randomness observed: levels of entropy convergence", 2003 (H_n - H_(n-1)).
"""

from typing import NamedTuple

import numpy as np

SENTENCES = 1024
"""That are drawn at once; so a longer text begins as a shorter one of the same seed."""


class Automaton(NamedTuple):
    """S states over V tokens. State 0 is the start: each sentence begins there, and the token `end` leads back to it.

    Attributes:
        probabilities: `[S, V]` float64, of each token in each state; rows sum to 1.
        following: `[S, V]` int64, the state after each token; 0 where the token cannot come.
        end: the token that ends a sentence.
    """

    probabilities: np.ndarray
    following: np.ndarray
    end: int


def stationary(automaton: Automaton) -> np.ndarray:
    """The share of tokens at which the automaton is in each state, `[S]` float64: pi = pi P, sum pi = 1.

    Raises: `ValueError` where it is not unique: some states are never left for the others.
    """
    size = len(automaton.probabilities)
    moves = np.zeros((size, size))
    rows = np.broadcast_to(np.arange(size)[:, None], automaton.following.shape)
    np.add.at(moves, (rows, automaton.following), automaton.probabilities)
    equations = np.concatenate((moves.T - np.eye(size), np.ones((1, size))))
    found, _, rank, _ = np.linalg.lstsq(equations, np.append(np.zeros(size), 1.0))
    if rank < size:
        raise ValueError(f"the automaton of {size} states has no single stationary distribution")
    return found


def entropy(automaton: Automaton) -> float:
    """The entropy rate: nats per token of the perfect model, see above."""
    return float(stationary(automaton) @ _plogp(automaton.probabilities).sum(axis=1))


def ngram_loss(automaton: Automaton, order: int) -> float:
    """Nats per token of the best model that reads the `order - 1` tokens before: H_order - H_(order - 1), exactly.

    Every string of `order` tokens that can come is enumerated, so the work grows exponentially with the order.

    Args:
        automaton: the language.
        order: n, at least 1; 1 reads nothing, and its loss is the entropy of the frequencies of the tokens.

    Raises: `ValueError` for an order below 1.
    """
    if order < 1:
        raise ValueError(f"order must be at least 1, got {order}")
    # P(string, state after it), for the pairs that can be; strings are numbered.
    states = np.arange(len(automaton.probabilities))
    strings, chances = np.zeros_like(states), stationary(automaton)
    before = after = 0.0
    for _ in range(order):
        pairs, tokens = np.nonzero(automaton.probabilities[states])
        chances = chances[pairs] * automaton.probabilities[states[pairs], tokens]
        keys = strings[pairs] * automaton.probabilities.shape[1] + tokens
        size = len(automaton.probabilities)
        # One entry for each pair of a string and a state, however many states it began in.
        joint, place = np.unique(keys * size + automaton.following[states[pairs], tokens], return_inverse=True)
        chances, states = np.bincount(place, chances), joint % size
        _, strings = np.unique(joint // size, return_inverse=True)
        before, after = after, float(_plogp(np.bincount(strings, chances)).sum())
    return after - before


def generate(automaton: Automaton, num_tokens: int, rng: np.random.Generator) -> np.ndarray:
    """Sentences one after another from the start, the last one cut where the tokens are enough.

    Args:
        automaton: the language.
        num_tokens: N, at least 0.
        rng: draws them.

    Returns: `[N]` int64.

    Raises: `ValueError` for a negative number.
    """
    if num_tokens < 0:
        raise ValueError(f"num_tokens must be at least 0, got {num_tokens}")
    cumulative = np.cumsum(automaton.probabilities, axis=1)
    cumulative /= cumulative[:, -1:]  # so that no draw below 1 is above the last
    found = [np.zeros(0, np.int64)]
    while sum(map(len, found)) < num_tokens:
        found.append(_sentences(automaton, cumulative, SENTENCES, rng))
    return np.concatenate(found)[:num_tokens]


def _sentences(automaton: Automaton, cumulative: np.ndarray, count: int, rng: np.random.Generator) -> np.ndarray:
    """So many sentences, a token of each at a time."""
    going, states = np.arange(count), np.zeros(count, np.int64)
    tokens, owners = [], []
    while len(going):
        drawn = (rng.random((len(going), 1)) >= cumulative[states]).sum(axis=1)
        tokens.append(drawn)
        owners.append(going)
        states = automaton.following[states, drawn]
        going, states = going[drawn != automaton.end], states[drawn != automaton.end]
    return np.concatenate(tokens)[np.argsort(np.concatenate(owners), kind="stable")]


def log_probabilities(automaton: Automaton, tokens: np.ndarray) -> np.ndarray:
    """The log-probability of each token given those before it, of the perfect model.

    Args:
        automaton: the language.
        tokens: `[N]`, from the beginning of a sentence on.

    Returns:
        `[N]` float64, at most 0; -inf for a token that cannot come there, and what follows it counts as a new sentence.

    Raises: `ValueError` for a token that is none.
    """
    values, size = np.asarray(tokens), automaton.probabilities.shape[1]
    if len(values) and not 0 <= values.min() <= values.max() < size:
        raise ValueError(f"tokens must be 0 to {size - 1}, got {values.min()} to {values.max()}")
    states, state, following = np.zeros(len(values), np.int64), 0, automaton.following.tolist()
    for place, token in enumerate(values.tolist()):
        states[place] = state
        state = following[state][token]
    with np.errstate(divide="ignore"):
        return np.log(automaton.probabilities[states, values])


def _plogp(chances: np.ndarray) -> np.ndarray:
    """-p log p, and 0 for p = 0."""
    return -chances * np.log(chances, out=np.zeros_like(chances), where=chances > 0)
