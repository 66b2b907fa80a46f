"""What `memory` trains on: a generated task or MNIST a pixel at a time, its measures, its answers without a memory."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

from experiments.common.command import data_folder
from experiments.common.flags import UsageError
from experiments.memory.flags import DEFAULT_EXAMPLES, IMAGES, Config
from rnn_jax.data.images import mnist
from rnn_jax.data.tasks import memory_tasks
from rnn_jax.files import fingerprint
from rnn_jax.types import Array

SPLITS = ("train", "validation", "test")
CLOSE = 0.04
"""A sum counts as right when it is off by less (Hochreiter and Schmidhuber, 1997)."""


class Problem(NamedTuple):
    """A task with its splits, as pure functions.

    Attributes:
        name: of the task.
        length: T of training and validation.
        num_features: F, features per step.
        num_outputs: O, numbers to predict or classes.
        every_step: whether there is an answer at every step.
        num_examples: of each split.
        data: arrays for the device.
        take: `(data, split, indices [B], length) -> (xs [B, T, F], targets [B, ...])`.
        measure: `(outputs [B, ..., O], targets) -> {name: [B]}`.
        loss: the measure that training makes small.
        chosen_by: the measure of the validation split that chooses the best parameters: the one to be reported.
        trivial: `targets -> outputs` of the answer without a memory.
        exact: `length -> measures` of that answer, where they can be calculated.
        fingerprint: tells the examples from any others.
    """

    name: str
    length: int
    num_features: int
    num_outputs: int
    every_step: bool
    num_examples: dict[str, int]
    data: dict[str, np.ndarray]
    take: Callable[[Any, str, Array, int], tuple[Array, Array]]
    measure: Callable[[Array, Array], dict[str, Array]]
    loss: str
    chosen_by: str
    trivial: Callable[[Array], Array]
    exact: Callable[[int], dict[str, float]]
    fingerprint: str


def read_problem(config: Config) -> Problem:
    """The task that the flags name. Raises `UsageError` or `DataError`, one line each."""
    return _images(config) if config.task in IMAGES else _generated(config)


def evaluation_lengths(config: Config, problem: Problem) -> list[int]:
    """The lengths of the test split, the training length among them, ascending."""
    if config.task in IMAGES:
        return [problem.length]
    wanted = config.evaluate_lengths or (2 * problem.length, 4 * problem.length)
    return sorted({problem.length, *wanted})


def regression(outputs: Array, targets: Array) -> dict[str, Array]:
    """Squared error and whether the answer is close, `[B]` each, of outputs and targets `[B, 1]`."""
    error = (outputs - targets)[:, 0]
    return {"mse": error**2, "accuracy": (jnp.abs(error) < CLOSE).astype(error.dtype)}


def classification(outputs: Array, targets: Array) -> dict[str, Array]:
    """Cross-entropy and whether the class is right, `[B]` each, of scores `[B, C]` and classes `[B]`."""
    right = outputs.argmax(axis=-1) == targets
    entropy = optax.softmax_cross_entropy_with_integer_labels(outputs, targets)
    return {"cross_entropy": entropy, "accuracy": right.astype(entropy.dtype)}


def recall(outputs: Array, targets: Array) -> dict[str, Array]:
    """Cross-entropy per step and the share of the last ten symbols that are right, `[B]` each, of `[B, T, C]`."""
    measures = classification(outputs, targets)
    accuracy = measures["accuracy"][:, -memory_tasks.COPIED :].mean(axis=1)
    return {"cross_entropy": measures["cross_entropy"].mean(axis=1), "accuracy": accuracy}


def _one_always(targets: Array) -> Array:
    return jnp.ones_like(targets)


def _blanks_then_any(targets: Array) -> Array:
    """Scores `[B, T, C]`: certainly blank before the last ten steps, there one of the symbols to copy."""
    blank = jnp.arange(memory_tasks.ALPHABET + 1) == memory_tasks.BLANK
    waiting = jnp.arange(targets.shape[1]) < targets.shape[1] - memory_tasks.COPIED
    scores = jnp.where(blank[None] == waiting[:, None], 0.0, -1e9)
    return jnp.broadcast_to(scores, (len(targets), *scores.shape))


def _any_of_four(targets: Array) -> Array:
    return jnp.zeros((len(targets), 4))


MEASURES = {"adding": regression, "copying": recall, "temporal_order": classification}
TRIVIAL = {"adding": _one_always, "copying": _blanks_then_any, "temporal_order": _any_of_four}


def _generated(config: Config) -> Problem:
    task = memory_tasks.TASKS[config.task]
    length = config.training_length
    counts = {split: config.num_evaluation for split in SPLITS}
    counts["train"] = DEFAULT_EXAMPLES if config.num_examples is None else config.num_examples

    def take(data: Any, split: str, indices: Array, length: int) -> tuple[Array, Array]:
        # The examples are those of the task, whatever the seed of the run: seeds differ in weights and order alone.
        return memory_tasks.examples(task.make, jax.random.key(SPLITS.index(split)), indices, length)

    loss = "mse" if config.task == "adding" else "cross_entropy"
    # Another generator of random numbers makes other examples, which the first ones tell.
    examples = [np.asarray(array).tobytes() for array in take({}, "train", jnp.arange(8), length)]
    return Problem(
        name=config.task,
        length=length,
        num_features=task.num_features,
        num_outputs=task.num_outputs,
        every_step=task.every_step,
        num_examples=counts,
        data={},
        take=take,
        measure=MEASURES[config.task],
        loss=loss,
        chosen_by=loss,
        trivial=TRIVIAL[config.task],
        exact=task.trivial,
        fingerprint=fingerprint(f"{config.task} {counts}", *examples),
    )


def _images(config: Config) -> Problem:
    splits = mnist.read(data_folder(config), permuted=config.task == "permuted_mnist")
    mark = splits.fingerprint()
    if config.num_examples is not None:
        if config.num_examples > len(splits.train.labels):
            raise UsageError(f"--num_examples={config.num_examples}: there are {len(splits.train.labels)} images")
        splits = splits._replace(train=mnist.Images(*(a[: config.num_examples] for a in splits.train)))
    shares = np.bincount(splits.train.labels, minlength=mnist.NUM_CLASSES) / len(splits.train.labels)
    data = {}
    for split, images in zip(SPLITS, splits, strict=True):
        data[f"{split}_pixels"], data[f"{split}_labels"] = images.pixels, images.labels.astype(np.int32)

    def take(data: Any, split: str, indices: Array, length: int) -> tuple[Array, Array]:
        pixels = data[f"{split}_pixels"][indices]
        return pixels[..., None].astype(jnp.float32) / 255, data[f"{split}_labels"][indices]

    def most_frequent(targets: Array) -> Array:
        scores = jnp.log(jnp.asarray(shares, jnp.float32) + 1e-9)
        return jnp.broadcast_to(scores, (len(targets), mnist.NUM_CLASSES))

    return Problem(
        name=config.task,
        length=splits.train.pixels.shape[1],
        num_features=1,
        num_outputs=mnist.NUM_CLASSES,
        every_step=False,
        num_examples={split: len(images.labels) for split, images in zip(SPLITS, splits, strict=True)},
        data=data,
        take=take,
        measure=classification,
        loss="cross_entropy",
        chosen_by="accuracy",
        trivial=most_frequent,
        exact=lambda length: {},
        fingerprint=mark,
    )
