"""A text as streams, and a language model's training task on them as pure functions."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from experiments.common.command import data_folder
from experiments.common.fit import Fitted, Look, fit, initializer
from experiments.common.flags import UsageError
from experiments.common.training import recurrent_options
from experiments.language_model import documents
from experiments.language_model.flags import LanguageConfig
from rnn_jax import models
from rnn_jax.data import language
from rnn_jax.data.language.corpus import Corpus, Split
from rnn_jax.data.language.streams import Streams
from rnn_jax.models import LanguageModel, Regularization, text_losses
from rnn_jax.models.feedforward_language_model import FeedForwardLanguageModel
from rnn_jax.training.loop import Feed, steps_per_dispatch
from rnn_jax.training.step import Task
from rnn_jax.types import Array, Params

EVALUATION_STREAMS = 16
WARM_UP = 128
"""Of validation while training goes on; the figures at its end are of one stream over the whole split."""
LOOK_STEPS = 256


def read_corpus(config: LanguageConfig, workdir: Path | None = None) -> Corpus:
    """The text that the flags name, as tokens. Raises `DataError`."""
    level = config.level or language.DATASETS[config.source].level
    corpus = language.read(
        config.source,
        data_folder(config),
        level=level,
        vocab_size=config.vocab_size,
        min_freq=config.min_freq,
        text=config.text or None,
        store=workdir,
        max_file_bytes=config.max_file_bytes,
        num_tokens=config.num_tokens,
    )
    return backwards(corpus) if config.reverse else corpus


def backwards(corpus: Corpus) -> Corpus:
    """The same texts from their end to their beginning."""

    def turned(split: Split) -> Split:
        documents = split.documents
        if documents is not None:
            size = len(split.tokens)
            ends = documents.starts + documents.lengths(size)
            labels = None if documents.labels is None else documents.labels[::-1]
            documents = documents._replace(starts=(size - ends)[::-1], labels=labels)
        tokens = split.tokens[::-1]
        if tokens[0] == corpus.end:  # what ended a text ends it again
            tokens = np.append(tokens[1:], tokens[:1])
        return split._replace(tokens=tokens, documents=documents)

    validation = turned(corpus.validation)
    test = validation if corpus.test is corpus.validation else turned(corpus.test)
    return corpus._replace(train=turned(corpus.train), validation=validation, test=test)


def first_token(corpus: Corpus, split: str) -> int:
    """What is read before validation or test: what ends a text, or the last token of the split before it."""
    if corpus.end is not None:
        return corpus.end
    before = corpus.validation if split == "test" and corpus.test is not corpus.validation else corpus.train
    return int(before.tokens[-1])


def reset_at(config: LanguageConfig, corpus: Corpus) -> int | None:
    """The token before which the carry is zeros again, by `--resets`; None: none."""
    return corpus.end if config.resets else None


def make_model(config: LanguageConfig, rngs: nnx.Rngs, *, vocab_size: int, num_classes: int = 0) -> LanguageModel:
    """The recurrent model that the flags describe."""
    return LanguageModel(
        vocab_size,
        config.embedding_size,
        config.cell,
        config.hidden_size,
        tied=config.tied,
        embedding_dropout=config.embedding_dropout,
        input_dropout=config.input_dropout,
        output_dropout=config.output_dropout,
        embedding_scale=config.embedding_scale,
        num_classes=num_classes,
        weight_drop=config.weight_drop,
        residual=config.residual,
        layer_norm=config.layer_norm,
        rngs=rngs,
        **recurrent_options(config),
    )


def make_feedforward(config: LanguageConfig, rngs: nnx.Rngs, *, vocab_size: int) -> FeedForwardLanguageModel:
    """The network of a fixed context."""
    return FeedForwardLanguageModel(
        vocab_size,
        config.embedding_size,
        config.context,
        config.hidden_size,
        direct=config.direct,
        tied=config.tied,
        embedding_dropout=config.embedding_dropout,
        input_dropout=config.input_dropout,
        output_dropout=config.output_dropout,
        embedding_scale=config.embedding_scale,
        rngs=rngs,
    )


def make_task(config: LanguageConfig, corpus: Corpus, model: Any, init: Callable[[Array], Params]) -> tuple[Task, Feed]:
    """Training on streams as pure functions, and what feeds it.

    Args:
        config: the flags.
        corpus: what is read.
        model: of `rnn_jax.models.abstract`: recurrent, or of a fixed context.
        init: of `Task`.
    """
    streams = Streams(corpus.train.tokens, config.batch_size, config.num_steps, config.epoch_carry == "zeros")
    chunk = steps_per_dispatch(max(streams.num_chunks, 1), config.steps_per_dispatch)
    loss_of, _ = models.pure(model, "loss")
    losses_of, initial = models.pure(model, "token_losses")
    begin, _ = models.pure(model, "begin")
    options: dict[str, Any] = {"num_samples": config.sampled}
    if isinstance(model, LanguageModel):
        options["regularization"] = Regularization(config.activation_penalty, config.temporal_penalty)
    ends = reset_at(config, corpus)

    def feed(epoch: int, first: int) -> dict[str, Any]:
        return {"tokens": streams.read(epoch, first, chunk), "first": np.int32(first)}

    def zeros(rows: int) -> Any:
        return jax.tree.map(
            lambda leaf: jnp.zeros(leaf.shape, leaf.dtype), jax.eval_shape(lambda p: begin(p, rows), initial)
        )

    def batch(data: dict[str, Array], indices: Array) -> tuple[Array, Array]:
        start = (indices[0] // config.batch_size - data["first"]) * config.num_steps
        found = jax.lax.dynamic_slice_in_dim(data["tokens"], start, config.num_steps + 1, axis=1)
        return found[:, :-1], found[:, 1:]

    def loss(params: Params, batch: tuple[Array, Array], key: Array, carry: Any) -> tuple[Array, Any]:
        resets = None if ends is None else batch[0] == ends
        value, (carry, entropy) = loss_of(params, *batch, carry, resets=resets, rngs=nnx.Rngs(dropout=key), **options)
        return value, ({"cross_entropy": entropy}, jax.lax.stop_gradient(carry))

    def evaluate(params: Params, data: dict[str, Array]) -> dict[str, Array]:
        found = text_losses(
            losses_of,
            params,
            begin(params, EVALUATION_STREAMS),
            data["validation"],
            first_token(corpus, "validation"),
            reset_at=ends,
            num_streams=EVALUATION_STREAMS,
            warm_up=WARM_UP,
            chunk=config.num_steps,
        )
        return {"loss": found.mean()}

    task = Task(
        init,
        loss,
        batch,
        evaluate,
        streams.num_chunks * config.batch_size,
        init_carry=lambda: zeros(config.batch_size),
        keep_carry=config.epoch_carry == "keep",
        rows=("tokens",),
    )
    return task, feed


def fit_model(
    name: str,
    config: LanguageConfig,
    corpus: Corpus,
    make: Callable[[nnx.Rngs], nnx.Module],
    workdir: Path,
    fingerprint: str,
) -> Fitted:
    """Trains a model of any kind in `workdir`."""
    model, init = models.abstract(make), initializer(make)
    feed: Feed | None = None
    if config.documents:
        task, data = documents.make_task(config, corpus, model, init)
    else:
        task, feed = make_task(config, corpus, model, init)
        data = {"validation": corpus.validation.tokens}
    if task.num_examples == 0:
        raise UsageError(
            f"--batch_size={config.batch_size} --num_steps={config.num_steps}: the text has only "
            f"{len(corpus.train.tokens):,} tokens to train on, less than one chunk for each stream"
        )
    return fit(
        config,
        name,
        task,
        model,
        data,
        workdir,
        fingerprint=fingerprint,
        average_decay=config.average_decay or None,
        look=make_look(config, corpus) if isinstance(model, LanguageModel) and not config.documents else None,
        feed=feed,
    )


def split_losses(config: LanguageConfig, corpus: Corpus, model: Any, fitted: Fitted, split: str = "test") -> np.ndarray:
    """The loss of every token of a split, read from its beginning to its end: nats `[S, N]`."""
    if config.documents:
        return documents.split_losses(config, corpus, model, fitted, split)
    losses_of, _ = models.pure(model, "token_losses")
    begin, _ = models.pure(model, "begin")
    first, ends = first_token(corpus, split), reset_at(config, corpus)

    def of(params: Params, tokens: Array) -> Array:
        return text_losses(losses_of, params, begin(params, 1), tokens, first, reset_at=ends)

    return np.asarray(fitted.of_each_seed(of, getattr(corpus, split).tokens), np.float64)


def best_score(scores: Array) -> Array:
    """How sure the model is of the token that it holds for the likeliest: scores `[B, T, V]` to nats `[B]`."""
    return jax.nn.log_softmax(scores[:, -1].astype(jnp.float32)).max(axis=-1)


def make_look(config: LanguageConfig, corpus: Corpus, count: int = 16) -> Look:
    """The gradient of the last step's surest prediction, in pieces of validation text, spread evenly."""
    steps = min(LOOK_STEPS, len(corpus.validation.tokens))
    starts = np.linspace(0, len(corpus.validation.tokens) - steps, count).astype(int)
    rows = starts[:, None] + np.arange(steps)

    def take(data: dict[str, Array]) -> tuple[tuple[Any, ...], Array | None]:
        return (data["validation"][rows].astype(jnp.int32),), None

    return Look(take, best_score, "the likeliest next token")


def look_at(config: LanguageConfig, count: int) -> tuple[Look, Any]:
    """Where to look at a trained model, and the data for it; beside it the test split."""
    corpus = read_corpus(config)
    data = {"validation": jax.device_put(corpus.validation.tokens), "test": corpus.test.tokens}
    return make_look(config, corpus, min(count, 16)), data


def cleaning(config: LanguageConfig) -> str | None:
    """What a prompt has to go through, as the texts did: a key of `rnn_jax.data.text.CLEANING`, or None."""
    return language.DATASETS[config.source].cleaning
