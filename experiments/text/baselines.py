"""Classifiers without recurrence, on the same reviews."""

from collections.abc import Callable
from typing import Any

import numpy as np
from flax import nnx

from experiments.text.flags import TextConfig
from experiments.text.task import Corpus
from rnn_jax.data.text.nbsvm import NBSVM
from rnn_jax.models import BagClassifier, FlattenClassifier


def networks_without_recurrence(config: TextConfig, corpus: Corpus) -> dict[str, Callable[[nnx.Rngs], Any]]:
    """By name what makes them."""
    num_words, num_classes = corpus.vocabulary.get_vocab_size(), len(corpus.data.classes)
    size, scale, longest = config.embedding_size, config.embedding_scale, corpus.bounds.lengths[-1]
    return {
        "bag": lambda rngs: BagClassifier(num_words, size, num_classes, embedding_scale=scale, rngs=rngs),
        "flatten": lambda rngs: FlattenClassifier(
            num_words, size, longest, num_classes, embedding_scale=scale, rngs=rngs
        ),
    }


def linear_probabilities(corpus: Corpus, longest: int) -> np.ndarray:
    """NB-SVM on the data set's whole training split: probabilities `[N_test, 2]` that are 0 or 1 by its decision."""
    original = corpus.original
    machine = NBSVM(ngrams=longest).fit(original.train.texts, original.train.labels)
    return np.eye(2)[(machine.decision_function(original.test.texts) > 0).astype(int)]
