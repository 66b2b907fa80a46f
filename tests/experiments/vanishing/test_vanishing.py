"""`launch.py vanishing` from end to end: which cell and initialization keep the gradient."""

import numpy as np
import pytest
from helpers.finished import RUNS, finished
from helpers.running import refused, run

from experiments.vanishing import task
from experiments.vanishing.__main__ import EXPERIMENT


@pytest.fixture(scope="module")
def swept(tmp_path_factory):
    return finished(tmp_path_factory, "vanishing")


def test_a_row_for_every_cell_that_has_the_initialization(swept):
    rows = swept.results["rows"]
    assert [(row["cell"], row["init"], row["gain"]) for row in rows] == [
        (cell, init, gain)
        for cell, init in (("rnn", "pytorch"), ("lstm", "pytorch"), ("lstm", "forget_1"), ("lstm", "chrono"))
        for gain in (1.0, 2.0)
    ]
    for row in rows:
        assert list(row["log10_gradient"]) == ["3", "12"]
        assert set(row["gates"]) == ({"h"} if row["cell"] == "rnn" else set("ifgo"))


def test_figures_of_a_row_are_those_of_its_curve(swept):
    curves = np.load(swept.folder / "flow.npz")
    for row in swept.results["rows"]:
        gain = f", gain {row['gain']:g}" if row["gain"] != 1 else ""
        curve = curves[f"{row['cell']}, {row['init']}{gain}"]
        assert curve.shape == (13,)
        np.testing.assert_allclose(curve[12] - curve[0], row["log10_gradient"]["12"], rtol=1e-6)


def test_a_forget_bias_keeps_the_gradient_and_dc_carries_it(swept):
    falls = {(row["cell"], row["init"], row["gain"]): row["log10_gradient"]["12"] for row in swept.results["rows"]}
    assert falls["lstm", "pytorch", 1.0] < falls["lstm", "forget_1", 1.0] < falls["lstm", "chrono", 1.0]
    for both in swept.results["without_dc"].values():
        assert both["lstm_without_dc"][0] == pytest.approx(both["lstm"][0], abs=1e-5), "at lag 0 nothing is dropped"
        assert both["lstm_without_dc"][10] < both["lstm"][10] - 2


def test_exponents_dimension_and_entropy(swept):
    """The simple network has 5 of them, the LSTM 8 of its 10; a stable one has neither dimension nor entropy."""
    out = swept.ran.out
    for row in swept.results["rows"]:
        exponents = row["lyapunov_exponents"]
        assert len(exponents) == (5 if row["cell"] == "rnn" else 8)
        assert exponents == sorted(exponents, reverse=True)
        assert row["lyapunov_exponent"] == exponents[0]
        assert row["entropy_rate"] == pytest.approx(sum(max(e, 0) for e in exponents))
        assert (row["kaplan_yorke_dimension"] > 0) == (exponents[0] >= 0)
        assert f"| {exponents[0]:+.4f} " in out
    assert {row["kaplan_yorke_dimension"] for row in swept.results["rows"] if row["init"] == "pytorch"} == {0.0}
    names = list(swept.results["metrics"])
    assert names[:3] == ["lyapunov_exponent", "kaplan_yorke_dimension", "entropy_rate"]


def test_the_first_setting_stands_at_the_top(swept):
    results = swept.results
    first = results["rows"][0]
    assert (results["cell"], results["protocol"], results["steps"]) == ("rnn", "pytorch, gain 1", 12)
    assert results["metrics"]["log10_gradient_12"]["values"] == [first["log10_gradient"]["12"]]
    assert len(results["baselines"]) == 7


def test_table_plots_and_verdicts(swept):
    out = swept.ran.out
    assert "| lstm   | forget_1" in out
    assert "without dc" in out
    plots = {"inits_rnn", "inits_lstm", "gains_rnn", "gains_lstm", "without_dc"}
    assert {path.stem for path in (swept.folder / "plots").iterdir()} == plots
    again = run(EXPERIMENT.main, f"--workdir={swept.folder}", *RUNS["vanishing"].flags)
    assert again.out[again.out.index("log10") :] == out[out.index("log10") :]


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ((1.0, 0.1), "saturated"),
        ((5.0, -0.5), "gone after 5 steps"),
        ((500.0, -0.5), "falls by 1,000 in 500 steps"),
        ((float("inf"), -1e-4), "reaches back beyond 1,000 steps"),
        ((float("inf"), 0.1), "explodes: errors grow by e every 10 steps"),
    ],
)
def test_verdicts(values, words):
    assert task.verdict(*values, 1000).startswith(words)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--cells=rnn,elman"], "--cells: unknown 'elman'"),
        (["--inits=he"], "--inits: unknown 'he'"),
        (["--lengths=10,x"], "--lengths=10,x: write whole numbers with commas between"),
        (["--lengths=0"], "--lengths=0: must be at least 1"),
        (["--gains=-1"], "--gains=-1.0: must be at least 0"),
        (
            ["--cells=rnn", "--inits=chrono", "--lengths=3"],
            "--cells, --inits: no cell of the list has one of these initializations",
        ),
        (["--run=/nowhere", "--cells=rnn"], "--cells is for cells at their initialization, and goes without --run"),
        (["--run=/nowhere", "--seed=0"], "--seed is for cells at their initialization, and goes without --run"),
    ],
)
def test_contradictions(tmp_path, arguments, message):
    assert refused(EXPERIMENT.main, tmp_path, *arguments).startswith(message)
