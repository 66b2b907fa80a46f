"""Running an experiment inside a test as its command line would."""

import contextlib
import io
import json
import os
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import jax

from experiments.common import digests, lock, results
from rnn_jax.files import write_whole


class Ran(NamedTuple):
    """What a command left behind."""

    status: int
    out: str
    err: str

    def one_error(self) -> str:
        """The one line of an error; fails if this was none."""
        lines = self.err.splitlines()
        assert self.status == 2, self
        assert len(lines) == 1, self.err
        assert lines[0].startswith("error: "), lines[0]
        return lines[0].removeprefix("error: ")


@contextlib.contextmanager
def as_in_a_new_process() -> Iterator[None]:
    """Outside these tests JAX starts with 32 bits; what the experiment changes does not outlive it."""
    before = jax.config.jax_enable_x64
    jax.config.update("jax_enable_x64", False)
    try:
        yield
    finally:
        jax.config.update("jax_enable_x64", before)


def run(main: Callable[[Sequence[str]], int], *arguments: str) -> Ran:
    """Calls an experiment's `main`."""
    out, err = io.StringIO(), io.StringIO()
    with as_in_a_new_process(), contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        status = main(list(arguments))
    return Ran(status, out.getvalue(), err.getvalue())


def refused(main: Callable[[Sequence[str]], int], folder: Path, *arguments: str) -> str:
    """The one line with which a command is refused before it begins: no folder is made and no data looked for."""
    workdir = folder / "refused"
    ran = run(main, f"--workdir={workdir}", f"--data_dir={folder / 'nowhere'}", *arguments)
    message = ran.one_error()
    assert ran.out == "", "it began"
    assert not workdir.exists()
    return message


def results_of(folder: Path) -> dict[str, Any]:
    """The `results.json` of a run."""
    return json.loads((folder / "results.json").read_text(encoding="utf-8"))


def sign(folder: Path) -> None:
    """Digests of a run that a test has changed, so that the change looks like what the run left."""
    digests.finish(folder, results.FILE, (folder / results.FILE).read_text(encoding="utf-8"))


def flip(file: Path, place: int, bit: int = 0) -> None:
    """Another bit in the byte at `place`."""
    content = bytearray(file.read_bytes())
    content[place] ^= 1 << bit
    file.write_bytes(content)


def contents(folder: Path) -> dict[str, tuple[int, bytes]]:
    """Every file in a folder by name: when it was written, and what it holds; not the lock, which every run takes."""
    files = [path for path in sorted(folder.rglob("*")) if path.is_file() and path.name != lock.FILE]
    return {str(path.relative_to(folder)): (path.stat().st_mtime_ns, path.read_bytes()) for path in files}


def once(tmp_path_factory, name: str, make: Callable[[Path], Ran], wait_seconds: float = 1800) -> tuple[Path, Ran]:
    """A run that several tests look at: made by the first of the test processes that asks, in a folder for all."""
    base = tmp_path_factory.getbasetemp()
    base = base.parent if "PYTEST_XDIST_WORKER" in os.environ else base
    folder, done = base / name, base / f"{name}.json"
    try:
        folder.mkdir()
    except FileExistsError:
        deadline = time.monotonic() + wait_seconds
        while not done.exists():
            assert time.monotonic() < deadline, f"no other process has finished {name}"
            time.sleep(0.1)
    else:
        ran = Ran(-1, "", "it ended with a traceback, in the test process that made it")
        try:
            ran = make(folder)
        finally:  # the others must not wait for what does not come
            write_whole(done, json.dumps(ran))
    return folder, Ran(*json.loads(done.read_text(encoding="utf-8")))
