"""What context is worth to the networks of a language model's run: the loss of the same tokens by its length."""

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import jax
import numpy as np
from tabulate import tabulate

from experiments.common import results
from experiments.common.flags import UsageError
from experiments.common.restore import Restored
from experiments.language_model.flags import CELLS
from experiments.language_model.words import load_vocabulary
from rnn_jax import models
from rnn_jax.models.context import make_context_losses
from rnn_jax.plotting import language
from rnn_jax.training.checkpoints import load_params
from rnn_jax.types import Params

UNITS = {"characters": "characters", "words": "words", "subwords": "pieces"}
"""What one counts, by level."""
LONGEST = 512
"""Tokens of context at most."""
TARGETS = 1024
"""Tokens that are predicted, at most. Of the grammar the standard error of a point is then 0.03 nats, and where a curve
becomes flat that of its distance to the last point, which has these tokens in common, 0.004."""
CLOSE = 0.01
"""How far a loss may be above another that counts as the same."""


def unit_of(restored: Restored) -> str:
    """What one counts in the texts of a language model's run."""
    level = restored.result("level", str)
    if level not in UNITS:
        raise UsageError(f"{restored.where}: results.json there has an unknown level, {level!r}; train it anew")
    return UNITS[level]


def context_lengths(size: int) -> list[int]:
    """1, 2, 4, ... up to `LONGEST` or half of a split of `size` tokens, whose other half is then there to predict.

    >>> context_lengths(600)
    [1, 2, 4, 8, 16, 32, 64, 128, 256]
    """
    return [2**i for i in range(LONGEST.bit_length()) if 2**i <= size // 2]


def windows(tokens: np.ndarray, longest: int) -> np.ndarray:
    """Pieces of a split, spread evenly, each `longest` tokens and the one that is predicted: `[N, longest + 1]`.

    >>> windows(np.arange(6), 4)
    array([[0, 1, 2, 3, 4],
           [1, 2, 3, 4, 5]])
    """
    last = len(tokens) - longest - 1
    starts = np.linspace(0, last, min(TARGETS, last + 1)).astype(int)
    return tokens[starts[:, None] + np.arange(longest + 1)]


def beside(folder: Path, restored: Restored) -> dict[str, str]:
    """The recurrent networks that a run trained beside its own: by cell where the parameters are, in its folder."""
    others = {cell: f"rungs/{cell}/{results.MODEL}" for cell in CELLS if cell != restored.config.cell}
    return {cell: path for cell, path in others.items() if (folder / path).is_dir()}


def networks(folder: Path, restored: Restored) -> Iterator[tuple[str, Any, Params]]:
    """The run's own network and those that it trained beside it: cell, model, parameters of the first seed."""
    yield restored.config.cell, restored.model, restored.params
    for cell, trained in beside(folder, restored).items():
        config = dataclasses.replace(restored.config, cell=cell)
        model = models.abstract(partial(restored.task.make_model, config, **restored.results["model"]))
        yield cell, model, load_params(folder / trained, models.pure(model)[1])


def verdict(lengths: Sequence[int], losses: np.ndarray, unit: str) -> tuple[int, str]:
    """How many tokens of context a network uses, and what that means in words.

    The fewest with which its loss is no more than `CLOSE` above that with the most; where the most do harm, the best.

    >>> verdict([1, 2, 4, 8], np.array([3.0, 2.0, 1.505, 1.5]), "words")
    (4, 'uses the last 4 words: with them its loss is within 1% of that with 8')
    """
    most, best = lengths[-1], int(losses.argmin())
    harm = float(losses[-1] / losses[best]) - 1
    if harm > CLOSE:
        text = f"does best with the last {lengths[best]} {unit}: with {most} its loss is {harm:.0%} higher"
        return lengths[best], text
    used = lengths[int((losses <= (1 + CLOSE) * losses[-1]).argmax())]
    if used == most:
        return used, f"uses all of the last {most} {unit}: with half of them its loss is more than {CLOSE:.0%} higher"
    return used, f"uses the last {used} {unit}: with them its loss is within {CLOSE:.0%} of that with {most}"


def measure(folder: Path, restored: Restored, tokens: np.ndarray) -> dict[str, Any]:
    """The losses of every network of a run, for its `results.json`.

    Args:
        folder: of the run.
        restored: the run.
        tokens: of the test split.
    """
    unit = unit_of(restored)
    lengths = context_lengths(len(tokens))
    rows = windows(tokens, lengths[-1])
    reset_at = None
    if restored.config.resets or restored.config.documents:
        reset_at = load_vocabulary(folder, "run").end
    found: dict[str, Any] = {"unit": unit, "lengths": lengths, "num_targets": len(rows), "networks": {}}
    for cell, model, params in networks(folder, restored):
        of = jax.jit(make_context_losses(model, lengths, reset_at=reset_at))
        losses = np.asarray(of(jax.device_put(params), rows), np.float64).mean(axis=1)
        used, text = verdict(lengths, losses, unit)
        found["networks"][cell] = {"losses": losses.tolist(), "used": used, "verdict": text}
    return found


def shown(found: Mapping[str, Any]) -> tuple[Any, ...]:
    """A curve for each network: what `rnn_jax.plotting.language.context_panel` is given after its axes."""
    curves = {cell: (found["lengths"], each["losses"]) for cell, each in found["networks"].items()}
    used = {cell: each["used"] for cell, each in found["networks"].items()}
    unit = f"mean loss of {found['num_targets']:,} held-out {found['unit']}, nats"
    return curves, used, found["unit"], unit


def plot(path: Path, found: Mapping[str, Any]) -> None:
    """Writes the picture of what `measure` found."""
    language.loss_by_context(path, *shown(found))


def show(found: Mapping[str, Any]) -> None:
    """Prints the curves as a table, and the verdicts."""
    unit, of = found["unit"], found["networks"]
    print(
        f"\nmean loss of {found['num_targets']:,} {unit} of the test split, nats, by how many {unit} before it each is "
        "predicted from:\n"
    )
    body = zip(found["lengths"], *([f"{loss:.4f}" for loss in each["losses"]] for each in of.values()), strict=True)
    print(tabulate(body, headers=[unit, *of], tablefmt="pipe", disable_numparse=True))
    print()
    for cell, each in of.items():
        print(f"{cell} {each['verdict']}")
