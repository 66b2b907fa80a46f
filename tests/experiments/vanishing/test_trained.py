"""The gradient through time of trained runs, of every experiment that trains: how far back do they look?"""

import numpy as np
import pytest
from helpers.finished import finished
from helpers.running import contents, results_of, run

from experiments.vanishing.__main__ import EXPERIMENT
from experiments.vanishing.attractor import cells
from experiments.vanishing.trained import verdict
from rnn_jax.training.log import read_log


@pytest.mark.parametrize(
    ("name", "answer", "layers"),
    [
        ("forecast_scan", "the forecast", ["layer 0"]),
        ("ntc_scv", "the scores' difference", ["layer 0 backward", "layer 0 forward"]),
        ("memory_copying", "the last answer", ["layer 0"]),
    ],
)
class TestRun:
    def test_the_log_has_the_gradient_every_so_many_steps(self, tmp_path_factory, name, answer, layers):
        run = finished(tmp_path_factory, name)
        records = read_log(run.folder / "metrics.jsonl")
        (line,) = (line for line in (run.folder / "flags.txt").read_text().splitlines() if "gradient_flow" in line)
        every = int(line.split("=")[1])
        looked = [record for record in records if "gradient_flow" in record]
        assert [record["step"] for record in looked] == list(range(0, records[-1]["step"] + 1, every))
        assert all(set(record["gradient_flow"]) == set(layers) for record in looked)
        for layer in layers:
            assert (run.folder / "plots" / f"gradient_flow_{layer.replace(' ', '_')}.png").exists()

    def test_how_far_it_looks_back(self, tmp_path_factory, tmp_path, name, answer, layers):
        """The end of the log, on other examples: what was trained, not what training began with."""
        trained = finished(tmp_path_factory, name)
        before = contents(trained.folder)
        ran = run(EXPERIMENT.main, f"--workdir={tmp_path}", f"--run={trained.folder}", "--num_exponents=8")
        assert ran.status == 0, ran.err
        assert f"gradient of {answer} with respect to h_t" in ran.out
        found = results_of(tmp_path)
        assert found["experiment"] == "vanishing"
        assert {row["layer"] for row in found["rows"]} == set(layers)
        for key in ("dataset", "protocol", "cell", "num_params", "seeds", "steps"):
            assert found[key] == trained.results[key]
        for row in found["rows"]:
            assert f"| {row['layer']} " in ran.out
            assert row["verdict"] in ran.out
            (line,) = (line for line in ran.out.splitlines() if line.startswith(f"| {row['layer']} "))
            assert [cell.strip() for cell in line.split("|")[-5:-2]] == cells(row)
            # Driven by its inputs: of what it does nothing is of its own making.
            assert (row["kaplan_yorke_dimension"], row["entropy_rate"]) == (0, 0)
            assert row["lyapunov_exponent"] == row["lyapunov_exponents"][0] < 0
            assert len(row["lyapunov_exponents"]) == 8
        assert list(found["metrics"]) == [
            "lyapunov_exponent", "kaplan_yorke_dimension", "entropy_rate", "horizon_e", "horizon_1000",
        ]  # fmt: skip
        assert list(found["baselines"]) == layers[:-1]
        assert (tmp_path / "plots" / "run.png").read_bytes().startswith(b"\x89PNG")
        assert contents(trained.folder) == before


def test_the_gradient_is_that_of_the_trained_parameters(tmp_path_factory, tmp_path):
    """A network that learnt the season of a day looks back as the last record of its log says, roughly."""
    trained = finished(tmp_path_factory, "forecast_scan")
    logged = [r["gradient_flow"]["layer 0"] for r in read_log(trained.folder / "metrics.jsonl") if "gradient_flow" in r]
    falls = [flow[10] - flow[0] for flow in logged]
    ran = run(EXPERIMENT.main, f"--workdir={tmp_path}", f"--run={trained.folder}")
    assert ran.status == 0, ran.err
    found = results_of(tmp_path)["rows"][0]["log10_gradient"]["10"]
    assert abs(found - falls[-1]) < 0.2 < abs(found - falls[0])


def test_verdicts():
    lags = np.arange(30.0)
    text, by_e, by_1000 = verdict(-1.01 * lags / np.log(10))
    assert (by_e, by_1000) == (1, 7)
    assert text == "looks back 1 steps (to 1/e), 7 steps to a thousandth"
    text, _, by_1000 = verdict(np.append(-lags / 100, -np.inf))
    assert by_1000 == np.inf
    assert text == "all 30 steps count: the first still has 0.51 of the last one's gradient"


def test_no_run(tmp_path):
    ran = run(EXPERIMENT.main, f"--workdir={tmp_path / 'look'}", "--run=/nowhere")
    assert ran.one_error() == "--run=/nowhere: no finished run with a model there; train one to its end first"
