"""Flags to a config and back, and one line for whatever does not fit."""

import dataclasses
import importlib
import re
from dataclasses import dataclass

import pytest
from helpers.running import run

import launch
from benchmarks import layer as benchmark
from experiments import gradcheck, ntc_scv, spelled_out
from experiments.common.flags import UsageError, flag, flagfile_lines, help_text, parse
from experiments.common.training_flags import TrainConfig
from experiments.forecast import main as forecast
from experiments.long_sequences import main as long_sequences
from experiments.memory import main as memory
from experiments.text.flags import TextConfig
from experiments.vanishing import main as vanishing

CONFIGS = {
    "forecast": forecast.Config,
    "imdb": TextConfig,
    "ntc_scv": ntc_scv.Config,
    "gradcheck": gradcheck.Config,
    "long_sequences": long_sequences.Config,
    "memory": memory.Config,
    "benchmark": benchmark.Config,
    "spelled_out": spelled_out.Config,
    "vanishing": vanishing.Config,
}


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


def usage_error(*arguments):
    with pytest.raises(UsageError) as error:
        parse(Demo, arguments)
    message = str(error.value)
    assert "\n" not in message
    return message


class TestParse:
    def test_defaults(self):
        assert parse(Demo, []) == Demo()
        assert Demo() == Demo("", "red", 64, 0.5, 1e-3, None, None, False, "", 5)

    def test_every_type(self):
        arguments = ["--word=a=b c", "--colour=blue", "--lag=24", "--rate=0", "--step=2", "--bias=-1e-3"]
        config = parse(Demo, [*arguments, "--patience=3", "--fast", "--where=/x"])
        assert config == Demo("a=b c", "blue", 24, 0.0, 2.0, -0.001, 3, True, "/x")
        kinds = [type(value) for value in dataclasses.astuple(config)]
        assert kinds == [str, str, int, float, float, float, int, bool, str, int]

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
        "argument", ["--lag=1", "--patience=1", "--rate=0", "--rate=0.999", "--step=1e-30", "--bias=-7", "--count=10"]
    )
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
            ("--lag", ["lag"]),
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


class TestFlagfile:
    @pytest.mark.parametrize(
        "config",
        [
            Demo(),
            Demo("a=b c", "green", 7, 0.1 + 0.2, 1e-30, -0.0, 9, True),
            Demo(word="ä, 'ö' \"ü\" #", bias=-1e300, step=123456789.123456789),
        ],
    )
    def test_reproduces_the_config(self, tmp_path, config):
        file = tmp_path / "flags.txt"
        file.write_text("\n".join(flagfile_lines(config)) + "\n", encoding="utf-8")
        assert parse(Demo, [f"--flagfile={file}"]) == config
        assert parse(Demo, [f"--flagfile={file}", "--lag=5"]) == dataclasses.replace(config, lag=5)

    def test_lines(self):
        lines = ["--word=", "--colour=red", "--lag=64", "--rate=0.5", "--step=0.001", "--fast=true", "--count=5"]
        assert flagfile_lines(Demo(fast=True, where="/somewhere")) == lines

    @pytest.mark.parametrize("content", [b"\xff\xfe\x00", b"--lag=0\n", b"--nonsense=1\n", b"lag=3\n"])
    def test_a_file_that_is_none(self, tmp_path, content):
        (tmp_path / "flags.txt").write_bytes(content)
        usage_error(f"--flagfile={tmp_path / 'flags.txt'}")

    def test_a_folder(self, tmp_path):
        assert str(tmp_path) in usage_error(f"--flagfile={tmp_path}")

    def test_every_flag_of_training(self, tmp_path):
        """Each flag away from its default, written down and read back."""
        changed = {}
        for field in dataclasses.fields(TrainConfig):
            default, choices = field.default, field.metadata["choices"]
            if choices:
                changed[field.name] = choices[-1] if choices[-1] != default else choices[0]
            elif isinstance(default, bool):
                changed[field.name] = not default
            elif isinstance(default, str):
                changed[field.name] = "somewhere"
            elif isinstance(default, float) or field.name == "forget_bias":
                changed[field.name] = 0.3
            else:
                changed[field.name] = 17
        config = TrainConfig(**changed)
        file = tmp_path / "flags.txt"
        file.write_text("\n".join(flagfile_lines(config)) + "\n", encoding="utf-8")
        local = [f"--{name}=somewhere" for name in ("workdir", "data_dir")]
        assert parse(TrainConfig, [f"--flagfile={file}", *local]) == config


class TestHelp:
    def test_demo(self):
        text = help_text(Demo)
        assert "  --colour=red\n      one of three (red | green | blue)" in text
        assert "  --patience=none\n      a count or nothing" in text
        assert "  --fast=false\n      yes or no" in text

    def test_these_are_all_experiments(self):
        assert set(CONFIGS) == set(launch.EXPERIMENTS)

    @pytest.mark.parametrize("option", ["--help", "-h", "--helpfull"])
    @pytest.mark.parametrize("name", CONFIGS)
    def test_lists_every_flag_with_its_default(self, name, option):
        ran = run(importlib.import_module(f"experiments.{name}").main, "--hidden_size=0", option)
        assert (ran.status, ran.err) == (0, "")
        assert ran.out.startswith(f"python launch.py {name} [--flag=value ...]\n")
        shown = dict(re.findall(r"^  --(\w+)=(.*)$", ran.out, re.MULTILINE))
        fields = dataclasses.fields(CONFIGS[name])
        assert list(shown) == [field.name for field in fields]
        for field in fields:
            assert field.metadata["help"] in ran.out
            if shown[field.name] == "none":
                assert field.default in (None, "")
            else:
                config = parse(CONFIGS[name], [f"--{field.name}={shown[field.name]}"])
                assert getattr(config, field.name) == field.default


class TestAbsurdValues:
    @pytest.mark.parametrize("name", ["num_seeds", "hidden_size", "lag", "batch_size"])
    @pytest.mark.parametrize("config_class", [forecast.Config, spelled_out.Config])
    def test_are_one_line(self, config_class, name):
        with pytest.raises(UsageError, match=rf"^--{name}=1000000000000: must be at most \d+$"):
            parse(config_class, [f"--{name}=1000000000000"])

    def test_the_limits(self):
        parse(forecast.Config, ["--num_seeds=1024", "--num_hours=10000000"])
        for argument in ("--num_seeds=1025", "--num_hours=10000001"):
            with pytest.raises(UsageError, match="must be at most"):
                parse(forecast.Config, [argument])


class TestSeeds:
    @pytest.mark.parametrize("config_class", [forecast.Config, spelled_out.Config])
    def test_that_a_key_cannot_hold(self, config_class):
        assert parse(config_class, ["--seed=2147483647"]).seed == 2**31 - 1
        with pytest.raises(UsageError, match=r"^--seed=2147483648: must be below 2147483648$"):
            parse(config_class, ["--seed=2147483648"])
