"""`launch.py vanishing` from end to end, and the gradient through time of trained runs."""

import json

import numpy as np
import pytest
from helpers.running import once, run

from experiments import imdb
from experiments.forecast import main as forecast
from experiments.vanishing import main as vanishing
from rnn_jax.training.log import read_log

SMALL = ("--cells=rnn,lstm", "--inits=pytorch,forget_1,chrono", "--lengths=3,12", "--hidden_size=5", "--batch_size=2")


def look(folder, *arguments):
    return run(vanishing.main, f"--workdir={folder}", *arguments)


@pytest.fixture(scope="module")
def swept(tmp_path_factory):
    folder, ran = once(tmp_path_factory, "swept", lambda folder: look(folder, *SMALL, "--gains=1,2"))
    assert ran.status == 0, ran.err
    return folder, ran, json.loads((folder / "results.json").read_text())


def test_a_row_for_every_cell_that_has_the_initialization(swept):
    rows = swept[2]["rows"]
    assert [(row["cell"], row["init"], row["gain"]) for row in rows] == [
        (cell, init, gain)
        for cell, init in (("rnn", "pytorch"), ("lstm", "pytorch"), ("lstm", "forget_1"), ("lstm", "chrono"))
        for gain in (1.0, 2.0)
    ]
    for row in rows:
        assert list(row["log10_gradient"]) == ["3", "12"]
        assert set(row["gates"]) == ({"h"} if row["cell"] == "rnn" else set("ifgo"))


def test_figures_of_a_row_are_those_of_its_curve(swept):
    curves = np.load(swept[0] / "flow.npz")
    for row in swept[2]["rows"]:
        gain = f", gain {row['gain']:g}" if row["gain"] != 1 else ""
        curve = curves[f"{row['cell']}, {row['init']}{gain}"]
        assert curve.shape == (13,)
        np.testing.assert_allclose(curve[12] - curve[0], row["log10_gradient"]["12"], rtol=1e-6)


def test_a_forget_bias_keeps_the_gradient_and_dc_carries_it(swept):
    falls = {(row["cell"], row["init"], row["gain"]): row["log10_gradient"]["12"] for row in swept[2]["rows"]}
    assert falls["lstm", "pytorch", 1.0] < falls["lstm", "forget_1", 1.0] < falls["lstm", "chrono", 1.0]
    for both in swept[2]["without_dc"].values():
        assert both["without_dc"][0] == pytest.approx(both["manual"][0], abs=1e-5), "at lag 0 nothing is dropped"
        assert both["without_dc"][10] < both["manual"][10] - 2


def test_table_plots_and_verdicts(swept):
    folder, ran, _ = swept
    assert "| lstm   | forget_1" in ran.out
    assert "without dc" in ran.out
    plots = {"inits_rnn", "inits_lstm", "gains_rnn", "gains_lstm", "without_dc"}
    assert {path.stem for path in (folder / "plots").iterdir()} == plots
    again = look(folder, *SMALL, "--gains=1,2")
    assert again.out[again.out.index("log10") :] == ran.out[ran.out.index("log10") :]


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
    assert vanishing.verdict(*values, 1000).startswith(words)


@pytest.mark.parametrize(
    ("argument", "message"),
    [
        ("--cells=rnn,elman", "--cells: unknown 'elman'"),
        ("--inits=he", "--inits: unknown 'he'"),
        ("--lengths=10,x", "--lengths=10,x: write numbers"),
        ("--lengths=0", "--lengths=0: must be at least 1"),
        ("--gains=-1", "--gains=-1: must be at least 0"),
        ("--run=/nowhere", "--run=/nowhere: no finished run"),
    ],
)
def test_bad_flags(tmp_path, argument, message):
    assert message in look(tmp_path / "run", argument).one_error()


def test_no_cell_has_it(tmp_path):
    ran = look(tmp_path / "run", "--cells=rnn", "--inits=chrono", "--lengths=3")
    assert "no cell of the list has one of these initializations" in ran.one_error()


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    def make(folder):
        flags = ("--num_hours=1500", "--lag=24", "--epochs=1", "--batch_size=16", "--hidden_size=4")
        return run(forecast.main, f"--workdir={folder}", *flags, "--gradient_flow_every=20", "--num_seeds=2")

    return once(tmp_path_factory, "forecast_with_flow", make)


class TestOfATrainedRun:
    def test_the_log_has_the_gradient_every_so_many_steps(self, trained):
        folder, ran = trained
        assert ran.status == 0, ran.err
        records = read_log(folder / "metrics.jsonl")
        looked = [record for record in records if "gradient_flow" in record]
        assert [record["step"] for record in looked] == list(range(0, records[-1]["step"] + 1, 20))
        for record in looked:
            flow = record["gradient_flow"]["layer 0"]
            assert len(flow) == 24
            assert flow[0] > flow[-1]
        assert (folder / "plots" / "gradient_flow_layer_0.png").exists()

    def test_how_far_it_looks_back(self, trained, tmp_path):
        ran = look(tmp_path / "look", f"--run={trained[0]}")
        assert ran.status == 0, ran.err
        assert "gradient of the forecast with respect to h_t" in ran.out
        found = json.loads((tmp_path / "look" / "results.json").read_text())
        assert found["rows"][0]["layer"] == "layer 0"
        assert (tmp_path / "look" / "plots" / "run.png").exists()

    def test_a_classifier(self, tmp_path):
        flags = ("--dataset=synthetic_reviews", "--num_texts=64", "--epochs=1", "--hidden_size=4", "--batch_size=16")
        flags += ("--embedding_size=4", "--bidirectional", "--nobaselines", "--gradient_flow_every=2")
        ran = run(imdb.main, f"--workdir={tmp_path / 'run'}", *flags)
        assert ran.status == 0, ran.err
        assert (tmp_path / "run" / "plots" / "gradient_flow_layer_0_forward.png").exists()
        ran = look(tmp_path / "look", f"--run={tmp_path / 'run'}")
        assert ran.status == 0, ran.err
        assert "| layer 0 backward" in ran.out

    def test_a_back_end_that_cannot_show_it(self, tmp_path):
        ran = run(forecast.main, f"--workdir={tmp_path / 'run'}", "--backend=manual", "--gradient_flow_every=9")
        assert "--backend=manual cannot show it; take auto or scan" in ran.one_error()
