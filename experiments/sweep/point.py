"""One point of a sweep in a process of its own: what an engine runs, here or on a node of a cluster.

A `Job` starts the command of the point and waits for it. It holds a lock on the point as long as the command runs, and
so does the command itself, which inherits it: of two jobs for one point the second waits until the first has ended,
even where that was killed and only its command went on, and then finds results and has nothing to do. Each point runs
once.

SIGTERM, SIGHUP and Ctrl-C on a job are handed on to its command once, which saves and ends. A job is a callable that
submitit can queue again: when its time is over or it has to make room, `checkpoint` has the command save.

Nothing here imports JAX, which takes seconds and memory: the command does.
"""

import contextlib
import fcntl
import json
import os
import signal
import socket
import subprocess
import time
from dataclasses import dataclass, replace
from pathlib import Path
from types import FrameType
from typing import IO, Any

STOPPED = 128 + signal.SIGTERM
"""The status of a job that was asked to stop before its command began."""
OF_A_TERMINAL = (signal.SIGINT, signal.SIGHUP)
"""What a terminal sends to all processes of a command: Ctrl-C, and that it is gone."""
ROOM_SECONDS = 600
"""How long a job on a cluster waits, once its command was stopped, for the end that the cluster has announced."""


@dataclass
class Job:
    """A point, to be run by calling this.

    Attributes:
        command: what to run.
        results: the file that is there when the point is done.
        log: receives what the command says, behind what is there.
        errors: the same of its stderr.
        outcome: the file for `{"status", "message"}`, written last: the exit status, and the last line of stderr.
        lock: the file to lock.
        in_use: the file that whoever works in the folder of the run has locked, a command outside of the sweep too.
        cores: the cores that the command may use; none: those of this process.
        environment: variables to set, or, with None, to take away.
        hands_on: whether the command has to be told of a SIGTERM; not where a cluster sends it to all processes.
    """

    command: list[str]
    results: str
    log: str
    errors: str
    outcome: str
    lock: str
    in_use: str
    cores: tuple[int, ...] = ()
    environment: tuple[tuple[str, str | None], ...] = ()
    hands_on: bool = True

    def __post_init__(self) -> None:
        self._process: subprocess.Popen[bytes] | None = None
        self._stopping = False

    def __call__(self) -> None:
        """Runs the point unless it is done, and says in `outcome` how that went."""
        for number in (signal.SIGTERM, *OF_A_TERMINAL):
            signal.signal(number, self._stop)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, OF_A_TERMINAL)  # see `engines.shielded`
        try:
            status, message = self._locked()
        except OSError as error:
            status, message = 1, str(error)
        partial = Path(f"{self.outcome}.partial")
        partial.write_text(json.dumps({"status": status, "message": message}), encoding="utf-8")
        partial.replace(self.outcome)
        if status and self._stopping and not self.hands_on:
            time.sleep(ROOM_SECONDS)  # a job that ends by itself is not queued again

    def checkpoint(self) -> Any:
        """What to queue again: the same job, when its command has saved. submitit calls this in a signal handler."""
        from submitit.helpers import DelayedSubmission

        if not self._stopping:
            self._stopping = True
            self._terminate()
        if self._process is not None:
            _wait(self._process)
        return DelayedSubmission(replace(self))

    def _locked(self) -> tuple[int, str]:
        with open(self.lock, "a+", encoding="utf-8") as lock:
            while not _take(lock):
                if self._stopping:
                    _terminate_holder(lock)
                    return STOPPED, "stopped while another job had this point"
                time.sleep(0.2)
            while _locked_by_another(self.in_use) and not self._stopping:
                time.sleep(0.2)
            if Path(self.results).exists():
                return 0, ""
            if self._stopping:
                return STOPPED, "stopped before it began"
            return self._run(lock)

    def _run(self, lock: IO[str]) -> tuple[int, str]:
        if self.cores and hasattr(os, "sched_setaffinity"):
            os.sched_setaffinity(0, self.cores)
        environment = dict(os.environ)
        for name, value in self.environment:
            environment.pop(name, None)
            if value is not None:
                environment[name] = value
        with open(self.log, "ab") as out, open(self.errors, "ab") as errors:
            before = errors.tell()
            # A session of its own, so that Ctrl-C in a terminal is one request to stop and not two; and without the
            # signal that tells a job of submitit to make room, which a cluster sends to all processes.
            signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGUSR2})
            self._process = subprocess.Popen(
                self.command,
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=errors,
                env=environment,
                pass_fds=[lock.fileno()],
                start_new_session=True,
            )
            signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGUSR2})
            lock.truncate(0)
            lock.write(json.dumps({"host": socket.gethostname(), "pid": self._process.pid}))
            lock.flush()
            if self._stopping:  # asked just before there was a command to hand it on to
                self._terminate()
            _wait(self._process)
            status = self._process.wait()
        if status < 0:
            return status, f"ended by {signal.Signals(-status).name}"
        return status, "" if status == 0 else last_line(Path(self.errors), before)

    def _stop(self, number: int, frame: FrameType | None) -> None:
        if not self._stopping:
            self._stopping = True
            if self.hands_on:
                self._terminate()

    def _terminate(self) -> None:
        if self._process is not None and self._process.returncode is None:
            with contextlib.suppress(ProcessLookupError):  # it has ended just now
                os.kill(self._process.pid, signal.SIGTERM)


def _wait(process: "subprocess.Popen[bytes]") -> None:
    """Waits without taking the exit status, and without the lock of `Popen.wait`: a signal handler may wait, too.

    Not in one long call: Ray asks a task to stop in a way that ends none.
    """
    with contextlib.suppress(ChildProcessError):  # its status has been taken
        while os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT | os.WNOHANG) is None:
            time.sleep(0.05)


def _take(lock: IO[str]) -> bool:
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _locked_by_another(file: str) -> bool:
    try:
        with open(file, "rb") as opened:
            fcntl.flock(opened, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:  # there is no such file, as nobody has begun
        return False
    return False


def _terminate_holder(lock: IO[str]) -> None:
    """Asks the command that holds the lock to save and end, if it runs on this machine."""
    lock.seek(0)
    try:
        holder = json.loads(lock.read())
        if holder["host"] == socket.gethostname():
            os.kill(holder["pid"], signal.SIGTERM)
    except (ValueError, LookupError, OSError):  # it just begins, or has just ended
        return


def last_line(file: Path, start: int = 0) -> str:
    """The last line of a file, behind byte `start`, that is not blank; what a progress bar has overwritten is none."""
    with file.open("rb") as opened:
        opened.seek(max(start, file.stat().st_size - 2**16))
        lines = opened.read().decode("utf-8", errors="replace").replace("\r", "\n").splitlines()
    return next((line.strip() for line in reversed(lines) if line.strip()), "")
