"""The process that an experiment runs in: its streams, and the signals that end it. Needs the standard library alone.

`prepare` comes first, before anything heavy is imported. From then on

- SIGINT (Ctrl-C), SIGTERM and SIGHUP end the process at once, with one line and exit status 128 + n. A thread sees to
  that: Python runs a handler between two of its own instructions, which a compiler or a device may keep the main thread
  from for minutes, and an exception raised into what calls Python back from C++ can end in a crash. Nothing is lost by
  it: every file is written whole or not at all.
- While a run trains it is otherwise: `rnn_jax.training.interrupt` has put handlers of its own, and the loop saves and
  ends between two dispatches. A second Ctrl-C does not wait for that.
- Standard streams that are closed, full or read by nobody stop nothing that has a run folder to leave its results in.
"""

import contextlib
import io
import os
import select
import signal
import sys
import threading
from pathlib import Path
from types import FrameType
from typing import TextIO

SIGNALS = tuple(getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name))
"""What asks a process to end."""


class OutputLost(Exception):
    """Nobody can read the answer: standard output is closed or full.

    Attributes:
        error: what its first write ended with.
    """

    def __init__(self, error: OSError):
        super().__init__(f"standard output: {error.strerror or error}")
        self.error = error


class Stream(io.RawIOBase):
    """A standard stream whose writes may fail: the first error is kept, and what comes after it is dropped.

    Attributes:
        number: of the file.
        needed: whether a failure is raised, once, as `OutputLost`.
        error: the first one; None: none so far.
    """

    def __init__(self, number: int):
        super().__init__()
        self.number = number
        self.needed = False
        self.error: OSError | None = None

    def writable(self) -> bool:
        """A stream for output."""
        return True

    def fileno(self) -> int:
        """The number of the file."""
        return self.number

    def isatty(self) -> bool:
        """Whether a person looks at it."""
        return os.isatty(self.number)

    def write(self, data: "bytes | bytearray | memoryview") -> int:  # type: ignore[override]  # of any buffer
        """Writes what the file takes of `data`; all of it counts as written where it takes nothing any more."""
        while self.error is None:
            try:
                return os.write(self.number, data)
            except BlockingIOError:  # whoever started this has made its end so
                select.select([], [self.number], [])
            except OSError as error:
                self.error = error
                if self.needed:
                    raise OutputLost(error) from error
        return len(data)

    def check(self) -> None:
        """Raises `OutputLost` where something could not be written."""
        if self.error is not None:
            raise OutputLost(self.error) from self.error


class Process:
    """What `prepare` has set up; before it, and in a process that is not ours alone, nothing.

    Attributes:
        output: standard output; None where it is that of someone else.
        folder: of the run, once there is one.
    """

    output: Stream | None = None
    folder: Path | None = None


def prepare() -> None:
    """Sets up streams and signals, once, in a process that runs one experiment; from its main thread."""
    if Process.output is not None:
        return
    _open_missing_files()
    Process.output = Stream(1)
    sys.stdout = _text(Process.output, sys.stdout)
    sys.stderr = _text(Stream(2), sys.stderr)
    sys.stdin = sys.stdin or io.TextIOWrapper(io.BufferedReader(io.FileIO(0, closefd=False)), "utf-8")
    _watch_signals()


def _open_missing_files() -> None:
    """Numbers 0 to 2, if closed: the next file opened would get one, and what C++ has to report be written into it."""
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # which takes the lowest number that is free


def _text(stream: Stream, before: TextIO | None) -> TextIO:
    """A stream for text, a line at a time; what its encoding lacks is written as an escape.

    Lines, since a process that ends at once leaves what it has not written.
    """
    encoding = "utf-8" if before is None else before.encoding
    buffered = io.BufferedWriter(stream)  # type: ignore[type-var]  # of which the stubs ask more than it does
    return io.TextIOWrapper(buffered, encoding, errors="backslashreplace", line_buffering=True)


def _watch_signals() -> None:
    for number in SIGNALS:
        if number == signal.SIGINT or signal.getsignal(number) is not signal.SIG_IGN:  # as `nohup` has it
            signal.signal(number, _left_to_the_thread)
    reader, writer = os.pipe()
    os.set_blocking(writer, False)
    signal.set_wakeup_fd(writer, warn_on_full_buffer=False)
    threading.Thread(target=_end_when_asked, args=(reader,), name="signals", daemon=True).start()


def _left_to_the_thread(number: int, frame: FrameType | None) -> None:
    """The handler outside training."""


def _end_when_asked(reader: int) -> None:
    training_asked = False
    while True:
        for number in os.read(reader, 64):
            if number not in SIGNALS:
                continue
            if signal.getsignal(number) is _left_to_the_thread or (training_asked and number == signal.SIGINT):
                line = f"{farewell(Process.folder)}\n"
                # Not through `sys.stderr`, which the main thread may hold; a progress bar has left it inside a line.
                with contextlib.suppress(OSError):
                    os.write(2, f"\n{line}".encode() if training_asked else line.encode())
                os._exit(128 + number)
            training_asked = True


def farewell(folder: Path | None) -> str:
    """What a run that is stopped outside training says.

    Args:
        folder: of the run; None: there is none yet.
    """
    begun = folder is not None and any((folder / "checkpoints").glob("*"))
    return "interrupted" + ("; the same command continues from the last checkpoint" if begun else "")
