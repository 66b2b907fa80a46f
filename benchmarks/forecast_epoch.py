"""One epoch of the lectures' temperature LSTM, ours against PyTorch on the same cores.

    python -m benchmarks.forecast_epoch

Lag 64, H 32, batch 64, Adam at 1e-3, clip at 1, mean squared error of the last hidden state's linear read-out, on as
many windows as the Szeged training split has (67,472). Both begin with the same weights and see the same windows in the
same order; the losses of the first 50 steps are compared before anything is timed. PyTorch gets its fused Adam and its
windows cut in advance; ours takes the windows from the series, as in training. Ours are `--backend=auto`, which is
`native` where that is compiled (`python -m rnn_jax.backends.native`), and `manual`, each on one JAX device and with the
batch split over the cores.
"""

import argparse
import dataclasses
import tempfile
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from benchmarks.children import answer, started
from benchmarks.measure import interleaved, ratio, save
from experiments.common.flags import parse
from experiments.common.training_flags import make_config_optimizer, set_devices
from experiments.forecast import main as forecast
from rnn_jax import models
from rnn_jax.backends import native
from rnn_jax.cells import LSTMParams
from rnn_jax.convert import torch as convert
from rnn_jax.data.series import synthetic
from rnn_jax.data.series.forecasting import make_task
from rnn_jax.training.step import make_functions

TRAINING_WINDOWS = 67_472
"""Of the Szeged file under the lecture protocol: 70 % of 96,389."""
COMPARED_STEPS = 50
CONFIG = parse(forecast.Config, ["--protocol=lecture", "--schedule=constant", "--learning_rate=1e-3"])
STEPS = TRAINING_WINDOWS // CONFIG.batch_size
OURS = {
    "rnn_jax": dataclasses.replace(CONFIG, num_devices=1),
    "rnn_jax_cores": CONFIG,
    "rnn_jax_manual": dataclasses.replace(CONFIG, backend="manual", num_devices=1),
    "rnn_jax_manual_cores": dataclasses.replace(CONFIG, backend="manual"),
}
"""Contenders by name. Where no number of devices is given, the cores share the batch."""


def ours(start: Path, config: forecast.Config) -> None:
    """Trains with rnn_jax; writes the weights and the order that it begins with, for PyTorch."""
    num_devices = set_devices(config)
    task = make_task(synthetic.hourly_temperature(96_453, seed=0), "lecture", config.lag, config.ahead)
    assert len(task.train) == TRAINING_WINDOWS
    apply, _ = models.pure(forecast.make_model(config, 1, nnx.Rngs(0)))
    functions = make_functions(
        forecast.make_training_task(config, task, apply),
        make_config_optimizer(config, config.learning_rate),
        batch_size=config.batch_size,
        num_devices=num_devices,
    )
    data = {"series": task.standardised, "train": task.train, "validation": task.validation}
    data = jax.device_put(data, functions.sharding)
    seeds = jax.device_put(jnp.zeros(1, jnp.uint32), functions.sharding)
    states, order = functions.init(seeds), functions.order(seeds, 0)

    params = jax.tree.map(lambda p: np.array(p[0]), states.params)
    layer = LSTMParams(**{name: jnp.asarray(w) for name, w in params["recurrent"]["layers"][0].items()})
    given: Any = {
        **convert.to_torch((layer,)),
        "head_weight": params["head"]["kernel"].T,
        "head_bias": params["head"]["bias"],
        "order": np.array(order[0]),
        "windows": np.lib.stride_tricks.sliding_window_view(task.standardised[:, 0], config.lag)[task.train],
        "targets": task.standardised[task.train + config.lag],
    }
    np.savez(start, **given)
    first_losses = []
    for step in range(COMPARED_STEPS):
        states, metrics = functions.steps(states, order, data, 0, step, 1)
        first_losses.append(metrics.loss[0])

    def epoch() -> None:
        nonlocal states
        states, metrics = functions.steps(states, order, data, 0, 0, STEPS)
        jax.block_until_ready(metrics)

    answer(first_losses, epoch)


def pytorch(start: Path) -> None:
    """Trains the same model with PyTorch."""
    import torch

    given = {name: torch.tensor(value) for name, value in np.load(start).items()}
    lstm = torch.nn.LSTM(1, CONFIG.hidden_size, batch_first=True)
    head = torch.nn.Linear(CONFIG.hidden_size, 1)
    lstm.load_state_dict({name: given[name] for name in lstm.state_dict()})
    head.load_state_dict({"weight": given["head_weight"], "bias": given["head_bias"]})
    # PyTorch adds two biases and trains both, so that their sum moves twice as fast: one is held for equal training.
    lstm.bias_hh_l0.requires_grad_(False)
    params = [*lstm.parameters(), *head.parameters()]
    optimizer = torch.optim.Adam(params, lr=CONFIG.learning_rate, fused=True)
    windows, targets, order = given["windows"][..., None], given["targets"], given["order"].long()

    def train(steps: int) -> list:
        losses = []
        for step in range(steps):
            indices = order[step * CONFIG.batch_size : (step + 1) * CONFIG.batch_size]
            optimizer.zero_grad(set_to_none=True)
            predictions = head(lstm(windows[indices])[1][0][-1])
            loss = torch.nn.functional.mse_loss(predictions, targets[indices])
            loss.backward()
            torch.nn.utils.clip_grad_norm_(params, 1.0)
            optimizer.step()
            losses.append(loss.detach())
        return losses

    answer(train(COMPARED_STEPS), lambda: train(STEPS))


def main() -> None:
    """Compares, times, prints the ratios and saves the raw numbers."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--contender", choices=[*OURS, "pytorch"], help=argparse.SUPPRESS)
    parser.add_argument("--start", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.contender == "pytorch":
        return pytorch(arguments.start)
    if arguments.contender:
        return ours(arguments.start, OURS[arguments.contender])

    with tempfile.TemporaryDirectory() as folder:
        start = Path(folder) / "start.npz"
        commands = {
            name: ["benchmarks.forecast_epoch", f"--contender={name}", f"--start={start}"]
            for name in [*OURS, "pytorch"]
        }
        with started(commands) as (children, difference):
            print(f"largest relative difference of the first {COMPARED_STEPS} losses: {difference:.1e}", flush=True)
            contenders = {name: child.epoch for name, child in children.items()}
            seconds = interleaved(contenders, arguments.repeats, warm_up=1)
    ratios = {name: ratio(seconds, name, "pytorch") for name in seconds}
    about = {
        "steps": STEPS,
        "shape": {"B": CONFIG.batch_size, "T": CONFIG.lag, "I": 1, "H": CONFIG.hidden_size},
        "auto": "manual" if native.vector_width() is None else "native",
        "largest_relative_loss_difference": difference,
        "pytorch_over": ratios,
    }
    path = save("forecast_epoch", about, seconds)
    print(f"auto is {about['auto']}")
    for name, values in seconds.items():
        times = " ".join(f"{value:.2f}" for value in values)
        print(f"{name:<20} {times} s per epoch; PyTorch takes {ratios[name]:.2f} times as long")
    print(f"raw numbers: {path}")


if __name__ == "__main__":
    main()
