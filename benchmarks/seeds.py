"""S replicas of the temperature LSTM in one program: at once (vmap) or one after another (lax.map).

    python -m benchmarks.seeds

B 64, T 64, H 32, Adam. The figure is seconds per step of all replicas together. `rnn_jax.training.step` chooses by it:
one after another on a CPU, at once elsewhere.
"""

import argparse

import jax
import jax.numpy as jnp
from experiments.common.training_flags import make_config_optimizer
from flax import nnx

from benchmarks.measure import interleaved, ratio, save
from experiments.common.flags import parse
from experiments.forecast import main as forecast
from rnn_jax import models
from rnn_jax.data.series import synthetic
from rnn_jax.data.series.forecasting import make_task
from rnn_jax.training.step import make_functions


def main() -> None:
    """Times 1, 4 and 8 replicas both ways and saves the raw numbers."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--steps", type=int, default=50)
    arguments = parser.parse_args()

    config = parse(forecast.Config, ["--schedule=constant"])
    task = make_task(synthetic.hourly_temperature(10_000, seed=0), "clean", config.lag, config.ahead)
    apply, _ = models.pure(forecast.make_model(config, 1, nnx.Rngs(0)))
    training = forecast.make_training_task(config, task, apply)
    data = jax.device_put({"series": task.standardised, "train": task.train, "validation": task.validation})

    def contender(num_seeds: int, parallel: bool):
        optimizer = make_config_optimizer(config, config.learning_rate)
        functions = make_functions(training, optimizer, batch_size=config.batch_size, parallel=parallel)
        seeds = jnp.arange(num_seeds, dtype=jnp.uint32)
        order = functions.order(seeds, 0)
        states = functions.init(seeds)

        def call() -> None:
            nonlocal states
            states, summary = functions.steps(states, order, data, 0, 0, arguments.steps)
            jax.block_until_ready(summary)

        return call

    contenders = {}
    for num_seeds in (1, 4, 8):
        contenders[f"at_once_{num_seeds}"] = contender(num_seeds, True)
        contenders[f"one_after_another_{num_seeds}"] = contender(num_seeds, False)
    seconds = interleaved(contenders, arguments.repeats)
    slowdown = {name: ratio(seconds, "one_after_another_1", name) for name in contenders}
    path = save("seeds", {"steps": arguments.steps, "times_one_replica": slowdown}, seconds)
    for name, factor in slowdown.items():
        print(f"{name:<22} {factor:5.2f} times one replica")
    print(f"raw numbers: {path}")


if __name__ == "__main__":
    main()
