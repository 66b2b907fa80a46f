"""A sweep from its first point to its last, with an engine that is made up: states, restarts, failures, the table."""

import json
import math
import signal
import sys
from pathlib import Path

import pytest
from helpers.running import as_in_a_new_process, run

from experiments.common import results
from experiments.common.flags import UsageError, parse
from experiments.sweep import engines
from experiments.sweep.__main__ import EXPERIMENT
from experiments.sweep.flags import Config
from experiments.sweep.run import Progress, duration
from experiments.sweep.state import DONE, FAILED, RUNNING, WAITING, Sweep

pytest.importorskip("submitit")

GRID = "--grid=cell=rnn,gru,lstm;lag=3,4"


def finish(folder, *losses):
    """What a run leaves whose seeds have these validation losses, and whose test error says the opposite."""
    loss = losses[0]
    folder.mkdir(parents=True, exist_ok=True)
    found = dict.fromkeys(results.KEYS, 0) | {"experiment": "forecast", "metrics": {"mse": results.spread([9 - loss])}}
    results.write(folder, found | {"best_validation_losses": losses})


class Ends:
    """A handle whose job has an outcome at the second look, made by `act`."""

    def __init__(self, id, job, act):
        self.id, self.job, self.act = id, job, act
        self.looks, self.stops, self.found = 0, 0, None

    def outcome(self):
        self.looks += 1
        if self.looks >= 2 and self.found is None:
            self.found = (143, "stopped") if self.stops else self.act(self.job)
        return self.found

    def stop(self):
        self.stops += 1


class MadeUp:
    """An engine that runs nothing: `act(job)` says how a point ends, None that it goes on."""

    def __init__(self, act, capacity=2, outlives=False):
        self.act, self.capacity, self.outlives = act, capacity, outlives
        self.handles, self.attached, self.most, self.closed = [], [], 0, 0

    def submit(self, jobs):
        new = [Ends(str(len(self.handles) + place), job, self.act) for place, job in enumerate(jobs)]
        self.handles += new
        self.most = max(self.most, sum(handle.found is None for handle in self.handles))
        return new

    def attach(self, id, job):
        if not self.outlives:
            return None
        self.attached.append(Ends(id, job, self.act))
        return self.attached[-1]

    def close(self):
        self.closed += 1

    @property
    def ran(self):
        """The points that were submitted, in order."""
        return [folder_of(handle.job).name for handle in self.handles]


def folder_of(job):
    return Path(job.results).parent


def succeed(job):
    values = dict(word.lstrip("-").split("=", 1) for word in job.command if "=" in word)
    finish(folder_of(job), {"rnn": 3.0, "gru": 1.0, "lstm": 2.0}[values["cell"]] + int(values["lag"]) / 100)
    return 0, ""


@pytest.fixture
def sweep(tmp_path, monkeypatch):
    """Runs the command on an engine."""
    monkeypatch.setattr("experiments.sweep.run.POLL_SECONDS", 0.0)

    def command(engine, *flags, grid=GRID):
        monkeypatch.setattr(engines, "make", lambda config, folder: engine)
        return run(EXPERIMENT.main, "forecast", f"--workdir={tmp_path / 's'}", grid, *flags)

    return command


def states(tmp_path):
    found = json.loads((tmp_path / "s" / "sweep.json").read_text())["points"]
    return {point["name"]: point["state"] for point in found}


def point_of(tmp_path, name):
    found = json.loads((tmp_path / "s" / "sweep.json").read_text())["points"]
    return next(point for point in found if point["name"] == name)


def all_points():
    return [f"cell={cell}-lag={lag}" for cell in ("rnn", "gru", "lstm") for lag in (3, 4)]


class TestToItsEnd:
    def test_every_point_once_and_the_best_first(self, tmp_path, sweep):
        engine = MadeUp(succeed)
        ran = sweep(engine)
        assert (ran.status, ran.err) == (0, "")
        assert engine.ran == all_points()
        assert (engine.most, engine.closed) == (2, 1)
        rows = [line.split("|")[1:4] for line in ran.out.splitlines() if line.startswith("| ")]
        cells = [[cell.strip() for cell in row] for row in rows]
        assert cells[0] == ["cell", "lag", "validation_loss"]
        assert cells[1:3] == [["gru", "3", "1.0300"], ["gru", "4", "1.0400"]]
        assert "6 of 6 done, 0 running, 0 failed, 0 s left: cell=lstm-lag=" in ran.out
        assert f"best by validation_loss: {tmp_path}/s/points/cell=gru-lag=3\n" in ran.out
        assert ran.out.splitlines()[-1].endswith(f"python launch.py report --runs={tmp_path}/s")

    def test_results(self, tmp_path, sweep):
        sweep(MadeUp(succeed), "--epochs=3")
        found = json.loads((tmp_path / "s" / "results.json").read_text())
        assert [found[name] for name in ("experiment", "of", "flags", "search")] == [
            "sweep",
            "forecast",
            "--epochs=3",
            "grid",
        ]
        assert (found["metric"], found["best"]) == ("validation_loss", "cell=gru-lag=3")
        assert len(found["points"]) == 6
        first = found["points"][0]
        assert first["flags"] == {"cell": "rnn", "lag": "3"}
        assert (first["state"], first["status"], first["starts"]) == ("done", 0, 1)
        assert first["measures"]["mse"]["mean"] == pytest.approx(9 - 3.03)

    def test_what_a_point_is_asked(self, tmp_path, sweep):
        engine = MadeUp(succeed)
        sweep(engine, "--epochs=3", "--data_dir=/d")
        command = engine.handles[0].job.command
        assert command[1:3] == ["-m", "experiments.forecast"]
        workdir = f"--workdir={tmp_path}/s/points/cell=rnn-lag=3"
        assert command[3:] == ["--epochs=3", "--data_dir=/d", "--cell=rnn", "--lag=3", workdir]

    def test_a_finished_one_shows_its_results(self, tmp_path, sweep):
        first = sweep(MadeUp(succeed))
        engine = MadeUp(succeed)
        again = sweep(engine)
        assert (again.status, engine.ran) == (0, [])
        assert "this sweep is finished; its results:\n" in again.out
        assert first.out.splitlines()[-4:] == again.out.splitlines()[-4:]

    def test_with_other_flags(self, sweep):
        sweep(MadeUp(succeed))
        assert "was made with other flags (--flags=" in sweep(MadeUp(succeed), "--epochs=3").one_error()

    def test_another_number_of_jobs_is_the_same_sweep(self, sweep):
        sweep(MadeUp(succeed))
        assert sweep(MadeUp(succeed), "--jobs=3").status == 0

    @pytest.mark.parametrize(
        ("flags", "best"),
        [
            (["--metric=mse"], "rnn-lag=4"),
            (["--metric=mse", "--maximize"], "gru-lag=3"),
        ],
    )
    def test_sorted_by_something_else(self, tmp_path, sweep, flags, best):
        ran = sweep(MadeUp(succeed), *flags)
        assert ran.status == 0, ran.err
        assert f", not by a validation loss: {tmp_path}/s/points/cell={best}\n" in ran.out

    def test_by_what_no_point_has(self, tmp_path, sweep):
        """None is best, and there is another way to sort."""
        ran = sweep(MadeUp(succeed), "--metric=accuracy")
        assert ran.status == 0, ran.err
        assert "best" not in ran.out
        report = f"python launch.py report --runs={tmp_path}/s"
        line = f"no point has --metric=accuracy: they have validation_loss, mse; {report} --metric=... sorts by these\n"
        assert line in ran.out
        assert json.loads((tmp_path / "s" / "results.json").read_text())["best"] is None


class TestFailures:
    @staticmethod
    def fail_gru(job):
        return (2, "error: no file") if "--cell=gru" in job.command else succeed(job)

    def test_do_not_take_others_with_them(self, tmp_path, sweep):
        engine = MadeUp(self.fail_gru)
        ran = sweep(engine)
        assert ran.status == 1
        assert engine.ran == all_points()
        line = "failed: cell=gru-lag=3 (status 2: error: no file)"
        assert f"{line}\n" in ran.out
        assert ran.err.splitlines()[0] == f"{line}; {tmp_path}/s/logs/cell=gru-lag=3.err"
        assert (
            ran.err.splitlines()[-1] == "error: 2 of 6 points failed; the same command tries them again, and no others"
        )
        assert "gru" not in "".join(line for line in ran.out.splitlines() if line.startswith("|"))
        assert (point_of(tmp_path, "cell=gru-lag=3")["status"], states(tmp_path)["cell=gru-lag=3"]) == (2, FAILED)

    def test_are_tried_again_alone(self, tmp_path, sweep):
        sweep(MadeUp(self.fail_gru))
        engine = MadeUp(succeed)
        ran = sweep(engine)
        assert (ran.status, ran.err) == (0, "")
        assert engine.ran == ["cell=gru-lag=3", "cell=gru-lag=4"]
        assert set(states(tmp_path).values()) == {DONE}
        assert (point_of(tmp_path, "cell=gru-lag=3")["starts"], point_of(tmp_path, "cell=rnn-lag=3")["starts"]) == (
            2,
            1,
        )

    def test_results_that_are_damaged(self, tmp_path, sweep):
        sweep(MadeUp(succeed))
        (tmp_path / "s" / "points" / "cell=gru-lag=3" / "results.json").write_text("{")
        ran = sweep(MadeUp(lambda job: (0, "")))
        assert ran.status == 1
        assert "cell=gru-lag=3" in ran.err.splitlines()[0]
        assert "results.json" in ran.err.splitlines()[0]

    def test_a_job_that_says_it_was_fine_and_left_nothing(self, sweep):
        ran = sweep(MadeUp(lambda job: (0, "")))
        assert ran.err.splitlines()[-1].startswith("error: 6 of 6 points failed")


class TestStopped:
    @staticmethod
    def interrupt_at(number, then=succeed):
        """Points end well until one of them has the sweep interrupted, and goes on."""
        ended = []

        def act(job):
            ended.append(job)
            if len(ended) <= number:
                return then(job)
            if len(ended) == number + 1:
                signal.raise_signal(signal.SIGTERM)
            return None

        return act

    def test_points_save_and_the_same_command_goes_on(self, tmp_path, sweep):
        engine = MadeUp(self.interrupt_at(3))
        ran = sweep(engine)
        assert ran.status == 128 + signal.SIGTERM
        assert ran.err == "stopped with 3 of 6 points done; the same command goes on from there\n"
        running = [handle for handle in engine.handles if handle.stops]
        assert len(running) in (1, 2)
        assert engine.closed == 1
        found = list(states(tmp_path).values())
        assert found.count(DONE) == 3
        assert found.count(WAITING) == 3
        assert not (tmp_path / "s" / "results.json").exists()

        later = MadeUp(succeed)
        assert sweep(later).status == 0
        assert sorted(later.ran + engine.ran[:3]) == sorted(all_points())

    def test_what_is_in_a_queue_stays_there(self, tmp_path, sweep):
        engine = MadeUp(self.interrupt_at(2), capacity=10, outlives=True)
        ran = sweep(engine)
        assert not any(handle.stops for handle in engine.handles)
        queue = "in the queue, where scancel ends them: 2 3 4 5"
        assert ran.err == f"stopped with 2 of 6 points done; {queue}; the same command goes on from there\n"
        assert list(states(tmp_path).values()).count(RUNNING) == 4

        later = MadeUp(succeed, outlives=True)
        assert sweep(later).status == 0
        assert later.ran == []
        assert [handle.id for handle in later.attached] == ["2", "3", "4", "5"]

    def test_a_disk_that_is_full(self, sweep, monkeypatch):
        """Points that run are asked to save, and one line says what it was."""
        engine = MadeUp(self.interrupt_at(0))
        monkeypatch.setattr(Sweep, "settle", None)
        monkeypatch.setattr(
            Ends, "outcome", lambda handle: (_ for _ in ()).throw(OSError(28, "No space left on device"))
        )
        assert sweep(engine).one_error().endswith("No space left on device")
        assert [handle.stops for handle in engine.handles] == [1, 1]


class TestKilled:
    """What `sweep.json` says when nobody was there to write down how points ended."""

    def test_what_may_run_still_comes_first(self, tmp_path, sweep):
        sweep(MadeUp(TestStopped.interrupt_at(2)))
        file = tmp_path / "s" / "sweep.json"
        found = json.loads(file.read_text())
        found["points"][4]["state"] = RUNNING
        file.write_text(json.dumps(found))
        finish(tmp_path / "s" / "points" / "cell=lstm-lag=4", 2.0)  # it ended well, after the sweep
        engine = MadeUp(succeed)
        assert sweep(engine).status == 0
        assert engine.ran == ["cell=lstm-lag=3", "cell=gru-lag=3", "cell=gru-lag=4"]

    @pytest.mark.parametrize(
        "text",
        [
            "", "[]", '{"points": [{"nome": 3}]}', '{"points": [{"name": "a", "values": [3]}]}',
            '{"points": [{"name": "..", "values": {"cell": "rnn", "lag": "3"}}]}',
            '{"points": [{"name": "cell=rnn", "values": {"cell": "rnn"}}]}',
            '{"points": [{"name": "cell=rnn-lag=3", "values": {"cell": "rnn", "lag": "3"}, "starts": "1"}]}',
        ],
    )  # fmt: skip
    def test_a_file_that_is_damaged(self, tmp_path, sweep, text):
        sweep(MadeUp(succeed))
        (tmp_path / "s" / "sweep.json").write_text(text)
        message = sweep(MadeUp(succeed)).one_error()
        assert message.startswith(f"{tmp_path}/s/sweep.json holds no points of a sweep (")
        assert message.endswith("delete it, and the same command makes it anew")
        (tmp_path / "s" / "sweep.json").unlink()
        engine = MadeUp(succeed)
        assert sweep(engine).status == 0
        assert engine.ran == []

    def test_results_that_were_removed(self, tmp_path, sweep):
        sweep(MadeUp(succeed))
        (tmp_path / "s" / "points" / "cell=rnn-lag=4" / "results.json").unlink()
        engine = MadeUp(succeed)
        assert sweep(engine).status == 0
        assert engine.ran == ["cell=rnn-lag=4"]


class TestSearches:
    SPACE = "--grid=cell=rnn,gru,lstm;lag=3..30;learning_rate=1e-4..1e-1:log"

    def test_random(self, tmp_path, sweep):
        engine = MadeUp(succeed)
        assert sweep(engine, "--search=random", "--trials=5", grid=self.SPACE).status == 0
        assert [name[:5] for name in engine.ran] == [f"000{number}-" for number in range(5)]
        assert len(list((tmp_path / "s" / "points").iterdir())) == 5

    def test_optuna_learns_from_validation_and_goes_on(self, tmp_path, sweep, monkeypatch):
        """The test error of these runs says the opposite. One that is stopped proposes the same points."""
        pytest.importorskip("optuna")
        flags = "--search=optuna", "--trials=24", "--search_seed=1"
        engine = MadeUp(succeed, capacity=1)
        assert sweep(engine, *flags, grid=self.SPACE).status == 0
        assert len(engine.ran) == 24
        assert sum("cell=gru" in name for name in engine.ran[12:]) > 6

        (tmp_path / "s").rename(tmp_path / "first")
        parts = [MadeUp(TestStopped.interrupt_at(13), capacity=1), MadeUp(succeed, capacity=1)]
        assert [sweep(part, *flags, grid=self.SPACE).status for part in parts] == [128 + signal.SIGTERM, 0]
        names = list(dict.fromkeys(parts[0].ran + parts[1].ran))
        assert names == engine.ran


class TestMeasures:
    def made(self, tmp_path, *flags):
        with as_in_a_new_process():
            return Sweep(parse(Config, ["--experiment=forecast", GRID, *flags]), tmp_path / "s")

    def test_validation_by_seed(self, tmp_path):
        sweep = self.made(tmp_path)
        finish(sweep.run_folder(sweep.points[0]), 0.5, 0.6, 0.7)
        assert sweep.measures(sweep.points[0])["validation_loss"] == results.spread([0.5, 0.6, 0.7])

    def test_where_there_is_no_validation(self, tmp_path):
        sweep = self.made(tmp_path, "--metric=mse", "--maximize")
        point = sweep.points[0]
        assert sweep.objective(point) is None, "it has not run"
        finish(sweep.run_folder(point), 0.5, math.inf)  # of a seed that was never evaluated
        point.state = DONE
        assert sweep.objective(point) == -8.5

    def test_an_accuracy_is_best_when_large(self, tmp_path):
        sweep = self.made(tmp_path)
        assert sweep.rank("accuracy", {"accuracy": {"mean": 0.5}}) == -0.5
        assert sweep.rank("mse", {"mse": {"mean": 0.5}}) == 0.5
        assert sweep.rank("mse", {"mse": {"mean": None}}) is None


@pytest.mark.parametrize(("seconds", "text"), [(99, "99 s"), (100, "1.7 min"), (6000, "1.7 h")])
def test_durations(seconds, text):
    assert duration(seconds) == text


def test_a_value_that_is_refused_leaves_no_folder(tmp_path):
    with pytest.raises(UsageError, match="hidden_size=0"):
        Sweep(parse(Config, ["--experiment=forecast", "--grid=hidden_size=0"]), tmp_path / "s")


def test_the_line_in_a_terminal(tmp_path, monkeypatch, capsys):
    """It says what is done, runs and has failed, from where the sweep stands."""
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    sweep = Sweep(parse(Config, ["--experiment=forecast", GRID]), tmp_path / "s")
    first, second, third = sweep.points[:3]
    first.state = DONE
    progress = Progress(sweep)
    second.state, third.state = FAILED, RUNNING
    progress.ended(second)
    progress.show()
    third.state = DONE
    progress.ended(third)
    progress.close()
    out, err = capsys.readouterr()
    assert out == "failed: cell=rnn-lag=4 (status None: it said nothing on stderr)\n"
    lines = err.split("\r")
    assert " 1/6 " in lines[1]
    assert any(" 1/6 " in line and ", 1 running, 1 failed]" in line for line in lines)
    assert " 2/6 " in lines[-1]
    assert ", 0 running, 1 failed]" in lines[-1]
