"""Texts that a trained model writes: to the terminal as they come, or several at once."""

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from experiments.common.fit import Fitted
from experiments.common.flags import UsageError
from experiments.common.restore import restore
from experiments.language_model.flags import LanguageConfig
from experiments.language_model.words import VOCABULARY, load_vocabulary
from rnn_jax import models
from rnn_jax.data.language.corpus import Corpus
from rnn_jax.data.language.kind import SPECIAL, UNK
from rnn_jax.data.language.vocabulary import Vocabulary
from rnn_jax.data.text import CLEANING
from rnn_jax.models import LanguageModel, make_writer
from rnn_jax.types import Array, Params

AT_ONCE = 32
"""Tokens between two looks at the terminal."""
SAMPLE = 200
"""Tokens of the sample that ends a training."""


def pieces(
    config: LanguageConfig,
    model: LanguageModel,
    params: Params,
    words: Vocabulary,
    first: int,
    begun: np.ndarray,
    labels: Array | None = None,
) -> Iterator[np.ndarray]:
    """The tokens of texts as they are written, `[B, some]` at a time; after a text's end -1.

    Args:
        config: how tokens are drawn, and B, `--num_samples`.
        model, params: the model.
        words: its vocabulary.
        first: the token before a text.
        begun: what the texts begin with, tokens `[P]` in the order in which the model reads.
        labels: `[B]`, their classes; None: of no class.
    """
    read, _ = models.pure(model, "read")
    begin, _ = models.pure(model, "begin")
    stop = None if config.stop is None else number_of(words, config.stop)
    write = make_writer(
        model,
        AT_ONCE,
        temperature=config.temperature,
        top_k=config.top_k,
        top_p=config.top_p,
        min_p=config.min_p,
        stop=stop,
    )
    start = np.concatenate(([first], begun)).astype(np.int32)
    carry = begin(params, config.num_samples, labels)
    if len(start) > 1:
        carry = jax.jit(read)(params, jnp.tile(start[:-1], (config.num_samples, 1)), carry)[0]
    token = jnp.full(config.num_samples, start[-1], jnp.int32)
    going = np.ones(config.num_samples, bool)
    key = jax.random.key(config.generation_seed)
    for number in range(0, config.num_generated, AT_ONCE):
        found = write(params, carry, token, jax.random.fold_in(key, number))
        carry, token = found.carry, found.tokens[:, -1]
        some = np.array(found.tokens)[:, : config.num_generated - number]
        lengths = np.where(going, np.asarray(found.lengths), 0)
        ended = np.arange(some.shape[1]) >= lengths[:, None]
        yield np.where(ended, -1, some)
        if stop is not None:
            going &= ~(np.asarray(found.tokens) == stop).any(axis=1)
        if not going.any():
            return


def number_of(words: Vocabulary, name: str) -> int:
    """The token of that name. Raises `UsageError` where there is none."""
    token = name.replace("\\n", "\n").replace("\\t", "\t")  # as one can write them on a command line
    if token not in words.names:
        end = "" if words.end is None else f"; what ends a text is {words.names[words.end]}"
        raise UsageError(f"--stop={name}: no token of this model{end}")
    return words.names.index(token)


def sample_of(config: LanguageConfig, corpus: Corpus, model: Any, fitted: Fitted) -> str:
    """A text of the first seed's model, from the beginning."""
    first = int(corpus.train.tokens[0]) if corpus.end is None else corpus.end
    labels = jnp.zeros(1, jnp.int32) if config.by_class else None
    sampled = LanguageConfig(num_generated=SAMPLE, temperature=config.temperature)
    params = jax.tree.map(jnp.asarray, fitted.first)
    found = list(pieces(sampled, model, params, corpus.vocabulary, first, np.zeros(0, np.int32), labels))
    tokens = np.concatenate(found, axis=1)[0]
    if config.reverse:
        tokens = tokens[::-1]
    return corpus.vocabulary.decode(tokens)


def generate(config: LanguageConfig, folder: Path) -> None:
    """Prints what the model of a run writes: one text as it comes, several as JSON lines.

    Raises: `UsageError` for a folder without a language model, a token that it does not have, or a class.
    """
    restored = restore(folder, "workdir")
    if restored.name != "language_model":
        raise UsageError(f"--workdir={folder}: a run of {restored.name}, which writes no texts")
    run = restored.config
    words = load_vocabulary(folder, "workdir")
    if words.size != restored.results["model"].get("vocab_size"):
        raise UsageError(f"--workdir={folder}: {VOCABULARY} there is of another run; put it back, or train anew")
    first = restored.result("first", int)
    cleaning = restored.results.get("cleaning")
    if not 0 <= first < words.size or cleaning not in (None, *CLEANING):
        raise UsageError(f"--workdir={folder}: results.json there is of another version; train it anew")
    prompt = words.encode(CLEANING[cleaning](config.prompt) if cleaning else config.prompt)
    if words.names[UNK] == SPECIAL[UNK] and (unknown := int(np.count_nonzero(prompt == UNK))):
        print(
            f"--prompt: {unknown} of its {len(prompt)} tokens are none of this model, and read as {SPECIAL[UNK]}",
            file=sys.stderr,
        )
    begun = prompt[::-1] if run.reverse else prompt
    params = jax.tree.map(jnp.asarray, restored.params)
    classes = restored.results["model"].get("num_classes", 0)
    labels = asked(config, classes)
    judged = None
    if config.judge:
        if labels is None:
            raise UsageError("--judge asks whether texts are of their class: train the model with --by_class")
        from experiments.text.predict import load

        judged = load(Path(config.judge), "judge")
    arguments = (config, restored.model, params, words, first, begun, labels)
    if config.num_samples == 1 and judged is None:
        stream(words, begun, pieces(*arguments), backwards=run.reverse)
        return
    tokens = np.concatenate(list(pieces(*arguments)), axis=1)
    end = str.lstrip if run.reverse else str.rstrip  # where it was written last
    texts = [end(_text(words, begun, row[row >= 0], run.reverse), "\n") for row in tokens]
    for number, text in enumerate(texts):
        answer = {"text": text} if labels is None else {"label": int(labels[number]), "text": text}
        print(json.dumps(answer, ensure_ascii=False))
    if judged is not None and labels is not None:
        print(f"judged as asked: {judge(judged, texts, labels):.1%} of {len(texts)} texts", file=sys.stderr)


def asked(config: LanguageConfig, classes: int) -> Array | None:
    """The class of each text, `[B]`; None for a model without. Raises `UsageError` for one that there is not."""
    if config.label is not None and config.label >= classes:
        raise UsageError(f"--label={config.label}: the model in --workdir has {classes} classes, counted from 0")
    if not classes:
        return None
    if config.label is not None:
        return jnp.full(config.num_samples, config.label, jnp.int32)
    return jnp.arange(config.num_samples, dtype=jnp.int32) % classes


def stream(words: Vocabulary, begun: np.ndarray, some: Iterator[np.ndarray], backwards: bool = False) -> None:
    """Prints a text as it comes; one that is written from its end, when it is done."""
    tokens, printed = np.zeros(0, np.int64), 0
    for piece in some:
        tokens = np.concatenate((tokens, piece[0][piece[0] >= 0]))
        if not backwards:
            text = _text(words, begun, tokens, False)
            settled = text.rstrip("\ufffd")  # half a character, of which the rest is to come
            sys.stdout.write(settled[printed:])
            sys.stdout.flush()
            printed = len(settled)
    if backwards:
        sys.stdout.write(_text(words, begun, tokens, True))
    print()


def judge(classify: Any, texts: list[str], labels: Array) -> float:
    """The share of the texts that a classifier of `imdb` takes for what was asked for."""
    answers = [answer for begin in range(0, len(texts), 32) for answer in classify(texts[begin : begin + 32])]
    right = [
        answer["label"] == list(answer["probabilities"])[int(label)]
        for answer, label in zip(answers, labels, strict=True)
    ]
    return float(np.mean(right))


def _text(words: Vocabulary, begun: np.ndarray, tokens: np.ndarray, backwards: bool) -> str:
    whole = np.concatenate((begun.astype(np.int64), tokens))
    return words.decode(whole[::-1] if backwards else whole)
