"""Several processes of one experiment: their flags, their folders, and the results of two beside those of one."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from helpers.one_of_several import free_port
from helpers.running import refused, results_of, run

from experiments import launchable
from experiments.common import begun
from experiments.common import processes as common
from experiments.common.flags import UsageError
from experiments.common.processes import folder_of
from experiments.forecast import run as forecast
from rnn_jax.training import processes
from rnn_jax.training.errors import Interrupted

ROOT = Path(__file__).parents[3]
FLAGS = (
    "--num_hours=700", "--lag=6", "--hidden_size=3", "--cell=rnn", "--batch_size=7", "--epochs=2", "--notrees",
    "--calendar=none", "--dtype=float64", "--num_seeds=2", "--noblend",
)  # fmt: skip


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            ["--num_processes=2", "--process_id=0"],
            "--num_processes=2: needs --coordinator_address too; or --distributed, as the cluster says",
        ),
        (
            ["--coordinator_address=localhost", "--num_processes=2", "--process_id=0"],
            "--coordinator_address=localhost: name host:port of the first process",
        ),
        (
            ["--coordinator_address=localhost:1", "--num_processes=2", "--process_id=2"],
            "--process_id=2: counts from 0 to 1",
        ),
        (["--distributed"], "--distributed: the processes do not find each other: "),
        (["--num_seeds=3", "--seed_devices=2"], "--seed_devices=2: does not divide --num_seeds=3"),
        (["--num_seeds=4000", "--seed_devices=4000"], "--num_seeds=4000: "),
    ],
)
def test_refused(tmp_path, monkeypatch, arguments, message):
    monkeypatch.setattr(processes, "start", nobody)
    assert refused(launchable("forecast").main, tmp_path, *arguments).startswith(message)


def nobody(*arguments):
    raise ValueError("coordinator_address should be defined.")


def test_prediction_takes_one(tmp_path):
    ran = run(launchable("imdb").main, "--mode=predict", f"--workdir={tmp_path}", "--distributed")
    assert ran.one_error() == "--distributed is a flag of the run, which --mode=predict takes from its folder"


def test_data_and_back_end_have_to_be_those_of_the_first(tmp_path, monkeypatch):
    monkeypatch.setattr(begun, "by_first", lambda function: "that of the first")
    for check in (begun.check_data, begun.check_backend):
        check(tmp_path, "that of the first")
    with pytest.raises(UsageError, match=r"^--data_dir: process 0 has other data than the first; give all the same$"):
        begun.check_data(tmp_path, "another")
    with pytest.raises(UsageError, match=r"^--backend: process 0 would compute on scan, the first on that of the fi"):
        begun.check_backend(tmp_path, "scan")


def test_another_than_the_first_writes_to_a_folder_that_goes(tmp_path, monkeypatch):
    with folder_of(lambda: tmp_path) as folder:
        assert folder == tmp_path
    monkeypatch.setattr(processes, "by_first", lambda function: "that of the first")
    monkeypatch.setattr(processes, "is_first", lambda: False)
    with folder_of(lambda: tmp_path) as folder:
        (folder / "results.json").write_text("{}")
        assert folder != tmp_path
    assert not folder.exists()


class TestTheEndOfOneOfSeveral:
    """None waits for another that does not know."""

    @pytest.fixture(autouse=True)
    def second(self, monkeypatch):
        monkeypatch.setattr(processes, "several", lambda: True)
        monkeypatch.setattr(processes, "is_first", lambda: False)
        monkeypatch.setattr(common, "_exit", sys.exit)

    def ended(self, monkeypatch, tmp_path, capfd, error):
        def fail(*arguments):
            raise error

        monkeypatch.setattr(processes, "by_first", lambda function: str(tmp_path))
        monkeypatch.setattr(forecast, "run", fail)
        with pytest.raises(SystemExit) as ended:
            sys.exit(launchable("forecast").main(["--epochs=1"]))
        return ended.value.code, capfd.readouterr().err

    def test_by_a_mistake_of_ours(self, monkeypatch, tmp_path, capfd):
        status, said = self.ended(monkeypatch, tmp_path, capfd, KeyError("mistake"))
        assert status == 1
        assert said.startswith("Traceback")
        assert said.endswith("KeyError: 'mistake'\n")

    def test_by_bad_input_there(self, monkeypatch, tmp_path, capfd):
        assert self.ended(monkeypatch, tmp_path, capfd, UsageError("other data")) == (2, "error: other data\n")

    def test_by_another_that_has_gone(self, monkeypatch, tmp_path, capfd):
        status, said = self.ended(monkeypatch, tmp_path, capfd, RuntimeError())
        assert status == common.LOST
        assert "as another process of this run has ended (RuntimeError)" in said

    def test_by_what_all_know_is_said_by_the_first(self, monkeypatch, tmp_path, capfd):
        """And each ends as usual, by its status, waiting for the others."""
        monkeypatch.setattr(common, "_exit", lambda status: pytest.fail("at once"))
        for error, status in ((UsageError("no"), 2), (Interrupted(15, 3), 143)):
            assert self.ended(monkeypatch, tmp_path, capfd, processes.of_all(error)) == (status, "")


def test_two_processes_leave_what_one_leaves(tmp_path):
    """The folder of the first alone is there, whole, and holds the figures of one process and one device."""
    port, env, started = free_port(), {**os.environ, "TMPDIR": str(tmp_path)}, []
    for number in range(2):
        of = [f"--coordinator_address=127.0.0.1:{port}", "--num_processes=2", f"--process_id={number}"]
        command = [sys.executable, "launch.py", "forecast", *FLAGS, f"--workdir={tmp_path / 'two'}", *of]
        pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
        started.append(subprocess.Popen(command, cwd=ROOT, env=env, **pipes))
    said = [each.communicate() for each in started]
    assert [each.returncode for each in started] == [0, 0], said
    assert "plots: " in said[0][0]
    assert "run folder" not in said[1][0]
    assert [each.name for each in tmp_path.iterdir()] == ["two"]
    assert {each.name for each in (tmp_path / "two" / "checkpoints").iterdir()} == {"69", "138"}

    ran = run(launchable("forecast").main, *FLAGS, "--num_devices=1", f"--workdir={tmp_path / 'one'}")
    assert ran.status == 0, ran.err
    one, two = results_of(tmp_path / "one"), results_of(tmp_path / "two")
    assert two["metrics"].keys() == one["metrics"].keys()
    for name, metric in one["metrics"].items():
        np.testing.assert_allclose(two["metrics"][name]["values"], metric["values"], rtol=1e-10)
    assert np.ptp(one["metrics"]["mse"]["values"]) > 0
    assert {each.name for each in (tmp_path / "two").iterdir()} == {each.name for each in (tmp_path / "one").iterdir()}
