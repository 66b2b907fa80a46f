"""Reviews as arrays, and a classifier's training task on them as pure functions."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import nnx
from tokenizers import Tokenizer

from experiments.common.command import data_folder
from experiments.common.fit import Fitted, Look, fit, initializer
from experiments.common.flags import UsageError
from experiments.common.training import recurrent_options
from experiments.text.flags import TextConfig
from experiments.text.layer_rates import falling
from rnn_jax import models
from rnn_jax.data import text
from rnn_jax.data.text import count_ratios, vocabulary
from rnn_jax.data.text.count_ratios import CountRatios
from rnn_jax.data.text.lengths import Bounds, Group, choose_bounds, groups, padding_share
from rnn_jax.data.text.reviews import ReviewData, connected, cut_validation
from rnn_jax.data.text.vocabulary import PAD, Tokens
from rnn_jax.models import TextClassifier
from rnn_jax.training.step import Task
from rnn_jax.types import Array, Params

EVALUATION_BATCH = 256
LOOK_BATCH = 64
SPLITS = ("train", "validation", "test")


class Corpus(NamedTuple):
    """Reviews, as texts and as tokens.

    Attributes:
        data: the three splits, cleaned.
        original: the data set as it came, with the whole training split.
        vocabulary: of the training split.
        tokens: all texts: training, validation, test.
        ratios: of the n-grams of the training split.
        features: `[F, total]` float32, what is read beside each token: the ratios of the n-grams that end there.
        bounds: what their lengths are padded to.
        first: where each split begins in `tokens`, and where the last ends.
    """

    data: ReviewData
    original: ReviewData
    vocabulary: Tokenizer
    tokens: Tokens
    ratios: CountRatios
    features: np.ndarray
    bounds: Bounds
    first: tuple[int, int, int, int]

    def part(self, split: str) -> slice:
        """The texts of a split."""
        number = SPLITS.index(split)
        return slice(self.first[number], self.first[number + 1])

    def labels(self) -> np.ndarray:
        """`[N]` of all texts."""
        return np.concatenate([getattr(self.data, split).labels for split in SPLITS])

    def padding(self) -> float:
        """The share of the steps computed in training that are padding."""
        train = self.part("train")
        return padding_share(self.tokens.lengths[train], np.asarray(self.bounds.lengths)[self.bounds.of_text[train]])


def read_reviews(config: TextConfig) -> ReviewData:
    """The reviews that the flags name, as they are. Raises `DataError`."""
    options = {name: getattr(config, name) for name in text.DATASETS[config.dataset].options}
    return text.read(config.dataset, data_folder(config), **options)


def make_corpus(config: TextConfig, original: ReviewData) -> Corpus:
    """Cuts the validation split, cleans, counts the words of the training split, and makes tokens of all texts."""
    clean = text.CLEANING[config.cleaning]
    cut = cut_validation(original, config.validation_share, seed=0)
    splits = [getattr(cut, split) for split in SPLITS]
    splits = [split._replace(texts=[clean(each) for each in split.texts]) for split in splits]
    try:
        words = vocabulary.build(splits[0].texts, config.vocab_size, config.min_freq)
    except ValueError as error:
        raise UsageError(f"--min_freq={config.min_freq}: {error}") from error
    texts = [each for split in splits for each in split.texts]
    tokens = vocabulary.encode(words, texts, config.max_tokens, config.truncate)
    if config.read_padding:  # every text has the same number of steps, most of them padding
        bounds = Bounds((config.max_tokens,), np.zeros(len(texts), np.int32))
    else:
        bounds = choose_bounds(tokens.lengths, config.num_lengths)
    ends = np.cumsum([len(split.texts) for split in splits]).tolist()
    train, others = tokens.split(ends[0])
    ratios, of_train = count_ratios.build(
        train, splits[0].labels, words.get_vocab_size(), config.count_ratios, groups=connected(splits[0])
    )
    features = np.concatenate((of_train, count_ratios.lookup(ratios, others)), axis=1)
    data = cut._replace(**dict(zip(SPLITS, splits, strict=True)))
    return Corpus(data, original, words, tokens, ratios, features, bounds, (0, *ends))


def device_data(corpus: Corpus) -> dict[str, np.ndarray]:
    """What training and evaluation take texts from."""
    beyond = corpus.bounds.lengths[-1]  # the last text is read beyond its end too
    features = {"features": np.pad(corpus.features.T, ((0, beyond), (0, 0)))} if len(corpus.features) else {}
    return {
        "tokens": np.pad(corpus.tokens.values, (0, beyond)),
        **features,
        "starts": corpus.tokens.starts,
        "lengths": corpus.tokens.lengths,
        "labels": corpus.labels(),
    }


class Inputs(NamedTuple):
    """What a classifier reads: tokens `[B, T]`, lengths `[B]`, and features `[B, T, F]` or None."""

    tokens: Array
    lengths: Array
    features: Array | None


def take_texts(data: dict[str, Array], indices: Array, length: int, read_padding: bool) -> Inputs:
    """Texts padded to `length`. With `read_padding` every one counts as `length` long."""
    lengths, steps = data["lengths"][indices], jnp.arange(length)
    valid, place = steps < lengths[:, None], data["starts"][indices][:, None] + steps
    tokens = jnp.where(valid, data["tokens"][place], PAD)
    features = jnp.where(valid[..., None], data["features"][place], 0) if "features" in data else None
    return Inputs(tokens, jnp.full_like(lengths, length) if read_padding else lengths, features)


def scores_of(
    apply: Callable[..., Array],
    params: Params,
    data: Any,
    part: slice,
    batches: Sequence[Group],
    read_padding: bool,
) -> Array:
    """Scores `[N, C]` of the texts of one part."""

    def batch(indices: Array, length: int) -> Array:
        return apply(params, *take_texts(data, part.start + indices, length, read_padding))

    found = [jax.lax.map(lambda i, n=group.length: batch(i, n), jnp.asarray(group.indices)) for group in batches]
    scores = jnp.concatenate([each.reshape(-1, each.shape[-1]) for each in found])
    indices = np.concatenate([group.indices.ravel() for group in batches])
    return jnp.zeros((part.stop - part.start, scores.shape[-1]), scores.dtype).at[indices].set(scores)


def batches_of(corpus: Corpus, split: str) -> list[Group]:
    """The texts of a split in batches of one length each, numbered from the split's first."""
    bounds = Bounds(corpus.bounds.lengths, corpus.bounds.of_text[corpus.part(split)])
    return groups(bounds, EVALUATION_BATCH)


def make_model(config: TextConfig, rngs: nnx.Rngs, *, vocab_size: int, num_classes: int) -> TextClassifier:
    """The classifier that the flags describe."""
    return TextClassifier(
        vocab_size,
        config.embedding_size,
        config.cell,
        config.hidden_size,
        num_classes,
        pool=config.pool,
        word_dropout=config.word_dropout,
        embedding_dropout=config.embedding_dropout,
        head_dropout=config.head_dropout,
        embedding_scale=config.embedding_scale,
        num_features=config.count_ratios,
        rngs=rngs,
        **recurrent_options(config),
    )


def make_task(config: TextConfig, corpus: Corpus, make: Callable[[nnx.Rngs], nnx.Module], apply: Any) -> Task:
    """Training by cross-entropy, validation by the share of errors, as pure functions.

    Label smoothing: Szegedy et al., "Rethinking the inception architecture for computer vision", 2016.
    """
    validation, batches = corpus.part("validation"), batches_of(corpus, "validation")
    num_classes = len(corpus.data.classes)

    def loss(params: Params, batch: tuple[Inputs, Array], key: Array) -> tuple[Array, dict[str, Array]]:
        inputs, labels = batch
        targets = optax.smooth_labels(jax.nn.one_hot(labels, num_classes), config.label_smoothing)
        scores = apply(params, *inputs, rngs=nnx.Rngs(dropout=key))
        value = optax.softmax_cross_entropy(scores, targets).mean()
        return value, {"accuracy": _accuracy(scores, labels)}

    def take(data: dict[str, Array], indices: Array, length: int) -> tuple[Inputs, Array]:
        return take_texts(data, indices, length, config.read_padding), data["labels"][indices]

    def evaluate(params: Params, data: dict[str, Array]) -> dict[str, Array]:
        scores, labels = (
            scores_of(apply, params, data, validation, batches, config.read_padding),
            data["labels"][validation],
        )
        entropies = optax.softmax_cross_entropy_with_integer_labels(scores, labels)
        # What chooses the best parameters is what is reported, the share of errors: a network that overfits grows too
        # sure of itself, and its cross-entropy rises, epochs before its accuracy falls.
        accuracy = _accuracy(scores, labels)
        return {"loss": 1 - accuracy, "cross_entropy": entropies.mean(), "accuracy": accuracy}

    train = corpus.part("train")
    lengths, of_text = corpus.bounds.lengths, corpus.bounds.of_text[train]
    spread = ("tokens", "features")
    return Task(initializer(make), loss, take, evaluate, train.stop, lengths, of_text, spread=spread)


def fit_classifier(
    name: str,
    config: TextConfig,
    corpus: Corpus,
    make: Callable[[nnx.Rngs], nnx.Module],
    workdir: Path,
    fingerprint: str,
    start: Callable[[Params], Params] | None = None,
) -> tuple[Fitted, np.ndarray]:
    """Trains a classifier of any kind in `workdir` and reads the test split once: probabilities `[S, N_test, C]`.

    `start`: from the parameters as drawn to those to begin with.
    """
    model = models.abstract(make)
    apply, _ = models.pure(model)
    data = device_data(corpus)
    task = make_task(config, corpus, make, apply)
    drawn = task.init
    if start is not None:
        task = task._replace(init=lambda key: start(drawn(key)))
    recurrent = hasattr(model, "recurrent")
    fitted = fit(
        config,
        name,
        task,
        model,
        data,
        workdir,
        fingerprint=fingerprint,
        look=make_look(config, corpus) if recurrent else None,
        average_decay=config.average_decay or None,
        wrap_optimizer=lambda optimizer: falling(optimizer, config.layer_decay if recurrent else 1.0),
    )
    batches, part = batches_of(corpus, "test"), corpus.part("test")

    def probabilities(params: Params, data: Any) -> Array:
        return jax.nn.softmax(scores_of(apply, params, data, part, batches, config.read_padding))

    return fitted, np.asarray(fitted.of_each_seed(probabilities, data))


def margin(scores: Array) -> Array:
    """How much the last class's score is above the first's: `[B, C]` to `[B]`."""
    return scores[:, -1] - scores[:, 0]


def make_look(config: TextConfig, corpus: Corpus, count: int = LOOK_BATCH) -> Look:
    """The gradient of the scores' difference on `count` validation texts, spread evenly."""
    first, last = corpus.first[1], corpus.first[2]
    indices = jnp.linspace(first, last - 1, min(count, last - first)).astype(int)

    def take(data: dict[str, Array]) -> tuple[tuple[Any, ...], Array]:
        inputs = take_texts(data, indices, corpus.bounds.lengths[-1], config.read_padding)
        return tuple(inputs), inputs.lengths

    return Look(take, margin, "the scores' difference")


def look_at(config: TextConfig, count: int) -> tuple[Look, Any]:
    """Where to look at a trained classifier, and the data for it."""
    corpus = make_corpus(config, read_reviews(config))
    return make_look(config, corpus, count), jax.device_put(device_data(corpus))


def _accuracy(scores: Array, labels: Array) -> Array:
    return jnp.mean(scores.argmax(axis=-1) == labels)
