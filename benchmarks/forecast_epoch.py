"""One epoch of the lectures' temperature LSTM, ours against PyTorch on the same processor.

    python -m benchmarks.forecast_epoch

Lag 64, H 32, batch 64, Adam at 1e-3, clip at 1, mean squared error of the last hidden state's linear read-out, on as
many windows as the Szeged training split has (67,472). Both begin with the same weights and see the same windows in the
same order; the losses of the first 50 steps are compared before anything is timed. PyTorch gets its fused Adam and its
windows cut in advance; ours takes the windows from the series, as in training.
"""

import argparse
import json

import jax
import jax.numpy as jnp
import numpy as np
import torch
from flax import nnx

from benchmarks.measure import interleaved, ratio, save
from experiments import forecast
from experiments.flags import parse
from experiments.training_flags import make_config_optimizer
from rnn_jax import convert, models
from rnn_jax.cells import LSTMParams
from rnn_jax.data import synthetic
from rnn_jax.data.forecasting import make_task
from rnn_jax.training.step import make_functions

TRAINING_WINDOWS = 67_472
"""Of the Szeged file under the lecture protocol: 70 % of 96,389."""


class TorchForecaster(torch.nn.Module):
    """The same model in PyTorch: an LSTM and a linear read-out of its last hidden state."""

    def __init__(self, hidden_size: int):
        super().__init__()
        self.lstm = torch.nn.LSTM(1, hidden_size, batch_first=True)
        self.head = torch.nn.Linear(hidden_size, 1)

    def forward(self, xs):
        """Windows `[B, T, 1]` to predictions `[B, 1]`."""
        return self.head(self.lstm(xs)[1][0][-1])


def torch_losses(model, optimizer, windows, targets, order, batch_size, steps):
    """Trains `steps` steps of an epoch and returns the losses."""
    losses = []
    for step in range(steps):
        indices = order[step * batch_size : (step + 1) * batch_size]
        optimizer.zero_grad(set_to_none=True)
        loss = torch.nn.functional.mse_loss(model(windows[indices]), targets[indices])
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        losses.append(loss.detach())
    return torch.stack(losses).numpy()


def main() -> None:
    """Compares, times, prints the ratio and saves the raw numbers."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=5)
    arguments = parser.parse_args()

    config = parse(forecast.Config, ["--protocol=lecture", "--schedule=constant", "--learning_rate=1e-3"])
    series = synthetic.hourly_temperature(96_453, seed=0)
    task = make_task(series, "lecture", config.lag, config.ahead)
    assert len(task.train) == TRAINING_WINDOWS
    steps = TRAINING_WINDOWS // config.batch_size

    model = forecast.make_model(config, 1, nnx.Rngs(0))
    apply, _ = models.pure(model)
    functions = make_functions(
        forecast.make_training_task(config, task, apply),
        make_config_optimizer(config, config.learning_rate),
        batch_size=config.batch_size,
    )
    data = jax.device_put({"series": task.standardised, "train": task.train, "validation": task.validation})
    seeds = jnp.zeros(1, jnp.uint32)
    order = functions.order(seeds, 0)

    start = functions.init(seeds)
    params = jax.tree.map(lambda p: np.array(p[0]), start.params)
    peer = TorchForecaster(config.hidden_size)
    weights = {name: jnp.asarray(value) for name, value in params["recurrent"]["layers"][0].items()}
    state = convert.to_torch((LSTMParams(**weights),))
    peer.lstm.load_state_dict({name: torch.tensor(value) for name, value in state.items()})
    with torch.no_grad():
        peer.head.weight.copy_(torch.tensor(params["head"]["kernel"].T))
        peer.head.bias.copy_(torch.tensor(params["head"]["bias"]))
    # PyTorch adds two biases and trains both, so that their sum moves twice as fast: one is held for equal training.
    peer.lstm.bias_hh_l0.requires_grad_(False)
    optimizer = torch.optim.Adam(peer.parameters(), lr=config.learning_rate, fused=True)
    windows = torch.tensor(task.standardised[:, 0]).unfold(0, config.lag, 1)[torch.tensor(task.train)][..., None]
    windows = windows.contiguous()
    targets = torch.tensor(task.standardised[task.train + config.lag])
    torch_order = torch.tensor(np.array(order[0]).astype(np.int64))

    replicas = functions.init(seeds)
    ours = []
    for step in range(50):
        replicas, metrics = functions.steps(replicas, order, data, 0, step, 1)
        ours.append(float(metrics.loss[0]))
    theirs = torch_losses(peer, optimizer, windows, targets, torch_order, config.batch_size, 50)
    difference = float(np.max(np.abs(np.array(ours) / theirs - 1)))
    print(f"largest relative difference of the first 50 losses: {difference:.1e}")
    assert difference < 1e-3, "the two do not compute the same"

    def our_epoch():
        nonlocal replicas
        replicas, metrics = functions.steps(replicas, order, data, 0, 0, steps)
        jax.block_until_ready(metrics)

    def their_epoch():
        torch_losses(peer, optimizer, windows, targets, torch_order, config.batch_size, steps)

    seconds = interleaved({"rnn_jax": our_epoch, "pytorch": their_epoch}, arguments.repeats, warm_up=1)
    speedup = ratio(seconds, "rnn_jax", "pytorch")
    about = {
        "steps": steps,
        "shape": {"B": config.batch_size, "T": config.lag, "I": 1, "H": config.hidden_size},
        "largest_relative_loss_difference": difference,
        "torch": torch.__version__,
        "torch_threads": torch.get_num_threads(),
        "pytorch_over_rnn_jax": speedup,
    }
    path = save("forecast_epoch", about, seconds)
    print(json.dumps(about, indent=1))
    for name, values in seconds.items():
        print(f"{name:<8} " + " ".join(f"{value:.2f}" for value in values) + " s per epoch")
    print(f"PyTorch takes {speedup:.2f} times as long; raw numbers: {path}")


if __name__ == "__main__":
    main()
