"""A disk that takes no more."""

import resource
from contextlib import contextmanager


@contextmanager
def no_file_above(size):
    """As with a full disk, the system refuses what goes beyond; in bytes."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
