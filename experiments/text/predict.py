"""Classifies texts with the model of a run folder: JSON lines on standard output."""

import json
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, BinaryIO

import jax
import numpy as np

from experiments.common import digests
from experiments.common.flags import UsageError
from experiments.common.restore import restore
from experiments.text.flags import TextConfig
from rnn_jax import models
from rnn_jax.data.text import CLEANING, count_ratios, vocabulary
from rnn_jax.data.text.vocabulary import PAD, UNK

LINES_AT_ONCE = 32
TOKENIZER, RATIOS = "tokenizer.json", "count_ratios.npz"
"""Files of a run: its vocabulary, and what n-grams of the training texts tell."""


def predict(config: TextConfig, folder: Path, lines: BinaryIO | None = None) -> None:
    """Prints one JSON object per text: its label, the probability of each class, how many tokens it has and know.

    Raises: `UsageError` for a folder without a model, or text that is not UTF-8 or longer than `--max_text_bytes`.
    """
    classify = load(folder)
    most = config.max_text_bytes
    texts = [_checked(config.text, most)] if config.text is not None else _decoded(lines or sys.stdin.buffer, most)
    for some in _batches(texts, LINES_AT_ONCE):
        for answer in classify(some):
            print(json.dumps(answer, ensure_ascii=False), flush=True)


def load(folder: Path, flag: str = "workdir") -> Any:
    """The function `texts -> answers` of a run folder, with the first seed's best model; `flag` names the folder."""
    restored = restore(folder, flag)
    where = restored.where
    if "classes" not in restored.results:
        raise UsageError(f"{where}: a run of {restored.name}, which classifies no texts")
    digests.check(folder, TOKENIZER, RATIOS, where=where)
    run, classes = restored.config, [str(name) for name in restored.result("classes", list)]
    try:
        words, ratios = vocabulary.load(folder / TOKENIZER), count_ratios.load(folder / RATIOS)
    except ValueError as error:
        raise UsageError(f"{where}: {error}") from error
    sizes = restored.results["model"]
    size = sizes.get("vocab_size")
    for file, have, due in (
        ("results.json", len(classes), sizes.get("num_classes")),
        (TOKENIZER, words.get_vocab_size(), size),
        (RATIOS, (ratios.vocab_size, len(ratios.keys)), (size, run.count_ratios)),
    ):
        if have != due:
            raise UsageError(f"{where}: {file} there is of another run; put it back, or train anew")
    apply, _ = models.pure(restored.model)
    params = jax.device_put(restored.params)
    clean = CLEANING[run.cleaning]

    @jax.jit
    def probabilities(tokens, lengths, features):
        return jax.nn.softmax(apply(params, tokens, lengths, features if features.shape[-1] else None))

    def classify(texts: list[str]) -> Iterator[dict[str, Any]]:
        tokens = vocabulary.encode(words, [clean(text) for text in texts], run.max_tokens, run.truncate)
        longest = run.max_tokens if run.read_padding else _rounded(int(tokens.lengths.max()), run.max_tokens)
        rows = np.full((_rounded(len(texts), LINES_AT_ONCE), longest), PAD, np.int32)
        values = count_ratios.lookup(ratios, tokens)
        features = np.zeros((*rows.shape, len(values)), np.float32)
        for number, (start, length) in enumerate(zip(tokens.starts, tokens.lengths, strict=True)):
            rows[number, :length] = tokens.text(number)
            features[number, :length] = values[:, start : start + length].T
        lengths = np.zeros(len(rows), np.int32)
        lengths[: len(texts)] = longest if run.read_padding else tokens.lengths
        found = np.asarray(probabilities(rows, lengths, features), np.float64)
        for number in range(len(texts)):
            ids = tokens.text(number)
            yield {
                "label": classes[int(found[number].argmax())],
                "probabilities": {name: round(float(p), 6) for name, p in zip(classes, found[number], strict=True)},
                "tokens": len(ids),
                "unknown": int((ids == UNK).sum()),
            }

    return classify


def _rounded(number: int, at_most: int) -> int:
    """The next power of 2, so that few shapes are compiled: at least 1 and at most `at_most`."""
    return min(1 << max(number - 1, 0).bit_length(), at_most)


def _checked(text: str, most: int) -> str:
    try:
        if len(text.encode("utf-8")) > most:
            raise UsageError(f"--text has more than {most:,} bytes: {_advice(most)}")
    except UnicodeEncodeError as error:  # bytes of the command line that are not UTF-8 arrive as lone surrogates
        raise UsageError("--text is not UTF-8 text") from error
    return text


def _decoded(lines: BinaryIO, most: int) -> Iterator[str]:
    number = 0
    while line := lines.readline(most + len("\r\n")):  # never more of a line than it may have
        number += 1
        line = line.rstrip(b"\r\n")
        if len(line) > most:
            raise UsageError(f"standard input, line {number}: more than {most:,} bytes: {_advice(most)}")
        try:
            yield line.decode("utf-8")
        except UnicodeDecodeError as error:
            raise UsageError(f"standard input, line {number}: not UTF-8 text (byte {error.start + 1})") from error


def _advice(most: int) -> str:
    return f"give a shorter text, or set a larger --max_text_bytes={most}"


def _batches(texts: Iterable[str], size: int) -> Iterator[list[str]]:
    some: list[str] = []
    try:
        for text in texts:
            some.append(text)
            if len(some) == size:
                yield some
                some = []
    except UsageError:  # what came before the bad line is answered first
        if some:
            yield some
        raise
    if some:
        yield some
