"""A job for a point: what it runs, when it waits, and how it hands a request to stop on."""

import fcntl
import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import asdict, replace
from pathlib import Path

import pytest
from helpers.jobs import SAVES, count, holder, job_of, until

from experiments.sweep.point import last_line

ROOT = Path(__file__).resolve().parents[3]
START = "import json, sys; from experiments.sweep.point import Job; Job(**json.loads(sys.argv[1]))()"


def started(folder, code, **more):
    arguments = json.dumps(asdict(replace(job_of(folder, code), **more)))
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    return subprocess.Popen([sys.executable, "-c", START, arguments], cwd=folder, env=environment)


def outcome(folder):
    return json.loads((folder / "point.outcome").read_text())


@pytest.mark.parametrize(
    ("code", "status", "message"),
    [
        ("print('fine')", 0, ""),
        ("import sys; sys.stderr.write('100%\\n\\nerror: no file\\n \\n'); sys.exit(2)", 2, "error: no file"),
        ("import sys; sys.stderr.write(' 10%\\r 20%'); sys.exit(3)", 3, "20%"),
        ("import sys; sys.exit(4)", 4, ""),
        ("import os; os.kill(os.getpid(), 9)", -9, "ended by SIGKILL"),
    ],
)
def test_how_it_ended(tmp_path, code, status, message):
    assert started(tmp_path, code).wait() == 0
    assert outcome(tmp_path) == {"status": status, "message": message}


def test_what_an_earlier_job_said_stays(tmp_path):
    for word in ("one", "two"):
        started(
            tmp_path, f"import sys; print({word!r}); sys.stderr.write({word!r} * (len({word!r}) == 3)); sys.exit(1)"
        ).wait()
    assert (tmp_path / "point.log").read_text() == "one\ntwo\n"
    assert outcome(tmp_path)["message"] == "two"
    started(tmp_path, "import sys; sys.exit(1)").wait()
    assert outcome(tmp_path)["message"] == "", "that is what the job before said"


def test_cores_and_environment(tmp_path):
    core = max(os.sched_getaffinity(0))
    code = "import os; print(sorted(os.sched_getaffinity(0)), os.environ.get('A'), os.environ.get('HOME'))"
    started(tmp_path, code, cores=(core,), environment=(("A", "1"), ("HOME", None))).wait()
    assert (tmp_path / "point.log").read_text() == f"[{core}] 1 None\n"


def test_what_is_done_is_not_run(tmp_path):
    (tmp_path / "results.json").write_text("{}")
    started(tmp_path, "print('again')").wait()
    assert outcome(tmp_path) == {"status": 0, "message": ""}
    assert not (tmp_path / "point.log").exists()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_a_request_to_stop_is_handed_on_once(tmp_path, number):
    job = started(tmp_path, SAVES)
    until(lambda: count(tmp_path, "begun") == 1)
    job.send_signal(number)
    until(lambda: count(tmp_path, "saved"))
    job.send_signal(number)
    assert job.wait() == 0
    assert count(tmp_path, "saved") == 1
    assert outcome(tmp_path)["status"] == 143


def test_not_where_a_cluster_tells_all_processes(tmp_path):
    job = started(tmp_path, SAVES, hands_on=False)
    until(lambda: count(tmp_path, "begun") == 1)
    job.send_signal(signal.SIGTERM)
    time.sleep(0.2)
    assert count(tmp_path, "saved") == 0
    os.kill(holder(tmp_path), signal.SIGTERM)
    until(lambda: (tmp_path / "point.outcome").exists())
    assert outcome(tmp_path)["status"] == 143
    assert job.poll() is None, "it would not be queued again"
    job.kill()
    job.wait()


def test_the_signal_of_the_cluster_leaves_the_command_alone(tmp_path):
    job = started(tmp_path, SAVES)
    until(lambda: count(tmp_path, "begun") == 1)
    os.kill(holder(tmp_path), signal.SIGUSR2)
    (tmp_path / "finish").touch()
    assert job.wait() == 0
    assert outcome(tmp_path)["status"] == 0


def test_a_folder_in_which_another_command_is_at_work(tmp_path):
    with (tmp_path / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        job = started(tmp_path, "print()")
        time.sleep(0.5)
        assert job.poll() is None
        assert not (tmp_path / "point.log").exists()
    assert job.wait() == 0
    assert outcome(tmp_path)["status"] == 0


class TestAJobThatWasKilled:
    """Its command goes on, and has the point."""

    @pytest.fixture
    def orphan(self, tmp_path):
        job = started(tmp_path, SAVES)
        until(lambda: count(tmp_path, "begun") == 1)
        job.kill()
        job.wait()
        yield holder(tmp_path)
        (tmp_path / "finish").touch()

    def test_the_next_waits_and_has_nothing_to_do(self, tmp_path, orphan):
        job = started(tmp_path, SAVES)
        time.sleep(0.5)
        assert job.poll() is None
        (tmp_path / "finish").touch()
        assert job.wait() == 0
        assert outcome(tmp_path) == {"status": 0, "message": ""}
        assert count(tmp_path, "begun") == 1

    def test_the_next_runs_it_where_it_failed(self, tmp_path, orphan):
        job = started(tmp_path, SAVES)
        os.kill(orphan, signal.SIGKILL)
        until(lambda: count(tmp_path, "begun") == 2)
        (tmp_path / "finish").touch()
        assert job.wait() == 0
        assert outcome(tmp_path)["status"] == 0

    def test_the_next_stops_it(self, tmp_path, orphan):
        job = started(tmp_path, SAVES)
        time.sleep(0.5)
        job.terminate()
        assert job.wait() == 0
        assert outcome(tmp_path)["message"] == "stopped while another job had this point"
        until(lambda: count(tmp_path, "saved") == 1)


def test_a_file_that_cannot_be_written(tmp_path):
    (tmp_path / "point.lock").mkdir()
    started(tmp_path, "print()").wait()
    assert outcome(tmp_path)["status"] == 1
    assert "Is a directory" in outcome(tmp_path)["message"]


def test_last_line_of_a_long_file(tmp_path):
    file = tmp_path / "file"
    file.write_bytes(b"x" * 2**20 + b"\nlast \xff line\n\n")
    assert last_line(file) == "last \N{REPLACEMENT CHARACTER} line"
    assert last_line(file, file.stat().st_size) == ""


def test_imports_no_jax():
    code = "import sys, experiments.sweep.point; assert not {'jax', 'numpy'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True)
