"""What is swept: for each flag the values to take, or a range to draw from; the points of a grid and their names."""

import dataclasses
import difflib
import hashlib
import itertools
import math
import re
import typing
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from experiments.common.flags import UsageError, kind_of, parse, parse_given, written

NUMBER = r"[-+]?\d*\.?\d+(?:e[-+]?\d+)?"
RANGE = re.compile(rf"(?P<low>{NUMBER})\.\.(?P<high>{NUMBER})(?P<log>:log)?", re.IGNORECASE)
ABSENT = "none"
"""The value of a flag that is not given, of one that is a number or nothing."""
LONGEST_NAME = 150


class Range(NamedTuple):
    """Numbers from `low` to `high`, both among them; uniform, or their logarithms are; `whole` numbers or any."""

    low: float
    high: float
    log: bool
    whole: bool

    def __str__(self) -> str:
        return f"{self.text(self.low)}..{self.text(self.high)}" + ":log" * self.log

    def text(self, number: float) -> str:
        """A number of the range as a flag has it, four digits of it.

        >>> Range(0.001, 0.1, True, False).text(0.0123456), Range(1, 64, False, True).text(32.0)
        ('0.01235', '32')
        """
        inside = min(max(float(f"{number:.4g}"), self.low), self.high)
        return str(round(inside) if self.whole else inside)


Space = dict[str, tuple[str, ...] | Range]
"""By flag, in the order of the grid, its values as they are written, or a range."""
Values = dict[str, str]
"""A point: the value of every swept flag."""


def parse_grid(text: str, config_class: type) -> Space:
    """Reads `cell=rnn,lstm;learning_rate=1e-4..1e-2:log`.

    Values are separated by commas; by bars where there is one, so that a value can have commas. Each is kept as the
    experiment would write it down (1e-2 is 0.01), once.

    Args:
        text: the grid.
        config_class: the flags of the experiment.

    Raises: `UsageError`, one line, for a flag that the experiment does not have and a value that a flag does not take.
    """
    space: Space = {}
    fields = {field.name: field for field in dataclasses.fields(config_class)}
    for part in filter(None, (part.strip() for part in text.split(";"))):
        name, equals, values = (word.strip() for word in part.partition("="))
        if not equals or not values:
            raise UsageError(f'--grid: {part!r} names no values: write "flag=value,value;flag=value,value"')
        if name not in fields:
            near = difflib.get_close_matches(name, fields, 1)
            raise UsageError(f"--grid: there is no flag {name}" + (f"; did you mean {near[0]}?" if near else ""))
        if name in space:
            raise UsageError(f"--grid: {name} stands there twice; list its values together")
        space[name] = _range(config_class, name, values) or _values(config_class, name, values)
    if not space:
        raise UsageError('--grid: names nothing to sweep: write "flag=value,value;flag=value,value"')
    return space


def _range(config_class: type, name: str, text: str) -> Range | None:
    kind, several = kind_of(typing.get_type_hints(config_class)[name])
    found = RANGE.fullmatch(text)
    if found is None or several or kind not in (int, float):
        return None
    low, high = (kind(_single(config_class, name, found[end])) for end in ("low", "high"))
    if not low < high:
        raise UsageError(f"--grid: {name}={text}: the first number must be the smaller one")
    if found["log"] and low <= 0:
        raise UsageError(f"--grid: {name}={text}: has no logarithm at {low}")
    return Range(low, high, bool(found["log"]), kind is int)


def _values(config_class: type, name: str, text: str) -> tuple[str, ...]:
    words = [word.strip() for word in text.split("|" if "|" in text else ",")]
    return tuple(dict.fromkeys(_single(config_class, name, word) for word in words))


def _single(config_class: type, name: str, word: str) -> str:
    """A value as the experiment writes it."""
    if word == ABSENT and _may_be_absent(config_class, name):
        return ABSENT
    try:
        return written(getattr(parse(config_class, [f"--{name}={word}"]), name))
    except UsageError as error:
        raise UsageError(f"--grid: {error}") from error


def _may_be_absent(config_class: type, name: str) -> bool:
    annotation = typing.get_type_hints(config_class)[name]
    return type(None) in typing.get_args(annotation) and kind_of(annotation)[0] is not str


def arguments(values: Values) -> list[str]:
    """A point as flags.

    >>> arguments({"cell": "gru", "chrono": "none"})
    ['--cell=gru']
    """
    return [f"--{name}={value}" for name, value in values.items() if value != ABSENT]


def grid_size(space: Space) -> int:
    """How many points a grid has."""
    return math.prod(len(values) for values in space.values())


def grid_points(space: Mapping[str, Any]) -> Iterator[Values]:
    """All combinations, the last flag fastest.

    >>> list(grid_points({"cell": ("rnn", "gru"), "lag": ("24",)}))
    [{'cell': 'rnn', 'lag': '24'}, {'cell': 'gru', 'lag': '24'}]
    """
    for values in itertools.product(*space.values()):
        yield dict(zip(space, values, strict=True))


def corners(space: Space) -> Iterator[Values]:
    """Points that have every value, and both ends of every range, between them: those known before a search begins."""
    ends = {
        name: (values.text(values.low), values.text(values.high)) if isinstance(values, Range) else values
        for name, values in space.items()
    }
    first = {name: values[0] for name, values in ends.items()}
    yield first
    for name, values in ends.items():
        for value in values[1:]:
            yield first | {name: value}


def check(config_class: Any, flags: Sequence[str], where: str, whole: bool = True) -> frozenset[str]:
    """Looks at flags as the experiment would, before it begins; `whole`: for contradictions among them, too.

    Returns: the names of those that are given. Raises: `UsageError`, which begins with `where`.
    """
    try:
        config, given = parse_given(config_class, flags)
        if whole:
            config = config.completed(given)
            config.check(given)
    except UsageError as error:
        raise UsageError(f"{where}: {error}") from error
    if whole and not config.makes_folder:
        raise UsageError(f"{where}: these flags read a run and make none; a sweep needs points that leave results")
    return given


def check_point(config_class: Any, flags: Sequence[str], values: Values) -> None:
    """`check` of a point. Raises: `UsageError`, which names the point."""
    check(config_class, [*flags, *arguments(values)], f"--grid: {point_name(values)}")


def point_name(values: Values, number: int | None = None) -> str:
    """The folder of a point, in letters that a shell takes as they are; a search puts the number in front.

    >>> point_name({"cell": "gru", "learning_rate": "0.01"}), point_name({"lag": "24"}, 3)
    ('cell=gru-learning_rate=0.01', '0003-lag=24')
    """
    exact = "-".join(f"{name}={value}" for name, value in values.items())
    name = re.sub(r"[^\w.+=-]", "_", exact)
    if name != exact or len(name) > LONGEST_NAME:
        name = f"{name[:LONGEST_NAME]}-{hashlib.sha256(exact.encode()).hexdigest()[:8]}"
    return name if number is None else f"{number:04d}-{name}"
