"""A plot that fails costs a line on stderr and nothing else."""

import ast
import json
import shutil
from pathlib import Path

import pytest
from helpers.finished import RUNS, finished
from helpers.running import results_of, run

import launch
from experiments import launchable, spelled_out
from experiments.common.plots import draw
from rnn_jax.plotting import training

EXPERIMENTS = Path(launch.__file__).parent / "experiments"


def test_what_fails_is_said_and_no_half_a_picture_left(tmp_path, capsys):
    def plot(path, times, unit=""):
        path.write_text(f"half of {times} {unit}")
        raise OverflowError("year 10000 is\n out of range")

    draw(plot, tmp_path / "series.png", [1], unit="K")
    assert capsys.readouterr().err == (
        f"no plot {tmp_path / 'series.png'}: year 10000 is out of range; everything else of the run is there\n"
    )
    assert not list(tmp_path.iterdir())


def test_a_column_that_is_missing(tmp_path, capsys):
    draw(lambda path, frame: frame["step"], tmp_path / "loss.png", {})
    assert f"no plot {tmp_path / 'loss.png'}: there is no 'step' to draw; " in capsys.readouterr().err


def test_a_folder_in_its_place(tmp_path, capsys):
    draw(lambda path: path.write_text("picture"), tmp_path)
    assert capsys.readouterr().err.startswith(f"no plot {tmp_path}: [Errno 21] Is a directory")


def test_what_does_not_fail(tmp_path, capsys):
    draw(lambda path, *given, **options: path.write_text(f"{given} {options}"), tmp_path / "a.png", 1, b=2)
    assert (tmp_path / "a.png").read_text() == "(1,) {'b': 2}"
    assert capsys.readouterr().err == ""


def test_the_results_are_written_before_and_stay(tmp_path, monkeypatch):
    def full(figure, path):
        assert results_of(tmp_path)["experiment"] == "spelled_out"
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(training, "save", full)
    flags = ("--num_steps=205", "--lag=4", "--steps=20", "--num_seeds=1", "--hidden_size=2")
    ran = run(spelled_out.EXPERIMENT.main, f"--workdir={tmp_path}", *flags)
    assert ran.status == 0
    assert ran.err.startswith(f"no plot {tmp_path / 'plots' / 'loss.png'}: [Errno 28] No space left on device;")
    assert len(ran.err.splitlines()) == 1


@pytest.mark.parametrize("damage", ["removed", "no records", "a list for a loss"])
@pytest.mark.parametrize("name", ["memory_copying"])
def test_a_damaged_log_does_not_cost_the_results(tmp_path_factory, tmp_path, name, damage):
    """Of a run that was killed after its last checkpoint."""
    whole = finished(tmp_path_factory, name)
    folder = shutil.copytree(whole.folder, tmp_path / "run")
    (folder / "results.json").unlink()
    log = folder / "metrics.jsonl"
    if damage == "removed":
        log.unlink()
    else:
        contents = {
            "no records": "null\n[]\n{}\nx",
            "a list for a loss": json.dumps({"step": 1, "loss": [[]]}) + "\n",
        }
        log.write_text(contents[damage])
    ran = run(launchable(RUNS[name].experiment).main, *RUNS[name].flags, f"--workdir={folder}")
    assert ran.status == 0, ran.err
    assert results_of(folder)["metrics"] == whole.results["metrics"]
    assert "Traceback" not in ran.err


FILES = sorted(set(EXPERIMENTS.rglob("*.py")) - set((EXPERIMENTS / "report").iterdir()))
"""But for a report over many runs, whose page says which plots failed."""


@pytest.mark.parametrize("file", FILES, ids=lambda file: str(file.relative_to(EXPERIMENTS)))
def test_no_experiment_draws_otherwise(file):
    tree = ast.parse(file.read_text(encoding="utf-8"))
    froms = [node for node in ast.walk(tree) if isinstance(node, ast.ImportFrom) and node.module]
    modules = {name.asname or name.name for node in froms if node.module == "rnn_jax.plotting" for name in node.names}
    inside = [node for node in froms if node.module.startswith("rnn_jax.plotting.") and node.module[17:] != "style"]
    functions = {name.asname or name.name for node in inside for name in node.names}
    for node in ast.walk(tree):
        # With `path`: inside a function that is drawn itself.
        if isinstance(node, ast.Call) and [ast.unparse(each) for each in node.args[:1]] != ["path"]:
            called = node.func
            assert not (isinstance(called, ast.Name) and called.id in functions), ast.unparse(node)
            of_module = isinstance(called, ast.Attribute) and isinstance(called.value, ast.Name)
            assert not (of_module and called.value.id in modules), ast.unparse(node)
