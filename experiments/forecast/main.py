"""Forecast an hourly series with a recurrent network, against persistence and linear autoregression.

Without flags: three years of a synthetic temperature, 17 seconds on 2 cores. The lectures' system on real data:

    python launch.py forecast --dataset=szeged --protocol=lecture --num_seeds=3

experiments/README.md lists commands, times and figures to expect.
"""

from pathlib import Path

from experiments.common import results
from experiments.common.command import Experiment
from experiments.forecast.flags import Config


def run(config: Config, workdir: Path) -> None:
    """Trains, evaluates the test split once, writes `results.json` and plots, prints the table."""
    from experiments.forecast import report, task

    def train() -> None:
        train_and_evaluate(config, workdir)

    results.run_or_show(workdir, train, report.show, lambda: task.read(config).fingerprint())


def train_and_evaluate(config: Config, workdir: Path) -> None:
    """The run itself."""
    import jax
    import jax.numpy as jnp
    import numpy as np
    from flax import nnx

    from experiments.common.fit import fit
    from experiments.forecast import report, task
    from rnn_jax import models

    forecast = task.read(config)
    for sentence in forecast.repairs:
        print(f"data: {sentence}")
    windows = ", ".join(f"{len(forecast.starts(split))} {split}" for split in ("train", "validation", "test"))
    print(f"data: {len(forecast.values)} rows, windows: {windows}")

    model = task.make_model(config, input_size=forecast.values.shape[1], rngs=nnx.Rngs(config.seed))
    apply, _ = models.pure(model)
    data = task.device_data(config, forecast)
    training, look = task.make_training_task(config, forecast, apply), task.make_look(config)
    mark = forecast.fingerprint()
    fitted = fit(config, "forecast", training, model, data, workdir, fingerprint=mark, look=look)

    def predict(params, data, starts):
        return task.predict(config, apply, params, data, starts)

    predictions = fitted.of_each_seed(predict, jax.device_put(data), jnp.asarray(forecast.test))
    report.write(config, workdir, forecast, fitted.record, forecast.in_units(np.asarray(predictions)))


EXPERIMENT = Experiment("forecast", __doc__, Config, run, task="experiments.forecast.task")
main = EXPERIMENT.main
