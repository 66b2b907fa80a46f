"""A training step taken apart: the parts are those of the experiment, and add up as they say."""

import pytest

from benchmarks import profile_step
from benchmarks.profile_step import SUBJECTS, batches, milliseconds, parts, shares

SMALL = ("--hidden_size=4", "--batch_size=4", "--backend=manual")
FLAGS = {
    "imdb": (*SMALL, "--vocab_size=50", "--embedding_size=3"),
    "language_model": (*SMALL, "--num_tokens=3000", "--embedding_size=3", "--num_steps=5"),
    "forecast": (*SMALL, "--lag=24"),
    "memory": (*SMALL, "--length=9", "--num_examples=40"),
}


@pytest.mark.parametrize("name", SUBJECTS)
def test_parts(name, monkeypatch):
    monkeypatch.setattr(profile_step, "STEPS", 2)
    subject = SUBJECTS[name](*FLAGS[name])
    before = subject.training.states.params["recurrent"]
    found = milliseconds(parts(subject), 1)
    assert ("embedding" in found) == (name in ("imdb", "language_model"))
    assert ("pooling" in found) == (name == "imdb")
    assert all(len(values) == 1 and values[0] > 0 for values in found.values())
    after = subject.training.states.params["recurrent"]
    assert after is not before, "a whole step trains"
    assert len(batches(subject)) == 2


def test_no_pooling_of_the_last_state(monkeypatch):
    monkeypatch.setattr(profile_step, "STEPS", 2)
    assert "pooling" not in parts(SUBJECTS["imdb"](*FLAGS["imdb"], "--pool=last"))


def test_shares():
    found = {
        "whole": [30.0, 11.0, 12.0], "dispatches": [17.0, 16.0, 17.0], "recurrent": [5.0], "embedding": [1.0],
        "pooling": [0.5], "optimizer": [2.0], "optimizer_alone": [1.5], "batch": [0.25],
    }  # fmt: skip
    expected = {
        "whole": 11.0, "recurrent": 5.0, "embedding": 1.0, "pooling": 0.5, "optimizer": 2.0, "batch": 0.25,
        "norms": 0.5, "rest": 2.25, "dispatch": 5.0,
    }  # fmt: skip
    assert shares(found) == expected
