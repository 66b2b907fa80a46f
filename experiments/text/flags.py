"""The flags of text classification."""

from dataclasses import dataclass
from typing import ClassVar, Self

from experiments.common.flags import UsageError, When, flag, redefined
from experiments.common.training import MANY, TrainConfig
from rnn_jax.data.text import CLEANING, DATASETS, LONGEST_NGRAM, TRUNCATE

MODES = ("train", "predict")
POOLS = ("last", "last_backward", "mean", "max", "mean_max")
"""Of `rnn_jax.models.pooling`, which to import would take Flax: more than `--help` may need."""
OF_PREDICTION = frozenset({"mode", "workdir", "text", "max_text_bytes"})
"""Flags of `--mode=predict`; all others are those of the run."""

SMALL_TASK = {"word_dropout": 0.0, "embedding_dropout": 0.0, "head_dropout": 0.0, "average_decay": 0.0}
LECTURE = {
    **SMALL_TASK,
    "read_padding": True,
    "vocab_size": 20_000,
    "min_freq": 3,
    "max_tokens": 500,
    "embedding_scale": 1.0,
    "pool": "last_backward",
    "epochs": 20,
    "learning_rate": 1e-3,
    "schedule": "constant",
}
"""The systems of the lectures as they were."""


@dataclass(frozen=True)
class TextConfig(TrainConfig):
    """Flags of text classification; the defaults are for a good model on IMDB in a few minutes."""

    mode: str = flag("train", "train, or classify texts with the model in --workdir", choices=MODES, local=True)
    text: str | None = flag(None, "the text of --mode=predict; without it one text per line of input", local=True)
    max_text_bytes: int = flag(10_000_000, "bytes of a text of --mode=predict at most", minimum=1, local=True)
    dataset: str = flag("imdb", "reviews to classify", choices=tuple(DATASETS))
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
        maximum=LONGEST_NGRAM,
    )
    embedding_dropout: float = flag(0.5, "share of a word's features absent from a text", minimum=0.0, below=1.0)
    head_dropout: float = flag(0.5, "dropout before the last layer", minimum=0.0, below=1.0)
    label_smoothing: float = flag(0.0, "probability given to the other classes", minimum=0.0, below=1.0)
    init_from: tuple[str, ...] = flag(
        (), "folder of a run of language_model to start from; or two, with a comma, one of them made with --reverse"
    )
    layer_decay: float = flag(
        1.0,
        "factor of the learning rate from a layer to the one below, from the last one down to the embedding",
        above=0.0,
        maximum=1.0,
    )
    average_decay: float = flag(
        0.998, "decay of averaged weights, for validation and test; 0: none", minimum=0.0, below=1
    )

    hidden_size: int = redefined("hidden_size", 64, TrainConfig)
    epochs: int = redefined("epochs", 2, TrainConfig)
    learning_rate: float = redefined("learning_rate", 3e-3, TrainConfig)
    keep: int = redefined("keep", 1, TrainConfig)

    DEFAULTS: ClassVar[tuple[When, ...]] = (
        *(When("dataset", name, {"cleaning": dataset.cleaning}) for name, dataset in DATASETS.items()),
        When("dataset", "ntc_scv", {"num_lengths": 16}),  # short texts: with 8 a sixth of the steps is padding
        When("dataset", "synthetic_reviews", {**SMALL_TASK, "num_lengths": 4, "learning_rate": 1e-2, "epochs": 3}),
        When("lecture", True, LECTURE),
    )

    @property
    def makes_folder(self) -> bool:
        """Prediction reads the folder of a run."""
        return self.mode == "train"

    @property
    def layer_input(self) -> tuple[int, int]:
        """See `TrainConfig.layer_input`."""
        return self.max_tokens, self.embedding_size + self.count_ratios

    def completed(self, given: frozenset[str]) -> Self:
        """See `RunConfig.completed`: the sizes of a classifier that starts from language models are theirs."""
        if self.mode == "predict" or not self.init_from:
            return self
        from experiments.text import pretrained  # which takes Flax: more than `--help` may need

        return pretrained.completed(self, given)

    def check(self, given: frozenset[str]) -> None:
        """See `RunConfig.check`."""
        if self.mode == "predict":
            if more := sorted(given - OF_PREDICTION):
                raise UsageError(f"--{more[0]} is a flag of the run, which --mode=predict takes from its folder")
            if not self.workdir:
                raise UsageError("--mode=predict needs --workdir=FOLDER, the folder of a run")
            return
        if self.text is not None:
            raise UsageError("--text goes with --mode=predict")
        super().check(given)
