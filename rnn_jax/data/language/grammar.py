"""A made-up language whose verbs agree with a subject that stands far before them; its entropy is known exactly.

    sparrows near the old mill behind the small green hill sing
    ponies inside the white garden trot often and by the narrow river gallop

A sentence has a subject of one of eight classes, mostly a stretch of words that say nothing of it, and a verb of the
class of the subject; then perhaps "and", another stretch, another verb of that class. A model that carries the class
through the stretches reaches the entropy, to which the choices add up that are left. One that reads a few words back
sees nothing but the stretch before most verbs, and has to guess the class: below `best_ngram_loss` no n-gram model can
go, however many sentences it counts.

Source of the task: Linzen, Dupoux and Goldberg, "Assessing the ability of LSTMs to learn syntax-sensitive
dependencies", 2016.
"""

from collections.abc import Sequence
from functools import cache
from os import PathLike

import numpy as np

from rnn_jax.data.errors import DataError
from rnn_jax.data.language import automaton
from rnn_jax.data.language.automaton import Automaton
from rnn_jax.data.language.corpus import Corpus, Split
from rnn_jax.data.language.kind import EOS, SPECIAL
from rnn_jax.data.language.words import Words

__all__ = ["NAME", "best_ngram_loss", "entropy", "generate", "log_probabilities", "perfect_loss", "read", "vocabulary"]

NAME = "grammar"
"""Of the data set."""

PROTOCOL = "sentences drawn anew for every split, by the same rules"

CLASSES = (
    (("sparrows", "swallows", "larks"), ("sing", "chirp")),
    (("ponies", "horses", "mules"), ("trot", "gallop")),
    (("boats", "ferries", "rafts"), ("sail", "drift")),
    (("bells", "gongs", "chimes"), ("ring", "toll")),
    (("bees", "wasps", "gnats"), ("buzz", "hum")),
    (("hounds", "puppies", "terriers"), ("bark", "growl")),
    (("boys", "girls", "pupils"), ("laugh", "play")),
    (("bakers", "cooks", "millers"), ("work", "bake")),
)
"""The subjects of each class, and its verbs."""

PLACES = (
    (("by", "along"), ("river", "lake", "shore")),
    (("behind", "beyond"), ("hill", "wood", "field")),
    (("near", "inside"), ("mill", "garden", "village")),
)
"""Prepositions, and the nouns that follow them."""

SIZES = ("old", "small", "narrow")
COLOURS = ("green", "white")
ADVERBS = ("loudly", "often")

DIRECT = 0.2
"""How likely there is no stretch at all: it is from these verbs that a network begins to learn the agreement."""

MORE = 0.55
"""How likely the stretch goes on after a place."""

AGAIN = 0.5
"""How likely another verb follows."""

Moves = list[tuple[str, float, str]]
"""What can come in a state: a word, its probability, the state after it."""


@cache
def language() -> tuple[Automaton, tuple[str, ...]]:
    """The automaton, and its words in the order of their numbers: `<unk>`, which never comes, `<eos>`, and all others
    by frequency."""
    moves: dict[str, Moves] = {"start": []}
    for number, (share, (subjects, verbs)) in enumerate(zip(_skewed(len(CLASSES), 0.95), CLASSES, strict=True)):
        moves["start"] += _one_of(subjects, share, f"open {number}")
        moves |= _sentence(verbs, str(number))
    names = list(moves)
    words = [*SPECIAL, *sorted({word for of_state in moves.values() for word, _, _ in of_state} - {SPECIAL[EOS]})]
    probabilities = np.zeros((len(names), len(words)))
    following = np.zeros(probabilities.shape, np.int64)
    for state, of_state in enumerate(moves.values()):
        for word, chance, after in of_state:
            probabilities[state, words.index(word)] += chance
            following[state, words.index(word)] = names.index(after)
    frequencies = automaton.stationary(Automaton(probabilities, following, EOS)) @ probabilities
    # Rounded, so that what is equally frequent stays in order of letters whatever the solver's last digits are.
    ranks = np.argsort(-np.round(frequencies[len(SPECIAL) :], 12), kind="stable")
    order = [*range(len(SPECIAL)), *(len(SPECIAL) + ranks)]
    return Automaton(probabilities[:, order], following[:, order], EOS), tuple(words[i] for i in order)


def _sentence(verbs: tuple[str, ...], number: str) -> dict[str, Moves]:
    """The states of a sentence whose subject is of the class with this number."""

    def places(share: float) -> Moves:
        shares = share * _skewed(len(PLACES), 0.7)
        return [
            move
            for place, (of_place, (prepositions, _)) in enumerate(zip(shares, PLACES, strict=True))
            for move in _one_of(prepositions, of_place, f"preposition {place} {number}")
        ]

    moves = {
        f"open {number}": places(1 - DIRECT) + _one_of(verbs, DIRECT, f"verb {number}"),
        f"noun {number}": places(MORE) + _one_of(verbs, 1 - MORE, f"verb {number}"),
        f"verb {number}": [
            *_one_of(ADVERBS, 0.3, f"adverb {number}"),
            ("and", 0.7 * AGAIN, f"open {number}"),
            (SPECIAL[EOS], 0.7 * (1 - AGAIN), "start"),
        ],
        f"adverb {number}": [("and", AGAIN, f"open {number}"), (SPECIAL[EOS], 1 - AGAIN, "start")],
    }
    for place, (_, nouns) in enumerate(PLACES):
        here = f"{place} {number}"
        noun, colour = f"noun {number}", f"colour {here}"
        moves[f"preposition {here}"] = [("the", 1.0, f"the {here}")]
        moves[f"the {here}"] = [
            *_one_of(SIZES, 0.45, f"size {here}"),
            *_one_of(COLOURS, 0.25, colour),
            *_one_of(nouns, 0.3, noun),
        ]
        moves[f"size {here}"] = _one_of(COLOURS, 0.3, colour) + _one_of(nouns, 0.7, noun)
        moves[colour] = _one_of(nouns, 1.0, noun)
    return moves


def _one_of(words: tuple[str, ...], share: float, after: str) -> Moves:
    return [(word, share * each, after) for word, each in zip(words, _skewed(len(words), 0.6), strict=True)]


def _skewed(count: int, ratio: float) -> np.ndarray:
    """Probabilities, each `ratio` times the one before."""
    powers = ratio ** np.arange(count)
    return powers / powers.sum()


def entropy() -> float:
    """Nats per token of the perfect model."""
    return automaton.entropy(language()[0])


@cache
def best_ngram_loss(order: int) -> float:
    """Nats per token that no n-gram model of this order can go below, see `automaton.ngram_loss`; up to 6 in a second.

    >>> [round(best_ngram_loss(order) / entropy(), 2) for order in (1, 2, 3, 4, 5)]
    [2.37, 1.27, 1.22, 1.14, 1.11]
    """
    return automaton.ngram_loss(language()[0], order)


def log_probabilities(tokens: np.ndarray) -> np.ndarray:
    """Of each token `[N]` by the perfect model, `[N]` float64, see `automaton.log_probabilities`."""
    return automaton.log_probabilities(language()[0], tokens)


def perfect_loss(tokens: np.ndarray) -> float:
    """The mean loss of the perfect model on tokens `[N]` from the beginning of a sentence on, in nats per token: what a
    test split has by chance above or below `entropy`, every model has."""
    return float(-log_probabilities(tokens).mean())


def generate(num_tokens: int, seed: int | Sequence[int] = 0) -> np.ndarray:
    """Sentences one after another: `[num_tokens]` of the smallest unsigned type, see `automaton.generate`.

    >>> print(vocabulary().decode(generate(28, seed=23)))
    wasps behind the wood buzz loudly
    gongs by the narrow river beyond the wood toll
    ponies trot
    ponies along the small river behind the white

    """
    tokens = automaton.generate(language()[0], num_tokens, np.random.default_rng(seed))
    return tokens.astype(vocabulary().dtype)


def vocabulary() -> Words:
    """All words of the language, the most frequent first."""
    return Words(language()[1][len(SPECIAL) :], blanks=True)


def read(data_dir: str | PathLike[str], level: str, *, num_tokens: int, seed: int = 0) -> Corpus:
    """Sentences drawn for every split by itself.

    Args:
        data_dir: not used: the sentences are made up.
        level: `words`.
        num_tokens: of the training split, at least 100; validation has a tenth of it, test a fifth.
        seed: the same seed makes the same sentences.

    Raises:
        DataError: fewer tokens, a negative seed.
    """
    if num_tokens < 100:
        raise DataError(f"num_tokens={num_tokens}: take at least 100")
    if seed < 0:
        raise DataError(f"seed={seed}: take 0 or more")
    words = vocabulary()
    drawn = [generate(size, (seed, i)) for i, size in enumerate((num_tokens, num_tokens // 10, num_tokens // 5))]
    train, validation, test = (Split(tokens, len(words.decode(tokens))) for tokens in drawn)
    return Corpus(NAME, words, train, validation, test, PROTOCOL, entropy())
