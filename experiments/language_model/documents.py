"""Texts one by one, each from its beginning, with a first carry that its class may give."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from experiments.common.flags import UsageError
from experiments.language_model.flags import LanguageConfig
from rnn_jax import models
from rnn_jax.data.language.corpus import Corpus, Split
from rnn_jax.data.text.lengths import Bounds, choose_bounds, groups
from rnn_jax.models import LanguageModel, Regularization
from rnn_jax.training.step import Task
from rnn_jax.types import Array, Params

NUM_LENGTHS = 8
"""Lengths that batches are padded to."""
EVALUATION_BATCH = 64


def check(config: LanguageConfig, corpus: Corpus) -> None:
    """Raises `UsageError` where the data set is one running text, or has no classes and these are asked for."""
    documents = corpus.train.documents
    if documents is None:
        raise UsageError(f"--documents: {corpus.name} is one running text; take --dataset=imdb")
    if config.by_class and documents.labels is None:
        raise UsageError(f"--by_class: the texts of {corpus.name} have no classes")


def num_classes(config: LanguageConfig, corpus: Corpus) -> int:
    """How many classes begin a text each in its own way; 0: none."""
    documents = corpus.train.documents
    if not config.by_class or documents is None or documents.labels is None:
        return 0
    return int(documents.labels.max()) + 1


def lengths_of(config: LanguageConfig, split: Split) -> np.ndarray:
    """How many tokens of each document are read, what ends it among them: `[D]` int32."""
    assert split.documents is not None
    return np.minimum(split.documents.lengths(len(split.tokens)), config.max_tokens).astype(np.int32)


def counted(config: LanguageConfig, split: Split) -> np.ndarray:
    """Which tokens of a split are read, `[N]` bool."""
    assert split.documents is not None
    begins = np.repeat(split.documents.starts, split.documents.lengths(len(split.tokens)))
    return np.arange(len(split.tokens)) - begins < config.max_tokens


def device_data(config: LanguageConfig, corpus: Corpus, split: str) -> dict[str, np.ndarray]:
    """What a split's documents are taken from. A document is read from what ended the one before it."""
    part: Split = getattr(corpus, split)
    assert part.documents is not None
    assert corpus.end is not None
    tokens = np.concatenate(([corpus.end], part.tokens, np.zeros(config.max_tokens, part.tokens.dtype)))
    labels = part.documents.labels
    return {
        "tokens": tokens.astype(part.tokens.dtype),
        "starts": part.documents.starts.astype(np.int32),
        "lengths": lengths_of(config, part),
        "labels": np.zeros(len(part.documents.starts), np.int32) if labels is None else labels.astype(np.int32),
    }


def take(data: dict[str, Array], indices: Array, length: int) -> tuple[Array, Array, Array, Array]:
    """Documents padded to `length`: tokens and targets `[B, length]`, lengths and labels `[B]`."""
    places = data["starts"][indices][:, None] + jnp.arange(length + 1)
    rows = data["tokens"][places].astype(jnp.int32)
    return rows[:, :-1], rows[:, 1:], data["lengths"][indices], data["labels"][indices]


def make_task(
    config: LanguageConfig, corpus: Corpus, model: LanguageModel, init: Callable[[Array], Params]
) -> tuple[Task, dict[str, Any]]:
    """Training on documents as pure functions, and its data; `init`, of `Task`."""
    loss_of, _ = models.pure(model, "document_loss")
    bounds = choose_bounds(lengths_of(config, corpus.train), NUM_LENGTHS)
    validation = batches(config, corpus.validation)
    penalties = Regularization(config.activation_penalty, config.temporal_penalty)

    def batch(data: dict[str, Any], indices: Array, length: int) -> tuple[Array, ...]:
        return take({**data["train"], "tokens": data["train_tokens"]}, indices, length)

    def loss(params: Params, batch: tuple[Array, ...], key: Array) -> tuple[Array, dict[str, Array]]:
        tokens, targets, lengths, labels = batch
        value, (_, entropy) = loss_of(
            params,
            tokens,
            targets,
            lengths,
            labels if config.by_class else None,
            regularization=penalties,
            num_samples=config.sampled,
            rngs=nnx.Rngs(dropout=key),
        )
        return value, {"cross_entropy": entropy}

    losses_of = make_losses(config, model, validation)

    def evaluate(params: Params, data: dict[str, Any]) -> dict[str, Array]:
        return {"loss": losses_of(params, data["validation"]).sum() / data["validation"]["lengths"].sum()}

    data: dict[str, Any] = {name: device_data(config, corpus, name) for name in ("train", "validation")}
    data["train_tokens"] = data["train"].pop("tokens")
    count = len(bounds.of_text)

    def num_tokens(batch: tuple[Array, ...]) -> Array:
        return batch[2].sum()

    spread = ("train_tokens",)
    task = Task(init, loss, batch, evaluate, count, bounds.lengths, bounds.of_text, spread=spread, weight=num_tokens)
    return task, data


def batches(config: LanguageConfig, split: Split) -> list[Any]:
    """The documents of a split in batches of one length each, see `rnn_jax.data.text.lengths.groups`."""
    bounds: Bounds = choose_bounds(lengths_of(config, split), NUM_LENGTHS)
    return groups(bounds, min(EVALUATION_BATCH, len(bounds.of_text)))


def make_losses(config: LanguageConfig, model: LanguageModel, of: list[Any]) -> Any:
    """`(params, data of a split) -> losses [D, max_tokens]`, nats; 0 beyond a text."""
    losses_of, _ = models.pure(model, "token_losses")
    begin, _ = models.pure(model, "begin")

    def losses(params: Params, data: dict[str, Array]) -> Array:
        found = jnp.zeros((len(data["starts"]), config.max_tokens))

        def read(indices: Array, length: int) -> Array:
            tokens, targets, _, labels = take(data, indices, length)
            carry = begin(params, len(indices), labels if config.by_class else None)
            return losses_of(params, tokens, targets, carry)[1]

        for group in of:
            each = jax.lax.map(lambda i, n=group.length: read(i, n), jnp.asarray(group.indices))
            found = found.at[group.indices.ravel(), : group.length].set(each.reshape(-1, group.length))
        return jnp.where(jnp.arange(config.max_tokens) < data["lengths"][:, None], found, 0)

    return losses


def split_losses(config: LanguageConfig, corpus: Corpus, model: LanguageModel, fitted: Any, split: str) -> np.ndarray:
    """The loss of every token that is read of a split's documents, nats `[S, N]`, in the order of the text."""
    part: Split = getattr(corpus, split)
    losses = make_losses(config, model, batches(config, part))
    found = fitted.of_each_seed(losses, device_data(config, corpus, split))
    read = np.arange(config.max_tokens) < lengths_of(config, part)[:, None]
    return np.asarray(found, np.float64)[:, read]
