"""A frozen dataclass as absl flags: one line per flag says its name, type, default, limits and help.

    @dataclass(frozen=True)
    class Config(TrainConfig):
        lag: int = flag(64, "hours that the model reads", minimum=1)
        season: int = flag(24, "hours of a cycle", minimum=1)

        DEFAULTS = (When("lag", 1, {"season": 1}),)

    config = parse(Config, ["--lag=24"])

Flags are read once, into the dataclass; everything below gets that and no flags.
"""

import dataclasses
import itertools
import math
import os
import re
import typing
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

from absl import flags as absl_flags

from rnn_jax.data.errors import DataError, shown
from rnn_jax.data.opening import check_regular

Config = TypeVar("Config")

FLAG = re.compile(r"--\w+=.*")
"""A line of `flags.txt`."""

SCALARS: dict[type, Any] = {
    bool: absl_flags.DEFINE_bool,
    int: absl_flags.DEFINE_integer,
    float: absl_flags.DEFINE_float,
    str: absl_flags.DEFINE_string,
}


MAX_FLAGFILE_BYTES = 1_000_000
LONGEST = 1000
"""Characters of absl's messages that are shown: they repeat what was given."""


class UsageError(Exception):
    """Bad input on the command line or in a file it names; the message is one line that says what to do."""


GIVEN = object()
"""In a row of `When`: whatever value the flag has on the command line."""


class When(NamedTuple):
    """Other defaults where a flag has a certain value.

    Attributes:
        name: of the flag that decides.
        value: what it has; `GIVEN`: any, on the command line.
        defaults: by name the values of flags that are not given.
    """

    name: str
    value: Any
    defaults: Mapping[str, Any]


def flag(
    default: Any,
    help: str,
    *,
    choices: Sequence[str] | None = None,
    minimum: float | None = None,
    maximum: float | None = None,
    below: float | None = None,
    above: float | None = None,
    local: bool = False,
) -> Any:
    """A dataclass field that is a flag.

    Args:
        default: the value without the flag. The field's annotation gives the type: str, int, float, bool, one of these
            | None, or tuple[str, ...], tuple[int, ...], tuple[float, ...] for values separated by commas.
        help: a phrase for `--help`.
        choices: the words that are allowed.
        minimum: the smallest number allowed.
        maximum: the largest number allowed.
        below: numbers must be smaller than this.
        above: numbers must be larger than this.
        local: says where things lie on this machine and nothing about the run: not part of what is reproduced.
    """
    limits = {"minimum": minimum, "maximum": maximum, "below": below, "above": above}
    return dataclasses.field(default=default, metadata={"help": help, "choices": choices, "local": local, **limits})


def redefined(name: str, default: Any, of: type) -> Any:
    """A flag of another config with another default."""
    known = {field.name: field for field in dataclasses.fields(of)}[name]
    return dataclasses.field(default=default, metadata=known.metadata)


def kind_of(annotation: Any) -> tuple[type, bool]:
    """The type of a flag's values, and whether it is a list of them.

    >>> kind_of(int | None), kind_of(tuple[float, ...])
    ((<class 'int'>, False), (<class 'float'>, True))
    """
    several = typing.get_origin(annotation) is tuple
    parts = [part for part in typing.get_args(annotation) if part not in (type(None), Ellipsis)]
    return (parts or [annotation])[0], several


def define(config_class: type) -> absl_flags.FlagValues:
    """The absl flags of a config class."""
    values = absl_flags.FlagValues()
    types = typing.get_type_hints(config_class)
    for field in dataclasses.fields(config_class):
        kind, several = kind_of(types[field.name])
        default: Any = field.default
        common: dict[str, Any] = {"flag_values": values, "module_name": "experiment"}
        if several:
            absl_flags.DEFINE_list(field.name, [str(each) for each in default], field.metadata["help"], **common)
        elif field.metadata["choices"]:
            absl_flags.DEFINE_enum(field.name, default, field.metadata["choices"], field.metadata["help"], **common)
        else:
            SCALARS[kind](field.name, default, field.metadata["help"], **common)
    return values


def parse(config_class: type[Config], arguments: Sequence[str]) -> Config:
    """Reads `--name=value` arguments (and `--flagfile=FILE`) into a config.

    Raises: `UsageError` for an unknown flag, a value that does not fit, or an argument that is no flag.

    >>> @dataclasses.dataclass(frozen=True)
    ... class Demo:
    ...     lag: int = flag(64, "hours", minimum=1)
    >>> parse(Demo, ["--lag=24"])
    Demo(lag=24)
    >>> parse(Demo, ["--lag=0"])
    Traceback (most recent call last):
    experiments.common.flags.UsageError: --lag=0: must be at least 1
    """
    return parse_given(config_class, arguments)[0]


def parse_given(config_class: type[Config], arguments: Sequence[str]) -> tuple[Config, frozenset[str]]:
    """`parse`, and the names of the flags that the arguments give.

    A flag that is not given has the default of its field, or that of the last of `config_class.DEFAULTS` that holds:
    rows of `When`, read from the first to the last when absl has understood all arguments.
    """
    values = define(config_class)
    try:
        _check_flagfiles(arguments, frozenset())
        rest = values(["program", *arguments])[1:]
    except absl_flags.Error as error:
        message = str(error).splitlines()[0].removeprefix("ERROR:: ")
        raise UsageError(message if len(message) <= LONGEST else f"{message[:LONGEST]}...") from error
    except RecursionError as error:  # absl looks for similar names, one level deeper for each letter
        raise UsageError("a flag whose name has hundreds of letters: --help lists the flags") from error
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"--flagfile: {error}") from error
    if rest:
        raise UsageError(f"{shown(rest[0])} is not a flag: write --name=value (--help lists the flags)")
    fields = dataclasses.fields(config_class)  # type: ignore[arg-type]  # a dataclass, which TypeVar cannot say
    types = typing.get_type_hints(config_class)
    given = frozenset(field.name for field in fields if values[field.name].present)
    found: dict[str, Any] = {}
    for field in fields:
        kind, several = kind_of(types[field.name])
        value = values[field.name].value
        found[field.name] = _listed(field.name, kind, value or ()) if several else value
    for row in getattr(config_class, "DEFAULTS", ()):
        if row.name in given if row.value is GIVEN else found[row.name] == row.value:
            found |= {name: value for name, value in row.defaults.items() if name not in given}
    config = config_class(**found)
    _check_limits(config)
    return config, given


def _check_flagfiles(arguments: Sequence[str], inside: frozenset[str]) -> None:
    """Raises `UsageError` for a flagfile that absl would wait for or read for ever, or one that is named in another."""
    for argument, after in itertools.pairwise([*arguments, ""]):
        name, equals, path = argument.strip().partition("=")
        if name not in ("--flagfile", "-flagfile"):
            continue
        file = os.path.expanduser(path if equals else after)
        if not file or file in inside:  # absl says what is wrong with these
            continue
        try:
            size = check_regular(file)
        except DataError as error:
            raise UsageError(f"--flagfile: {error}") from error
        if size > MAX_FLAGFILE_BYTES:
            raise UsageError(f"--flagfile: {file} has more than {MAX_FLAGFILE_BYTES:,} bytes: this is no file of flags")
        _check_flagfiles(Path(file).read_text(encoding="utf-8").splitlines(), inside | {file})


def _listed(name: str, kind: type, words: Sequence[str]) -> tuple[Any, ...]:
    """The values of a comma list, each once, in the order given."""
    try:
        values = [kind(word) for word in words]
    except ValueError as error:
        wanted = {int: "whole numbers", float: "numbers"}[kind]
        raise UsageError(f"--{name}={','.join(words)[:LONGEST]}: write {wanted} with commas between") from error
    return tuple(dict.fromkeys(values))


def _check_limits(config: Any) -> None:
    for field in dataclasses.fields(config):
        given = getattr(config, field.name)
        if given == () and field.default:
            raise UsageError(f"--{field.name}=: name at least one")
        for value in given if isinstance(given, tuple) else [given]:
            _check_value(field.name, value, field.metadata)


def _check_value(name: str, value: Any, limits: Mapping[str, Any]) -> None:
    if value is None:
        return
    if limits["choices"] and value not in limits["choices"]:
        raise UsageError(f"--{name}: unknown {shown(value)}: take some of {','.join(limits['choices'])}")
    if isinstance(value, float) and not math.isfinite(value):
        raise UsageError(f"--{name}={value}: must be a finite number")
    if limits["minimum"] is not None and not value >= limits["minimum"]:
        raise UsageError(f"--{name}={value}: must be at least {limits['minimum']}")
    if limits["maximum"] is not None and not value <= limits["maximum"]:
        raise UsageError(f"--{name}={value}: must be at most {limits['maximum']}")
    if limits["above"] is not None and not value > limits["above"]:
        raise UsageError(f"--{name}={value}: must be above {limits['above']}")
    if limits["below"] is not None and not value < limits["below"]:
        raise UsageError(f"--{name}={value}: must be below {limits['below']}")


def written(value: Any) -> str:
    """A value as a flag has it: `true`, `1,2,3`, ..."""
    if isinstance(value, tuple):
        return ",".join(map(str, value))
    return str(value).lower() if isinstance(value, bool) else str(value)


def help_text(config_class: type) -> str:
    """What `--help` prints: each flag with its default, and the defaults that depend on another flag."""
    lines = []
    for field in dataclasses.fields(config_class):
        words = f" ({' | '.join(field.metadata['choices'])})" if field.metadata["choices"] else ""
        default = "none" if field.default in (None, "", ()) else written(field.default)
        lines.append(f"  --{field.name}={default}\n      {field.metadata['help']}{words}")
    for row in getattr(config_class, "DEFAULTS", ()):
        others = " ".join(f"--{name}={written(value)}" for name, value in row.defaults.items())
        value = row.name.upper() if row.value is GIVEN else written(row.value)
        lines.append(f"\nWith --{row.name}={value}, where not given:\n  {others}")
    return "\n".join(lines)


def read_flagfile(file: Path) -> list[str]:
    """The flags in the `flags.txt` of a run, `--name=value` each: no other directives, so that it reads no other files.

    Raises: `UsageError` for a file that is missing, no text, or holds something else.
    """
    try:
        if not file.is_file():
            raise UsageError("no such file")
        text = file.read_text(encoding="utf-8")
    except OSError as error:
        raise UsageError(error.strerror or str(error)) from error
    except UnicodeDecodeError as error:
        raise UsageError("not UTF-8 text") from error
    lines = text.split("\n")
    if lines[-1] == "":
        lines.pop()
    for number, line in enumerate(lines, start=1):
        if not FLAG.fullmatch(line) or line.startswith("--flagfile"):
            raise UsageError(f"line {number} is no flag: {line[:40]!r}")
    return lines


def flagfile_lines(config: Any) -> list[str]:
    """One `--name=value` per flag that says something about the run: together they reproduce it."""
    lines = []
    for field in dataclasses.fields(config):
        value = getattr(config, field.name)
        if field.metadata["local"] or value is None:
            continue
        lines.append(f"--{field.name}={written(value)}")
    return lines
