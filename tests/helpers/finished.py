"""A small finished run of each experiment, made once for all tests that look at it. No test may change its folder."""

from pathlib import Path
from typing import Any, NamedTuple

from experiments import launchable
from helpers.running import Ran, once, results_of, run


class Run(NamedTuple):
    """The experiment, as one launches it, and its flags."""

    experiment: str
    flags: tuple[str, ...]


HOURS = (
    "--num_hours=3000", "--lag=24", "--hidden_size=8", "--batch_size=16", "--learning_rate=0.03", "--calendar=none",
    "--notrees", "--origins=4",
)  # fmt: skip
SHORT = (*HOURS, "--epochs=2", "--schedule=constant")
REVIEWS = ("--hidden_size=16", "--embedding_size=32", "--batch_size=32", "--learning_rate=0.02")
FEW_REVIEWS = (*REVIEWS, "--dataset=synthetic_reviews", "--num_texts=200", "--epochs=1")
SUMS = ("--backend=scan", "--length=8", "--hidden_size=16", "--batch_size=32", "--num_examples=3200", "--epochs=3")

RUNS = {
    # Two seeds that learn.
    "forecast": Run("forecast", (*HOURS, "--cell=gru", "--epochs=8", "--num_seeds=2")),
    # The same with either gradient; one looks at it through time.
    "forecast_manual": Run("forecast", (*SHORT, "--backend=manual")),
    "forecast_scan": Run("forecast", (*SHORT, "--backend=scan", "--num_seeds=2", "--gradient_flow_every=129")),
    # Two seeds that learn, with all classifiers without recurrence.
    "imdb": Run(
        "imdb",
        (
            *REVIEWS, "--dataset=synthetic_reviews", "--num_texts=1200", "--num_lengths=1", "--pool=last",
            "--epochs=4", "--num_seeds=2",
        ),
    ),
    "imdb_lecture": Run(
        "imdb",
        (*FEW_REVIEWS, "--nobaselines", "--lecture", "--max_tokens=60", "--count_ratios=3", "--label_smoothing=0.1"),
    ),
    # What these leave at its default, and the gradient through time of two directions.
    "ntc_scv": Run(
        "ntc_scv",
        (
            *FEW_REVIEWS, "--num_lengths=2", "--nobaselines", "--cell=rnn", "--bidirectional", "--pool=last",
            "--truncate=both", "--max_tokens=30", "--optimizer=adamw", "--weight_decay=0.1", "--average_decay=0.9",
            "--gradient_flow_every=2",
        ),
    ),
    # Two seeds, and every rung.
    "language_model": Run(
        "language_model",
        (
            "--hidden_size=8", "--embedding_size=6", "--batch_size=4", "--num_steps=10", "--learning_rate=0.03",
            "--num_tokens=3000", "--epochs=2", "--steps_per_dispatch=20", "--num_seeds=2", "--ngram_orders=1,3",
            "--rungs=ngrams,feedforward,gru,lstm", "--output_dropout=0.1",
        ),
    ),
    "vanishing": Run(
        "vanishing",
        (
            "--cells=rnn,lstm", "--inits=pytorch,forget_1,chrono", "--gains=1,2", "--lengths=3,12", "--hidden_size=5",
            "--batch_size=2", "--num_exponents=8",
        ),
    ),
    # One that forgets and one that is chaotic.
    "parallel": Run(
        "parallel", ("--cells=rnn", "--gains=0.5,3", "--lengths=20,60", "--hidden_size=8", "--max_iterations=12")
    ),
    # Two seeds that learn.
    "memory": Run(
        "memory", (*SUMS, "--num_evaluation=300", "--learning_rate=0.02", "--num_seeds=2", "--evaluate_lengths=4")
    ),
    # An answer at every step, the gradient through time and exponents, and flossing before and during training.
    "memory_copying": Run(
        "memory",
        (
            "--task=copying", "--length=10", "--num_examples=32", "--epochs=1", "--evaluate_lengths=12",
            "--num_evaluation=20", "--backend=scan", "--cell=lstm", "--hidden_size=6", "--batch_size=16",
            "--zoneout=0.1", "--chrono=10", "--gradient_flow_every=1", "--spectrum_every=2", "--flossing=2",
            "--flossing_steps=2", "--flossing_every=1",
        ),
    ),
    # The last seeds that are allowed.
    "spelled_out": Run(
        "spelled_out",
        ("--steps=1000", "--num_steps=400", "--lag=20", "--hidden_size=8", f"--seed={2**31 - 1}", "--num_seeds=2"),
    ),
    "gradcheck": Run("gradcheck", ("--cells=rnn,lstm", "--dtypes=float64,float32", "--cases=lengths")),
    "long_sequences": Run(
        "long_sequences",
        (
            "--lengths=10000", "--backends=manual", "--methods=plain", "--float64_up_to=0", "--hidden_size=32",
            "--bias_length=6", "--bias_batch_size=2", "--bias_cells=rnn", "--num_seeds=2",
        ),
    ),
}  # fmt: skip
"""By name; every experiment has one that is called like it, that of `benchmark` in its own tests."""


class Finished(NamedTuple):
    """The folder of a run, what it printed, and its `results.json`."""

    folder: Path
    ran: Ran
    results: dict[str, Any]


def finished(tmp_path_factory, name: str) -> Finished:
    """One of `RUNS`."""
    experiment, flags = RUNS[name]

    def make(folder: Path) -> Ran:
        return run(launchable(experiment).main, f"--workdir={folder}", *flags)

    folder, ran = once(tmp_path_factory, f"finished_{name}", make)
    assert ran.status == 0, ran.err
    return Finished(folder, ran, results_of(folder))
