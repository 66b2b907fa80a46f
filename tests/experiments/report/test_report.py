"""The report as a command: what it writes and prints, what it refuses, and what it costs."""

import csv
import html
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from helpers.run_folders import leave, png
from helpers.running import run

from experiments.report.__main__ import EXPERIMENT

ROOT = Path(__file__).resolve().parents[3]


def test_what_is_printed(report):
    folder, out = report
    assert out.startswith("\nforecast · synthetic · clean\n")
    best, *others = [line for line in out.splitlines() if line.startswith("| ")][1:]
    assert re.match(r"\| \(best\) +\| gru +\| 16 +\| 3 +\| 0.1033 ± 0.015 +\| +\| +\| -0.797 \[", best)
    assert "| 0.010" not in best
    assert len(others) == 8, "five more rows with figures, two baselines, and a run that is not finished"
    assert re.search(r"\| persistence .*\| +\| 0.9000 .*\|", out)
    assert re.search(r"\| lstm +\| 999 +\| 0 +\| at step 30 ", out)
    assert "not read: damaged: results.json is no JSON: cut short?\n" in out
    assert "not read: foreign: no run: it has no flags.txt\n" in out
    assert out.endswith(f"\nreport: {folder / 'index.html'}\n")


def test_what_is_written(report):
    folder, _ = report
    assert {path.name for path in folder.iterdir()} == {"index.html", "runs.csv", "plots"}
    plots = {path.name for path in (folder / "plots").iterdir()}
    assert plots == {"1_cell.png", "1_hidden_size.png", "1_learning_curves.png"}


def test_the_csv(report):
    folder, _ = report
    with (folder / "runs.csv").open(newline="") as file:
        rows = {row["folder"]: row for row in csv.DictReader(file)}
    assert len(rows) == 9
    row = rows["gru_16"]
    assert (row["status"], row["experiment"], row["hidden_size"], row["seeds"]) == (
        "finished",
        "forecast",
        "16",
        "0 1 2",
    )
    values = [float(value) for value in row["mse_values"].split()]
    assert values == pytest.approx([0.1, 0.12, 0.09])
    assert float(row["mse_mean"]) == pytest.approx(sum(values) / 3)
    assert rows["open"]["status"] == "unfinished"
    assert rows["open"]["mse_mean"] == ""
    assert (rows["foreign"]["status"], rows["foreign"]["reason"]) == ("not read", "no run: it has no flags.txt")


def test_no_formula_in_the_csv(tmp_path):
    for at, value in enumerate(("=1+1", "+x", "@x", "-x", "-0.5")):
        leave(tmp_path / "runs" / str(at), [0.5], cell=value)
    assert run(EXPERIMENT.main, f"--runs={tmp_path}/runs").status == 0
    with (tmp_path / "runs" / "report" / "runs.csv").open(newline="") as file:
        assert {row["cell"] for row in csv.DictReader(file)} == {"-0.5", "'=1+1", "'+x", "'@x", "'-x"}


def test_the_page_needs_nothing(report):
    """No address but of its own parts; what came from folders is text."""
    page = (report[0] / "index.html").read_text(encoding="utf-8")
    without_pictures = re.sub(r'src="data:image/png;base64,[A-Za-z0-9+/=]+"', "", page)
    assert not re.search(r"https?:|//\w|src=\"|@import|url\(", without_pictures)
    assert page.count("<script") == 1
    assert "onerror=alert" in page, "as text"
    assert "<img src=x" not in page
    assert "default-src 'none'" in html.unescape(page)
    assert "no_picture.png (no PNG)" in page


def test_pictures_are_as_many_as_fit(runs, tmp_path):
    """Those of the best row first; what is left out is named."""
    sizes = {"0": 0, str(2.5 * len(png()) / 2**20): 2, "20": 6}
    for budget, wanted in sizes.items():
        ran = run(EXPERIMENT.main, f"--runs={runs}/*", f"--pictures={budget}", f"--out={tmp_path / budget}")
        assert ran.status == 0
        page = (tmp_path / budget / "index.html").read_text(encoding="utf-8")
        assert page.count('<img alt="loss" ') == wanted
        assert page.count("loss.png (left out: --pictures") == 6 - wanted


class TestRefusals:
    @pytest.mark.parametrize(
        ("flags", "message"),
        [
            ([], "--runs: name run folders, like --runs='runs/*'"),
            (["--runs=RUNS/no*"], "--runs=RUNS/no*: no folder matches; quote the pattern and write it as from "),
            (
                ["--runs=RUNS/foreign"],
                "--runs=RUNS/foreign: none of 1 folders can be read (foreign: no run: it has no ",
            ),
            (["--runs=RUNS/*", "--metric=mxe"], "--metric=mxe: the runs have mse, r2"),
            (["--runs=RUNS/*", "--by=lag"], "--by=lag: no run has such a flag"),
            (["--runs=RUNS/*", "--plot=lag"], "--plot=lag: no flag that makes a row; those are cell, hidden_size"),
            (["--runs=RUNS/*", "--baseline=x"], "--baseline=x: no such row; the rows are cell=gru, hidden_size=16; "),
            (["--runs=RUNS/*", "--out=RUNS/open"], "--out=RUNS/open: a run lies there; name another folder"),
            (["--runs=RUNS/*", "--workdir=x"], "--workdir=x: --out says where a report goes; leave it out"),
        ],
    )
    def test_are_one_line(self, runs, flags, message):
        found = run(EXPERIMENT.main, *(each.replace("RUNS", str(runs)) for each in flags)).one_error()
        assert found.startswith(message.replace("RUNS", str(runs)))

    def test_a_folder_that_cannot_be_made(self, runs, tmp_path):
        (tmp_path / "file").touch()
        assert "file" in run(EXPERIMENT.main, f"--runs={runs}/*", f"--out={tmp_path / 'file' / 'x'}").one_error()


def test_runs_that_are_not_finished_are_a_report(tmp_path):
    leave(tmp_path / "runs" / "forecast-0123", steps=4)
    leave(tmp_path / "runs" / "forecast-4567", steps=1, cell="gru")
    ran = run(EXPERIMENT.main, f"--runs={tmp_path}/runs")
    assert ran.status == 0
    assert "\nforecast\n" in ran.out
    page = (tmp_path / "runs" / "report" / "index.html").read_text(encoding="utf-8")
    assert "No run is finished yet." in page
    assert "2 not finished" in page


def test_a_plot_that_fails_costs_nothing_else(runs, tmp_path, monkeypatch):
    def fail(*_):
        raise ValueError("cannot be drawn")

    monkeypatch.setattr("rnn_jax.plotting.runs.learning_curves", fail)
    ran = run(EXPERIMENT.main, f"--runs={runs}/*", f"--out={tmp_path / 'out'}")
    assert ran.status == 0
    assert "1_learning_curves.png could not be drawn: cannot be drawn\n" in ran.out
    assert (tmp_path / "out" / "plots" / "1_cell.png").exists()
    assert "could not be drawn" in (tmp_path / "out" / "index.html").read_text(encoding="utf-8")


def test_many_runs(tmp_path):
    """Five hundred, each with a log and a picture, take seconds, and no device is started."""
    first = leave(tmp_path / "runs" / "0", [0.5, 0.6], steps=100, pictures=True)
    for at in range(1, 500):
        folder = tmp_path / "runs" / str(at)
        shutil.copytree(first, folder)
        text = (folder / "flags.txt").read_text().replace("hidden_size=8", f"hidden_size={at % 50}")
        (folder / "flags.txt").write_text(text.replace("0.01", str(at // 50)))
    code = (
        "import sys, time, launch\nstart = time.process_time()\n"
        f"status = launch.main(['report', '--runs={tmp_path}/runs'])\n"
        "from jax._src import xla_bridge\nassert not xla_bridge._backends, 'JAX was started'\n"
        "print('seconds', time.process_time() - start)\nsys.exit(status)"
    )
    ran = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stderr
    seconds = float(ran.stdout.split()[-1])
    assert seconds < 30
    assert (tmp_path / "runs" / "report" / "index.html").stat().st_size < 12e6
