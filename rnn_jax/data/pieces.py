"""Long texts in pieces, cut where cutting changes neither their words nor their subwords.

That is before a blank or a line end that follows something else.
"""

import re
from collections.abc import Iterator

LOOK_BACK = 2**12
"""Characters in which a place to cut is looked for; text without one is cut anywhere."""

BORDER = re.compile(r"(?<=\S)[ \n]")


def pieces(text: str, size: int) -> Iterator[str]:
    """The text in pieces of at most `size` characters, cut as above.

    >>> list(pieces("to be or not", 7)), list(pieces("banana", 4))
    (['to be', ' or not'], ['bana', 'na'])
    """
    begin = 0
    while len(text) - begin > size:
        end = border(text, begin + 1, begin + size + 1)
        yield text[begin:end]
        begin = end
    if begin < len(text):
        yield text[begin:]


def border(text: str, begin: int, end: int) -> int:
    """The last place in `[begin, end)` to cut the text at; `end - 1` where no place is good."""
    found = end - 1
    for match in BORDER.finditer(text, max(begin, end - LOOK_BACK), end):
        found = match.start()
    return found
