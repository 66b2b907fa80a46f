"""Both sides that are timed at writing are the same model, and what is said of their times follows from the times."""

import doctest
import json
import sys
from functools import partial

import numpy as np
import pytest

from benchmarks import generation
from benchmarks.child import Refused
from benchmarks.generation import CASES, Case, Setting, Writer, check_same, compare, row_of, set_up, table, times

pytest.importorskip("torch")

SMALL = {
    "one layer": Case(11, 3, 5, 1, tied=False),
    "three layers": Case(12, 4, 6, 3, tied=False),
    "tied": Case(13, 7, 7, 2, tied=True),
}
SETTINGS = [Setting(2, 4, None), Setting(3, 5, 2)]
LENGTH = 9


@pytest.fixture(scope="module")
def sides():
    """Ours, and PyTorch's of both variants, by case."""
    from benchmarks import generation_pytorch as theirs

    ours = {name: Writer(case) for name, case in SMALL.items()}
    return {
        name: (writer, [theirs.Writer(writer.for_torch(), variant) for variant in theirs.VARIANTS])
        for name, writer in ours.items()
    }


@pytest.mark.parametrize("case", SMALL)
def test_the_likeliest_tokens_are_the_same(sides, case):
    ours, theirs = sides[case]
    texts = np.array(ours.likeliest(20, LENGTH))
    assert texts.shape == (20, LENGTH)
    assert len(np.unique(texts)) > 2  # else anything would agree
    for writer in theirs:
        np.testing.assert_array_equal(writer.write(writer.likeliest, 20, LENGTH), texts)


@pytest.mark.parametrize("case", SMALL)
def test_weights_as_they_are(sides, case):
    """By the equations, in NumPy: the scores of the second step, after the tokens 3 and 1."""
    ours, theirs = sides[case]
    given = ours.for_torch()
    table_out = given.get("head_weight", given["embedding"])
    states = [[np.zeros(SMALL[case].hidden_size)] * 2 for _ in range(SMALL[case].num_layers)]
    for token in (3, 1):
        x = given["embedding"][token]
        for layer, (h, c) in enumerate(states):
            z = given[f"weight_ih_l{layer}"] @ x + given[f"weight_hh_l{layer}"] @ h + given[f"bias_ih_l{layer}"]
            i, f, g, o = np.split(z, 4)
            c = c / (1 + np.exp(-f)) + np.tanh(g) / (1 + np.exp(-i))
            x = np.tanh(c) / (1 + np.exp(-o))
            states[layer] = [x, c]
    scores = table_out @ x + given["head_bias"]
    import torch

    for writer in theirs:
        with torch.inference_mode():
            _, state = writer.scores(torch.tensor([3]), writer.layers.begin(1))
            got, _ = writer.scores(torch.tensor([1]), state)
        np.testing.assert_allclose(got[0], scores, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("case", SMALL)
def test_what_pytorch_draws(sides, case):
    """Of one token the likeliest; of two, both and no other; of all, as often as its probability says."""
    import torch

    torch.manual_seed(0)
    for writer in sides[case][1]:
        one = writer.write(partial(writer.drawn, top_k=1), 5, LENGTH)
        np.testing.assert_array_equal(one, writer.write(writer.likeliest, 5, LENGTH))
        many = 4000
        with torch.inference_mode():
            token, state = torch.full((many,), 2), writer.layers.begin(many)
            scores = writer.scores(token, state)[0][0]
            p = scores.softmax(dim=-1).numpy()
            two, everything = (writer.drawn(token, state, top_k)[0].numpy() for top_k in (2, None))
        assert set(two) == set(np.argsort(-p)[:2])
        np.testing.assert_allclose(np.bincount(everything, minlength=len(p)) / many, p, atol=4 * many**-0.5 / 2)


def test_both_sides_set_up(tmp_path):
    """They say the same texts, and time what they are asked for."""
    from benchmarks import generation_pytorch

    path = tmp_path / "start.npz"
    ours, answers = set_up(SMALL["one layer"], SETTINGS, path)
    theirs, other_answers = generation_pytorch.set_up(dict(np.load(path)), "cells", generation.COMPARED)
    assert theirs == ours
    np.testing.assert_array_equal(np.load(path)["settings"], [[2, 4, 0], [3, 5, 2]])
    assert [np.shape(texts) for texts in ours] == [(2, 50), (3, 50)]
    for each in (answers, other_answers):
        assert [len(each["time"](what, 2)) for what in ("0", "1")] == [2, 2]


OTHER = """
from benchmarks.child import serve
serve(lambda: ([[[0] * 50] * 2, [[0] * 50] * 3], {}))
"""


def test_other_tokens(monkeypatch):
    """Nothing is timed."""
    monkeypatch.setattr(generation, "peers", lambda start_file: {"other": ["-c", OTHER]})
    with pytest.raises(RuntimeError, match=r"other tokens than rnn_jax have: other$"):
        compare(SMALL["one layer"], SETTINGS, repeats=1)


def test_the_same_tokens():
    check_same({"a": [[[1, 2]]], "b": [[[1, 2]]]})


class Steady:
    """A contender whose texts take so long."""

    def __init__(self, seconds):
        self.seconds = seconds

    def ask(self, name, limit, what, calls, untimed):
        assert (name, what, untimed) == ("time", "1", 1)
        if self.seconds is None:
            raise Refused("failed", "is no more")
        return [self.seconds] * calls


def test_turns():
    """Who is far behind has one alone; ours have all of them, however slow."""
    found = times({"rnn_jax": Steady(9.0), "a": Steady(1.0), "b": Steady(2.9), "c": Steady(3.0)}, "1", repeats=4)
    assert found == {"rnn_jax": [9.0] * 4, "a": [1.0] * 4, "b": [2.9] * 4, "c": [3.0]}


def test_a_contender_that_ends():
    with pytest.raises(RuntimeError, match=r"^a: is no more$"):
        times({"rnn_jax": Steady(1.0), "a": Steady(None)}, "1", repeats=4)


def test_the_program(monkeypatch, tmp_path, capsys):
    """All of it, in processes of their own: a table, and the raw numbers that it comes from."""
    all_peers = generation.peers
    name = "pytorch_cells_1"
    monkeypatch.setattr(generation, "peers", lambda start_file: {name: all_peers(start_file)[name]})
    monkeypatch.setattr(generation, "CASES", {"small": SMALL["tied"]})
    monkeypatch.setattr(generation, "SETTINGS", SETTINGS)
    monkeypatch.setattr(generation, "TURN_SECONDS", 0.01)
    monkeypatch.setattr(sys, "argv", ["generation", "--repeats=2", f"--raw_dir={tmp_path}"])
    generation.main()
    found = json.loads((tmp_path / "generation.json").read_text())
    assert found["cases"] == {"small": SMALL["tied"]._asdict()}
    assert list(found["seconds"]) == [
        f"small/{setting}/{contender}" for setting in ("2/all", "3/top 2") for contender in ("rnn_jax", name)
    ]
    for row, setting in zip(found["rows"]["small"], SETTINGS, strict=True):
        key = "small/2/all" if setting.top_k is None else "small/3/top 2"
        seconds = {of: found["seconds"][f"{key}/{of}"] for of in ("rnn_jax", name)}
        assert [len(each) for each in seconds.values()] == [2, 2]
        assert row == row_of(setting, seconds)
    assert table(found["rows"]) in capsys.readouterr().out


def test_all_peers():
    """Both variants, each on one thread; with several cores on all of them too."""
    commands = generation.peers("start.npz")
    assert {"pytorch_lstm_1", "pytorch_cells_1"} <= set(commands)
    for name, command in commands.items():
        _, variant, threads = name.split("_")
        assert command[2:] == ["start.npz", variant, threads, "50"]


def test_the_table():
    rows = [
        {"batch_size": 1, "top_k": None, "fastest": "b", "ratio": 3.0, "least": 2.0, "most": 4.25}
        | {"tokens_per_second": {"rnn_jax": 30_000.4, "a": 9.0, "b": 10_000.0}}
    ]
    *_, line = table({"words": rows}).splitlines()
    cells = [cell.strip() for cell in line.strip("|").split("|")]
    assert cells == ["words", "1", "all", "30,000", "10,000", "3.00", "2.00 to 4.25", "b"]


def test_models():
    """Word models are tied, which takes an embedding as wide as the state."""
    assert all(case.embedding_size == case.hidden_size for case in CASES.values() if case.tied)


def test_the_examples():
    assert doctest.testmod(generation)._asdict() == {"failed": 0, "attempted": 4}
