"""Parameters kept apart from checkpoints."""

import jax
import numpy as np
import pytest
from helpers.toy_tasks import assert_same_bits

from rnn_jax.training.checkpoints import load_params, save_params
from rnn_jax.training.errors import TrainingError

# TensorStore reads all arrays at once; the reads that still run when the first one fails find their loop closed.
pytestmark = pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")

PARAMS = {"a": np.arange(6, dtype=np.float32).reshape(2, 3), "b": {"c": np.float32(3)}}


def test_saved_over_others_and_loaded(tmp_path):
    save_params(tmp_path / "model", jax.tree.map(lambda p: 7 * p, PARAMS))
    save_params(tmp_path / "model", PARAMS)
    assert_same_bits(load_params(tmp_path / "model", PARAMS), PARAMS)


@pytest.mark.parametrize("name", ["lr[0.01]", "a\\b", "a*b"])
def test_folders_of_any_name(tmp_path, name):
    save_params(tmp_path / name / "model", PARAMS)
    assert_same_bits(load_params(tmp_path / name / "model", PARAMS), PARAMS)


def test_what_is_not_finite(tmp_path):
    save_params(tmp_path / "model", {**PARAMS, "a": np.full_like(PARAMS["a"], np.nan)})
    with pytest.raises(TrainingError, match="there are numbers that are not finite"):
        load_params(tmp_path / "model", PARAMS)


@pytest.mark.parametrize("what", ["absent", "damaged", "of another model", "of another shape"])
def test_what_cannot_be_loaded(tmp_path, what):
    like = PARAMS
    if what != "absent":
        save_params(tmp_path / "model", PARAMS)
    if what == "damaged":
        (tmp_path / "model" / "_METADATA").write_bytes(b"")
    if what == "of another model":
        like = {"a": PARAMS["a"]}
    if what == "of another shape":
        like = {**PARAMS, "a": PARAMS["a"].T}
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(TrainingError, match="no parameters of this model can be read from"):
        load_params(tmp_path / "model", like)
    assert sorted(tmp_path.rglob("*")) == before
