"""`launch.py parallel` from end to end: predicted beside measured, of cells at their start and of a trained run."""

import pytest
from helpers.finished import RUNS, finished
from helpers.running import contents, refused, results_of, run

from experiments.parallel.__main__ import EXPERIMENT
from experiments.parallel.cost import cost
from experiments.parallel.report import ratio, right


@pytest.fixture(scope="module")
def swept(tmp_path_factory):
    return finished(tmp_path_factory, "parallel")


def test_a_row_for_every_network_and_length(swept):
    rows = {(row["network"], row["length"]): row for row in swept.results["rows"]}
    assert list(rows) == [(f"rnn, gaussian, gain {gain}", length) for length in (20, 60) for gain in ("0.5", "3")]
    forgets, chaotic = rows["rnn, gaussian, gain 0.5", 60], rows["rnn, gaussian, gain 3", 60]
    assert forgets["lyapunov_exponent"] < -0.3
    assert chaotic["lyapunov_exponent"] > 0
    assert forgets["measured"] <= 5
    assert ratio(forgets) <= 1.5
    assert chaotic["measured"] is None, "it takes more than 12"
    assert chaotic["predicted"] > 12
    assert swept.results["within"]["all"] == right(swept.results["rows"]) > 0.5


def test_what_is_printed_and_drawn(swept):
    ran = run(EXPERIMENT.main, f"--workdir={swept.folder}", *RUNS["parallel"].flags)
    assert ran.status == 0
    assert "| rnn, gaussian, gain 3   | 60  |" in ran.out
    assert "| > 12 " in ran.out
    assert "predicted within a factor of 1.5: " in ran.out
    assert (swept.folder / "plots" / "iterations.png").read_bytes().startswith(b"\x89PNG")


def test_a_trained_run(tmp_path_factory, tmp_path):
    """Its first layer, on what that reads; the run's folder stays as it is."""
    trained = finished(tmp_path_factory, "forecast").folder
    before = contents(trained)
    ran = run(EXPERIMENT.main, f"--run={trained}", "--lengths=50,200", f"--workdir={tmp_path / 'look'}")
    assert ran.status == 0, ran.err
    assert contents(trained) == before
    found = results_of(tmp_path / "look")
    assert [row["length"] for row in found["rows"]] == [50, 200]
    assert found["cell"] == "gru"
    assert all(ratio(row) <= 2 for row in found["rows"])


def test_more_steps_than_a_run_has(tmp_path_factory, tmp_path):
    trained = finished(tmp_path_factory, "forecast").folder
    message = run(EXPERIMENT.main, f"--workdir={tmp_path / 'look'}", f"--run={trained}", "--lengths=900000").one_error()
    assert message.startswith(f"--lengths=900000: the run in --run={trained} has ")


def test_trained_runs_beside_cells_at_their_start(tmp_path_factory, tmp_path):
    """In one table and picture; of a length that a run does not have there is no row."""
    runs = [finished(tmp_path_factory, name).folder for name in ("forecast", "memory")]
    flags = (f"--run={runs[0]},{runs[1]}", "--cells=rnn,lstm", "--inits=orthogonal,forget_1", "--gains=0.9")
    ran = run(EXPERIMENT.main, *flags, "--lengths=9,300000", "--max_iterations=3", f"--workdir={tmp_path / 'look'}")
    assert ran.status == 0, ran.err
    cells = ["rnn, orthogonal, gain 0.9", "lstm, orthogonal, gain 0.9", "lstm, forget_1, gain 0.9"]
    trained = [f"gru, {runs[0].name}", f"gru, {runs[1].name}"]
    rows = [(row["network"], row["length"]) for row in results_of(tmp_path / "look")["rows"]]
    assert rows == [(name, 9) for name in [*cells, *trained]] + [(name, 300_000) for name in cells]
    assert f"{trained[0]}, T 300,000: left out, the run has" in ran.out


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--run=x", "--gains=1"], "--gains is for cells at their initialization: with --run, name some in --cells"),
        (
            ["--cells=rnn", "--inits=forget_1"],
            "--cells, --inits: no cell of the list has one of these initializations",
        ),
        (
            ["--run=x", "--cells=rnn", "--inits=forget_1"],
            "--cells, --inits: no cell of the list has one of these initializations",
        ),
        (["--bandwidth=0"], "--bandwidth=0.0: must be above 0.0"),
    ],
)
def test_wrong_flags(tmp_path, flags, message):
    assert refused(EXPERIMENT.main, tmp_path, *flags) == message


def test_no_run(tmp_path):
    message = run(EXPERIMENT.main, f"--workdir={tmp_path / 'look'}", f"--run={tmp_path}").one_error()
    assert message == f"--run={tmp_path}: no finished run with a model there; train one to its end first"


@pytest.mark.parametrize(("hidden_size", "wide"), [(32, False), (33, True)])
def test_what_the_back_end_does_with_a_large_carry(tmp_path, hidden_size, wide):
    """An LSTM's has twice as many numbers as units."""
    flags = ("--cells=lstm", "--inits=orthogonal", "--gains=0.5", "--lengths=9", f"--hidden_size={hidden_size}")
    ran = run(EXPERIMENT.main, f"--workdir={tmp_path}", *flags)
    said = (
        "--backend=newton takes the diagonals of carries of more than 64 numbers, and more iterations: lstm, orthogonal"
    )
    assert (said in ran.out) == wide


@pytest.mark.parametrize(
    ("flags", "words", "cells"),
    [
        (["--cells=rnn", "--gains=0"], "exponent -inf, iterations predicted 1, measured 1", "none | 1 | 1 "),
        (["--cells=rnn_relu", "--gains=1e4"], "iterations predicted nan, measured not run", "none | none | "),
    ],
)
def test_states_that_are_forgotten_or_overflow(tmp_path, flags, words, cells):
    ran = run(EXPERIMENT.main, f"--workdir={tmp_path}", *flags, "--lengths=60", "--hidden_size=3")
    assert ran.status == 0, ran.err
    assert words in ran.out
    assert cells in " ".join(ran.out.split())


def test_the_model_of_a_gpu():
    """Twice the steps: twice the work and bytes, two rounds more; at most bandwidth counts, at first latency."""
    short, long = (cost(length, 16, 3e12, 5e-6) for length in (1024, 2048))
    assert long.work == 2 * short.work
    assert long.bytes == 2 * short.bytes
    assert long.depth == short.depth + 2
    assert short.seconds == pytest.approx(short.bytes / 3e12 + 30 * 5e-6)
    assert long.pays_below > 1.8 * short.pays_below
    assert cost(1024, 2048, 3e12, 5e-6).pays_below < 1, "a wide state is bound by memory: the model prefers the scan"
