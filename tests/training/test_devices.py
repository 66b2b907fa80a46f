"""A batch split over devices is the same batch."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from helpers.toy_tasks import regression_task

from rnn_jax.training.optimizers import make_optimizer
from rnn_jax.training.step import make_functions

ON_FOUR_DEVICES = """
import jax, jax.numpy as jnp, numpy as np, optax
jax.config.update("jax_num_cpu_devices", 4)
from helpers.toy_tasks import EXAMPLES, regression_data, regression_task, start
from rnn_jax.training.step import make_functions

BATCH, SEEDS, data = 4, [3, 11], regression_data()


def trained(task, num_devices, parallel):
    functions = make_functions(task, optax.adam(0.05), batch_size=BATCH, parallel=parallel, num_devices=num_devices)
    states, seen = jax.device_put(start(functions, SEEDS), functions.sharding), []
    for epoch in range(2):
        order = jax.device_put(functions.order(states.seed, epoch), functions.sharding)
        states, summary = functions.steps(states, order, data, epoch, 0, EXAMPLES // BATCH)
        seen.append(jax.tree.map(np.asarray, summary))
    assert len(states.params["w"].sharding.device_set) == num_devices
    for shard in states.params["w"].addressable_shards:
        assert np.asarray(shard.data).tobytes() == np.asarray(states.params["w"]).tobytes(), "devices disagree"
    return jax.tree.map(np.asarray, states.params), seen


for parallel in (False, True):
    one = trained(regression_task(), 1, parallel)
    for num_devices in (2, 4):
        several = trained(regression_task(), num_devices, parallel)
        jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-6), one, several)

# Each device draws its own masks: with one mask for all, the key's own number would be its mean over the devices.
drawing = regression_task()._replace(
    loss=lambda params, batch, key: (jax.random.uniform(key, dtype=jnp.float32) + 0 * params["b"], {})
)
first, second = (trained(drawing, n, False)[1][0].loss for n in (1, 2))
assert (first != second).all(), (first, second)
print("agree")
"""


def test_one_two_and_four_devices_agree():
    tests = Path(__file__).parents[1]
    env = os.environ | {"PYTHONPATH": os.pathsep.join((str(tests), str(tests.parent)))}
    ran = subprocess.run([sys.executable, "-c", ON_FOUR_DEVICES], env=env, capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stderr
    assert ran.stdout == "agree\n"


@pytest.mark.parametrize(("num_devices", "batch_size"), [(4096, 4096), (2, 3)])
def test_what_cannot_be_split(num_devices, batch_size):
    with pytest.raises(
        ValueError, match=f"^batch_size={batch_size} cannot be split over num_devices={num_devices}, there are "
    ):
        make_functions(regression_task(), make_optimizer("sgd", 0.1), batch_size=batch_size, num_devices=num_devices)
