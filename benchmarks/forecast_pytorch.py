"""PyTorch's side of `benchmarks.forecast_epoch`: the same LSTM, trained on the same windows. Imports no JAX.

python -m benchmarks.forecast_pytorch start.npz 50
"""

import sys
from collections.abc import Mapping

import numpy as np
import torch

from benchmarks.child import Answers, epochs, serve
from benchmarks.pytorch_training import Training, linear


class Forecaster(torch.nn.Module):
    """An LSTM and a linear read-out of its last hidden state."""

    def __init__(self, given: Mapping[str, np.ndarray]):
        super().__init__()
        self.lstm = torch.nn.LSTM(given["weight_ih_l0"].shape[1], given["weight_hh_l0"].shape[1], batch_first=True)
        self.lstm.load_state_dict({name: torch.tensor(given[name]) for name in self.lstm.state_dict()})
        self.head = linear(given)

    def forward(self, windows: torch.Tensor) -> torch.Tensor:
        """The next value `[B, 1]` after windows `[B, T, 1]`."""
        return self.head(self.lstm(windows)[1][0][-1])


def make_training(given: Mapping[str, np.ndarray]) -> Training:
    """The training that `benchmarks.forecast_epoch.prepare` describes. Windows are cut in advance, batches are not."""
    windows, targets = torch.tensor(given["windows"])[..., None], torch.tensor(given["targets"])
    model = Forecaster(given)

    def loss(indices: torch.Tensor) -> torch.Tensor:
        return torch.nn.functional.mse_loss(model(windows[indices]), targets[indices])

    return Training(model, loss, list(torch.tensor(given["order"]).long()), given)


def main(start: str, compared: str) -> None:
    """Trains whenever it is asked."""

    def set_up() -> tuple[list[float], Answers]:
        made = make_training(dict(np.load(start)))
        return epochs(made.train, len(made.batches), int(compared))

    serve(set_up)


if __name__ == "__main__":
    main(*sys.argv[1:])
