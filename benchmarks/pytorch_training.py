"""PyTorch's side of the benchmarks of training: its loop, with its fused Adam. Imports no JAX."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import torch


class Training:
    """A model that goes on from where it is.

    Args:
        model: with our weights.
        loss: `batch -> the mean loss of its examples`, `[]`.
        batches: those of an epoch, in their order.
        given: `learning_rate` and `clip_norm`, as `benchmarks.ours` writes them.
    """

    def __init__(
        self,
        model: torch.nn.Module,
        loss: Callable[[Any], torch.Tensor],
        batches: Sequence[Any],
        given: Mapping[str, np.ndarray],
    ):
        # PyTorch adds two biases and trains both, so that their sum moves twice as fast: one is held, to compare.
        for name, weight in model.named_parameters():
            weight.requires_grad_("bias_hh" not in name)
        self.params = [weight for weight in model.parameters() if weight.requires_grad]
        self.optimizer = torch.optim.Adam(self.params, lr=float(given["learning_rate"]), fused=True)
        self.clip_norm = float(given["clip_norm"])
        self.loss, self.batches = loss, batches

    def train(self, first: int, count: int) -> torch.Tensor:
        """So many steps of the epoch, from its step `first` on: their mean loss, `[]`."""
        losses = []
        for batch in self.batches[first : first + count]:
            self.optimizer.zero_grad(set_to_none=True)
            loss = self.loss(batch)
            loss.backward()
            torch.nn.utils.clip_grad_norm_(self.params, self.clip_norm)
            self.optimizer.step()
            losses.append(loss.detach())
        return torch.stack(losses).mean()


def linear(given: Mapping[str, np.ndarray]) -> torch.nn.Linear:
    """The last layer, from `head_weight` `[O, H]` and `head_bias` `[O]`."""
    weight, bias = torch.tensor(given["head_weight"]), torch.tensor(given["head_bias"])
    layer = torch.nn.Linear(weight.shape[1], weight.shape[0])
    layer.load_state_dict({"weight": weight, "bias": bias})
    return layer
