"""Variables of the environment, for processes that start while they are set."""

import contextlib
import os
from collections.abc import Iterator, Mapping


@contextlib.contextmanager
def variables(values: Mapping[str, str]) -> Iterator[None]:
    """Sets them while this lasts; afterwards each is what it was, or absent again.

    >>> with variables({"A_VARIABLE": "1"}):
    ...     os.environ["A_VARIABLE"]
    '1'
    >>> "A_VARIABLE" in os.environ
    False
    """
    before = {name: os.environ.get(name) for name in values}
    os.environ.update(values)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value
