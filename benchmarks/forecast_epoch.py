"""One epoch of the lectures' temperature LSTM, ours against PyTorch on the same cores.

    python -m benchmarks.forecast_epoch

Lag 64, H 32, batch 64, Adam at 1e-3, clip at 1, mean squared error of the last hidden state's linear read-out, on as
many windows as the Szeged training split has (67,472). Both begin with the same weights and see the same windows in the
same order; the losses of the first 50 steps are compared before anything is timed. PyTorch gets its fused Adam and its
windows cut in advance; ours takes the windows from the series, as in training. Ours are `--backend=auto`, which is
`native` where that is compiled (`python -m rnn_jax.backends.native`) and has threads of its own, and `manual`, on one
JAX device and with the batch split over the cores.
"""

import dataclasses
import tempfile
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.child import Answers, epochs, serve
from benchmarks.ours import Training
from benchmarks.training import compare_and_time, parser, ratio, save
from experiments.common.flags import parse
from experiments.common.training import backend_in_use, prepare_jax
from experiments.forecast import task
from experiments.forecast.defaults import settle
from experiments.forecast.flags import Config
from rnn_jax import models
from rnn_jax.data.series import synthetic
from rnn_jax.data.series.windows import gather

HOURS = 96_453
"""Of the Szeged file; 70 % of its windows are 67,472."""
COMPARED_STEPS = 50
CONFIG = parse(Config, ["--protocol=lecture", "--schedule=constant", "--learning_rate=1e-3"])
OURS = {
    "rnn_jax": dataclasses.replace(CONFIG, num_devices=1),
    "rnn_jax_manual": dataclasses.replace(CONFIG, backend="manual", num_devices=1),
    "rnn_jax_manual_cores": dataclasses.replace(CONFIG, backend="manual"),
}
"""Contenders by name. Where no number of devices is given, the cores share the batch."""


def prepare(config: Config, hours: int = HOURS) -> tuple[Training, dict[str, Any]]:
    """Our side of the training, and what PyTorch's begins with.

    That is `Training.for_torch`, `windows` `[W, lag]` of the training split and `targets` `[W, 1]` after them.
    """
    series = synthetic.hourly_temperature(hours, seed=0)
    config = settle(config, series)
    forecast = task.cut(config, series)
    sizes = task.model_sizes(config, forecast, line=None)
    model = models.abstract(partial(task.make_model, config, **sizes))
    data = task.device_data(config, forecast)
    made = Training(config, task.make_training_task(config, forecast, sizes, model), data)
    starts = forecast.train
    windows = gather(data["features"], starts, forecast.lag)[..., 0]
    return made, {**made.for_torch(), "windows": windows, "targets": data["targets"][starts + forecast.lag]}


def set_up(config: Config, start: Path) -> tuple[list[float], Answers]:
    """See `benchmarks.child.serve`; writes what PyTorch's side begins with."""
    prepare_jax(config)
    made, given = prepare(config)
    np.savez(start, **given)
    return epochs(made.train, len(given["order"]), COMPARED_STEPS)


def main() -> None:
    """Compares, times, prints the ratios and saves the raw numbers."""
    arguments = parser(__doc__, repeats=7).parse_args()
    if arguments.contender:
        return serve(lambda: set_up(OURS[arguments.contender], arguments.start))

    with tempfile.TemporaryDirectory() as folder:
        start = f"{folder}/start.npz"
        commands = {
            name: ["-m", "benchmarks.forecast_epoch", f"--contender={name}", f"--start={start}"] for name in OURS
        }
        commands["pytorch"] = ["-m", "benchmarks.forecast_pytorch", start, str(COMPARED_STEPS)]
        seconds, difference = compare_and_time(commands, arguments.repeats)
        steps = len(np.load(start)["order"])
    ratios = {name: ratio(seconds, name, "pytorch") for name in seconds}
    about = {
        "steps": steps,
        "shape": {"B": CONFIG.batch_size, "T": CONFIG.lag, "I": 1, "H": CONFIG.hidden_size},
        "auto": backend_in_use(CONFIG),
        "largest_relative_loss_difference": difference,
        "pytorch_over": ratios,
    }
    print(f"auto is {about['auto']}")
    for name, values in seconds.items():
        times = " ".join(f"{value:.2f}" for value in values)
        print(f"{name:<20} {times} s per epoch; PyTorch takes {ratios[name]:.2f} times as long")
    save(arguments.raw_dir, "forecast_epoch", about, seconds)


if __name__ == "__main__":
    main()
