"""A frozen dataclass as absl flags: one line per flag says its name, type, default, limits and help.

    @dataclass(frozen=True)
    class Config(TrainConfig):
        lag: int = flag(64, "hours that the model reads", minimum=1)

    config = parse(Config, ["--lag=24"])

Flags are read once, into the dataclass; everything below gets that and no flags.
"""

import dataclasses
import math
import typing
from collections.abc import Sequence
from typing import Any, TypeVar

from absl import flags as absl_flags

Config = TypeVar("Config")


class UsageError(Exception):
    """Bad input on the command line or in a file it names; the message is one line that says what to do."""


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
        default: the value without the flag. The field's annotation gives the type: str, int, float, bool, or one of
            these | None.
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


def define(config_class: type) -> absl_flags.FlagValues:
    """The absl flags of a config class."""
    values = absl_flags.FlagValues()
    types = typing.get_type_hints(config_class)
    for field in dataclasses.fields(config_class):
        kind = next(t for t in (typing.get_args(types[field.name]) or (types[field.name],)) if t is not type(None))
        default: Any = field.default
        common: dict[str, Any] = {"flag_values": values, "module_name": "experiment"}
        if field.metadata["choices"]:
            absl_flags.DEFINE_enum(field.name, default, field.metadata["choices"], field.metadata["help"], **common)
        elif kind is bool:
            absl_flags.DEFINE_bool(field.name, default, field.metadata["help"], **common)
        elif kind is int:
            absl_flags.DEFINE_integer(field.name, default, field.metadata["help"], **common)
        elif kind is float:
            absl_flags.DEFINE_float(field.name, default, field.metadata["help"], **common)
        else:
            absl_flags.DEFINE_string(field.name, default, field.metadata["help"], **common)
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
    values = define(config_class)
    try:
        rest = values(["program", *arguments])[1:]
    except absl_flags.Error as error:
        raise UsageError(str(error).splitlines()[0].removeprefix("ERROR:: ")) from error
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"--flagfile: {error}") from error
    if rest:
        raise UsageError(f"{rest[0]!r} is not a flag: write --name=value (--help lists the flags)")
    fields = dataclasses.fields(config_class)  # type: ignore[arg-type]  # a dataclass, which TypeVar cannot say
    config = config_class(**{field.name: values[field.name].value for field in fields})
    _check_limits(config)
    return config


def given(arguments: Sequence[str], name: str) -> str | None:
    """The value that the arguments give a flag: "" without a value, None without the flag; of several the last.

    For flags that decide which config the others are parsed into.

    >>> given(["--mode=train", "--mode", "predict"], "mode"), given(["--lecture"], "lecture"), given([], "lecture")
    ('predict', '', None)
    """
    found = None
    for argument, following in zip(arguments, [*arguments[1:], "-"], strict=False):
        flag_name, equals, value = argument.removeprefix("-").removeprefix("-").partition("=")
        if argument.startswith("-") and flag_name == name:
            found = value if equals or following.startswith("-") else following
    return found


def listed(config: Any, name: str, known: Sequence[str]) -> list[str]:
    """The words of a flag that is a comma list, each once, in the order given.

    Raises: `UsageError` for a word that is not `known`.

    >>> @dataclasses.dataclass(frozen=True)
    ... class Demo:
    ...     cells: str = flag("rnn,lstm", "cells")
    >>> listed(Demo(), "cells", ("lstm", "rnn", "gru"))
    ['rnn', 'lstm']
    """
    words = getattr(config, name).split(",")
    for word in words:
        if word not in known:
            raise UsageError(f"--{name}: unknown {word!r}: take some of {','.join(known)}")
    return list(dict.fromkeys(words))


def _check_limits(config: Any) -> None:
    for field in dataclasses.fields(config):
        value, limits = getattr(config, field.name), field.metadata
        if value is None:
            continue
        if isinstance(value, float) and not math.isfinite(value):
            raise UsageError(f"--{field.name}={value}: must be a finite number")
        if limits["minimum"] is not None and not value >= limits["minimum"]:
            raise UsageError(f"--{field.name}={value}: must be at least {limits['minimum']}")
        if limits["maximum"] is not None and not value <= limits["maximum"]:
            raise UsageError(f"--{field.name}={value}: must be at most {limits['maximum']}")
        if limits["above"] is not None and not value > limits["above"]:
            raise UsageError(f"--{field.name}={value}: must be above {limits['above']}")
        if limits["below"] is not None and not value < limits["below"]:
            raise UsageError(f"--{field.name}={value}: must be below {limits['below']}")


def help_text(config_class: type) -> str:
    """What `--help` prints: each flag with its default."""
    lines = []
    for field in dataclasses.fields(config_class):
        words = f" ({' | '.join(field.metadata['choices'])})" if field.metadata["choices"] else ""
        default = "none" if field.default in (None, "") else str(field.default).lower()
        if isinstance(field.default, str) and field.default:
            default = field.default
        lines.append(f"  --{field.name}={default}\n      {field.metadata['help']}{words}")
    return "\n".join(lines)


def flagfile_lines(config: Any) -> list[str]:
    """One `--name=value` per flag that says something about the run: together they reproduce it."""
    lines = []
    for field in dataclasses.fields(config):
        value = getattr(config, field.name)
        if field.metadata["local"] or value is None:
            continue
        lines.append(f"--{field.name}={str(value).lower() if isinstance(value, bool) else value}")
    return lines
