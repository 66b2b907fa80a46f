"""One epoch of the IMDB classifiers, ours against PyTorch on the same cores.

    python -m benchmarks.imdb_epoch

The LSTM of `launch.py imdb` (embedding 128, H 64, mean and maximum over the valid steps, batches of 64 in up to 8
lengths, Adam, clip at 1) and the same with two bidirectional layers; without dropout and averaged weights, so that both
sides compute the same function. No data file is needed: reviews are as long as IMDB's, cut at 400 words, and their
words are random, as frequent by rank as words are (Zipf), since the time depends on lengths, not on what is said.

Both begin with the same weights and see the same batches in the same order; the losses of the first steps are compared
before anything is timed. PyTorch gets its fused Adam and its batches cut and sorted in advance; what ours is compared
with is the faster of packing and padding, see `benchmarks.imdb_pytorch`. Ours cuts its batches as it goes, as in
training. Ours are `--backend=auto` on one JAX device, which is `native` where that is compiled (`python -m
rnn_jax.backends.native`), and `manual`, on one device and with the batch split over the cores.
"""

import argparse
import dataclasses
import statistics
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from tokenizers import Tokenizer
from tokenizers import models as tokenizer_models

from benchmarks.children import answer, started
from benchmarks.measure import interleaved, ratio, save
from benchmarks.shapes import LONGEST, Shape
from experiments.common.flags import parse
from experiments.common.training_flags import make_config_optimizer, set_devices
from experiments.text.flags import TextConfig, make_classifier
from experiments.text.task import Corpus, device_data, make_task
from rnn_jax import models
from rnn_jax.backends import native
from rnn_jax.cells import LSTMParams
from rnn_jax.compose import Directions
from rnn_jax.convert import torch as convert
from rnn_jax.data.text.count_ratios import CountRatios
from rnn_jax.data.text.lengths import choose_bounds
from rnn_jax.data.text.reviews import ReviewData, Reviews
from rnn_jax.data.text.vocabulary import UNK, Tokens
from rnn_jax.training.step import make_functions

EPOCH = 22_600
"""Reviews in an epoch of `launch.py imdb`, rounded: 90 % of 25,000, no film in two splits."""
COMPARED_STEPS = 20
CONFIG = parse(
    TextConfig,
    [
        "--schedule=constant",
        "--word_dropout=0",
        "--embedding_dropout=0",
        "--head_dropout=0",
        "--average_decay=0",
        f"--max_tokens={LONGEST}",
    ],
)
MODELS = {"lstm": CONFIG, "bidirectional": dataclasses.replace(CONFIG, num_layers=2, bidirectional=True)}
OURS: dict[str, dict[str, Any]] = {
    "rnn_jax": {"backend": "auto", "num_devices": 1},
    "rnn_jax_manual": {"backend": "manual", "num_devices": 1},
    "rnn_jax_manual_cores": {"backend": "manual", "num_devices": None},
}
"""Flags of each contender; without a number of devices the cores share the batch."""
PYTORCH = {"pytorch": "packed", "pytorch_padded": "padded"}


def random_reviews(config: TextConfig, reviews: int) -> Corpus:
    """Reviews of IMDB's lengths, random words and labels, all to train on; the same in every process."""
    generator = np.random.default_rng(0)
    shape = Shape("reviews", reviews, config.max_tokens, config.embedding_size, config.hidden_size, ragged=True)
    lengths = shape.lengths()
    assert lengths is not None
    # The logarithm of the rank is uniform: the k-th word is drawn about in proportion to 1 / k.
    ranks = np.exp(generator.uniform(np.log(UNK + 1), np.log(config.vocab_size), lengths.sum()))
    values = np.minimum(ranks, config.vocab_size - 1).astype(np.int32)
    tokens = Tokens(values, (np.cumsum(lengths) - lengths).astype(np.int32), lengths)
    none = Reviews([], np.zeros(0, np.int32), [])
    labels = generator.integers(0, 2, reviews).astype(np.int32)
    data = ReviewData("random reviews", ("neg", "pos"), Reviews([], labels, []), none, none)
    return Corpus(
        data=data,
        original=data,
        vocabulary=Tokenizer(tokenizer_models.WordLevel()),
        tokens=tokens,
        ratios=CountRatios(config.vocab_size, (), ()),
        features=np.zeros((0, len(values)), np.float32),
        bounds=choose_bounds(lengths, config.num_lengths),
        first=(0, reviews, reviews, reviews),
    )


def torch_start(config: TextConfig, params: Any) -> dict[str, Any]:
    """Weights by PyTorch's names, and what its optimizer is given."""

    def cell(weights: dict[str, Any]) -> LSTMParams:
        return LSTMParams(**{name: jnp.asarray(weight) for name, weight in weights.items()})

    layers = [params["recurrent"]["layers"][layer] for layer in range(config.num_layers)]
    stack: list[Any] = [
        Directions(cell(layer["forward"]), cell(layer["backward"])) if config.bidirectional else cell(layer)
        for layer in layers
    ]
    return {
        **convert.to_torch(tuple(stack)),
        "embedding": params["embedding"]["table"],
        "head_weight": params["head"]["kernel"].T,
        "head_bias": params["head"]["bias"],
        "learning_rate": np.float64(config.learning_rate),
        "clip_norm": np.float64(config.clip_norm or np.inf),
    }


def prepare(
    config: TextConfig, reviews: int, num_devices: int
) -> tuple[dict[str, Any], Callable[[int, int], jax.Array]]:
    """Our side of the training.

    Returns: what PyTorch's side begins with, and a function that trains from a step of the epoch on, so many steps, and
    returns their mean loss.
    """
    corpus = random_reviews(config, reviews)

    def make_model(rngs: nnx.Rngs) -> nnx.Module:
        return make_classifier(config, config.vocab_size, len(corpus.data.classes), rngs)

    apply, _ = models.pure(make_model(nnx.Rngs(0)))
    functions = make_functions(
        make_task(config, corpus, make_model, apply),
        make_config_optimizer(config, config.learning_rate),
        batch_size=config.batch_size,
        num_devices=num_devices,
    )
    arrays = device_data(corpus)
    data = jax.device_put(arrays, functions.sharding)
    seeds = jax.device_put(jnp.zeros(1, jnp.uint32), functions.sharding)
    states, order = functions.init(seeds), functions.order(seeds, 0)
    given = {
        **torch_start(config, jax.tree.map(lambda leaf: np.array(leaf[0]), states.params)),
        **{name: arrays[name] for name in ("tokens", "starts", "lengths", "labels")},
        "order": np.array(order[0]).reshape(-1, config.batch_size),
    }

    def train(first: int, count: int) -> jax.Array:
        nonlocal states
        states, metrics = functions.steps(states, order, data, 0, first, count)
        return jax.block_until_ready(metrics.loss[0])

    return given, train


def ours(model: str, contender: str, start: Path, reviews: int) -> None:
    """Trains with rnn_jax whenever it is asked; writes the weights and the batches that it begins with, for PyTorch."""
    config = dataclasses.replace(MODELS[model], **OURS[contender])
    num_devices = set_devices(config)
    given, train = prepare(config, reviews, num_devices)
    np.savez(start, **given)
    steps = reviews // config.batch_size
    first_losses = [float(train(step, 1)) for step in range(min(COMPARED_STEPS, steps))]
    answer(first_losses, lambda: train(0, steps))


def contest(model: str, reviews: int, repeats: int) -> tuple[dict[str, Any], dict[str, list[float]]]:
    """Compares and times the contenders for one model: what was found, and seconds of each epoch by contender."""
    steps = reviews // CONFIG.batch_size
    with tempfile.TemporaryDirectory() as folder:
        start = f"{folder}/start.npz"
        flags = [f"--model={model}", f"--start={start}", f"--reviews={reviews}"]
        commands = {name: ["benchmarks.imdb_epoch", f"--contender={name}", *flags] for name in OURS}
        compared = str(min(COMPARED_STEPS, steps))
        commands |= {name: ["benchmarks.imdb_pytorch", start, variant, compared] for name, variant in PYTORCH.items()}
        with started(commands) as (children, difference):
            print(f"{model}: largest relative difference of the first {compared} losses: {difference:.1e}", flush=True)
            seconds = interleaved({name: child.epoch for name, child in children.items()}, repeats, warm_up=1)
    thousands = steps * CONFIG.batch_size / 1000
    per_thousand = {name: statistics.median(values) / thousands for name, values in seconds.items()}
    fastest = min(PYTORCH, key=lambda name: per_thousand[name])
    return {
        "largest_relative_loss_difference": difference,
        "seconds_per_1000_reviews": per_thousand,
        "extrapolated_seconds_per_epoch": {name: each * EPOCH / 1000 for name, each in per_thousand.items()},
        "faster_pytorch": fastest,
        "faster_pytorch_over": {name: ratio(seconds, name, fastest) for name in seconds},
    }, seconds


def main() -> None:
    """Compares, times, prints a table for each model and saves the raw numbers."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--reviews", type=int, default=4_096, help="how many are timed, at least a batch of 64")
    parser.add_argument("--repeats", type=int, default=5)
    for hidden, choices in (("--model", MODELS), ("--contender", OURS)):
        parser.add_argument(hidden, choices=choices, help=argparse.SUPPRESS)
    parser.add_argument("--start", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.reviews < CONFIG.batch_size:
        parser.error(f"--reviews={arguments.reviews}: a batch has {CONFIG.batch_size}")
    if arguments.contender:
        return ours(arguments.model, arguments.contender, arguments.start, arguments.reviews)

    auto = "manual" if native.vector_width() is None else "native"
    corpus = random_reviews(CONFIG, arguments.reviews)
    about: dict[str, Any] = {
        "reviews": arguments.reviews,
        "steps": arguments.reviews // CONFIG.batch_size,
        "shape": {"B": CONFIG.batch_size, "I": CONFIG.embedding_size, "H": CONFIG.hidden_size, "V": CONFIG.vocab_size},
        "padded_lengths": corpus.bounds.lengths,
        "reviews_per_extrapolated_epoch": EPOCH,
        "auto": auto,
        "models": {},
    }
    print(f"auto is {auto}; at least {corpus.padding():.1%} of our steps are padding", flush=True)
    seconds: dict[str, list[float]] = {}
    for model in MODELS:
        found, times = contest(model, arguments.reviews, arguments.repeats)
        about["models"][model] = found
        seconds |= {f"{model}/{name}": values for name, values in times.items()}
        for name, each in found["seconds_per_1000_reviews"].items():
            whole, factor = found["extrapolated_seconds_per_epoch"][name], found["faster_pytorch_over"][name]
            print(
                f"  {name:<20} {each:6.2f} s per 1,000 reviews, extrapolated {whole:6.1f} s per epoch of {EPOCH:,}; "
                f"{found['faster_pytorch']} takes {factor:.2f} times as long"
            )
    print(f"raw numbers: {save('imdb_epoch', about, seconds)}")


if __name__ == "__main__":
    main()
