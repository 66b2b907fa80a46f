"""A sweep from its first point to its last: submits what there is room for, waits, writes down how each point ended."""

import sys
import time
from collections.abc import Callable
from pathlib import Path

from tqdm import tqdm

from experiments.sweep import engines, report
from experiments.sweep.engines import Engine, Handle
from experiments.sweep.flags import Config
from experiments.sweep.state import DONE, FAILED, RUNNING, Point, Sweep
from rnn_jax.training.interrupt import InterruptRequest

POLL_SECONDS = 0.2
ASK_AGAIN_SECONDS = 2.0
"""After which a job that was asked to stop is asked again: it may have begun just then."""


class Progress:
    """One line that says how many points are done, run and have failed, and when all will be; a line each without a
    terminal."""

    def __init__(self, sweep: Sweep) -> None:
        self.sweep = sweep
        self.begun = self.shown = time.monotonic()
        self.here = 0
        self.bar = None
        if sys.stderr.isatty():
            done = sweep.count(DONE)
            self.bar = tqdm(total=sweep.total, initial=done, unit="point", dynamic_ncols=True)
        self.show()

    def show(self) -> None:
        """Brings the line up to date."""
        if self.bar is not None:
            counts = f"{self.sweep.count(RUNNING)} running, {self.sweep.count(FAILED)} failed"
            now = time.monotonic()
            if counts != self.bar.postfix or now - self.shown > 1:
                self.bar.set_postfix_str(counts)
                self.shown = now

    def ended(self, point: Point) -> None:
        """Counts a point that has ended, and says how if it failed."""
        self.here += 1
        sweep = self.sweep
        say = print if self.bar is None else self.bar.write
        if point.state == FAILED:
            say(f"failed: {described(point)}")
        if self.bar is not None:
            self.bar.update(int(point.state == DONE))
            return
        counts = (
            f"{sweep.count(DONE)} of {sweep.total} done, {sweep.count(RUNNING)} running, {sweep.count(FAILED)} failed"
        )
        left = sweep.total - sweep.count(DONE) - sweep.count(FAILED)
        seconds = (time.monotonic() - self.begun) / self.here * left
        print(f"{counts}, {duration(seconds)} left: {point.name} {point.state}", flush=True)

    def close(self) -> None:
        """Leaves the line as it is."""
        self.show()
        if self.bar is not None:
            self.bar.close()


def duration(seconds: float) -> str:
    """A time to wait, roughly.

    >>> duration(42), duration(150), duration(8000)
    ('42 s', '2.5 min', '2.2 h')
    """
    if seconds < 100:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.1f} min" if seconds < 6000 else f"{seconds / 3600:.1f} h"


def described(point: Point) -> str:
    """A failed point, in a line."""
    return f"{point.name} (status {point.status}: {point.message or 'it said nothing on stderr'})"


def run(name: str, config: Config, workdir: Path) -> int:
    """Runs what is left of the sweep, writes `results.json`, prints the table.

    Returns: 0 when all points are done, 1 when some have failed, 128 + n when stopped by signal n.
    """
    sweep = Sweep(config, workdir)
    if sweep.count(DONE) == sweep.total:
        print("this sweep is finished; its results:")
    else:
        engine = engines.make(config, sweep.folder / "jobs")
        progress = Progress(sweep)
        try:
            with InterruptRequest() as interrupt:
                left = drive(sweep, engine, progress, lambda: interrupt.signal_number is not None)
                signal_number, interrupt.signal_number = interrupt.signal_number, None  # heard
        finally:
            progress.close()
            engine.close()
        if signal_number is not None:
            queue = f"; in the queue, where scancel ends them: {' '.join(left)}" if left else ""
            done = f"stopped with {sweep.count(DONE)} of {sweep.total} points done{queue}"
            print(f"{done}; the same command goes on from there", file=sys.stderr)
            return 128 + signal_number
    report.write(sweep)
    report.show(sweep)
    failed = [point for point in sweep.points if point.state == FAILED]
    for point in failed:
        print(f"failed: {described(point)}; {sweep.log(point, 'err')}", file=sys.stderr)
    if failed:
        count = f"{len(failed)} of {sweep.total} points failed"
        print(f"error: {count}; the same command tries them again, and no others", file=sys.stderr)
    return 1 if failed else 0


def drive(
    sweep: Sweep,
    engine: Engine,
    progress: Progress,
    stopping: Callable[[], bool],
) -> list[str]:
    """Submits and waits until no point is left, or until it is to stop.

    Args:
        sweep: what to run.
        engine: where.
        progress: is told.
        stopping: whether to stop: points that run are asked to save and end, those in a queue stay there.

    Returns: the jobs that are left in a queue.
    """
    live = _attached(sweep, engine)
    asked = 0.0
    try:
        while True:
            running = []
            for point, handle in live:
                outcome = handle.outcome()
                if outcome is None:
                    running.append((point, handle))
                    continue
                sweep.settle(point, *outcome, stopping())
                progress.ended(point)
            live = running
            if not stopping():
                live += _submitted(sweep, engine, engine.capacity - len(live))
            if not live or (stopping() and engine.outlives):
                return [handle.id for _, handle in live]
            if stopping() and time.monotonic() - asked > ASK_AGAIN_SECONDS:
                asked = time.monotonic()
                _stop(live)
            progress.show()
            time.sleep(POLL_SECONDS)
    except BaseException:  # a disk that is full, a second Ctrl-C
        if not engine.outlives:
            _stop(live)
        raise


def _stop(live: list[tuple[Point, Handle]]) -> None:
    for _, handle in live:
        handle.stop()


def _attached(sweep: Sweep, engine: Engine) -> list[tuple[Point, Handle]]:
    """Jobs that an earlier process submitted and that are still known."""
    found = []
    for point in [point for point in sweep.due if point.state == RUNNING]:
        handle = engine.attach(point.job, sweep.job(point))
        if handle is not None:
            sweep.due.remove(point)
            found.append((point, handle))
    return found


def _submitted(sweep: Sweep, engine: Engine, room: int) -> list[tuple[Point, Handle]]:
    points = sweep.take(room)
    if not points:
        return []
    handles = engine.submit([sweep.job(point) for point in points])
    for point, handle in zip(points, handles, strict=True):
        point.job = handle.id
    sweep.save()
    return list(zip(points, handles, strict=True))
