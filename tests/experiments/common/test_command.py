"""From the command line to a run folder and an exit status."""

import signal
import subprocess
import sys
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import pytest
from helpers.running import run

import launch
from experiments.common import command
from experiments.common.command import RunConfig, data_folder
from experiments.common.flags import UsageError, flag, parse
from rnn_jax.data.errors import DataError
from rnn_jax.training.errors import Interrupted, TrainingError

REPOSITORY = Path(launch.__file__).parent


@dataclass(frozen=True)
class Config(RunConfig):
    """Flags of an experiment that does nothing."""

    lag: int = flag(64, "hours", minimum=1)
    bias: float | None = flag(None, "a number or nothing")
    cell: str = flag("lstm", "cell", choices=("lstm", "gru"))


def demo(action=lambda config, folder: None):
    return partial(command.main, "demo", Config, action, "About it.")


def raising(error):
    def action(config, folder):
        raise error

    return demo(action)


class TestRunFolder:
    def test_flags_are_written_down(self, tmp_path):
        seen = []
        ran = run(demo(lambda *given: seen.append(given)), f"--workdir={tmp_path / 'a' / 'b'}", "--lag=24", "--bias=1")
        assert (ran.status, ran.err) == (0, "")
        assert ran.out == f"run folder: {tmp_path / 'a' / 'b'}\n"
        file = tmp_path / "a" / "b" / "flags.txt"
        assert file.read_text() == "--lag=24\n--bias=1.0\n--cell=lstm\n"
        config = Config(workdir=str(tmp_path / "a" / "b"), lag=24, bias=1.0)
        assert seen == [(config, tmp_path / "a" / "b")]
        assert parse(Config, [f"--flagfile={file}", f"--workdir={tmp_path / 'a' / 'b'}"]) == config

    def test_the_same_flags_continue(self, tmp_path):
        for arguments in (["--lag=24"], ["--cell=lstm", "--lag=24", f"--data_dir={tmp_path}"]):
            assert run(demo(), f"--workdir={tmp_path / 'run'}", *arguments).status == 0
            (tmp_path / "run" / "results.json").write_text("{}")
        assert run(demo(), f"--workdir={tmp_path / 'run'}", "--lag=24").status == 0

    def test_other_flags_are_refused(self, tmp_path):
        workdir = f"--workdir={tmp_path / 'run'}"
        run(demo(), workdir, "--lag=24")
        (tmp_path / "run" / "metrics.jsonl").touch()
        before = (tmp_path / "run" / "flags.txt").read_bytes()
        called = []
        message = run(demo(lambda *given: called.append(given)), workdir, "--cell=gru", "--bias=0.5").one_error()
        assert message == (
            f"{workdir} was made with other flags (--lag=24 there, 64 here, --cell=lstm there, gru here, "
            "--bias=unset there, 0.5 here); name another folder"
        )
        assert not called
        assert (tmp_path / "run" / "flags.txt").read_bytes() == before

    def test_a_run_that_did_not_begin_leaves_the_folder_free(self, tmp_path):
        workdir = f"--workdir={tmp_path / 'run'}"
        assert run(raising(UsageError("--lag=24: too long")), workdir, "--lag=24").status == 2
        (tmp_path / "run" / "flags.partial").touch()
        assert run(demo(), workdir, "--lag=2").status == 0
        assert (tmp_path / "run" / "flags.txt").read_text() == "--lag=2\n--cell=lstm\n"

    def test_flags_that_are_no_text(self, tmp_path):
        (tmp_path / "flags.txt").write_bytes(b"\xff\xfe\x00")
        message = run(demo(), f"--workdir={tmp_path}").one_error()
        assert message == f"--workdir={tmp_path}: flags.txt there is not UTF-8 text; name another folder"

    def test_data_is_noted_once_and_another_refused(self, tmp_path):
        command.check_data(tmp_path, "a")
        command.note_data(tmp_path, "a")
        command.note_data(tmp_path, "b")
        assert (tmp_path / "data.txt").read_text() == "a\n"
        command.check_data(tmp_path, "a")
        with pytest.raises(UsageError, match=r"was made with other data \(data.txt\); put it back or name another"):
            command.check_data(tmp_path, "b")

    def test_a_foreign_folder_is_refused(self, tmp_path):
        (tmp_path / "thesis.tex").write_text("precious")
        message = run(demo(), f"--workdir={tmp_path}").one_error()
        assert message == f"--workdir={tmp_path}: not empty and no run of ours (no flags.txt); name another folder"
        assert [path.name for path in tmp_path.iterdir()] == ["thesis.tex"]

    def test_an_empty_folder_is_taken(self, tmp_path):
        assert run(demo(), f"--workdir={tmp_path}").status == 0
        assert [path.name for path in tmp_path.iterdir()] == ["flags.txt"]

    def test_a_file_is_no_folder(self, tmp_path):
        (tmp_path / "file").write_text("x")
        for workdir in (tmp_path / "file", tmp_path / "file" / "run"):
            assert run(demo(), f"--workdir={workdir}").one_error().startswith(f"--workdir={workdir}: Not a directory")

    def test_without_workdir_it_is_named_after_the_flags(self, tmp_path, monkeypatch):
        monkeypatch.chdir(tmp_path)

        def folder(*arguments):
            ran = run(demo(), *arguments)
            assert ran.status == 0
            return ran.out.removeprefix("run folder: ").strip()

        first = folder()
        assert Path(first).parent == Path("runs")
        assert Path(first).name.startswith("demo-")
        assert (tmp_path / first / "flags.txt").is_file()
        assert folder("--lag=64", f"--data_dir={tmp_path}") == first
        others = {folder("--lag=24"), folder("--lag=25"), folder("--bias=0"), folder("--cell=gru")}
        assert len(others | {first}) == 5


class TestDataFolder:
    def test_order_of_precedence(self, monkeypatch):
        monkeypatch.setenv("HOME", "/home/ada")
        monkeypatch.setenv("RNN_JAX_DATA", "/from/environment")
        assert data_folder(Config(data_dir="/from/flag")) == Path("/from/flag")
        assert data_folder(Config()) == Path("/from/environment")
        monkeypatch.delenv("RNN_JAX_DATA")
        assert data_folder(Config()) == Path("/home/ada/.cache/rnn_jax")


class TestStatus:
    def test_of_the_run(self, tmp_path):
        assert run(demo(lambda config, folder: 1), f"--workdir={tmp_path}").status == 1

    @pytest.mark.parametrize("kind", [UsageError, DataError, TrainingError])
    def test_an_error_is_one_line(self, tmp_path, kind):
        message = run(raising(kind("file.csv, line 3:\n  'x' is not a number")), f"--workdir={tmp_path}").one_error()
        assert message == "file.csv, line 3:   'x' is not a number"

    def test_bad_flags(self):
        assert run(demo(), "--lag=0").one_error() == "--lag=0: must be at least 1"
        assert run(demo(), "train").one_error().startswith("'train' is not a flag")

    def test_a_defect_is_not_hidden(self, tmp_path):
        with pytest.raises(ZeroDivisionError):
            run(raising(ZeroDivisionError()), f"--workdir={tmp_path}")

    @pytest.mark.parametrize(("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
    def test_interrupted(self, tmp_path, number, status):
        ran = run(raising(Interrupted(number, 12)), f"--workdir={tmp_path}")
        assert ran.status == status
        assert ran.err == "stopped at step 12 and saved; the same command continues from there\n"

    def test_interrupted_outside_training(self, tmp_path):
        ran = run(raising(KeyboardInterrupt()), f"--workdir={tmp_path}")
        assert ran.status == 130
        assert ran.err == "interrupted\n"
        (tmp_path / "checkpoints" / "7").mkdir(parents=True)
        ran = run(raising(KeyboardInterrupt()), f"--workdir={tmp_path}")
        assert ran.err == "interrupted; the same command continues from the last checkpoint\n"

    def test_a_disk_that_takes_nothing(self, tmp_path):
        error = OSError(28, "No space left on device", str(tmp_path / "results.partial"))
        message = run(raising(error), f"--workdir={tmp_path}").one_error()
        assert message == f"--workdir={tmp_path}: No space left on device: {tmp_path / 'results.partial'}"
        assert run(raising(OSError("read-only")), f"--workdir={tmp_path}").one_error().endswith(": read-only")


class TestLaunch:
    @pytest.mark.parametrize("arguments", [[], ["--help"], ["-h"]])
    def test_lists_the_experiments(self, arguments):
        ran = run(launch.main, *arguments)
        assert (ran.status, ran.err) == (0, "")
        for name, about in launch.EXPERIMENTS.items():
            assert name in ran.out
            assert about in ran.out

    def test_every_experiment_has_a_module(self):
        modules = {path.stem for path in (REPOSITORY / "experiments").glob("*.py")}
        assert set(launch.EXPERIMENTS) <= modules

    @pytest.mark.parametrize("name", ["forecasts", "--lag=3", ""])
    def test_unknown(self, name):
        message = run(launch.main, name).one_error()
        known = "forecast, imdb, ntc_scv, vanishing, memory, spelled_out, gradcheck, long_sequences, benchmark"
        assert message == f"no experiment called {name!r}: take one of {known}"

    def test_hands_the_arguments_on(self):
        assert run(launch.main, "forecast", "--lag=0").one_error() == "--lag=0: must be at least 1"

    @pytest.mark.parametrize("start", [["launch.py", "forecast"], ["-m", "experiments.forecast.main"]])
    def test_as_a_process(self, start):
        ran = subprocess.run(
            [sys.executable, *start, "--hidden_size=0"], cwd=REPOSITORY, capture_output=True, text=True, check=False
        )
        assert ran.returncode == 2
        assert ran.stderr == "error: --hidden_size=0: must be at least 1\n"
        assert ran.stdout == ""

    def test_the_list_comes_at_once(self):
        """Without importing JAX: who asks what there is does not wait."""
        code = "import sys, launch; launch.main([]); assert 'jax' not in sys.modules, 'jax imported'"
        ran = subprocess.run([sys.executable, "-c", code], cwd=REPOSITORY, capture_output=True, text=True, check=False)
        assert ran.returncode == 0, ran.stderr
        assert "forecast" in ran.stdout
