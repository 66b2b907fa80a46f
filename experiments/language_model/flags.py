"""The flags of language models."""

import dataclasses
from dataclasses import dataclass
from typing import ClassVar

from experiments.common.flags import UsageError, When, flag, redefined
from experiments.common.training import MANY, TrainConfig, layer_call
from experiments.language_model.defaults import DEFAULTS
from rnn_jax.data.language import DATASETS, LEVELS, MAX_FILE_BYTES

MODES = ("train", "generate")
CELLS = ("rnn", "gru", "lstm")
"""Of the recurrent networks that may be trained beside the run's own."""
RUNGS = ("ngrams", "feedforward", *CELLS)
EPOCH_CARRIES = ("zeros", "keep")


@dataclass(frozen=True)
class LanguageConfig(TrainConfig):
    """Flags of language models; the defaults are for the built-in grammar."""

    mode: str = flag("train", "train, or write with the model in --workdir", choices=MODES, local=True)
    dataset: str = flag("grammar", "what is read", choices=tuple(DATASETS))
    text: str = flag("", "a text file to read, UTF-8 or gzip of it; as a stream, so that it may be large")
    max_file_bytes: int = flag(MAX_FILE_BYTES, "bytes of --text at most, unpacked", minimum=1, local=True)
    level: str | None = flag(None, "what a token is; without it what suits the data set", choices=LEVELS)
    vocab_size: int = flag(30_000, "tokens at most, of words and subwords", minimum=3, maximum=MANY)
    min_freq: int = flag(2, "how often a word occurs that has a token of its own", minimum=1, maximum=MANY)
    num_tokens: int = flag(200_000, "tokens of the grammar to train on", minimum=2_000, maximum=100_000_000)
    reverse: bool = flag(False, "read every text from its end to its beginning")
    rungs: tuple[str, ...] = flag(
        ("ngrams",), "other models for the table: counts, a network of a fixed context, other cells", choices=RUNGS
    )
    rnn_learning_rate: float | None = flag(
        None, "of the rung rnn, which has no gates to hold its gradient; without it --learning_rate", above=0.0
    )
    ngram_orders: tuple[int, ...] = flag((1, 2, 3, 5), "orders of the n-grams", minimum=1, maximum=20)
    ngram_tokens: int = flag(10_000_000, "tokens that n-grams are counted in, at most", minimum=1, maximum=10**9)
    context: int = flag(5, "tokens that the network of a fixed context reads", minimum=1, maximum=1000)
    direct: bool = flag(True, "that network also has weights from what it reads to the scores")

    num_steps: int = flag(32, "tokens of a chunk, over which the gradient goes back", minimum=1, maximum=100_000)
    resets: bool = flag(False, "begin every text with a carry of zeros")
    epoch_carry: str = flag("zeros", "the carry that an epoch begins with", choices=EPOCH_CARRIES)
    documents: bool = flag(False, "read texts one by one, each from its beginning, instead of as one stream")
    by_class: bool = flag(False, "begin every text with a carry that its class gives; with --documents")
    max_tokens: int = flag(256, "tokens of a text that are read, with --documents", minimum=2, maximum=100_000)

    embedding_size: int = flag(64, "features of a token", minimum=1, maximum=8192)
    embedding_scale: float = flag(0.1, "standard deviation of the embedding at the start", above=0.0)
    tied: bool = flag(True, "one table for what is read and what is predicted")
    residual: bool = flag(False, "a layer above the first adds what it reads to its outputs")
    layer_norm: bool = flag(False, "normalize outputs before the next layer reads them")
    embedding_dropout: float = flag(0.0, "share of the tokens absent from a step", minimum=0.0, below=1.0)
    input_dropout: float = flag(0.0, "share of a token's features absent from a chunk", minimum=0.0, below=1.0)
    output_dropout: float = flag(0.0, "share of the top layer's features absent", minimum=0.0, below=1.0)
    weight_drop: float = flag(0.0, "share of the recurrent weights absent from a step", minimum=0.0, below=1.0)
    activation_penalty: float = flag(0.0, "weight of the mean square of the outputs", minimum=0.0)
    temporal_penalty: float = flag(0.0, "weight of the mean square of the outputs' change", minimum=0.0)
    sampled: int = flag(0, "tokens of a sampled softmax in training; 0: all", minimum=0, maximum=MANY)
    average_decay: float = flag(0.0, "decay of averaged weights, which are then evaluated; 0: none", minimum=0, below=1)
    dynamic: bool = flag(False, "also evaluate while the weights follow the text")
    cache: bool = flag(False, "also evaluate with a cache of what was read")

    prompt: str = flag("", "what a generated text begins with", local=True)
    num_generated: int = flag(200, "tokens to generate", minimum=1, maximum=MANY, local=True)
    num_samples: int = flag(1, "texts to generate at once", minimum=1, maximum=10_000, local=True)
    temperature: float = flag(1.0, "below 1: likelier tokens; 0: the likeliest", minimum=0.0, local=True)
    top_k: int | None = flag(None, "only so many of the likeliest tokens", minimum=1, local=True)
    top_p: float | None = flag(None, "only the likeliest, until their sum", above=0.0, maximum=1.0, local=True)
    min_p: float | None = flag(None, "only tokens of this share of the likeliest's", above=0, maximum=1.0, local=True)
    stop: str | None = flag(None, "a token that ends a text, such as <eos>", local=True)
    label: int | None = flag(None, "the class of generated texts; without it all in turn", minimum=0, local=True)
    generation_seed: int = flag(0, "draws the generated texts", minimum=0, below=2**31, local=True)
    judge: str = flag("", "folder of a run of imdb that says of which class generated texts are", local=True)

    hidden_size: int = redefined("hidden_size", 64, TrainConfig)
    batch_size: int = redefined("batch_size", 32, TrainConfig)
    epochs: int = redefined("epochs", 4, TrainConfig)
    variational: bool = redefined("variational", True, TrainConfig)
    keep: int = redefined("keep", 1, TrainConfig)

    DEFAULTS: ClassVar[tuple[When, ...]] = DEFAULTS

    @property
    def makes_folder(self) -> bool:
        """Generation reads the folder of a run."""
        return self.mode == "train"

    @property
    def source(self) -> str:
        """The data set that is read: `text` where a file is named."""
        return "text" if self.text else self.dataset

    @property
    def layer_input(self) -> tuple[int, int]:
        """See `TrainConfig.layer_input`."""
        return self.max_tokens if self.documents else self.num_steps, self.embedding_size

    def check(self, given: frozenset[str]) -> None:
        """See `RunConfig.check`."""
        if self.mode == "generate":
            of_generation = {field.name for field in dataclasses.fields(self) if field.metadata["local"]}
            if more := sorted(given - of_generation):
                raise UsageError(f"--{more[0]} is a flag of the run, which --mode=generate takes from its folder")
            if not self.workdir:
                raise UsageError("--mode=generate needs --workdir=FOLDER, the folder of a run")
            return
        for name in ("prompt", "judge", "stop", "label"):
            if name in given:
                raise UsageError(f"--{name} is for writing: give it with --mode=generate")
        if self.bidirectional:
            raise UsageError("--bidirectional: a language model reads in one direction; train another with --reverse")
        if self.text and "dataset" in given and self.dataset != "text":
            raise UsageError(f"--text={self.text} and --dataset={self.dataset}: give one")
        if self.source == "text" and not self.text:
            raise UsageError("--dataset=text needs --text=FILE")
        levels = DATASETS[self.source].levels
        if self.level is not None and self.level not in levels:
            raise UsageError(f"--level={self.level}: --dataset={self.source} has {', '.join(levels)}")
        if self.by_class and not self.documents:
            raise UsageError("--by_class goes with --documents")
        for name in ("dynamic", "cache", "resets"):
            if self.documents and getattr(self, name):
                raise UsageError(f"--{name} is for one running text, and goes without --documents")
        if self.documents and "feedforward" in self.rungs:
            raise UsageError("--rungs=feedforward reads one running text: leave it out with --documents")
        super().check(given)
        if self.weight_drop and not hasattr(layer_call(self)[1], "w_hh"):
            raise UsageError(f"--weight_drop={self.weight_drop}: --cell={self.cell} has no recurrent weights w_hh")
