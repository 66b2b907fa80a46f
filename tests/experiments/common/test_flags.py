"""Flags to a config and back, and one line for whatever does not fit."""

import dataclasses
import os
import typing
from dataclasses import dataclass
from typing import ClassVar

import pytest
from helpers.running import run

from experiments import EXPERIMENTS, launchable
from experiments.common.flags import (
    UsageError,
    When,
    flag,
    flagfile_lines,
    help_text,
    kind_of,
    parse,
    parse_given,
    written,
)


@dataclass(frozen=True)
class Demo:
    """One flag of each kind."""

    word: str = flag("", "any word")
    colour: str = flag("red", "one of three", choices=("red", "green", "blue"))
    lag: int = flag(64, "hours that are read", minimum=1)
    rate: float = flag(0.5, "a share", minimum=0.0, below=1.0)
    step: float = flag(1e-3, "a positive number", above=0.0)
    bias: float | None = flag(None, "a number or nothing")
    patience: int | None = flag(None, "a count or nothing", minimum=1)
    fast: bool = flag(False, "yes or no")
    where: str = flag("", "a folder", local=True)
    count: int = flag(5, "a few", maximum=10)
    colours: tuple[str, ...] = flag(("red", "blue"), "some of three", choices=("red", "green", "blue"))
    lengths: tuple[int, ...] = flag((10, 100), "a few lengths", minimum=1, maximum=1000)
    gains: tuple[float, ...] = flag((), "factors, or none", minimum=0.0, below=9.0)


def usage_error(*arguments):
    with pytest.raises(UsageError) as error:
        parse(Demo, arguments)
    message = str(error.value)
    assert "\n" not in message
    return message


class TestParse:
    def test_defaults(self):
        assert parse(Demo, []) == Demo()
        assert Demo() == Demo("", "red", 64, 0.5, 1e-3, None, None, False, "", 5, ("red", "blue"), (10, 100), ())

    def test_every_type(self):
        arguments = ["--word=a=b c", "--colour=blue", "--lag=24", "--rate=0", "--step=2", "--bias=-1e-3"]
        arguments += ["--patience=3", "--fast", "--where=/x", "--colours=green", "--lengths=7,5", "--gains=1"]
        config = parse(Demo, arguments)
        assert config == Demo("a=b c", "blue", 24, 0.0, 2.0, -0.001, 3, True, "/x", 5, ("green",), (7, 5), (1.0,))
        kinds = [type(value) for value in dataclasses.astuple(config)]
        assert kinds == [str, str, int, float, float, float, int, bool, str, int, tuple, tuple, tuple]
        assert [type(value) for value in (*config.lengths, *config.gains)] == [int, int, float]

    @pytest.mark.parametrize(
        ("argument", "value"), [("--fast=true", True), ("--fast=false", False), ("--nofast", False), ("--fast=1", True)]
    )
    def test_yes_and_no(self, argument, value):
        assert parse(Demo, [argument]).fast is value

    def test_the_last_one_counts(self):
        assert parse(Demo, ["--lag=1", "--lag=2"]).lag == 2

    def test_two_arguments(self):
        assert parse(Demo, ["--lag", "7"]).lag == 7

    def test_nothing_is_left_in_global_flags(self):
        parse(Demo, ["--lag=7"])
        assert parse(Demo, []).lag == 64

    def test_which_flags_are_given(self, tmp_path):
        """On the command line or in a flagfile, at their default too."""
        (tmp_path / "flags.txt").write_text("--rate=0.5\n--nofast\n")
        _, given = parse_given(Demo, ["--lag=64", f"--flagfile={tmp_path / 'flags.txt'}"])
        assert given == {"lag", "rate", "fast"}
        assert parse_given(Demo, [])[1] == frozenset()


class TestLists:
    def test_the_order_is_kept_and_each_value_counts_once(self):
        assert parse(Demo, ["--lengths=30,7,30,9,7"]).lengths == (30, 7, 9)
        assert parse(Demo, ["--colours=green,red,green"]).colours == ("green", "red")

    def test_none_where_none_is_the_default(self):
        assert parse(Demo, ["--gains="]).gains == ()

    @pytest.mark.parametrize(
        ("argument", "message"),
        [
            ("--lengths=1,x", "--lengths=1,x: write whole numbers with commas between"),
            ("--lengths=1,,3", "--lengths=1,,3: write whole numbers with commas between"),
            ("--lengths=10,1e3", "--lengths=10,1e3: write whole numbers with commas between"),
            ("--lengths=2.5", "--lengths=2.5: write whole numbers with commas between"),
            ("--lengths=", "--lengths=: name at least one"),
            ("--lengths=5,0", "--lengths=0: must be at least 1"),
            ("--lengths=5,1001", "--lengths=1001: must be at most 1000"),
            ("--gains=1,half", "--gains=1,half: write numbers with commas between"),
            ("--gains=1,-1", "--gains=-1.0: must be at least 0.0"),
            ("--gains=9", "--gains=9.0: must be below 9.0"),
            ("--gains=nan", "--gains=nan: must be a finite number"),
            ("--gains=1,inf", "--gains=inf: must be a finite number"),
            ("--colours=red,pink", "--colours: unknown 'pink': take some of red,green,blue"),
            ("--colours=red,,blue", "--colours: unknown '': take some of red,green,blue"),
            ("--colours=", "--colours=: name at least one"),
        ],
    )
    def test_errors(self, argument, message):
        assert usage_error(argument) == message


class TestErrors:
    @pytest.mark.parametrize(
        ("argument", "message"),
        [
            ("--lag=0", "--lag=0: must be at least 1"),
            ("--lag=-5", "--lag=-5: must be at least 1"),
            ("--patience=0", "--patience=0: must be at least 1"),
            ("--rate=-0.1", "--rate=-0.1: must be at least 0.0"),
            ("--rate=1", "--rate=1.0: must be below 1.0"),
            ("--rate=nan", "--rate=nan: must be a finite number"),
            ("--step=0", "--step=0.0: must be above 0.0"),
            ("--step=nan", "--step=nan: must be a finite number"),
            ("--bias=-inf", "--bias=-inf: must be a finite number"),
            ("--bias=1e999", "--bias=inf: must be a finite number"),
            ("--count=11", "--count=11: must be at most 10"),
        ],
    )
    def test_limits(self, argument, message):
        assert usage_error(argument) == message

    @pytest.mark.parametrize(
        "argument",
        [
            "--lag=1", "--patience=1", "--rate=0", "--rate=0.999", "--step=1e-30", "--bias=-7", "--count=10",
            "--lengths=1,1000", "--gains=0,8.999",
        ],
    )  # fmt: skip
    def test_values_at_the_limits(self, argument):
        parse(Demo, [argument])

    @pytest.mark.parametrize(
        ("argument", "parts"),
        [
            ("--colour=pink", ["--colour=pink", "red|green|blue"]),
            ("--lag=many", ["--lag=many"]),
            ("--lag=1.5", ["--lag=1.5"]),
            ("--lag=", ["--lag="]),
            ("--rate=half", ["--rate=half"]),
            ("--fast=perhaps", ["--fast=perhaps"]),
            ("--lagg=3", ["'lagg'", "lag"]),
            ("--nonsense", ["'nonsense'"]),
            ("-x", ["'x'"]),
            ("--count", ["count"]),
            ("--flagfile=/no/such/file", ["/no/such/file"]),
        ],
    )
    def test_name_the_flag(self, argument, parts):
        message = usage_error(argument)
        assert all(part in message for part in parts), message
        assert "ERROR" not in message

    @pytest.mark.parametrize("argument", ["lag=3", "train", "-"])
    def test_no_flag(self, argument):
        message = f"{argument!r} is not a flag: write --name=value (--help lists the flags)"
        assert usage_error("--lag=2", argument) == message


@dataclass(frozen=True)
class Dependent:
    """Defaults that depend on other flags."""

    data: str = flag("a", "which", choices=("a", "b"))
    lecture: bool = flag(False, "the lecture's values")
    size: int = flag(10, "a size", minimum=1)
    rate: float = flag(0.1, "a rate")

    DEFAULTS: ClassVar = (When("data", "b", {"size": 20, "rate": 0.2}), When("lecture", True, {"size": 500}))


class TestDefaultsThatDependOnAFlag:
    @pytest.mark.parametrize(
        ("arguments", "expected"),
        [
            ([], Dependent()),
            (["--data=b"], Dependent("b", False, 20, 0.2)),
            (["--lecture"], Dependent("a", True, 500, 0.1)),
            (["--data=b", "--lecture"], Dependent("b", True, 500, 0.2)),
            (["--lecture", "--data=b"], Dependent("b", True, 500, 0.2)),
            (["--lecture", "--nolecture"], Dependent()),
            (["--lecture=false"], Dependent()),
        ],
    )
    def test_the_last_row_that_holds(self, arguments, expected):
        assert parse(Dependent, arguments) == expected

    @pytest.mark.parametrize("lecture", ["--lecture", "--lecture=true", "--lecture=1", "--lecture=True", "-lecture"])
    @pytest.mark.parametrize("in_a_file", [False, True])
    def test_every_spelling_is_the_same(self, tmp_path, lecture, in_a_file):
        if in_a_file:
            (tmp_path / "flags.txt").write_text(f"{lecture}\n")
            lecture = f"--flagfile={tmp_path / 'flags.txt'}"
        assert parse(Dependent, [lecture]) == Dependent("a", True, 500, 0.1)
        for arguments in ([lecture, "--size=10"], ["--size=10", lecture]):
            assert parse(Dependent, arguments) == Dependent("a", True, 10, 0.1), "a flag that is given wins"

    def test_limits_hold_for_them_too(self):
        @dataclass(frozen=True)
        class Wrong(Dependent):
            DEFAULTS: ClassVar = (When("data", "b", {"size": 0}),)

        assert parse(Wrong, []) == Wrong()
        with pytest.raises(UsageError, match=r"^--size=0: must be at least 1$"):
            parse(Wrong, ["--data=b"])

    def test_help_shows_them(self):
        text = help_text(Dependent)
        assert "\nWith --data=b, where not given:\n  --size=20 --rate=0.2\n" in text
        assert text.endswith("\nWith --lecture=true, where not given:\n  --size=500")

    @pytest.mark.parametrize("name", EXPERIMENTS)
    def test_those_of_an_experiment_are_flags_that_it_has(self, name):
        config = launchable(name).config
        known = {field.name for field in dataclasses.fields(config)}
        for row in config.DEFAULTS:
            assert {row.name, *row.defaults} <= known
            assert parse(config, [f"--{row.name}={str(row.value).lower()}"]) is not None


class TestFlagfile:
    @pytest.mark.parametrize(
        "config",
        [
            Demo(),
            Demo("a=b c", "green", 7, 0.1 + 0.2, 1e-30, -0.0, 9, True),
            Demo(word="ä, 'ö' \"ü\" #", bias=-1e300, step=123456789.123456789),
            Demo(colours=("blue",), lengths=(1000, 1), gains=(0.1 + 0.2, 1e-30)),
        ],
    )
    def test_reproduces_the_config(self, tmp_path, config):
        file = tmp_path / "flags.txt"
        file.write_text("\n".join(flagfile_lines(config)) + "\n", encoding="utf-8")
        assert parse(Demo, [f"--flagfile={file}"]) == config
        assert parse(Demo, [f"--flagfile={file}", "--lag=5"]) == dataclasses.replace(config, lag=5)

    def test_lines(self):
        lines = ["--word=", "--colour=red", "--lag=64", "--rate=0.5", "--step=0.001", "--fast=true", "--count=5"]
        lines += ["--colours=red,blue", "--lengths=10,100", "--gains="]
        assert flagfile_lines(Demo(fast=True, where="/somewhere")) == lines

    @pytest.mark.parametrize("content", [b"\xff\xfe\x00", b"--lag=0\n", b"--nonsense=1\n", b"lag=3\n"])
    def test_a_file_that_is_none(self, tmp_path, content):
        (tmp_path / "flags.txt").write_bytes(content)
        usage_error(f"--flagfile={tmp_path / 'flags.txt'}")

    def test_a_folder(self, tmp_path):
        assert str(tmp_path) in usage_error(f"--flagfile={tmp_path}")

    @pytest.mark.parametrize("how", ["--flagfile={}", "-flagfile={}", "--flagfile {}", "inside another"])
    def test_a_flagfile_without_end_is_not_waited_for(self, tmp_path, how):
        os.mkfifo(tmp_path / "pipe")
        (tmp_path / "flags.txt").write_text(f"--lag=3\n  --flagfile={tmp_path / 'pipe'}\n")
        name = tmp_path / ("flags.txt" if how == "inside another" else "pipe")
        arguments = ("--flagfile={}" if how == "inside another" else how).format(name).split()
        with pytest.raises(
            UsageError, match=r"^--flagfile: .*/pipe is a pipe, a socket or a device: name a regular file$"
        ):
            parse(Demo, arguments)

    def test_long_names_and_values(self):
        assert usage_error("--" + "x" * 5000) == "a flag whose name has hundreds of letters: --help lists the flags"
        assert len(usage_error("--lag=" + "x" * 100_000)) < 1100

    def test_a_large_flagfile(self, tmp_path):
        (tmp_path / "flags.txt").write_text("#" * 1_000_001)
        message = usage_error(f"--flagfile={tmp_path / 'flags.txt'}")
        assert message.endswith("more than 1,000,000 bytes: this is no file of flags")

    @pytest.mark.parametrize("name", EXPERIMENTS)
    def test_every_flag_of_an_experiment(self, tmp_path, name):
        """Each flag away from its default, written down and read back."""
        config_class = launchable(name).config
        fields, types = dataclasses.fields(config_class), typing.get_type_hints(config_class)
        config = config_class(**{field.name: other_than_default(field, types[field.name]) for field in fields})
        file = tmp_path / "flags.txt"
        file.write_text("\n".join(flagfile_lines(config)) + "\n", encoding="utf-8")
        local = [
            f"--{field.name}={written(getattr(config, field.name))}" for field in fields if field.metadata["local"]
        ]
        assert parse(config_class, [f"--flagfile={file}", *local]) == config


def other_than_default(field, annotation):
    """A value that the flag may have and has not by default."""
    kind, several = kind_of(annotation)
    limits = field.metadata
    default = field.default[-1] if several and field.default else None if several else field.default
    if limits["choices"]:
        value = next(choice for choice in limits["choices"] if choice != default)
    elif kind is bool:
        value = not default
    elif kind is str:
        value = "somewhere"
    else:
        least = 0 if limits["minimum"] is None else limits["minimum"]
        value = kind(0.37 if kind is float else least + 1)
        value = value if value != default else kind(least + 2)
    assert value != default
    return (value,) if several else value


class TestHelp:
    def test_demo(self):
        text = help_text(Demo)
        assert "  --colour=red\n      one of three (red | green | blue)" in text
        assert "  --patience=none\n      a count or nothing" in text
        assert "  --fast=false\n      yes or no" in text
        assert "  --lengths=10,100\n      a few lengths" in text
        assert "  --gains=none\n      factors, or none" in text

    @pytest.mark.parametrize("option", ["--help", "-h", "--helpfull"])
    def test_wherever_it_stands(self, option):
        """Before anything else is looked at."""
        ran = run(launchable("forecast").main, "--hidden_size=0", option, "--nonsense")
        assert (ran.status, ran.err) == (0, "")
        assert ran.out.startswith("python launch.py forecast [--flag=value ...]\n\nForecast an hourly series ")

    @pytest.mark.parametrize("name", EXPERIMENTS)
    def test_lists_every_flag_with_its_default(self, name):
        config_class = launchable(name).config
        lines = help_text(config_class).split("\n\nWith ")[0].splitlines()
        fields = dataclasses.fields(config_class)
        assert len(lines) == 2 * len(fields)
        for field, shown, about in zip(fields, lines[::2], lines[1::2], strict=True):
            flag, default = shown.strip().split("=", 1)
            assert flag == f"--{field.name}"
            assert about.strip().startswith(field.metadata["help"])
            if default == "none":
                assert field.default in (None, "", ())
            else:
                assert getattr(parse(config_class, [f"{flag}={default}"]), field.name) == field.default


class TestAbsurdValues:
    @pytest.mark.parametrize("flag", ["num_seeds", "hidden_size", "lag", "batch_size"])
    @pytest.mark.parametrize("name", ["forecast", "spelled_out"])
    def test_are_one_line(self, name, flag):
        with pytest.raises(UsageError, match=rf"^--{flag}=1000000000000: must be at most \d+$"):
            parse(launchable(name).config, [f"--{flag}=1000000000000"])

    @pytest.mark.parametrize(("flag", "largest"), [("num_seeds", 1024), ("num_hours", 10_000_000)])
    def test_the_limits_themselves(self, flag, largest):
        parse(launchable("forecast").config, [f"--{flag}={largest}"])
        with pytest.raises(UsageError, match="must be at most"):
            parse(launchable("forecast").config, [f"--{flag}={largest + 1}"])

    @pytest.mark.parametrize("name", [name for name in EXPERIMENTS if name not in ("benchmark", "report", "sweep")])
    def test_a_seed_that_a_key_cannot_hold(self, name):
        config = launchable(name).config
        assert parse(config, ["--seed=2147483647"]).seed == 2**31 - 1
        with pytest.raises(UsageError, match=r"^--seed=2147483648: must be below 2147483648$"):
            parse(config, ["--seed=2147483648"])
