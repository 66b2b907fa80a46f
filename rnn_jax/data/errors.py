"""The error of data that cannot be used as it is, and how its message stays one line of bounded length."""

from collections.abc import Collection
from itertools import islice

NAMES = 20
"""The most names that a message lists."""

LENGTH = 80
"""The most characters that it shows of one."""


class DataError(ValueError):
    """Bad data: one line that names the file, row, column or parameter (as `name=value`) and says what to do."""


def shown(text: str) -> str:
    """What a file holds, for a message: in quotes, without line ends and control characters, cut where it is long.

    >>> shown("a\\tb"), shown("x" * 1000)[-27:]
    ("'a\\\\tb'", "xxxx'... (1,000 characters)")
    """
    if len(text) <= LENGTH:
        return repr(text)
    return f"{text[:LENGTH]!r}... ({len(text):,} characters)"


def listed(names: Collection[str]) -> str:
    """The first of some names, each as `shown`, and how many more there are.

    >>> listed(["a", "b"]), listed([str(n) for n in range(50_000)])[-26:]
    ("'a', 'b'", "'18', '19' and 49,980 more")
    """
    more = f" and {len(names) - NAMES:,} more" if len(names) > NAMES else ""
    return ", ".join(map(shown, islice(names, NAMES))) + more
