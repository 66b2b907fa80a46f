"""The gradient check as a command: a row per check, and an exit status that a script can rely on."""

import re

import pytest
from helpers.running import run

from experiments import gradcheck
from rnn_jax import bptt
from rnn_jax.bptt import lstm
from rnn_jax.diagnostics import gradcheck as checks

ROW = re.compile(r"^(\w+) +(float\d\d) +(\w+) +([\d.e+-]+|nan) +([\d.e+-]+|nan)(  FAILED: .*)?$", re.MULTILINE)


def command(cells="rnn,lstm", dtypes="float64,float32", cases="plain,lengths", *more):
    return run(gradcheck.main, f"--cells={cells}", f"--dtypes={dtypes}", f"--cases={cases}", *more)


def test_passes():
    ran = command()
    assert (ran.status, ran.err) == (0, "")
    rows = ROW.findall(ran.out)
    named = [(cell, dtype, case) for cell, dtype, case, *_ in rows]
    assert sorted(named) == sorted(
        (cell, dtype, case)
        for cell in ("rnn", "lstm")
        for dtype in ("float64", "float32")
        for case in ("plain", "lengths")
    )
    for _, dtype, _, manual, finite, verdict in rows:
        assert float(manual) <= checks.TOLERANCES[dtype].manual
        assert 0 < float(finite) <= checks.TOLERANCES[dtype].finite
        assert verdict == ""
    assert ran.out.splitlines()[-1].startswith("8 of 8 within tolerance (float64 1e-10 and 1e-06, float32 ")


def test_a_broken_rule_fails(monkeypatch):
    """The published fault: the path of the cell state, dc(t-1) += dc(t) f(t), left out."""

    def step(params, local, dcarry):
        dbefore, dz = lstm.step(params, local, dcarry)
        return dbefore._replace(c=0 * dbefore.c), dz

    monkeypatch.setitem(bptt.RULES, "lstm", bptt.RULES["lstm"]._replace(step=step))
    ran = command("rnn,lstm", "float64", "plain")
    assert ran.status == 1
    assert ran.err == ""
    verdicts = {cell: verdict for cell, *_, verdict in ROW.findall(ran.out)}
    assert verdicts == {"rnn": "", "lstm": "  FAILED: above 1e-10 or 1e-06"}
    assert ran.out.splitlines()[-1].startswith("1 of 2 within tolerance")


def test_the_seed_draws_another_point():
    first, second, again = (ROW.findall(command("rnn", "float64", "plain", f"--seed={s}").out) for s in (0, 1, 0))
    assert first == again
    assert first != second


@pytest.mark.parametrize(
    ("argument", "message"),
    [
        ("--cells=rnn,lstmm", "--cells: unknown 'lstmm': take some of rnn,rnn_relu,rnn_identity,lstm,gru"),
        ("--dtypes=bfloat16", "--dtypes: unknown 'bfloat16': take some of float64,float32"),
        ("--cells=", "--cells: unknown '': take some of rnn,rnn_relu,rnn_identity,lstm,gru"),
        ("--seed=-1", "--seed=-1: must be at least 0"),
    ],
)
def test_errors(argument, message):
    assert run(gradcheck.main, argument).one_error() == message


def test_unknown_case():
    message = run(gradcheck.main, "--cases=plane").one_error()
    assert message.startswith(
        "--cases: unknown 'plane': take some of plain,lengths,resets,reverse,stacked,bidirectional"
    )


def test_by_default_all_is_checked():
    config = gradcheck.Config()
    assert config.cells.split(",") == list(bptt.RULES)
    assert set(config.dtypes.split(",")) == {"float64", "float32"}
    wanted = {"plain", "lengths", "resets", "reverse", "stacked", "bidirectional"}
    assert wanted <= set(config.cases.split(","))
