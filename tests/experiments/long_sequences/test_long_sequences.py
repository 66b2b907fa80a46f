"""The cost of long sequences: a whole run, what it measures, and what it does with a wrong gradient."""

import pytest
from helpers.finished import finished
from helpers.running import as_in_a_new_process, refused, results_of, run

from experiments.long_sequences import measure, task
from experiments.long_sequences.__main__ import EXPERIMENT
from experiments.long_sequences.flags import Config

TINY = ("--hidden_size=4", "--bias_length=6", "--bias_batch_size=2", "--bias_cells=rnn", "--num_seeds=1")


@pytest.fixture
def in_this_process(monkeypatch):
    """Measures costs without starting processes, and no bias, which take seconds; the tasks are noted down."""
    measured = []

    def measure_here(task, gradient_file):
        measured.append(task)
        with as_in_a_new_process():
            return measure.measure_here(task, gradient_file)

    bias = {"rnn": {"lengths": [1, 6], "relative_error": [[1.0], [0.0]], "cosine": [[0.0], [1.0]]}}
    monkeypatch.setattr(measure, "measure", measure_here)
    monkeypatch.setattr(task, "measure_bias", lambda config: bias)
    return measured


class TestRun:
    """With processes of their own, as users start it."""

    @pytest.fixture
    def made(self, tmp_path_factory):
        return finished(tmp_path_factory, "long_sequences")

    def test_results(self, made):
        results = made.results
        assert (results["cell"], results["steps"], results["seeds"]) == ("lstm", 10_000, [0, 1])
        assert results["num_params"] == 4 * 32 * (1 + 32 + 1)
        segmented, plain = results["costs"]
        assert (segmented["length"], segmented["method"], segmented["dtype"]) == (10_000, "segmented", "float64")
        assert (plain["length"], plain["method"], plain["dtype"]) == (10_000, "plain", "float32")
        for row in (segmented, plain):
            assert row["ran"]
            assert row["predicted_bytes"] >= row["temp_bytes"] > 0
            assert row["seconds"] > 0
        assert segmented["gradient_error"] == 0, "it is the reference"
        assert 0 < plain["gradient_error"] < 1e-4, "one in float32, the other in float64"

    def test_what_is_stored_whole_is_seen_in_the_process(self, made):
        """h, c and y of 10,000 steps in float32 are 3.7 MiB; of a hundred steps and a hundred carries, in float64, 0.3.

        The process has other things in its memory, and pages of 4 KiB.
        """
        if not measure_can_forget():
            pytest.skip("the peak of a process cannot be set back here")
        segmented, plain = made.results["costs"]
        assert plain["temp_bytes"] > 3.7 * 2**20 > 4 * segmented["temp_bytes"]
        assert plain["process_bytes"] > 0.8 * plain["temp_bytes"]
        assert plain["process_bytes"] > 2 * segmented["process_bytes"] >= 0

    def test_bias(self, made):
        bias = made.results["truncation"]["rnn"]
        assert bias["lengths"] == [1, 2, 4, 6]
        for figures in (bias["relative_error"], bias["cosine"]):
            assert [len(of_seeds) for of_seeds in figures] == [2] * 4
        assert min(bias["relative_error"][0]) > 1e-3
        assert max(bias["relative_error"][-1]) < 1e-6

    def test_plots_and_tables(self, made):
        for name in ("costs", "bias"):
            assert (made.folder / "plots" / f"{name}.png").read_bytes().startswith(b"\x89PNG")
        flags = (made.folder / "flags.txt").read_text().split()
        again = run(EXPERIMENT.main, f"--workdir={made.folder}", *flags)
        out = made.ran.out
        assert again.out.endswith(f"this run is finished; its results:{out[out.index(chr(10) * 2 + '| T ') :]}")


def measure_can_forget():
    return measure.Path("/proc/self/clear_refs").exists()


def test_what_is_measured():
    """Of each length the reference first, each task once; float64 for short lengths alone."""
    config = Config(lengths=(21, 10), backends=("manual",), methods=("plain", "segmented"), float64_up_to=10)
    assert [(each.length, each.method, each.dtype) for each in task.tasks(config)] == [
        (10, "segmented", "float64"),
        (10, "plain", "float32"),
        (10, "segmented", "float32"),
        (10, "plain", "float64"),
        (21, "segmented", "float64"),
        (21, "plain", "float32"),
        (21, "segmented", "float32"),
    ]


def test_a_limit_and_an_interruption(tmp_path, in_this_process, monkeypatch):
    """Of T = 400 the plain scan plans 130 KiB, the others less than 20: with 60 KiB it alone is not run.

    Stopped at the third measurement, the same command goes on with it.
    """
    flags = ("--lengths=400", "--backends=scan", "--loss=final", "--float64_up_to=0", *TINY)
    flags += (f"--workdir={tmp_path}", "--methods=plain,checkpointed", f"--memory_limit_gib={60 / 2**20}")
    measure_one = measure.measure

    def stop_at_the_third(task, gradient_file):
        if len(in_this_process) == 2:
            raise KeyboardInterrupt
        return measure_one(task, gradient_file)

    monkeypatch.setattr(measure, "measure", stop_at_the_third)
    assert run(EXPERIMENT.main, *flags).status == 130
    monkeypatch.setattr(measure, "measure", measure_one)
    ran = run(EXPERIMENT.main, *flags)
    assert ran.status == 0, ran
    assert len(in_this_process) == len(set(in_this_process)) == 3

    plain = [line for line in ran.out.splitlines() if line.startswith("| 400 ") and "| plain " in line]
    assert len(plain) == 1
    assert "not run: 0.0 GiB" in plain[0]
    rows = results_of(tmp_path)["costs"]
    assert [row["ran"] for row in rows] == ["seconds" in row for row in rows] == [True, False, True]
    assert rows[1]["predicted_bytes"] > 60 * 1024


def test_a_wrong_gradient_fails_the_run(tmp_path, in_this_process, monkeypatch):
    make_loss = measure.make_loss

    def wrong(task):
        loss = make_loss(task)
        return loss if task.method == "segmented" else lambda *arguments: 1.001 * loss(*arguments)

    monkeypatch.setattr(measure, "make_loss", wrong)
    flags = [f"--workdir={tmp_path}", "--lengths=10", "--backends=manual", "--methods=plain", *TINY]
    ran = run(EXPERIMENT.main, *flags)
    assert ran.status == 1
    assert ran.out.splitlines()[-1].startswith("2 of 3 rows failed")


@pytest.mark.parametrize(
    ("argument", "message"),
    [
        ("--lengths=1000,1e6", "--lengths=1000,1e6: write whole numbers with commas between"),
        ("--lengths=", "--lengths=: name at least one"),
        ("--lengths=0", "--lengths=0: must be at least 1"),
        ("--lengths=10,1000000000", "--lengths=1000000000: must be at most 100000000"),
        ("--backends=scan,cuda", "--backends: unknown 'cuda': take some of scan,manual"),
        ("--methods=slow", "--methods: unknown 'slow': take some of plain,checkpointed,segmented"),
        ("--memory_limit_gib=0", "--memory_limit_gib=0.0: must be above 0.0"),
        ("--num_seeds=1025", "--num_seeds=1025: must be at most 1024"),
        (
            "--bias_cells=lstmm",
            "--bias_cells: unknown 'lstmm': take some of rnn,rnn_orthogonal,gru,lstm,lstm_forget_1,lstm_forget_3",
        ),
    ],
)
def test_errors(tmp_path, argument, message):
    """At once, not after the measurements."""
    assert refused(EXPERIMENT.main, tmp_path, argument) == message
