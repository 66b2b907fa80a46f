"""One process at a time in a run's folder: two that train there would write over each other's checkpoints and log.

The lock is the kernel's (`flock` on the file `lock`): however a process ends, killed too, it is free again, and a file
that is left behind means nothing. It holds between the processes of one machine. On network file systems it holds
between machines where these pass it on: NFS does, since Linux 2.6.12; Lustre if mounted with `flock`; where there is no
lock to be had, a line says so and the run begins.
"""

import contextlib
import errno
import os
import socket
import sys
from pathlib import Path

from experiments.common.flags import UsageError

try:
    import fcntl
except ModuleNotFoundError:  # Windows, where there is no such lock
    fcntl = None  # type: ignore[assignment]

FILE = "lock"
CANNOT_WRITE = {errno.EROFS, errno.EACCES, errno.EPERM}
HAVE_NONE = {errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP, errno.EINVAL}


_HELD: dict[Path, int] = {}
"""What this process has taken: the open files by folder."""


def take(folder: Path) -> None:
    """Takes the folder for this process, until `release` or its end. Of a job of many processes the first one takes it.

    Raises: `UsageError` where it is taken; `OSError` where the file cannot be made.
    """
    descriptor = None if fcntl is None else _open(folder / FILE)
    if descriptor is None:
        return
    try:
        _lock(folder, descriptor)
    except BaseException:
        os.close(descriptor)
        raise
    _HELD[folder] = descriptor


def release(folder: Path) -> None:
    """Gives the folder back; without effect where it is not taken."""
    if (descriptor := _HELD.pop(folder, None)) is not None:
        os.close(descriptor)


def _open(file: Path) -> int | None:
    """None where the folder cannot be written: nothing there can come to harm."""
    try:
        return os.open(file, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o666)
    except OSError as error:
        if error.errno in CANNOT_WRITE:
            return None
        raise


def _lock(folder: Path, descriptor: int) -> None:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        who = os.read(descriptor, 200).decode(errors="replace").strip() or "another process"
        text = f"{who} is at work there; wait for its end, or name another folder"
        raise UsageError(f"--workdir={folder}: {text}") from error
    except OSError as error:
        if error.errno not in HAVE_NONE:
            raise
        reason = error.strerror or error
        print(f"--workdir={folder}: no lock on this file system ({reason}): start nothing else there", file=sys.stderr)
        return
    with contextlib.suppress(OSError):  # who it is, for the message of others; they can do without
        os.ftruncate(descriptor, 0)
        os.write(descriptor, f"process {os.getpid()} on {socket.gethostname()}\n".encode())
