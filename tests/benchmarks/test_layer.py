"""The benchmark's command: a whole run at a tiny shape, its rows, its refusals. No test looks at how long it took."""

import json

import pytest
from helpers.imports import third_party_imports
from helpers.running import once, run

from benchmarks import contest, layer, matmul, peers, report, shapes, turns
from benchmarks.child import Refused
from benchmarks.peers import PEERS, Peer
from benchmarks.problem import NUM_GATES
from experiments.common.flags import parse
from experiments.common.results import KEYS

MAIN = layer.EXPERIMENT.main

FLAGS = ("--cells=gru", "--shapes=B2T3I2H4r", "--turns=2", "--seconds=1000000", "--matmul_size=16")
OURS = [name for name, peer in PEERS.items() if peer.ours]
ABSENT = Peer("absent", packages=("no_such_package",))


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """Two of ours and two that cannot take part, the processes as users start them."""
    flags = (*FLAGS, "--peers=scan,manual,jax_cudnn,flax_optimized")
    return once(tmp_path_factory, "benchmark", lambda folder: run(MAIN, f"--workdir={folder}", *flags))


def test_a_run(finished):
    folder, ran = finished
    assert (ran.status, ran.err) == (0, ""), ran
    results = json.loads((folder / "results.json").read_text())
    assert set(results) >= {*KEYS, "device", "versions", "machine", "flags", "peer_versions", "rows"}
    assert (results["experiment"], results["cell"]) == ("benchmark", "gru")
    assert results["num_params"] == 3 * 4 * (2 + 4 + 1) + 4
    assert results["machine"]["matmul_rate"] > 0
    rows = {row["peer"]: row for row in results["rows"]}
    assert [(name, row["status"]) for name, row in rows.items()] == [
        ("scan", "ran"), ("manual", "ran"), ("jax_cudnn", "not_asked"), ("flax_optimized", "not_asked"),
    ]  # fmt: skip
    for name in ("scan", "manual"):
        row = rows[name]
        assert row["agrees"]
        assert set(row["errors"]) == {"ys", "dxs", "w_ih", "w_hh", "b", "b_hn"}
        assert len(row["forward"]["turns"]) == len(row["forward_backward"]["turns"]) == 2
        for what in ("forward", "forward_backward"):
            assert 0 < row[what]["median"] <= row[what]["p90"]
        for figure in ("steps_per_second", "tokens_per_second", "share_of_matmul_rate", "peak_bytes", "planned_bytes"):
            assert row[figure] > 0
        assert set(row["compile_seconds"]) == set(row["first_call_seconds"]) == {"forward", "forward_backward"}
    assert max(rows["scan"]["errors"].values()) == 0  # the others are compared with it
    best = results["backend"]
    assert rows[best]["forward_backward"]["ratio"] == 1
    assert set(results["metrics"]) == {"forward_seconds", "forward_backward_seconds"}
    assert set(results["baselines"]) == {"scan", "manual"} - {best}
    assert str(folder) not in (folder / "results.json").read_text()


def test_every_call_is_kept(finished):
    folder, _ = finished
    entries = [json.loads(line) for line in (folder / "measurements.jsonl").read_text().splitlines()]
    assert [entry["key"] for entry in entries] == ["rate", "gru B2T3I2H4r float32"]
    seconds = entries[1]["rows"][0]["forward"]["seconds"]
    assert [len(turn) for turn in seconds] == [turns.MOST_CALLS] * 2
    results = json.loads((folder / "results.json").read_text())
    assert results["steps"] == 2 * 2 * 2 * turns.MOST_CALLS


def test_the_table(finished):
    folder, ran = finished
    head = next(line for line in ran.out.splitlines() if line.startswith("| cell"))
    names = ["cell", "shape", "scan", "manual", "jax_cudnn", "flax_optimized", "best peer / ours", "forward alone"]
    assert [column.strip() for column in head.strip("|").split("|")] == names
    written = (folder / "table.md").read_text()
    assert head in written
    assert "of matmul rate" in written


def test_the_same_command_again(finished):
    folder, ran = finished
    again = run(MAIN, f"--workdir={folder}", *(folder / "flags.txt").read_text().split())
    assert again.status == 0
    assert again.out.endswith(ran.out[ran.out.index("\n\nfloat32: ") :])


def row_of(peer, **values):
    times = {"median": 0.001, "p90": 0.002, "ratio": 1.0, "turns": [0.001], "seconds": [[0.001]]}
    row = {"cell": "gru", "shape": "B2T3I2H4", "sizes": "B2T3I2H4", "dtype": "float32", "peer": peer, "status": "ran"}
    return row | {"forward": dict(times), "forward_backward": dict(times), "agrees": True, "ratio_to": "scan"} | values


@pytest.fixture
def without_processes(monkeypatch):
    """Rows that stand in for contests; what is asked for is noted down."""
    held = []

    def hold(cell, shape, dtype, names, limits, trace):
        held.append((cell, shape.name, dtype))
        values = {"cell": cell, "shape": shape.name, "sizes": shape.describe(), "dtype": dtype}
        values |= {
            "compile_seconds": {},
            "first_call_seconds": {"forward_backward": 1.0},
            "peak_bytes": 1,
            "errors": {"b": 0.0},
        }
        figures = {"steps_per_second": 1.0, "tokens_per_second": 1.0, "share_of_matmul_rate": 0.5}
        return [row_of(name, **values, **figures) for name in names]

    monkeypatch.setattr(contest, "hold", hold)
    monkeypatch.setattr(matmul, "rate", lambda size: 1e9)
    return held


def test_a_sweep(tmp_path, without_processes):
    flags = ("--cells=rnn,gru", "--shapes=B2T8I3H4", "--sweep=T", "--factors=2,0.5,1", "--peers=scan,torch")
    ran = run(MAIN, f"--workdir={tmp_path}", *flags)
    assert ran.status == 0, ran
    names = ["B2T4I3H4", "B2T8I3H4", "B2T16I3H4"]
    assert without_processes == [(cell, name, "float32") for cell in ("rnn", "gru") for name in names]
    assert (tmp_path / "plots" / "sweep_T.png").read_bytes().startswith(b"\x89PNG")


def test_an_interrupted_run_goes_on(tmp_path, without_processes, monkeypatch):
    flags = (f"--workdir={tmp_path}", "--cells=rnn,lstm,gru", "--shapes=S1", "--peers=scan")
    hold = contest.hold

    def stop_at_the_second(*arguments):
        if len(without_processes) == 1:
            raise KeyboardInterrupt
        return hold(*arguments)

    monkeypatch.setattr(contest, "hold", stop_at_the_second)
    assert run(MAIN, *flags).status == 130
    monkeypatch.setattr(contest, "hold", hold)
    assert run(MAIN, *flags).status == 0
    assert without_processes == [(cell, "S1", "float32") for cell in ("rnn", "lstm", "gru")]


def test_a_type_of_its_own():
    config = parse(layer.Config, ["--cells=lstm", "--shapes=S1,S6", "--dtypes=float32,float64"])
    found = [(shape.name, dtype) for _, shape, dtype in layer.contests(config)]
    assert found == [("S1", "float32"), ("S1", "float64"), ("S6", "bfloat16")]


def test_a_missing_peer(monkeypatch):
    """A row that says so, in the contest and in the table, and no error."""
    monkeypatch.setitem(PEERS, "absent", ABSENT)
    limits = contest.Limits(turns=1, seconds=1e-9, memory_bytes=2**40, rate=1e12)
    rows = contest.hold("gru", shapes.get("B2T3I2H4"), "float32", ["scan", "absent"], limits)
    assert (rows[1]["status"], rows[1]["reason"]) == ("missing", "no_such_package is not installed")
    assert report.cell_of(rows[1]) == "missing"
    assert "- absent: no_such_package is not installed (gru B2T3I2H4)" in report.tables({"rows": rows})
    assert peers.missing(ABSENT) == "no_such_package"


def test_a_peer_that_disagrees_is_not_ranked():
    """However fast it is: its time stands in brackets, and the ratio is that of another."""
    fast = {"median": 1e-6, "p90": 1e-6, "turns": [1e-6]}
    wrong = row_of("haiku", agrees=False, remark="resets before the product: relative error of ys 0.6")
    wrong |= {"forward": fast, "forward_backward": fast}
    del wrong["ratio_to"]
    rows = [row_of("scan"), wrong, row_of("torch")]
    assert report.best_peer(rows)["peer"] == "torch"
    shown = report.tables({"rows": rows})
    assert "(0.001 / 0.001)" in shown
    assert "1.00 (torch)" in shown
    assert "- haiku: resets before the product: relative error of ys 0.6 (gru B2T3I2H4)" in shown


def test_nothing_ran(tmp_path, monkeypatch):
    """Every contest is too large for the budget: a table of reasons, exit status 1."""
    monkeypatch.setattr(matmul, "rate", lambda size: 1e-9)
    ran = run(MAIN, f"--workdir={tmp_path}", *FLAGS, "--peers=scan,torch")
    assert ran.status == 1
    assert "alone a gradient takes" in ran.out
    results = json.loads((tmp_path / "results.json").read_text())
    assert results["metrics"] == {}


def test_a_rate_that_cannot_be_measured(tmp_path, monkeypatch):
    def rate(size):
        raise Refused("time", "no answer within 600 s")

    monkeypatch.setattr(matmul, "rate", rate)
    message = run(MAIN, f"--workdir={tmp_path}", *FLAGS, "--peers=scan").one_error()
    assert message == "--matmul_size=16: no answer within 600 s"


@pytest.mark.parametrize(
    ("argument", "message"),
    [
        ("--cells=lstm,mgu", f"--cells: unknown 'mgu': take some of {','.join(NUM_GATES)}"),
        ("--peers=scan,tensorflow", f"--peers: unknown 'tensorflow': take some of {','.join(PEERS)}"),
        ("--peers=torch", f"--peers: name one of {','.join(OURS)} too: the others are compared with it"),
        ("--dtypes=float16", "--dtypes: unknown 'float16': take some of float32,float64,bfloat16,tf32"),
        (
            "--shapes=S1,S8",
            "--shapes: unknown 'S8': take some of S1,S2,S3,S4,S5,S6,S7 or spell one out, like B64T100I1H32",
        ),
        ("--sweep=T", "--sweep=T varies one shape: name it, like --shapes=S2"),
        ("--factors=1,x", "--factors=1,x: write numbers with commas between"),
        ("--factors=1,0", "--factors=0.0: must be above 0.0"),
        ("--factors=nan", "--factors=nan: must be a finite number"),
        ("--factors=1e5", "--factors=100000.0: must be at most 10000.0"),
        ("--turns=0", "--turns=0: must be at least 1"),
        ("--seconds=0", "--seconds=0.0: must be above 0.0"),
        ("--memory_limit_gib=-1", "--memory_limit_gib=-1.0: must be above 0.0"),
    ],
)
def test_errors(tmp_path, argument, message):
    """Before a folder is made."""
    folder = tmp_path / "run"
    assert run(MAIN, f"--workdir={folder}", argument).one_error() == message
    assert not folder.exists()


def test_help_needs_what_flags_need_only():
    assert third_party_imports("benchmarks.layer") == {"absl", "benchmarks", "experiments"}
