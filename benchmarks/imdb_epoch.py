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
from pathlib import Path
from typing import Any

import numpy as np
from flax import nnx
from tokenizers import Tokenizer
from tokenizers import models as tokenizer_models

from benchmarks.child import Answers, epochs, serve
from benchmarks.ours import Training
from benchmarks.shapes import LONGEST, Shape
from benchmarks.training import compare_and_time, parser, ratio, save
from experiments.common.flags import parse
from experiments.common.training import backend_in_use, prepare_jax
from experiments.text.flags import TextConfig
from experiments.text.task import Corpus, device_data, make_model, make_task
from rnn_jax import models
from rnn_jax.data.text.count_ratios import CountRatios
from rnn_jax.data.text.lengths import choose_bounds
from rnn_jax.data.text.reviews import ReviewData, Reviews
from rnn_jax.data.text.vocabulary import UNK, Tokens

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


def prepare(config: TextConfig, reviews: int) -> tuple[Training, dict[str, Any]]:
    """Our side of the training, and what PyTorch's begins with.

    That is `Training.for_torch`, the table `embedding` `[V, I]`, and of the texts `tokens`, `starts`, `lengths` and
    `labels`, see `experiments.text.task.device_data`.
    """
    corpus = random_reviews(config, reviews)

    def make(rngs: nnx.Rngs) -> nnx.Module:
        return make_model(config, vocab_size=config.vocab_size, num_classes=len(corpus.data.classes), rngs=rngs)

    apply, _ = models.pure(make(nnx.Rngs(0)))
    data = device_data(corpus)
    made = Training(config, make_task(config, corpus, make, apply), data)
    texts = {name: data[name] for name in ("tokens", "starts", "lengths", "labels")}
    embedding = np.array(made.states.params["embedding"]["table"][0])
    return made, {**made.for_torch(), **texts, "embedding": embedding}


def set_up(config: TextConfig, start: Path, reviews: int) -> tuple[list[float], Answers]:
    """See `benchmarks.child.serve`; writes what PyTorch's side begins with."""
    prepare_jax(config)
    made, given = prepare(config, reviews)
    np.savez(start, **given)
    steps = len(given["order"])
    return epochs(made.train, steps, min(COMPARED_STEPS, steps))


def compare(model: str, reviews: int, repeats: int) -> tuple[dict[str, Any], dict[str, list[float]]]:
    """Compares and times the contenders for one model: what was found, and seconds of each epoch by contender."""
    steps = reviews // CONFIG.batch_size
    with tempfile.TemporaryDirectory() as folder:
        start = f"{folder}/start.npz"
        flags = [f"--model={model}", f"--start={start}", f"--reviews={reviews}"]
        commands = {name: ["-m", "benchmarks.imdb_epoch", f"--contender={name}", *flags] for name in OURS}
        compared = str(min(COMPARED_STEPS, steps))
        commands |= {
            name: ["-m", "benchmarks.imdb_pytorch", start, variant, compared] for name, variant in PYTORCH.items()
        }
        print(f"{model}:", flush=True)
        seconds, difference = compare_and_time(commands, repeats)
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
    flags = parser(__doc__, repeats=5)
    flags.add_argument("--reviews", type=int, default=4_096, help="how many are timed, at least a batch of 64")
    flags.add_argument("--model", choices=MODELS, help=argparse.SUPPRESS)
    arguments = flags.parse_args()
    if arguments.reviews < CONFIG.batch_size:
        flags.error(f"--reviews={arguments.reviews}: a batch has {CONFIG.batch_size}")
    if arguments.contender:
        config = dataclasses.replace(MODELS[arguments.model], **OURS[arguments.contender])
        return serve(lambda: set_up(config, arguments.start, arguments.reviews))

    corpus = random_reviews(CONFIG, arguments.reviews)
    print(f"at least {corpus.padding():.1%} of our steps are padding", flush=True)
    found: dict[str, Any] = {}
    seconds: dict[str, list[float]] = {}
    for model in MODELS:
        found[model], times = compare(model, arguments.reviews, arguments.repeats)
        seconds |= {f"{model}/{name}": values for name, values in times.items()}
        show(found[model])
    about = {
        "reviews": arguments.reviews,
        "steps": arguments.reviews // CONFIG.batch_size,
        "shape": {"B": CONFIG.batch_size, "I": CONFIG.embedding_size, "H": CONFIG.hidden_size, "V": CONFIG.vocab_size},
        "padded_lengths": corpus.bounds.lengths,
        "reviews_per_extrapolated_epoch": EPOCH,
        "auto": backend_in_use(CONFIG),
        "models": found,
    }
    print(f"auto is {about['auto']}")
    save(arguments.raw_dir, "imdb_epoch", about, seconds)


def show(found: dict[str, Any]) -> None:
    """Prints a line per contender."""
    for name, each in found["seconds_per_1000_reviews"].items():
        whole, factor = found["extrapolated_seconds_per_epoch"][name], found["faster_pytorch_over"][name]
        print(
            f"  {name:<20} {each:6.2f} s per 1,000 reviews, extrapolated {whole:6.1f} s per epoch of {EPOCH:,}; "
            f"{found['faster_pytorch']} takes {factor:.2f} times as long"
        )


if __name__ == "__main__":
    main()
