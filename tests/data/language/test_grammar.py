"""The made-up language: its rules, what its text has, and how far n-grams stay behind."""

import re

import numpy as np
import pytest

from rnn_jax.data import language
from rnn_jax.data.errors import DataError
from rnn_jax.data.language import automaton, grammar
from rnn_jax.data.language.corpus import fingerprint

SUBJECTS = {word: number for number, (subjects, _) in enumerate(grammar.CLASSES) for word in subjects}
VERBS = {word: number for number, (_, verbs) in enumerate(grammar.CLASSES) for word in verbs}
PLACE = "|".join(
    rf"(?:{'|'.join(prepositions)}) the(?: PROPERTY)* (?:{'|'.join(nouns)})" for prepositions, nouns in grammar.PLACES
)
PLACE = PLACE.replace("(?: PROPERTY)*", rf"(?: (?:{'|'.join(grammar.SIZES)}))?(?: (?:{'|'.join(grammar.COLOURS)}))?")
CLAUSE = rf"(?: (?:{PLACE}))* (?:{'|'.join(VERBS)})(?: (?:{'|'.join(grammar.ADVERBS)}))?"
SENTENCE = re.compile(rf"(?:{'|'.join(SUBJECTS)}){CLAUSE}(?: and{CLAUSE})*")


@pytest.fixture(scope="module")
def corpus():
    return language.read("grammar", "")


@pytest.fixture(scope="module")
def sentences(corpus):
    text = corpus.vocabulary.decode(corpus.train.tokens)
    return text.splitlines()[:-1]  # the last one may be cut


def test_sentences_follow_the_rules(sentences):
    assert len(sentences) > 5_000
    for sentence in sentences:
        assert SENTENCE.fullmatch(sentence), sentence


def test_verbs_agree_with_the_subject(sentences):
    verbs = 0
    for sentence in sentences:
        subject, *others = sentence.split()
        classes = [VERBS[word] for word in others if word in VERBS]
        assert set(classes) == {SUBJECTS[subject]}
        verbs += len(classes)
    assert verbs > len(sentences)


def test_the_subject_mostly_stands_far_before(sentences):
    """In tokens from a verb to what tells its class, the subject or another verb: what an n-gram has to span."""
    distances = []
    for sentence in sentences:
        telling = [place for place, word in enumerate(sentence.split()) if word in SUBJECTS or word in VERBS]
        distances += np.diff(telling).tolist()
    distances = np.array(distances)
    assert 8 < distances[distances > 2].mean() < 12
    assert 0.7 < np.mean(distances > 4) < 0.8


def test_vocabulary(corpus):
    words = corpus.vocabulary
    assert 40 <= words.size <= 80
    assert words.names[:3] == ["<unk>", "<eos>", "the"]
    assert corpus.end == words.end == 1
    chances = automaton.stationary(grammar.language()[0]) @ grammar.language()[0].probabilities
    assert chances[0] == 0
    assert np.all(np.diff(chances[2:]) <= 1e-12)
    counts = np.bincount(corpus.train.tokens, minlength=words.size)
    np.testing.assert_allclose(counts / len(corpus.train.tokens), chances, atol=0.003)
    assert counts[1:].min() > 0


def test_splits(corpus):
    assert (corpus.name, corpus.level, corpus.train.documents) == ("grammar", "words", None)
    splits = (corpus.train, corpus.validation, corpus.test)
    assert [len(split.tokens) for split in splits] == [200_000, 20_000, 40_000]
    for split in splits:
        assert split.tokens.dtype == np.uint8
        assert split.num_characters == len(corpus.vocabulary.decode(split.tokens))
    assert len({split.tokens[:1_000].tobytes() for split in splits}) == 3


@pytest.mark.parametrize(("size", "sizes"), [(100, (100, 10, 20)), (1_239, (1_239, 123, 247))])
def test_other_sizes(size, sizes):
    corpus = language.read("grammar", "", num_tokens=size)
    assert tuple(len(split.tokens) for split in (corpus.train, corpus.validation, corpus.test)) == sizes


def test_seeds(corpus):
    def of(seed):
        return fingerprint(language.read("grammar", "", num_tokens=500, seed=seed))

    assert of(0) == of(0) != of(1)
    assert corpus.train.tokens[:500].tolist() == language.read("grammar", "", num_tokens=500).train.tokens.tolist()


@pytest.mark.parametrize(("options", "message"), [
    ({"num_tokens": 99}, "num_tokens=99: take at least 100"),
    ({"seed": -1}, "seed=-1: take 0 or more"),
    ({"level": "characters"}, "level=characters: grammar has words"),
])  # fmt: skip
def test_bad_options(options, message):
    with pytest.raises(DataError, match=message):
        language.read("grammar", "", **options)


def test_entropy(corpus):
    """By sampling, and by adding up the choices of a sentence by hand."""
    assert corpus.entropy == grammar.entropy()
    losses = -grammar.log_probabilities(corpus.train.tokens)
    assert losses.mean() == pytest.approx(corpus.entropy, abs=5 * losses.std() / np.sqrt(len(losses)))
    assert grammar.perfect_loss(corpus.test.tokens) == pytest.approx(corpus.entropy, rel=0.01)
    assert grammar.perfect_loss(corpus.test.tokens) == -grammar.log_probabilities(corpus.test.tokens).mean()


def entropy_of(*chances):
    chances = np.array(chances) / np.sum(chances)
    return -np.sum(chances * np.log(chances))


def test_entropy_by_hand():
    """A sentence: a subject; clauses, 2 in the mean; of a clause none or more places, a verb, perhaps an adverb."""
    skewed = {n: entropy_of(*0.6 ** np.arange(n)) for n in (2, 3)}
    of_place = entropy_of(1, 0.7, 0.49) + skewed[2]  # which preposition
    noun = skewed[3]
    colour = skewed[2] + noun
    size = skewed[3] + entropy_of(0.3, 0.7) + 0.3 * colour + 0.7 * noun
    of_place += entropy_of(0.45, 0.25, 0.3) + 0.45 * size + 0.25 * colour + 0.3 * noun
    place_length = 2 + 0.45 * (1 + 0.3 * 1) + 0.25 * 1 + 1
    places = 0.8 / (1 - 0.55)  # expected number
    of_clause = entropy_of(0.2, 0.8) + places * (of_place + entropy_of(0.55, 0.45)) + skewed[2]
    after = entropy_of(0.3, 0.35, 0.35) + 0.3 * (skewed[2] + np.log(2))
    of_sentence = entropy_of(*0.95 ** np.arange(8)) + skewed[3] + 2 * (of_clause + after)
    length = 1 + 2 * (places * place_length + 1 + 0.3 + 1)
    assert grammar.entropy() == pytest.approx(of_sentence / length, rel=1e-9)


def test_ngrams_stay_behind():
    losses = [grammar.best_ngram_loss(order) for order in range(1, 6)]
    assert losses == sorted(losses, reverse=True)
    assert losses[-1] > 1.08 * grammar.entropy()
    assert losses[0] > 2 * grammar.entropy()


@pytest.mark.parametrize("order", [1, 2, 3])
def test_counted_ngrams_come_close_to_the_best(order):
    """Counts of a long text, on that text: below the best by the little that they fit of its chance."""
    tokens = grammar.generate(400_000, seed=7).astype(np.int64)
    windows = np.lib.stride_tricks.sliding_window_view(tokens, order) @ 100 ** np.arange(order)[::-1]
    _, place, counts = np.unique(windows, return_inverse=True, return_counts=True)
    _, context, of_context = np.unique(windows // 100, return_inverse=True, return_counts=True)
    loss = -np.mean(np.log(counts[place] / of_context[context]))
    assert loss == pytest.approx(grammar.best_ngram_loss(order), rel=0.01)
