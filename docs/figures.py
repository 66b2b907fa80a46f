"""How figures are written in Markdown: tables, and numbers with as many digits as they deserve."""

from collections.abc import Mapping, Sequence
from typing import Any

Files = Mapping[str, Any]
"""The files of measured figures, parsed, by name without ".json"."""


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A Markdown table.

    Args:
        head: the names of the C columns.
        rows: C cells each.

    Raises: `ValueError` where a row has another number of cells, or a cell a bar or a line break.

    >>> print(table(["cell", "MSE"], [["lstm", "0.1"]]))
    | cell | MSE |
    |---|---|
    | lstm | 0.1 |
    """
    for row in rows:
        if len(row) != len(head):
            raise ValueError(f"{len(head)} columns, but a row has {len(row)} cells: {row}")
        if bad := [cell for cell in row if "|" in cell or "\n" in cell]:
            raise ValueError(f"a cell must not have a bar or a line break: {bad[0]!r}")
    lines = [list(head), *map(list, rows)]
    written = [f"| {' | '.join(line)} |" for line in lines]
    return "\n".join([written[0], "|---" * len(head) + "|", *written[1:]])


def bold(text: str, really: bool = True) -> str:
    """In bold type, if really so."""
    return f"**{text}**" if really else text


def spread(measure: Mapping[str, Any], digits: int, factor: float = 1.0) -> str:
    """Mean ± standard deviation of a measure of `results.json`; the mean alone of one value.

    >>> spread({"mean": 0.9, "std": 0.01, "values": [0.89, 0.91]}, 1, factor=100)
    '90.0 ± 1.0'
    >>> spread({"mean": 0.9, "std": 0.0, "values": [0.9]}, 3)
    '0.900'
    """
    mean, std = (f"{factor * measure[key]:.{digits}f}" for key in ("mean", "std"))
    return f"{mean} ± {std}" if len(measure["values"]) > 1 else mean


def mean(measure: Mapping[str, Any], digits: int, factor: float = 1.0) -> str:
    """The mean of a measure alone."""
    return f"{factor * measure['mean']:.{digits}f}"


def percent(measure: Mapping[str, Any], digits: int) -> str:
    """The mean of a share in %.

    >>> percent({"mean": 0.8}, 1)
    '80.0 %'
    """
    return f"{mean(measure, digits, 100)} %"


def significant(value: float, digits: int = 2) -> str:
    """With so many significant digits, and never as a power of ten.

    >>> significant(0.000444), significant(0.59), significant(12.0), significant(0.0)
    ('0.00044', '0.59', '12', '0')
    """
    rounded = float(f"{value:.{digits - 1}e}")
    decimals = digits - 1 - (int(f"{rounded:e}".split("e")[1]) if rounded else digits - 1)
    return f"{rounded:,.{max(decimals, 0)}f}"


def scientific(value: float, digits: int = 1) -> str:
    """As a power of ten with so many significant digits.

    >>> scientific(4.4e-07), scientific(0.0000123, 2)
    ('4e-7', '1.2e-5')
    """
    number, power = f"{value:.{digits - 1}e}".split("e")
    return f"{number}e{int(power)}"


def change(log10: float | None) -> str:
    """log10 of what is left of a gradient; "nothing" for a gradient of 0, whose logarithm a file has as null.

    >>> change(-20.58), change(0.94), change(None)
    ('-20.6', '+0.9', 'nothing')
    """
    return "nothing" if log10 is None else f"{log10:+.1f}"


def seconds(value: float) -> str:
    """Whole seconds.

    >>> seconds(2188.2)
    '2,188 s'
    """
    return f"{value:,.0f} s"


def mebibytes(count: float, digits: int = 1) -> str:
    """Bytes as MiB.

    >>> mebibytes(2**30)
    '1,024.0'
    """
    return f"{count / 2**20:,.{digits}f}"
