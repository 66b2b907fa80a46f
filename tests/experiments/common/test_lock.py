"""One process at a time in a run's folder, by a lock that a kill releases."""

import errno
import os
import signal
import subprocess
import sys

import pytest
from helpers.locking import held

from experiments.common import lock
from experiments.common.flags import UsageError

HOLDING = """
import sys, time
from pathlib import Path
from experiments.common import lock
lock.take(Path(sys.argv[1]))
print("held", flush=True)
time.sleep(60)
"""


@pytest.fixture
def another(tmp_path):
    """Another process that has the folder."""
    process = subprocess.Popen([sys.executable, "-c", HOLDING, str(tmp_path)], stdout=subprocess.PIPE, text=True)
    assert process.stdout.readline() == "held\n"
    yield process
    process.kill()
    process.wait()
    process.stdout.close()


def test_a_second_process_is_refused_until_the_first_is_killed(tmp_path, another):
    text = rf"^--workdir=.*: process {another.pid} on \S+ is at work there; wait for its end, or name another folder$"
    for _ in range(2):
        with pytest.raises(UsageError, match=text), held(tmp_path):
            pass
    another.send_signal(signal.SIGKILL)
    another.wait()
    with held(tmp_path):
        assert (tmp_path / "lock").read_text().startswith(f"process {os.getpid()} on ")


def test_is_free_when_the_run_ends_with_an_error_too(tmp_path):
    for _ in range(2):
        with pytest.raises(ZeroDivisionError), held(tmp_path):
            raise ZeroDivisionError
    with held(tmp_path), pytest.raises(UsageError, match="is at work there"), held(tmp_path):
        pass


def test_a_folder_that_cannot_be_written_needs_none(tmp_path, monkeypatch):
    def refuse(*given):
        raise OSError(errno.EROFS, "Read-only file system")

    monkeypatch.setattr(os, "open", refuse)
    with held(tmp_path):
        pass
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("number", [errno.ENOLCK, errno.EOPNOTSUPP])
def test_a_file_system_without_locks(tmp_path, monkeypatch, capsys, number):
    def refuse(*given):
        raise OSError(number, "there are none")

    monkeypatch.setattr(lock.fcntl, "flock", refuse)
    with held(tmp_path):
        pass
    told = f"--workdir={tmp_path}: no lock on this file system (there are none): start nothing else there\n"
    assert capsys.readouterr().err == told


def test_what_is_no_file_of_ours(tmp_path):
    """A link in a folder from elsewhere leads to nothing that is then emptied."""
    (tmp_path / "precious").write_text("precious")
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "lock").symlink_to(tmp_path / "precious")
    with pytest.raises(OSError, match="symbolic links"), held(tmp_path / "run"):
        pass
    assert (tmp_path / "precious").read_text() == "precious"
