"""The flags of text classification, and what is built from them alone."""

import dataclasses
from dataclasses import dataclass
from typing import Any

from flax import nnx

from experiments.common.flags import UsageError, flag
from experiments.common.training_flags import MANY, TrainConfig, recurrent_options
from rnn_jax.data.text.cleaning import clean_markup, clean_words
from rnn_jax.data.text.count_ratios import LONGEST
from rnn_jax.data.text.vocabulary import TRUNCATE
from rnn_jax.models.pooling import POOLS
from rnn_jax.models.text import TextClassifier

MODES = ("train", "predict")
CLEANING = {"markup": clean_markup, "words": clean_words}
DATASETS = ("imdb", "ntc_scv", "synthetic_reviews")


def redefined(name: str, default: Any, of: type = TrainConfig) -> Any:
    """A flag of another config with another default."""
    known = {field.name: field for field in dataclasses.fields(of)}[name]
    return dataclasses.field(default=default, metadata=known.metadata)


@dataclass(frozen=True)
class TextConfig(TrainConfig):
    """Flags of text classification; the defaults are for a good model on IMDB in a few minutes."""

    mode: str = flag("train", "train, or classify texts with the model in --workdir", choices=MODES, local=True)
    text: str | None = flag(None, "the text of --mode=predict; without it one text per line of input", local=True)
    dataset: str = flag("imdb", "reviews to classify", choices=DATASETS)
    cleaning: str = flag("markup", "what is taken out: markup and addresses, or all but words", choices=tuple(CLEANING))
    lecture: bool = flag(False, "the lectures' values for all other flags that are not given")
    read_padding: bool = flag(False, "pad every text to --max_tokens and read the padding as if it were text")
    baselines: bool = flag(True, "also train the classifiers without recurrence, for the table")
    num_texts: int = flag(4_000, "synthetic reviews to train on; a quarter as many test", minimum=16, maximum=MANY)
    vocab_size: int = flag(30_000, "tokens, <pad> and <unk> among them", minimum=3, maximum=MANY)
    min_freq: int = flag(2, "how often a word occurs that has a token of its own", minimum=1, maximum=MANY)
    max_tokens: int = flag(400, "tokens of a text that are read", minimum=1, maximum=100_000)
    truncate: str = flag("head", "which part of a longer text is read", choices=TRUNCATE)
    num_lengths: int = flag(8, "lengths that batches are padded to, each compiled once", minimum=1, maximum=100)
    validation_share: float = flag(0.1, "share of the training split to validate with", above=0.0, below=1.0)
    embedding_size: int = flag(128, "features of a word", minimum=1, maximum=8192)
    embedding_scale: float = flag(0.1, "standard deviation of the embedding at the start", above=0.0)
    pool: str = flag("mean_max", "how the outputs of all steps become one vector", choices=POOLS)
    word_dropout: float = flag(0.1, "share of words made unknown in training", minimum=0.0, below=1.0)
    count_ratios: int = flag(
        0,
        "read, beside each word, how telling the n-grams are that end there, n up to this",
        minimum=0,
        maximum=LONGEST,
    )
    embedding_dropout: float = flag(0.5, "share of a word's features absent from a text", minimum=0.0, below=1.0)
    head_dropout: float = flag(0.5, "dropout before the last layer", minimum=0.0, below=1.0)
    label_smoothing: float = flag(0.0, "probability given to the other classes", minimum=0.0, below=1.0)
    average_decay: float = flag(
        0.998, "decay of averaged weights, for validation and test; 0: none", minimum=0.0, below=1
    )

    hidden_size: int = redefined("hidden_size", 64)
    epochs: int = redefined("epochs", 2)
    learning_rate: float = redefined("learning_rate", 3e-3)
    keep: int = redefined("keep", 1)


@dataclass(frozen=True)
class SyntheticConfig(TextConfig):
    """The defaults for the synthetic reviews: a small task without noise."""

    dataset: str = redefined("dataset", "synthetic_reviews", TextConfig)
    word_dropout: float = redefined("word_dropout", 0.0, TextConfig)
    embedding_dropout: float = redefined("embedding_dropout", 0.0, TextConfig)
    head_dropout: float = redefined("head_dropout", 0.0, TextConfig)
    average_decay: float = redefined("average_decay", 0.0, TextConfig)
    num_lengths: int = redefined("num_lengths", 4, TextConfig)
    learning_rate: float = redefined("learning_rate", 1e-2)
    epochs: int = redefined("epochs", 3)


@dataclass(frozen=True)
class LectureConfig(TextConfig):
    """The defaults under `--lecture`: the systems of the lectures as they were."""

    lecture: bool = redefined("lecture", True, TextConfig)
    read_padding: bool = redefined("read_padding", True, TextConfig)
    vocab_size: int = redefined("vocab_size", 20_000, TextConfig)
    min_freq: int = redefined("min_freq", 3, TextConfig)
    max_tokens: int = redefined("max_tokens", 500, TextConfig)
    embedding_scale: float = redefined("embedding_scale", 1.0, TextConfig)
    pool: str = redefined("pool", "last_backward", TextConfig)
    word_dropout: float = redefined("word_dropout", 0.0, TextConfig)
    embedding_dropout: float = redefined("embedding_dropout", 0.0, TextConfig)
    head_dropout: float = redefined("head_dropout", 0.0, TextConfig)
    average_decay: float = redefined("average_decay", 0.0, TextConfig)
    epochs: int = redefined("epochs", 20)
    learning_rate: float = redefined("learning_rate", 1e-3)
    schedule: str = redefined("schedule", "constant")


def make_classifier(config: TextConfig, vocab_size: int, num_classes: int, rngs: nnx.Rngs) -> TextClassifier:
    """The model that the flags describe."""
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


def check(config: TextConfig) -> None:
    """Raises `UsageError` for flags that contradict each other."""
    if config.text is not None and config.mode != "predict":
        raise UsageError("--text goes with --mode=predict")
    recurrent_options(config)
