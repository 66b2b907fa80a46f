"""One epoch of the lectures' temperature LSTM, ours against PyTorch on the same cores.

    python -m benchmarks.forecast_epoch

Lag 64, H 32, batch 64, Adam at 1e-3, clip at 1, mean squared error of the last hidden state's linear read-out, on as
many windows as the Szeged training split has (67,472). Both begin with the same weights and see the same windows in the
same order; the losses of the first 50 steps are compared before anything is timed. PyTorch gets its fused Adam and its
windows cut in advance; ours takes the windows from the series, as in training. Each runs in a process of its own, one
waiting while the other computes: in one process PyTorch's threads and JAX's get in each other's way, which would double
PyTorch's time.
"""

import argparse
import dataclasses
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from benchmarks.measure import interleaved, ratio, save
from experiments import forecast
from experiments.flags import parse
from experiments.training_flags import make_config_optimizer, set_devices
from rnn_jax import convert, models
from rnn_jax.cells import LSTMParams
from rnn_jax.data import synthetic
from rnn_jax.data.forecasting import make_task
from rnn_jax.training.step import make_functions

TRAINING_WINDOWS = 67_472
"""Of the Szeged file under the lecture protocol: 70 % of 96,389."""
COMPARED_STEPS = 50
CONFIG = parse(forecast.Config, ["--protocol=lecture", "--schedule=constant", "--learning_rate=1e-3"])
STEPS = TRAINING_WINDOWS // CONFIG.batch_size


def answer(first_losses, epoch) -> None:
    """The child's side: says the first losses, then runs an epoch whenever it is asked and says how long it took."""
    print(json.dumps([float(loss) for loss in first_losses]), flush=True)
    for _ in sys.stdin:
        started = time.perf_counter()
        epoch()
        print(json.dumps(time.perf_counter() - started), flush=True)


def ours(start: Path, config: forecast.Config = CONFIG) -> None:
    """Trains with rnn_jax; writes the weights and the order that it begins with, for PyTorch."""
    num_devices = set_devices(config)
    task = make_task(synthetic.hourly_temperature(96_453, seed=0), "lecture", CONFIG.lag, CONFIG.ahead)
    assert len(task.train) == TRAINING_WINDOWS
    apply, _ = models.pure(forecast.make_model(CONFIG, 1, nnx.Rngs(0)))
    functions = make_functions(
        forecast.make_training_task(CONFIG, task, apply),
        make_config_optimizer(CONFIG, CONFIG.learning_rate),
        batch_size=CONFIG.batch_size,
        num_devices=num_devices,
    )
    data = {"series": task.standardised, "train": task.train, "validation": task.validation}
    data = jax.device_put(data, functions.sharding)
    seeds = jax.device_put(jnp.zeros(1, jnp.uint32), functions.sharding)
    replicas, order = functions.init(seeds), functions.order(seeds, 0)

    params = jax.tree.map(lambda p: np.array(p[0]), replicas.params)
    layer = LSTMParams(**{name: jnp.asarray(w) for name, w in params["recurrent"]["layers"][0].items()})
    given: Any = {
        **convert.to_torch((layer,)),
        "head_weight": params["head"]["kernel"].T,
        "head_bias": params["head"]["bias"],
        "order": np.array(order[0]),
        "windows": np.lib.stride_tricks.sliding_window_view(task.standardised[:, 0], CONFIG.lag)[task.train],
        "targets": task.standardised[task.train + CONFIG.lag],
    }
    np.savez(start, **given)
    first_losses = []
    for step in range(COMPARED_STEPS):
        replicas, metrics = functions.steps(replicas, order, data, 0, step, 1)
        first_losses.append(metrics.loss[0])

    def epoch() -> None:
        nonlocal replicas
        replicas, metrics = functions.steps(replicas, order, data, 0, 0, STEPS)
        jax.block_until_ready(metrics)

    answer(first_losses, epoch)


def ours_on_one_core(start: Path) -> None:
    """The same without splitting the batch: what the time is when the loop keeps one core busy."""
    ours(start, dataclasses.replace(CONFIG, num_devices=1))


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


CONTENDERS = {"rnn_jax": ours, "rnn_jax_one_device": ours_on_one_core, "pytorch": pytorch}


class Child:
    """A contender in a process of its own."""

    def __init__(self, contender: str, start: Path):
        command = [sys.executable, "-m", "benchmarks.forecast_epoch", f"--contender={contender}", f"--start={start}"]
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.first_losses = np.array(self.read())

    def read(self):
        """What the child says next."""
        assert self.process.stdout is not None
        return json.loads(self.process.stdout.readline())

    def epoch(self) -> None:
        """Asks for an epoch and waits for its end."""
        assert self.process.stdin is not None
        self.process.stdin.write("epoch\n")
        self.process.stdin.flush()
        self.read()


def main() -> None:
    """Compares, times, prints the ratio and saves the raw numbers."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--contender", choices=CONTENDERS, help=argparse.SUPPRESS)
    parser.add_argument("--start", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.contender:
        return CONTENDERS[arguments.contender](arguments.start)

    with tempfile.TemporaryDirectory() as folder:
        start = Path(folder) / "start.npz"
        children = {name: Child(name, start) for name in CONTENDERS}
        losses = [child.first_losses for child in children.values()]
        difference = float(max(np.max(np.abs(each / losses[-1] - 1)) for each in losses))
        print(f"largest relative difference of the first {COMPARED_STEPS} losses: {difference:.1e}")
        assert difference < 1e-3, "they do not compute the same"
        contenders = {name: child.epoch for name, child in children.items()}
        seconds = interleaved(contenders, arguments.repeats, warm_up=1)
        for child in children.values():
            child.process.communicate()
    about = {
        "steps": STEPS,
        "shape": {"B": CONFIG.batch_size, "T": CONFIG.lag, "I": 1, "H": CONFIG.hidden_size},
        "largest_relative_loss_difference": difference,
        "pytorch_over_rnn_jax": ratio(seconds, "rnn_jax", "pytorch"),
        "pytorch_over_rnn_jax_one_device": ratio(seconds, "rnn_jax_one_device", "pytorch"),
    }
    path = save("forecast_epoch", about, seconds)
    for name, values in seconds.items():
        print(f"{name:<19} " + " ".join(f"{value:.2f}" for value in values) + " s per epoch")
    print(f"PyTorch takes {about['pytorch_over_rnn_jax']:.2f} times as long; raw numbers: {path}")


if __name__ == "__main__":
    main()
