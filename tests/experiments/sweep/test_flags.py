"""The command line of a sweep: whose flags are whose, and what is refused before anything runs."""

import dataclasses
import shutil

import pytest
from helpers.running import refused

from experiments import launchable
from experiments.common.command import RunConfig
from experiments.common.flags import parse
from experiments.sweep import flags
from experiments.sweep.__main__ import EXPERIMENT
from experiments.sweep.flags import Config, gather

GRID = "--grid=cell=rnn,lstm;hidden_size=4,8"


@pytest.mark.parametrize("name", flags.SWEEPABLE)
def test_no_flag_means_two_things(name):
    """What a sweep calls its own no experiment has, but for what all have."""
    own = {field.name for field in dataclasses.fields(Config)} - {field.name for field in dataclasses.fields(RunConfig)}
    assert own
    assert own.isdisjoint(field.name for field in dataclasses.fields(launchable(name).config))


@pytest.mark.parametrize(
    ("given", "experiment", "point_flags"),
    [
        (["forecast", GRID, "--lag=24", "--jobs=3"], "forecast", ["--lag=24"]),
        (["forecast", GRID, "--lag", "24", "--jobs", "3", "--notrees"], "forecast", ["--lag", "24", "--notrees"]),
        (["forecast", GRID, "--jobs=3", "--", "--lag=24", "--grid"], "forecast", ["--lag=24", "--grid"]),
        (["--experiment=forecast", "--flags=--lag=24", GRID, "--jobs=3"], "forecast", ["--lag=24"]),
        (["forecast", GRID, "--ahead=2", "--flags=--lag=24", "--jobs=3"], "forecast", ["--lag=24", "--ahead=2"]),
        (["forecast", GRID, "--flags", "--lag=24", "--jobs=3"], "forecast", ["--lag=24"]),
        (["forecast", GRID, "--jobs=3", "--csv=my file.csv", "--nomaximize"], "forecast", ["--csv=my file.csv"]),
        (["forecast", GRID, "--jobs=3", "--data_dir=/d"], "forecast", ["--data_dir=/d"]),
    ],
)
def test_flags_of_points(given, experiment, point_flags):
    config = parse(Config, gather(given))
    assert (config.experiment, config.point_flags, config.jobs) == (experiment, point_flags, 3)


def test_the_flags_file_says_it_all(tmp_path):
    config = parse(Config, gather(["forecast", GRID, "--lag=24", "--target=a,b c", "--jobs=2"]))
    (tmp_path / "flags.txt").write_text(f"--experiment=forecast\n{GRID}\n--flags={config.flags}\n")
    assert parse(Config, [f"--flagfile={tmp_path / 'flags.txt'}", "--jobs=2"]) == config


def test_help_wherever_it_stands(capsys):
    assert EXPERIMENT.main(["forecast", "--help"]) == 0
    assert capsys.readouterr().out.startswith("python launch.py sweep [--flag=value ...]\n")


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ([], "sweep EXPERIMENT: no experiment is named: take one of forecast, "),
        (["forcast"], "sweep EXPERIMENT: 'forcast' is no experiment: take one of forecast, "),
        (["sweep"], "sweep EXPERIMENT: 'sweep' is no experiment: take one of forecast, "),
        (["forecast"], '--grid: names nothing to sweep: write "flag=value,value;flag=value,value"'),
        (["forecast", "--grid=cell"], "--grid: 'cell' names no values: write "),
        (["forecast", "--grid=cell=rnn;cell=lstm"], "--grid: cell stands there twice; list its values together"),
        (["forecast", "--grid=hiden_size=4"], "--grid: there is no flag hiden_size; did you mean hidden_size?"),
        (["forecast", "--grid=cell=rnn,lsmt"], "--grid: flag --cell=lsmt: value should be one of <"),
        (["forecast", "--grid=hidden_size=4,0"], "--grid: --hidden_size=0: must be at least 1"),
        (["forecast", "--grid=lag=4,x"], "--grid: flag --lag=x: "),
        (["forecast", GRID, "--lagg=3"], "flags of every point: Unknown command line flag 'lagg'. Did you mean: lag ?"),
        (
            ["forecast", GRID, "--cell=gru"],
            "--grid: cell is also among the flags of every point, --cell=gru; give it once",
        ),
        (["forecast", GRID, "--flags=--lag='3"], "--flags=--lag='3: No closing quotation"),
        (["forecast", "--grid=workdir=a,b"], "--workdir is the folder of the sweep: its points have theirs in that"),
        (["forecast", "--grid=segment=1,5", "--lag=24"], "--grid: segment=5: --segment=5: does not divide --lag=24"),
        (["forecast", GRID, "--mode=predict"], "--grid: cell=rnn-hidden_size=4: --cell goes with --mode=train"),
        (["language_model", GRID, "--mode=generate"], "--grid: cell=rnn-hidden_size=4: "),
        (
            ["forecast", "--grid=learning_rate=0.1..1"],
            "--grid: learning_rate=0.1..1.0 is a range; list its values, or ",
        ),
        (
            ["forecast", "--grid=lag=9..3", "--search=random"],
            "--grid: lag=9..3: the first number must be the smaller one",
        ),
        (["forecast", "--grid=gain=0..3:log", "--search=random"], "--grid: gain=0..3:log: has no logarithm at 0.0"),
        (["forecast", "--grid=lag=0..3", "--search=random"], "--grid: --lag=0: must be at least 1"),
        (
            ["forecast", "--grid=segment=1..5", "--lag=24", "--search=random"],
            "--grid: segment=5: --segment=5: does not ",
        ),
        (
            ["forecast", GRID, "--trials=3"],
            "--trials goes with --search=random and optuna: a grid has as many points as",
        ),
        (["forecast", GRID, "--partition=long"], "--partition goes with --engine=slurm, not with local"),
        (["forecast", GRID, "--minutes=3", "--engine=ray"], "--minutes goes with --engine=slurm, not with ray"),
        (["forecast", GRID, "--memory_gib=3"], "--memory_gib=3 goes with --engine=slurm and ray"),
        (["forecast", GRID, "--engine=slurm", "--slurm_options=account"], "--slurm_options=account: write name=value"),
    ],
)
def test_refused(tmp_path, monkeypatch, given, message):
    monkeypatch.setattr(shutil, "which", lambda name: name)
    assert refused(EXPERIMENT.main, tmp_path, *given).startswith(message)


def test_too_many_points(tmp_path):
    values = ",".join(map(str, range(1, 46)))
    message = refused(EXPERIMENT.main, tmp_path, "forecast", f"--grid=lag={values};ahead={values}")
    assert message == "--grid: has 2,025 points, 2,000 is the most; take --search=random"


def test_no_cluster_here(tmp_path, monkeypatch):
    monkeypatch.setattr(shutil, "which", lambda name: None)
    message = refused(EXPERIMENT.main, tmp_path, "forecast", GRID, "--engine=slurm")
    assert message == "--engine=slurm: there is no srun here; start the sweep on a machine of the cluster"


@pytest.mark.parametrize(
    ("given", "package", "extra"), [("--search=optuna", "optuna", "search"), ("--engine=ray", "ray", "ray")]
)
def test_a_package_that_is_missing(tmp_path, monkeypatch, given, package, extra):
    monkeypatch.setattr(flags, "ENGINES", flags.ENGINES | {"ray": ("no_such_ray", "ray")})
    monkeypatch.setattr(flags, "OPTUNA", ("no_such_optuna", "search"))
    message = refused(EXPERIMENT.main, tmp_path, "forecast", GRID, given)
    assert message == f'sweep needs no_such_{package}: pip install "rnn_jax[{extra}]"'
