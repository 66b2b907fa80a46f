"""The gradient check as a command: a row per check, and an exit status that a script can rely on."""

import re
import shutil

import pytest
from helpers.finished import RUNS, finished
from helpers.running import refused, results_of, run

from experiments import gradcheck
from rnn_jax import bptt
from rnn_jax.bptt import lstm
from rnn_jax.diagnostics import gradcheck as checks

ROW = re.compile(r"^(\w+) +(float\d\d) +(\w+) +([\d.e+-]+|nan) +([\d.e+-]+|nan)(  FAILED: .*)?$", re.MULTILINE)


def command(folder, cells, *more):
    flags = (f"--cells={cells}", "--dtypes=float64", "--cases=plain", *more)
    return run(gradcheck.EXPERIMENT.main, f"--workdir={folder}", *flags)


def test_passes(tmp_path_factory):
    ran = finished(tmp_path_factory, "gradcheck").ran
    assert ran.err == ""
    rows = ROW.findall(ran.out)
    named = [(cell, dtype, case) for cell, dtype, case, *_ in rows]
    assert sorted(named) == sorted(
        (cell, dtype, "lengths") for cell in ("rnn", "lstm") for dtype in ("float64", "float32")
    )
    for _, dtype, _, manual, finite, verdict in rows:
        assert float(manual) <= checks.TOLERANCES[dtype].manual
        assert 0 < float(finite) <= checks.TOLERANCES[dtype].finite
        assert verdict == ""
    assert ran.out.splitlines()[-1].startswith("4 of 4 within tolerance (float64 1e-10 and 1e-06, float32 ")


def test_results(tmp_path_factory):
    """At their top the largest errors of all rows, beside those of each type."""
    found = finished(tmp_path_factory, "gradcheck").results
    assert (found["cell"], found["protocol"], found["steps"]) == ("rnn,lstm", "lengths", 4)
    inputs, hidden = checks.INPUTS, checks.HIDDEN
    assert found["num_params"] == (1 + 4) * hidden * (inputs + hidden + 1)
    assert found["metrics"]["failed"]["mean"] == 0
    for measure in ("manual_error", "finite_error"):
        largest = max(row[measure] for row in found["rows"])
        assert found["metrics"][measure]["mean"] == largest
        assert max(row[measure]["mean"] for row in found["baselines"].values()) == largest
    assert list(found["baselines"]) == ["float64", "float32"]


def test_started_again_it_checks_again(tmp_path_factory, tmp_path, monkeypatch):
    """Another outcome takes the place of the first."""
    made = finished(tmp_path_factory, "gradcheck")
    shutil.copytree(made.folder, tmp_path / "run")
    rows = [checks.Result(**row) for row in made.results["rows"]]
    rows[-1] = rows[-1]._replace(manual_error=0.5)
    monkeypatch.setattr(checks, "check_all", lambda *args, **options: rows)
    again = run(gradcheck.EXPERIMENT.main, f"--workdir={tmp_path / 'run'}", *RUNS["gradcheck"].flags)
    assert again.status == 1
    assert "3 of 4 within tolerance" in again.out
    assert results_of(tmp_path / "run")["metrics"]["manual_error"]["mean"] == 0.5


@pytest.mark.usefixtures("traced_anew")
def test_a_broken_rule_fails(tmp_path, monkeypatch):
    """The published fault: the path of the cell state, dc(t-1) += dc(t) f(t), left out."""

    def step(params, local, dcarry):
        dbefore, dz = lstm.step(params, local, dcarry)
        return dbefore._replace(c=0 * dbefore.c), dz

    monkeypatch.setitem(bptt.RULES, "lstm", bptt.RULES["lstm"]._replace(step=step))
    ran = command(tmp_path, "rnn,lstm")
    assert ran.status == 1
    assert ran.err == ""
    verdicts = {cell: verdict for cell, *_, verdict in ROW.findall(ran.out)}
    assert verdicts == {"rnn": "", "lstm": "  FAILED: above 1e-10 or 1e-06"}
    assert ran.out.splitlines()[-1].startswith("1 of 2 within tolerance")
    assert results_of(tmp_path)["metrics"]["failed"]["mean"] == 1


def test_the_seed_draws_another_point(tmp_path):
    first, second, again = (ROW.findall(command(tmp_path / str(n), "rnn", f"--seed={n % 2}").out) for n in range(3))
    assert first == again
    assert first != second


@pytest.mark.parametrize(
    ("argument", "message"),
    [
        ("--cells=rnn,lstmm", "--cells: unknown 'lstmm': take some of rnn,rnn_relu,rnn_identity,lstm,gru"),
        ("--dtypes=bfloat16", "--dtypes: unknown 'bfloat16': take some of float64,float32"),
        ("--cells=", "--cells=: name at least one"),
        ("--cases=", "--cases=: name at least one"),
        ("--seed=-1", "--seed=-1: must be at least 0"),
        (
            "--cases=plane",
            "--cases: unknown 'plane': take some of plain,lengths,resets,reverse,stacked,bidirectional,long",
        ),
    ],
)
def test_errors(tmp_path, argument, message):
    assert refused(gradcheck.EXPERIMENT.main, tmp_path, argument) == message


def test_by_default_all_is_checked():
    config = gradcheck.Config()
    assert config.cells == tuple(bptt.RULES)
    assert set(config.dtypes) == {"float64", "float32"}
    assert {"plain", "lengths", "resets", "reverse", "stacked", "bidirectional"} <= set(config.cases)
