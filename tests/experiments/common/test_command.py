"""From the command line to a run folder and an exit status."""

import errno
import os
import signal
import sys
import types
from dataclasses import dataclass
from pathlib import Path

import jax
import pytest
from helpers.locking import held
from helpers.running import run

from experiments import process
from experiments.common.command import Experiment, RunConfig, as_flags, data_folder
from experiments.common.flags import UsageError, flag, parse
from rnn_jax.data.errors import DataError
from rnn_jax.training.errors import Interrupted, TrainingError


@dataclass(frozen=True)
class Config(RunConfig):
    """Flags of an experiment that does nothing."""

    lag: int = flag(64, "hours", minimum=1)
    bias: float | None = flag(None, "a number or nothing")
    cell: str = flag("lstm", "cell", choices=("lstm", "gru"))
    name: str = flag("", "words")
    only_look: bool = flag(False, "reads a folder", local=True)

    @property
    def makes_folder(self):
        return not self.only_look

    def check(self, given):
        if self.cell == "gru" and "bias" in given:
            raise UsageError("--bias: not with --cell=gru")


@pytest.fixture
def demo(monkeypatch):
    """`demo(action)` is the `main` of an experiment whose `run` does that."""

    def experiment(action=lambda name, config, folder: None):
        module = types.ModuleType("a_demo_experiment")
        module.run = action
        monkeypatch.setitem(sys.modules, module.__name__, module)
        return Experiment("demo", "About it.", Config, module.__name__).main

    return experiment


@pytest.fixture
def raising(demo):
    def experiment(error):
        def action(name, config, folder):
            raise error

        return demo(action)

    return experiment


class TestRunFolder:
    def test_flags_are_written_down(self, tmp_path, demo):
        seen = []
        ran = run(demo(lambda *given: seen.append(given)), f"--workdir={tmp_path / 'a' / 'b'}", "--lag=24", "--bias=1")
        assert (ran.status, ran.err) == (0, "")
        assert ran.out == f"run folder: {tmp_path / 'a' / 'b'}\n"
        file = tmp_path / "a" / "b" / "flags.txt"
        assert file.read_text() == "--lag=24\n--bias=1.0\n--cell=lstm\n--name=\n"
        config = Config(workdir=str(tmp_path / "a" / "b"), lag=24, bias=1.0)
        assert seen == [("demo", config, tmp_path / "a" / "b")]
        assert parse(Config, [f"--flagfile={file}", f"--workdir={tmp_path / 'a' / 'b'}"]) == config

    def test_the_same_flags_continue(self, tmp_path, demo):
        for arguments in (["--lag=24"], ["--cell=lstm", "--lag=24", f"--data_dir={tmp_path}"]):
            assert run(demo(), f"--workdir={tmp_path / 'run'}", *arguments).status == 0
            (tmp_path / "run" / "results.json").write_text("{}")
        assert run(demo(), f"--workdir={tmp_path / 'run'}", "--lag=24").status == 0

    def test_other_flags_are_refused(self, tmp_path, demo):
        workdir = f"--workdir={tmp_path / 'run'}"
        run(demo(), workdir, "--lag=24", "--bias=0.5")
        (tmp_path / "run" / "metrics.jsonl").touch()
        before = (tmp_path / "run" / "flags.txt").read_bytes()
        called = []
        message = run(demo(lambda *given: called.append(given)), workdir, "--cell=gru").one_error()
        assert message == (
            f"{workdir} was made with other flags (--lag=24 there, 64 here, --bias=0.5 there, unset here, "
            "--cell=lstm there, gru here); name another folder"
        )
        assert not called
        assert (tmp_path / "run" / "flags.txt").read_bytes() == before

    def test_a_run_that_did_not_begin_leaves_the_folder_free(self, tmp_path, demo, raising):
        workdir = f"--workdir={tmp_path / 'run'}"
        assert run(raising(UsageError("--lag=24: too long")), workdir, "--lag=24").status == 2
        (tmp_path / "run" / "flags.txt.partial").touch()
        assert run(demo(), workdir, "--lag=2").status == 0
        assert (tmp_path / "run" / "flags.txt").read_text() == "--lag=2\n--cell=lstm\n--name=\n"

    def test_flags_that_are_no_text(self, tmp_path, demo):
        (tmp_path / "flags.txt").write_bytes(b"\xff\xfe\x00")
        (tmp_path / "metrics.jsonl").touch()
        message = run(demo(), f"--workdir={tmp_path}").one_error()
        wanted = "write it anew with the flags of the run, or name another folder"
        assert message == f"--workdir={tmp_path}: flags.txt there is damaged: not UTF-8 text; {wanted}"

    @pytest.mark.parametrize(
        ("content", "reason"),
        [
            ("", "is cut short"),
            ("--lag=24\n", "is cut short"),
            ("--lag=25\n", "was made with other flags (--lag=25 there, 24 here"),
            ("--lag=24\n--cell=ls", "is cut short"),
            ("--lag=24\n--flagfile=/dev/zero\n", "is damaged: line 2 is no flag: '--flagfile=/dev/zero'"),
            ("--lag=24\nprecious\n", "is damaged: line 2 is no flag: 'precious'"),
            ("x" * 10**6, f"is damaged: line 1 is no flag: '{'x' * 40}'"),
            ("--lag=24\x0b--cell=lstm\n", "was made with other flags"),
            (None, "is damaged: no such file"),
        ],
    )
    def test_flags_that_are_not_those_of_a_run(self, tmp_path, demo, content, reason):
        (tmp_path / "metrics.jsonl").touch()
        if content is None:
            (tmp_path / "flags.txt").mkdir()
        else:
            (tmp_path / "flags.txt").write_text(content)
        message = run(demo(), f"--workdir={tmp_path}", "--lag=24").one_error()
        assert message.startswith(f"--workdir={tmp_path}")
        assert reason in message

    def test_a_value_that_cannot_be_written_down(self, tmp_path, demo):
        main = demo()
        message = run(main, f"--workdir={tmp_path / 'run'}", "--name=a\nb").one_error()
        assert message == "--name: a value with a line end cannot be written down in flags.txt"
        assert not (tmp_path / "run").exists()

    def test_a_foreign_folder_is_refused(self, tmp_path, demo):
        (tmp_path / "thesis.tex").write_text("precious")
        message = run(demo(), f"--workdir={tmp_path}").one_error()
        assert message == f"--workdir={tmp_path}: not empty and no run of ours (no flags.txt); name another folder"
        assert [path.name for path in tmp_path.iterdir()] == ["thesis.tex"]

    def test_an_empty_folder_is_taken(self, tmp_path, demo):
        assert run(demo(), f"--workdir={tmp_path}").status == 0
        assert sorted(path.name for path in tmp_path.iterdir()) == ["flags.txt", "lock"]

    def test_a_file_is_no_folder(self, tmp_path, demo):
        (tmp_path / "file").write_text("x")
        for workdir in (tmp_path / "file", tmp_path / "file" / "run"):
            assert run(demo(), f"--workdir={workdir}").one_error().startswith(f"--workdir={workdir}: Not a directory")

    def test_without_workdir_it_is_named_after_the_flags(self, tmp_path, monkeypatch, demo):
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

    def test_a_command_that_only_reads_makes_none(self, tmp_path, demo):
        seen = []
        main = demo(lambda name, config, folder: seen.append(folder))
        ran = run(main, f"--workdir={tmp_path / 'run'}", "--only_look")
        assert (ran.status, ran.out) == (0, "")
        assert seen == [tmp_path / "run"]
        assert not (tmp_path / "run").exists()

    def test_of_another_process(self, tmp_path, demo):
        """Not one that wants to read alone."""
        called = []
        main = demo(lambda *given: called.append(given))
        with held(tmp_path):
            message = run(main, f"--workdir={tmp_path}").one_error()
            assert message.startswith(f"--workdir={tmp_path}: process ")
            assert not called
            assert [path.name for path in tmp_path.iterdir()] == ["lock"], "its flags are not ours to write"
            assert run(main, f"--workdir={tmp_path}", "--only_look").status == 0
        assert run(main, f"--workdir={tmp_path}").status == 0

    def test_is_held_while_it_works_and_no_longer(self, tmp_path, demo):
        def at_work(name, config, folder):
            with pytest.raises(UsageError, match="is at work there"), held(folder):
                pass
            raise UsageError("the end")

        assert run(demo(at_work), f"--workdir={tmp_path}").one_error() == "the end"
        with held(tmp_path):
            pass


class TestContradictions:
    def test_are_found_before_a_folder_is_made_or_anything_imported(self, tmp_path):
        experiment = Experiment("demo", "About it.", Config, "no.such.module")
        ran = run(experiment.main, f"--workdir={tmp_path / 'run'}", "--cell=gru", "--bias=0")
        assert ran.one_error() == "--bias: not with --cell=gru"
        assert ran.out == ""
        assert not (tmp_path / "run").exists()

    def test_a_flag_that_is_not_given_contradicts_nothing(self, tmp_path, demo):
        assert run(demo(), f"--workdir={tmp_path / 'run'}", "--cell=gru").status == 0


class TestDataFolder:
    def test_order_of_precedence(self, monkeypatch):
        monkeypatch.setenv("HOME", "/home/ada")
        monkeypatch.setenv("RNN_JAX_DATA", "/from/environment")
        assert data_folder(Config(data_dir="/from/flag")) == Path("/from/flag")
        assert data_folder(Config()) == Path("/from/environment")
        monkeypatch.delenv("RNN_JAX_DATA")
        assert data_folder(Config()) == Path("/home/ada/.cache/rnn_jax")
        monkeypatch.setattr(Path, "home", lambda: pytest.fail("which raises for a user whom the system does not know"))
        assert data_folder(Config()) == Path("/home/ada/.cache/rnn_jax")


class TestStatus:
    def test_of_the_run(self, tmp_path, demo):
        assert run(demo(lambda name, config, folder: 1), f"--workdir={tmp_path}").status == 1

    @pytest.mark.parametrize("kind", [UsageError, DataError, TrainingError])
    def test_an_error_is_one_line(self, tmp_path, kind, raising):
        message = run(raising(kind("file.csv, line 3:\n  'x' is not a number")), f"--workdir={tmp_path}").one_error()
        assert message == "file.csv, line 3:   'x' is not a number"

    def test_bad_flags(self, demo):
        assert run(demo(), "--lag=0").one_error() == "--lag=0: must be at least 1"
        assert run(demo(), "train").one_error().startswith("'train' is not a flag")

    def test_a_defect_is_not_hidden(self, tmp_path, raising):
        with pytest.raises(ZeroDivisionError):
            run(raising(ZeroDivisionError()), f"--workdir={tmp_path}")

    @pytest.mark.parametrize(("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
    def test_interrupted(self, tmp_path, number, status, raising):
        ran = run(raising(Interrupted(number, 12)), f"--workdir={tmp_path}")
        assert ran.status == status
        assert ran.err == "stopped at step 12 and saved; the same command continues from there\n"

    def test_interrupted_outside_training(self, tmp_path, raising):
        ran = run(raising(KeyboardInterrupt()), f"--workdir={tmp_path}")
        assert ran.status == 130
        assert ran.err == "interrupted\n"
        (tmp_path / "checkpoints" / "7").mkdir(parents=True)
        ran = run(raising(KeyboardInterrupt()), f"--workdir={tmp_path}")
        assert ran.err == "interrupted; the same command continues from the last checkpoint\n"

    @pytest.mark.parametrize(
        ("error", "only_look", "status", "said"),
        [
            (errno.EPIPE, False, 0, ""),
            (errno.EPIPE, True, 128 + signal.SIGPIPE, ""),
            (errno.ENOSPC, True, 2, "error: standard output: No space left on device\n"),
            (errno.ENOSPC, False, 2, "error: standard output: No space left on device; the results are in {}\n"),
        ],
    )
    def test_output_that_nobody_gets(self, tmp_path, demo, monkeypatch, error, only_look, status, said):
        """A run goes on to its end, as its folder has all of it; what only answers ends."""
        done = []
        monkeypatch.setattr(process.Process, "output", process.Stream(1))
        monkeypatch.setattr(process.Process, "folder", None)

        def action(name, config, folder):
            lost = process.Process.output.error = OSError(error, os.strerror(error))
            if process.Process.output.needed:
                raise process.OutputLost(lost)
            done.append(folder)

        ran = run(demo(action), f"--workdir={tmp_path}", f"--only_look={only_look}")
        assert (ran.status, ran.err) == (status, said.format(tmp_path))
        assert done == ([] if only_look else [tmp_path])
        assert process.Process.folder == (None if only_look else tmp_path), "what a signal says looks for checkpoints"

    def test_flags_that_are_not_utf_8(self, tmp_path, demo):
        message = run(demo(), f"--workdir={tmp_path}", "--cell=\udcff").one_error()
        assert message == "'--cell=\\udcff': the byte 0xff is not UTF-8 text"

    def test_too_little_memory(self, tmp_path, raising):
        for error in (
            MemoryError(),
            jax.errors.JaxRuntimeError("RESOURCE_EXHAUSTED: Out of memory allocating 9 bytes."),
        ):
            message = run(raising(error), f"--workdir={tmp_path}").one_error()
            assert message.startswith("not enough memory (")
            assert message.endswith("; lower --lag")
        with pytest.raises(jax.errors.JaxRuntimeError):
            run(raising(jax.errors.JaxRuntimeError("INTERNAL: a defect")), f"--workdir={tmp_path}")

    def test_a_disk_that_takes_nothing(self, tmp_path, raising):
        error = OSError(28, "No space left on device", str(tmp_path / "results.partial"))
        message = run(raising(error), f"--workdir={tmp_path}").one_error()
        assert message == f"--workdir={tmp_path}: No space left on device: {tmp_path / 'results.partial'}"
        assert run(raising(OSError("read-only")), f"--workdir={tmp_path}").one_error().endswith(": read-only")


class TestMessagesOfTheLibrary:
    """The library names parameters; whoever typed flags reads flags."""

    @pytest.mark.parametrize(
        ("message", "shown"),
        [
            ("no file in data_dir=/data: put it there", "no file in --data_dir=/data: put it there"),
            ("lag=3 and bias=1", "--lag=3 and --bias=1"),
            ("(lag=3)", "(--lag=3)"),
            ("--lag=3: too long", "--lag=3: too long"),
            ("its length=3 is no flag", "its length=3 is no flag"),
            ("jetlag=3, a_lag=3, lag, lag = 3", "jetlag=3, a_lag=3, lag, lag = 3"),
            ("no file /runs/lag=3/a.csv", "no file /runs/lag=3/a.csv"),
            ("--workdir=runs/lag=3: Not a directory", "--workdir=runs/lag=3: Not a directory"),
            ("--workdir=lag=3: Not a directory", "--workdir=lag=3: Not a directory"),
        ],
    )
    def test_parameters_come_out_as_flags(self, message, shown):
        assert as_flags(message, Config) == shown

    def test_on_the_way_out(self, tmp_path, raising):
        ran = run(raising(DataError("lag=3: too few rows in data_dir=/data")), f"--workdir={tmp_path / 'lag=3'}")
        assert ran.one_error() == "--lag=3: too few rows in --data_dir=/data"
