"""What `memory` trains on: a generated task or MNIST a pixel at a time, its measures, its answers without a memory."""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import nnx

from experiments.common.command import data_folder
from experiments.common.flags import UsageError, flag
from experiments.common.training_flags import TrainConfig, recurrent_options
from rnn_jax import models
from rnn_jax.data.images import mnist
from rnn_jax.data.tasks import memory_tasks
from rnn_jax.models.gradient_flow import make_gradient_flow
from rnn_jax.training.loop import Probe
from rnn_jax.training.step import Task
from rnn_jax.types import Array, Params

SPLITS = ("train", "validation", "test")
IMAGES = ("sequential_mnist", "permuted_mnist")
DEFAULT_LENGTH = 100
DEFAULT_EXAMPLES = 50_000
FLOW_BATCH = 16
CLOSE = 0.04
"""A sum counts as right when it is off by less (Hochreiter and Schmidhuber, 1997)."""
STEPS_AT_ONCE = 2**18
"""Examples times steps that are evaluated side by side: it bounds the memory of long sequences."""


@dataclass(frozen=True)
class Config(TrainConfig):
    """Flags of the long-memory tasks."""

    task: str = flag("adding", "what to learn", choices=(*memory_tasks.TASKS, *IMAGES))
    length: int | None = flag(
        None, "T of a generated task; without it 100 (copying: the blanks between)", minimum=1, maximum=1_000_000
    )
    num_examples: int | None = flag(
        None, "training examples, so many per epoch; without it 50000, or all images", minimum=1, maximum=2**31 - 1
    )
    num_evaluation: int = flag(
        1000, "generated examples of the validation split, and of the test split", minimum=1, maximum=10_000_000
    )
    evaluate_lengths: str = flag("", "lengths of the test split, T1,T2,...; without it T, 2T and 4T, or 784")
    flossing: int = flag(0, "Lyapunov exponents to push towards 0; 0: none", minimum=0, maximum=64)
    flossing_steps: int = flag(200, "steps of flossing before training", minimum=0, maximum=1_000_000)
    flossing_every: int | None = flag(
        None, "floss at every so many steps of training; without it only before", minimum=1, maximum=1_000_000
    )
    cell: str = flag("gru", "recurrent cell", choices=TrainConfig.__dataclass_fields__["cell"].metadata["choices"])
    hidden_size: int = flag(64, "hidden features", minimum=1, maximum=8192)
    learning_rate: float = flag(5e-3, "highest learning rate", above=0.0)
    epochs: int = flag(3, "epochs at most", minimum=1, maximum=1_000_000)


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
    """The lengths of the test split, the training length among them, ascending. Raises `UsageError`."""
    if config.task in IMAGES:
        if config.evaluate_lengths:
            raise UsageError(f"--evaluate_lengths: images have {problem.length} pixels; leave the flag out")
        return [problem.length]
    if not config.evaluate_lengths:
        return [problem.length, 2 * problem.length, 4 * problem.length]
    shortest = memory_tasks.TASKS[config.task].shortest
    lengths = set()
    for word in config.evaluate_lengths.split(","):
        if not word.strip().isdecimal() or not shortest <= int(word) <= 1_000_000:
            wanted = f"write whole numbers from {shortest} to 1000000 with commas between"
            raise UsageError(f"--evaluate_lengths={config.evaluate_lengths}: {word.strip()!r} is no length; {wanted}")
        lengths.add(int(word))
    return sorted(lengths | {problem.length})


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
    length = DEFAULT_LENGTH if config.length is None else config.length
    if length < task.shortest:
        raise UsageError(f"--length={length}: --task={config.task} needs at least {task.shortest}")
    counts = {split: config.num_evaluation for split in SPLITS}
    counts["train"] = DEFAULT_EXAMPLES if config.num_examples is None else config.num_examples

    def take(data: Any, split: str, indices: Array, length: int) -> tuple[Array, Array]:
        # The examples are those of the task, whatever the seed of the run: seeds differ in weights and order alone.
        return memory_tasks.examples(task.make, jax.random.key(SPLITS.index(split)), indices, length)

    loss = "mse" if config.task == "adding" else "cross_entropy"
    digest = hashlib.sha256(f"{config.task} {counts}".encode())
    for array in take({}, "train", jnp.arange(8), length):  # another generator of random numbers makes other examples
        digest.update(np.asarray(array).tobytes())
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
        fingerprint=digest.hexdigest(),
    )


def _images(config: Config) -> Problem:
    if config.length is not None:
        raise UsageError(f"--length={config.length}: --task={config.task} has the length of its images; leave it out")
    splits = mnist.read(data_folder(config), permuted=config.task == "permuted_mnist")
    fingerprint = splits.fingerprint()
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
        fingerprint=fingerprint,
    )


def make_model(config: Config, problem: Problem, rngs: nnx.Rngs) -> models.SequenceModel:
    """The model that the flags describe."""
    return models.SequenceModel(
        config.cell,
        problem.num_features,
        config.hidden_size,
        problem.num_outputs,
        every_step=problem.every_step,
        rngs=rngs,
        **recurrent_options(config),
    )


def last_answer(problem: Problem) -> Callable[[Array], Array]:
    """The sum of the numbers of the last answer, `[B]`, whose gradient through time is looked at."""
    return lambda outputs: (outputs[:, -1] if problem.every_step else outputs).sum(axis=-1)


def make_probe(config: Config, problem: Problem, model: models.SequenceModel) -> Probe | None:
    """The gradient of the last answer through time, on the first validation examples."""
    if config.gradient_flow_every is None:
        return None
    flow = make_gradient_flow(model, last_answer(problem))
    indices = jnp.arange(min(FLOW_BATCH, problem.num_examples["validation"]))

    def look(params: Params, data: Any) -> dict[str, Array]:
        return flow(params, problem.take(data, "validation", indices, problem.length)[0])

    return Probe("gradient_flow", config.gradient_flow_every, look)


def mean_measures(
    problem: Problem, answer: Callable[[Array, Array], Array], data: Any, split: str, length: int
) -> dict[str, Array]:
    """The measures of a split, `[]` each: means over its examples, a batch at a time.

    `answer` is `(xs, targets) -> outputs`; a model does not look at the targets.
    """
    count = problem.num_examples[split]
    batch_size = max(min(count, STEPS_AT_ONCE // length), 1)
    batches = -(-count // batch_size)
    indices = jnp.resize(jnp.arange(count), (batches, batch_size))  # repeats some examples; they are not counted

    def batch(indices: Array) -> dict[str, Array]:
        xs, targets = problem.take(data, split, indices, length)
        return problem.measure(answer(xs, targets), targets)

    return {name: each.ravel()[:count].mean() for name, each in jax.lax.map(batch, indices).items()}


def make_task(config: Config, problem: Problem, apply: Any) -> Task:
    """Training on a problem, as pure functions."""

    def init(key: Array) -> Params:
        return models.pure(make_model(config, problem, nnx.Rngs(key)))[1]

    def loss(params: Params, batch: tuple[Array, Array], key: Array) -> tuple[Array, dict[str, Array]]:
        xs, targets = batch
        rngs = nnx.Rngs(dropout=key) if config.dropout or config.zoneout else None
        measures = {name: each.mean() for name, each in problem.measure(apply(params, xs, rngs=rngs), targets).items()}
        return measures[problem.loss], {"accuracy": measures["accuracy"]}

    def batch(data: Any, indices: Array) -> tuple[Array, Array]:
        return problem.take(data, "train", indices, problem.length)

    def evaluate(params: Params, data: Any) -> dict[str, Array]:
        measures = mean_measures(problem, lambda xs, _: apply(params, xs), data, "validation", problem.length)
        chosen = measures[problem.chosen_by]
        return {"loss": 1 - chosen if problem.chosen_by == "accuracy" else chosen, **measures}

    return Task(init, loss, batch, evaluate, problem.num_examples["train"])
