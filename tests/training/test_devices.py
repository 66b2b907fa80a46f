"""A batch split over devices is the same batch, and replicas on other devices are the same replicas."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from helpers.toy_tasks import regression_task

from rnn_jax.training.devices import choose
from rnn_jax.training.functions import make_functions
from rnn_jax.training.optimizers import make_optimizer

HERE = Path(__file__).parent


@pytest.fixture(scope="module")
def cases():
    """What `on_eight_devices.py` has found, by case."""
    env = os.environ | {"PYTHONPATH": os.pathsep.join(map(str, (HERE.parent, HERE.parents[1])))}
    command = [sys.executable, str(HERE / "on_eight_devices.py")]
    ran = subprocess.run(command, env=env, capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stderr
    found = [json.loads(line) for line in ran.stdout.splitlines()]
    return {each.pop("case"): each for each in found}


def test_they_are_as_one(cases):
    compared = {
        name: found for name, found in cases.items() if "difference" in found and not name.startswith("weight unknown")
    }
    assert len(compared) == 7
    for name, found in compared.items():
        assert found["difference"] < 1e-10, name
        assert found["moved"] > 0.01, name


def test_what_the_loss_is_a_mean_over_counts(cases):
    assert cases["weight unknown (2,)"]["difference"] > 1e-4


def test_shares_are_the_batch(cases):
    """Each example once, in its order, whatever the devices divide."""
    shared = {name: found for name, found in cases.items() if "places" in found}
    assert len(shared) >= 8
    for name, found in shared.items():
        assert found["places"] == list(range(int(name.split()[0]))), name
        assert found["error"] < 1e-12, name


def test_large_arrays_lie_in_parts(cases):
    """Of a seed's LSTM the weights `[6, 24]` and the bias `[24]`, and all that is kept of them."""
    assert cases["parts"]["shapes"] == [[[1, 2, 24], [1, 8]]] * 3


def test_a_device_has_its_share_of_the_rows(cases):
    """Of 23 rows of 4 numbers, with one of zeros to make them 24, on four devices of each of two groups."""
    assert cases["rows"] == {"shape": [24, 4], "shapes": [[6, 4]] * 8}


class TestRefused:
    def test_more_than_there_are(self):
        with pytest.raises(ValueError, match=r"^num_devices=64 times seed_devices=64 cannot be had, there are \d+$"):
            choose(64, 64)

    def test_more_than_a_batch_has_examples(self):
        devices = choose()
        with pytest.raises(ValueError, match=r"^num_devices=1 cannot share batch_size=0$"):
            make_functions(regression_task(), make_optimizer("sgd", 0.1), batch_size=0, devices=devices)
