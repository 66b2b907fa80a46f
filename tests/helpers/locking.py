"""A run's folder taken inside a `with`."""

import contextlib
from collections.abc import Iterator
from pathlib import Path

from experiments.common import lock


@contextlib.contextmanager
def held(folder: Path) -> Iterator[None]:
    """As `lock.take`, until the end of the block."""
    lock.take(folder)
    try:
        yield
    finally:
        lock.release(folder)
