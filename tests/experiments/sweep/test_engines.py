"""Engines: jobs through submitit on this machine and on a cluster that is made up, and through Ray."""

import json
import os
import signal
import stat
import subprocess
import sys
from pathlib import Path

import pytest
from helpers.jobs import SAVES, count, holder, job_of, until
from helpers.running import run

import experiments
from experiments.common.flags import UsageError, parse
from experiments.sweep.__main__ import EXPERIMENT
from experiments.sweep.engines import ROOT, Local, Slurm, share, visible_gpus
from experiments.sweep.flags import Config

pytest.importorskip("submitit")

WRITES = "import pathlib, sys; pathlib.Path(sys.argv[1], 'results.json').write_text('{}')"


def config(*flags):
    return parse(Config, ["--experiment=forecast", "--grid=lag=3,4", *flags])


def parent(pid):
    return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])


def outcome_of(handle):
    until(lambda: handle.outcome() is not None or (handle.submitted.done() and True))
    found = handle.outcome()
    assert found is not None
    return found


def test_the_project_is_found_from_here():
    assert Path(experiments.__file__).parent.parent == ROOT


class TestShares:
    def test_of_cores(self, monkeypatch):
        monkeypatch.setattr(os, "sched_getaffinity", lambda pid: {2, 3, 4, 5, 8})
        assert [share(slot, 2, None) for slot in range(2)] == [(2, 3), (4, 5)]
        assert [share(slot, 6, None) for slot in range(6)] == [(2,), (3,), (4,), (5,), (8,), (2,)]
        assert [share(slot, 2, 3) for slot in range(2)] == [(2, 3, 4), (2, 5, 8)]
        assert share(0, 1, 99) == (2, 3, 4, 5, 8)

    def test_where_the_system_cannot_say(self, monkeypatch):
        monkeypatch.delattr(os, "sched_getaffinity")
        assert share(0, 2, None) == ()

    def test_of_gpus(self):
        assert [visible_gpus(slot, 1, "3,5") for slot in range(2)] == ["3", "5"]
        assert visible_gpus(0, 0, "3,5") == ""
        assert visible_gpus(1, None, None) is None


class TestLocal:
    @pytest.fixture
    def engine(self, tmp_path):
        engine = Local(config("--jobs=2"), tmp_path / "jobs")
        yield engine
        engine.close()
        assert not list((tmp_path / "jobs").iterdir())

    def test_two_at_once_with_cores_of_their_own(self, tmp_path, engine, monkeypatch):
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "7")
        code = "import os; print(sorted(os.sched_getaffinity(0)), os.environ['CUDA_VISIBLE_DEVICES'])"
        folders = [tmp_path / name for name in "ab"]
        for folder in folders:
            folder.mkdir()
        handles = engine.submit([job_of(folder, code) for folder in folders])
        assert engine.free == []
        until(lambda: all(handle.submitted.done() for handle in handles))
        assert [handle.outcome() for handle in handles] == [(0, ""), (0, "")]
        assert sorted(engine.free) == [0, 1]
        said = [(folder / "point.log").read_text() for folder in folders]
        assert said == [f"{list(share(slot, 2, None))} 7\n" for slot in range(2)]
        assert not list(engine.folder.glob("*_result.pkl")), "the number of a process may come again"

    def test_stopped(self, tmp_path, engine):
        (handle,) = engine.submit([job_of(tmp_path, SAVES)])
        until(lambda: count(tmp_path, "begun"))
        assert handle.outcome() is None
        handle.stop()
        handle.stop()
        until(handle.submitted.done)
        assert handle.outcome()[0] == 143
        assert count(tmp_path, "saved") == 1
        handle.stop()  # there is nothing left to stop

    def test_asked_to_make_room_it_saves_and_is_queued_again(self, tmp_path, engine):
        (handle,) = engine.submit([job_of(tmp_path, SAVES)])
        until(lambda: count(tmp_path, "begun") == 1 and holder(tmp_path))
        os.kill(parent(holder(tmp_path)), signal.SIGUSR2)
        until(lambda: count(tmp_path, "begun") == 2)
        assert count(tmp_path, "saved") == 1
        assert handle.outcome() is None
        (tmp_path / "finish").touch()
        until(handle.submitted.done)
        assert handle.outcome() == (0, "")

    def test_a_job_that_is_lost(self, tmp_path, engine):
        (handle,) = engine.submit([job_of(tmp_path, SAVES)])
        until(lambda: holder(tmp_path))
        os.kill(parent(holder(tmp_path)), signal.SIGKILL)
        until(handle.submitted.done)
        assert handle.outcome() == (1, f"its job {handle.id} ended without a word")
        (tmp_path / "finish").touch()


SBATCH = """#!{python}
import os, re, subprocess, sys
script = open(sys.argv[1]).read()
open({folder!r} + "/script.sh", "w").write(script)
if "partition=nowhere" in script:
    sys.exit("sbatch: error: invalid partition specified: nowhere")
found = re.search("--array=0-([0-9]+)", script)
jobs = range(int(found[1]) + 1) if found else [None]
silent = subprocess.DEVNULL  # or submitit would wait for the end of the jobs
nodes = dict(SLURM_NTASKS="1", SLURM_JOB_NUM_NODES="1", SLURM_NODEID="0", SLURM_PROCID="0", SLURM_LOCALID="0")
for number in jobs:
    own = dict(SLURM_JOB_ID=str(1000 + (number or 0)))
    if number is not None:
        own |= dict(SLURM_ARRAY_JOB_ID="1000", SLURM_ARRAY_TASK_ID=str(number))
    subprocess.Popen(["bash", sys.argv[1]], env=os.environ | nodes | own, stdout=silent, stderr=silent)
print("Submitted batch job 1000")
"""
SRUN = """#!/bin/bash
while true; do
  case "$1" in
    --unbuffered) shift ;;
    --output|--error) shift 2 ;;
    *) exec "$@" > /dev/null 2>&1 ;;
  esac
done
"""
SACCT = """#!/bin/bash
echo 'JobID|State|NodeList'
cat {folder}/states 2> /dev/null || true
"""


class TestSlurm:
    @pytest.fixture(autouse=True)
    def cluster(self, tmp_path, monkeypatch):
        """SLURM's commands, which run a job at once on this machine."""
        folder = tmp_path / "cluster"
        folder.mkdir()
        for name, text in {"sbatch": SBATCH, "srun": SRUN, "sacct": SACCT}.items():
            file = folder / name
            file.write_text(
                text.replace("{python}", sys.executable)
                .replace("{folder!r}", repr(str(folder)))
                .replace("{folder}", str(folder))
            )
            file.chmod(stat.S_IRWXU)
        monkeypatch.setenv("PATH", f"{folder}{os.pathsep}{os.environ['PATH']}")
        return folder

    def test_what_a_job_asks_for(self, tmp_path, cluster):
        flags = "--partition=long", "--minutes=90", "--gpus=2", "--cpus=4", "--memory_gib=8", "--jobs=3"
        engine = Slurm(config(*flags, "--engine=slurm", "--slurm_options=account=us,qos=low"), tmp_path / "jobs")
        folders = [tmp_path / name for name in "abcde"]
        for folder in folders:
            folder.mkdir()
        handles = engine.submit([job_of(folder, WRITES) for folder in folders])
        assert [handle.id for handle in handles] == [f"1000_{number}" for number in range(5)]
        lines = (cluster / "script.sh").read_text().splitlines()
        wanted = {
            "job-name": "sweep-forecast", "partition": "long", "time": "90", "gpus-per-node": "2", "cpus-per-task": "4",
            "mem": "8G", "account": "us", "qos": "low", "array": "0-4%3", "signal": "USR2@90", "open-mode": "append",
        }  # fmt: skip
        for name, value in wanted.items():
            assert f"#SBATCH --{name}={value}" in lines, name
        assert "export SUBMITIT_EXECUTOR=slurm" in lines
        until(lambda: all(handle.outcome() is not None for handle in handles))
        assert {handle.outcome() for handle in handles} == {(0, "")}
        assert all((folder / "results.json").exists() for folder in folders)

    def test_without_flags(self, tmp_path, cluster):
        engine = Slurm(config("--engine=slurm"), tmp_path / "jobs")
        (handle,) = engine.submit([job_of(tmp_path, WRITES)])
        assert handle.id == "1000"
        script = (cluster / "script.sh").read_text()
        assert "#SBATCH --time=60\n" in script
        assert not any(f"--{name}" in script for name in ("partition", "gpus", "mem", "array"))
        until(lambda: handle.outcome() is not None)

    def test_a_job_is_found_again(self, tmp_path):
        engine = Slurm(config("--engine=slurm"), tmp_path / "jobs")
        (handle,) = engine.submit([job_of(tmp_path, SAVES)])
        until(lambda: count(tmp_path, "begun"))
        later = Slurm(config("--engine=slurm"), tmp_path / "jobs").attach(handle.id, job_of(tmp_path, SAVES))
        assert later.outcome() is None
        (tmp_path / "finish").touch()
        until(lambda: later.outcome() is not None)
        assert later.outcome() == (0, "")
        assert engine.attach("", job_of(tmp_path, SAVES)) is None

    def test_a_job_that_is_lost(self, tmp_path, cluster):
        engine = Slurm(config("--engine=slurm"), tmp_path / "jobs")
        (cluster / "states").write_text("77|NODE_FAIL|n1\n")
        handle = engine.attach("77", job_of(tmp_path, WRITES))
        assert handle.outcome() is None, "what it has written may not be seen here yet"
        handle.grace = 0
        assert handle.outcome() == (1, "its job 77 ended without a word")

    def test_sbatch_refuses(self, tmp_path, capfd):
        engine = Slurm(config("--engine=slurm", "--partition=nowhere"), tmp_path / "jobs")
        with pytest.raises(UsageError) as caught:
            engine.submit([job_of(tmp_path, WRITES)])
        text = "--engine=slurm: sbatch refused the jobs: sbatch: error: invalid partition specified: nowhere"
        assert str(caught.value) == text
        assert capfd.readouterr().err == ""


RAY = """
import json, sys
from helpers.jobs import SAVES, count, job_of, until
from pathlib import Path
from experiments.common.flags import parse
from experiments.sweep.flags import Config
from experiments.sweep.on_ray import Ray

folder = Path(sys.argv[1])
engine = Ray(parse(Config, ["--cpus=1"]))
for name in "abc":
    (folder / name).mkdir()
writes = "import pathlib, sys; pathlib.Path(sys.argv[1], 'results.json').write_text('{}')"
done, failed, stopped = engine.submit([
    job_of(folder / "a", writes), job_of(folder / "b", "import sys; sys.exit('no')"), job_of(folder / "c", SAVES),
])
until(lambda: done.outcome() is not None and failed.outcome() is not None and count(folder / "c", "begun"))
stopped.stop()
until(lambda: stopped.outcome() is not None)
print(json.dumps([done.outcome(), failed.outcome(), stopped.outcome(), count(folder / "c", "saved")]))
engine.close()
"""


def test_ray(tmp_path):
    """In a process of its own, which Ray fills with threads."""
    pytest.importorskip("ray")
    tests = Path(__file__).resolve().parents[2]
    environment = os.environ | {"PYTHONPATH": f"{ROOT}{os.pathsep}{tests}"}
    ran = subprocess.run(
        [sys.executable, "-c", RAY, str(tmp_path)],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert ran.returncode == 0, ran.stderr
    assert json.loads(ran.stdout.splitlines()[-1]) == [[0, ""], [1, "no"], [143, ""], 1]


def test_ray_does_not_answer(tmp_path, monkeypatch):
    pytest.importorskip("ray")
    monkeypatch.setenv("RAY_ADDRESS", "nowhere")
    message = run(EXPERIMENT.main, "forecast", "--grid=lag=3,4", "--engine=ray", f"--workdir={tmp_path}").one_error()
    assert message == "--engine=ray: no Ray at nowhere (RAY_ADDRESS): Invalid address format: nowhere"


def test_no_point_is_run_where_sbatch_refuses(tmp_path, monkeypatch):
    """One line, and the same command goes on where it works."""
    monkeypatch.setattr("shutil.which", lambda name, *rest, **more: f"/{name}")

    def refuse(*arguments):
        raise RuntimeError("Unable to contact slurm controller")

    monkeypatch.setattr("submitit.SlurmExecutor.submit_array", refuse)
    flags = ["forecast", "--grid=lag=3,4", "--engine=slurm", f"--workdir={tmp_path}"]
    message = run(EXPERIMENT.main, *flags).one_error()
    assert message == "--engine=slurm: sbatch refused the jobs: Unable to contact slurm controller"
