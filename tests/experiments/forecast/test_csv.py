"""Forecasting a series of one's own, and what is wrong with its file or its flags, in one line."""

import os

import numpy as np
import pytest
from helpers.running import refused, results_of, run

from experiments.forecast.__main__ import EXPERIMENT

ROWS = "".join(f"2020-01-{1 + t // 24:02d} {t % 24:02d}:00,{np.sin(t / 4) + t % 3:.3f}\n" for t in range(240))
FLAGS = (
    "--dataset=csv", "--target=value", "--time=when", "--lag=6", "--season=4", "--hidden_size=2", "--epochs=1",
    "--batch_size=50", "--cell=rnn", "--backend=scan", "--notrees",
)  # fmt: skip


OF_A_FILE = "--csv, --time, --series_id, --known_future, --angles"


def run_in(folder, *arguments):
    return run(EXPERIMENT.main, f"--workdir={folder}", *arguments)


def test_runs_and_notices_other_data(tmp_path):
    file, folder = tmp_path / "data.csv", tmp_path / "run"
    file.write_text("when,value\n" + ROWS)
    flags = (*FLAGS, f"--csv={file}")
    message = run_in(folder, *flags, "--batch_size=200").one_error()
    assert message == "--batch_size=200: there are only 162 training examples"
    ran = run_in(folder, *flags)
    assert ran.status == 0, "a run that did not begin leaves the folder free"
    results = results_of(folder)
    assert results["dataset"] == "data.csv"
    lines = {"linear_autoregression", "nlinear", "dlinear"}
    assert set(results["baselines"]) == {"persistence", "seasonal_naive", "drift", *lines}
    assert results["steps"] == (240 * 7 // 10 - 6) // 50
    assert run_in(folder, *flags).status == 0

    refusal = f"--workdir={folder} was made with other data (data.txt); put it back or name another folder"
    file.write_text("when,value\n" + ROWS.replace(",0.000\n", ",0.5\n"))
    assert run_in(folder, *flags).one_error() == refusal
    (folder / "results.json").rename(tmp_path / "results.json")
    assert run_in(folder, *flags).one_error() == refusal
    (tmp_path / "results.json").rename(folder / "results.json")
    file.unlink()
    again = run_in(folder, *flags)
    assert again.status == 0, again.err
    assert f"its data cannot be read any more (no file {file}: check the path); its results:\n" in again.out
    assert again.out.endswith(ran.out[ran.out.index("data.csv, protocol clean, test split, errors in units:") :])


class TestErrors:
    @pytest.mark.parametrize(
        ("text", "arguments", "parts"),
        [
            ("when,value\n" + ROWS, ["--target=price"], ["data.csv has no column 'price'", "'when', 'value'"]),
            (
                "when,value\n2020-01-01 00:00,1\n2020-01-01 01:00,much\n",
                ["--target=value"],
                ["data.csv, line 3, column 'value': 'much' is not a number"],
            ),
            ("when,value\n" + "a,1\n" * 5, ["--target=value"], ["5 rows are too few", "lag"]),
            ("", ["--target=value"], ["data.csv is empty"]),
            ("when,value\n", ["--target=value"], ["data.csv holds a header and no rows"]),
            ("when,value\n" + ROWS, ["--target=value", "--time=date"], ["data.csv has no column 'date'"]),
        ],
    )
    def test_of_the_file(self, tmp_path, text, arguments, parts):
        (tmp_path / "data.csv").write_text(text)
        flags = ["--dataset=csv", "--lag=6", f"--csv={tmp_path / 'data.csv'}"]
        message = run_in(tmp_path / "run", *flags, *arguments).one_error()
        assert all(part in message for part in parts), message
        assert {path.name for path in (tmp_path / "run").iterdir()} == {"flags.txt", "lock"}

    def test_no_file(self, tmp_path):
        file = tmp_path / "none.csv"
        message = run_in(tmp_path / "run", "--dataset=csv", f"--csv={file}", "--target=value").one_error()
        assert message == f"no file {file}: check the path"

    def test_a_pipe_is_not_waited_for(self, tmp_path):
        os.mkfifo(tmp_path / "pipe.csv")
        for file in (tmp_path / "pipe.csv", "/dev/zero"):
            message = run_in(tmp_path / "run", "--dataset=csv", f"--csv={file}", "--target=value").one_error()
            assert message == f"{file} is a pipe, a socket or a device: name a regular file"

    def test_limits_are_flags(self, tmp_path):
        (tmp_path / "data.csv").write_text("when,value\n" + ROWS)
        flags = ["--dataset=csv", "--target=value", f"--csv={tmp_path / 'data.csv'}"]
        message = run_in(tmp_path / "run", *flags, "--max_cells=239").one_error()
        assert message.endswith("take a shorter file, or set a larger --max_cells=239")
        message = run_in(tmp_path / "run", *flags, "--max_file_bytes=999").one_error()
        assert message.endswith("take a smaller file, or set a larger --max_file_bytes=999")
        assert "max_" not in (tmp_path / "run" / "flags.txt").read_text(), "they say nothing of the run"

    def test_szeged_is_missing(self, tmp_path):
        message = run_in(tmp_path / "run", "--dataset=szeged", f"--data_dir={tmp_path}").one_error()
        assert message == (
            f"no weatherHistory.csv in --data_dir={tmp_path}: download the Kaggle data set budincsevity/szeged-weather "
            "and put its weatherHistory.csv there"
        )

    @pytest.mark.parametrize(
        ("arguments", "message"),
        [
            (
                ["--csv=data.csv"],
                f"{OF_A_FILE} go with --dataset=csv, not with --dataset=synthetic",
            ),
            (
                ["--dataset=szeged", "--time=when"],
                f"{OF_A_FILE} go with --dataset=csv, not with --dataset=szeged",
            ),
            (["--target=wind"], "--target=wind: --dataset=synthetic has one column"),
            (["--dataset=csv"], "--dataset=csv needs --csv=FILE and --target=COLUMN"),
            (["--dataset=csv", "--csv=data.csv"], "--dataset=csv needs --csv=FILE and --target=COLUMN"),
        ],
    )
    def test_contradictions(self, tmp_path, arguments, message):
        assert refused(EXPERIMENT.main, tmp_path, *arguments) == message
