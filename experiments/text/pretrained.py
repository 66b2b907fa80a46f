"""A classifier that starts from language models: what their runs ask of its flags, and their parameters in its own.

A direction of the classifier starts as a language model that reads in that direction. Its embedding has the features of
the models side by side, and at the start each direction reads those of its own model alone:

    E = (E_forward, E_backward)    W_ih forward, layer 0 = (W_ih; 0)    layers above likewise, of the outputs below them

so that before the first step its states are those of the language models. Words are found by name; those that a model
does not have keep the row that was drawn, at the size of the model's rows. Weights for further features of a step keep
what was drawn, and so does a direction without a model.

Sources: Dai and Le, "Semi-supervised sequence learning", 2015; Howard and Ruder, "Universal language model fine-tuning
for text classification", 2018.
"""

import dataclasses
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import jax
import jax.numpy as jnp
import numpy as np

from experiments.common import digests, results
from experiments.common.flags import UsageError, parse, read_flagfile, written
from experiments.common.restore import restore
from experiments.language_model.flags import LanguageConfig
from experiments.language_model.words import VOCABULARY, load_vocabulary
from experiments.text.flags import TextConfig
from rnn_jax.files import fingerprint
from rnn_jax.types import Array, Params

Config = TypeVar("Config", bound=TextConfig)

FOLLOWED = ("cell", "hidden_size", "num_layers", "zoneout")
"""Flags that a classifier has from its language models."""


class Pretrained(NamedTuple):
    """A trained language model.

    Attributes:
        folder: of its run.
        reverse: whether it reads from the end of a text to its beginning.
        names: its V words.
        params: those of its `embedding` and its `recurrent` layers, nested dicts.
        digest: of all its parameters and its words.
    """

    folder: Path
    reverse: bool
    names: list[str]
    params: Params
    digest: str


def completed(config: Config, given: frozenset[str]) -> Config:
    """The flags with those that follow from the runs of `--init_from`; no parameters are read.

    Args:
        config: the flags of a classifier that names runs.
        given: the flags on its command line.

    Raises: `UsageError` for a folder without a fitting run, two runs that do not go together, or a given flag that
    says otherwise.
    """
    named = f"--init_from={','.join(config.init_from)}"
    if len(config.init_from) > 2:
        raise UsageError(f"{named}: name one run, or two that read in opposite directions")
    runs = [read_flags(Path(folder), config) for folder in config.init_from]
    if len({run.reverse for run in runs}) < len(runs):
        raise UsageError(
            f"{named}: {'both' if runs[0].reverse else 'neither'} of them with --reverse; name one of each"
        )
    wanted: dict[str, Any] = {name: getattr(runs[0], name) for name in FOLLOWED}
    for name, value in wanted.items():
        if (other := getattr(runs[-1], name)) != value:
            raise UsageError(f"{named}: one has --{name}={value}, the other {other}; train both with the same")
    wanted["embedding_size"] = sum(run.embedding_size for run in runs)
    if any(run.reverse for run in runs):
        wanted["bidirectional"] = True
    for name, value in wanted.items():
        if name in given and getattr(config, name) != value:
            asked = f"--{name}={written(getattr(config, name))}"
            raise UsageError(f"{asked}: {named} asks for --{name}={written(value)}; leave it out")
    return dataclasses.replace(config, **wanted)


def read_flags(folder: Path, config: TextConfig) -> LanguageConfig:
    """The flags of the language model in `folder`. Raises `UsageError` where there is none that fits a classifier."""
    where = f"--init_from={folder}"
    found = results.read(folder, where=where) if (folder / "flags.txt").is_file() else None
    if found is None:
        raise UsageError(f"{where}: no finished run there; train one of language_model to its end first")
    if found.get("experiment") != "language_model":
        raise UsageError(f"{where}: a run of {found.get('experiment')}, which is no language model")
    if found.get("level") != "words":
        raise UsageError(f"{where}: a model of {found.get('level')}; a classifier reads words")
    digests.check(folder, "flags.txt", where=where)
    try:
        run = parse(LanguageConfig, read_flagfile(folder / "flags.txt"))
    except UsageError as error:
        raise UsageError(f"{where}: flags.txt there is of another version: {error}") from error
    for name in ("residual", "layer_norm"):
        if getattr(run, name):
            raise UsageError(f"{where}: made with --{name}, which a classifier does not have; train one without")
    if run.dtype == "float64" and config.dtype != run.dtype:
        raise UsageError(f"--dtype={config.dtype}: {where} asks for --dtype=float64")
    return run


def load(config: TextConfig) -> list[Pretrained]:
    """The models of `--init_from`, the one that reads forward first. Raises `UsageError` and `TrainingError`."""
    models = []
    for folder in map(Path, config.init_from):
        restored = restore(folder, "init_from")
        words = load_vocabulary(folder, "init_from")
        if words.size != restored.results["model"].get("vocab_size"):
            raise UsageError(f"--init_from={folder}: {VOCABULARY} there is of another run; train it anew")
        parts: list[str | np.ndarray] = [f" {len(name)} {name}" for name in words.names]
        for path, leaf in jax.tree_util.tree_leaves_with_path(restored.params):
            parts += [jax.tree_util.keystr(path), leaf]
        params = {part: restored.params[part] for part in ("embedding", "recurrent")}
        models.append(Pretrained(folder, restored.config.reverse, words.names, params, fingerprint(*parts)))
    return sorted(models, key=lambda model: model.reverse)


def mark_of(data: str, models: Sequence[Pretrained]) -> str:
    """The fingerprint of all that a run begins with: of its data, and of the models that it starts from."""
    return fingerprint(data, *(model.digest for model in models)) if models else data


def noted(models: Sequence[Pretrained]) -> list[dict[str, Any]]:
    """What `results.json` says of the models."""
    return [{"run": model.folder.name, "reverse": model.reverse, "digest": model.digest} for model in models]


def rows_of(model: Pretrained, words: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
    """The model's embedding of N words, `[N, D]`, 0 for those that it does not have, and which it has, `[N]` bool."""
    numbers = {name: number for number, name in enumerate(model.names)}
    places = np.array([numbers.get(word, -1) for word in words])
    known = places >= 0
    return np.where(known[:, None], model.params["embedding"]["table"][places], 0), known


def make_start(models: Sequence[Pretrained], words: Sequence[str], scale: float) -> Callable[[Params], Params]:
    """From the parameters of a `TextClassifier` as they are drawn to those that start from language models.

    Args:
        models: none, one, or one of each direction, forward first.
        words: the V words of the classifier, in the order of their numbers.
        scale: standard deviation of its embedding as drawn.

    Returns: `params -> params`, nested dicts of arrays of the same shapes; without models the same values.
    """
    rows = [rows_of(model, words) for model in models]
    sizes = [table.shape[1] for table, _ in rows]
    tables = [np.asarray(model.params["embedding"]["table"], np.float64) for model in models]
    stretches = [float(np.sqrt(np.mean(table**2))) / scale for table in tables]

    def start(params: Params) -> Params:
        params = jax.tree.map(lambda leaf: leaf, params)  # dicts of its own, to be filled
        embedding, layers = params["embedding"], params["recurrent"]["layers"]
        for number, (model, (table, known)) in enumerate(zip(models, rows, strict=True)):
            first = sum(sizes[:number])
            columns = slice(first, first + sizes[number])
            drawn = embedding["table"]
            others = stretches[number] * drawn[:, columns]
            found = jnp.where(known[:, None], table.astype(drawn.dtype), others)
            embedding["table"] = drawn.at[:, columns].set(found)
            for depth, given in model.params["recurrent"]["layers"].items():
                own = layers[depth].get("backward" if model.reverse else "forward", layers[depth])
                for name, values in given.items():
                    if depth == 0:
                        own[name] = placed(own[name], values, first, sum(sizes))
                    else:
                        own[name] = placed(own[name], values, len(values) * model.reverse, len(own[name]))
        return params

    return start


def placed(drawn: Array, given: np.ndarray, first: int, end: int) -> Array:
    """Parameters as given; those of another number of inputs with zeros for the inputs that the model does not read.

    Args:
        drawn: `[I, ...]`, or of any shape that is that of `given`.
        given: `[J, ...]`, for the inputs from `first` on.
        first: the number of the first of these inputs.
        end: inputs before it get zeros, unless they are given; those from there on keep what is drawn.

    >>> placed(jnp.full((5, 1), 7.0), np.ones((2, 1)), 1, 4)[:, 0].tolist()
    [0.0, 1.0, 1.0, 0.0, 7.0]
    """
    if drawn.shape == given.shape:
        return jnp.asarray(given, drawn.dtype)
    rows = np.zeros((end, *given.shape[1:]), drawn.dtype)
    rows[first : first + len(given)] = given
    return drawn.at[:end].set(rows)
