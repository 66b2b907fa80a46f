"""PyTorch's side of `benchmarks.imdb_epoch`: the same classifier, trained on the same batches. Imports no JAX.

    python -m benchmarks.imdb_pytorch start.npz packed 20

Two ways to read texts of unequal length, the same function: `packed` hands `pack_padded_sequence` to one `nn.LSTM`, as
most do; `padded` computes the padding, which is at the end also for a backward direction if the valid steps alone are
reversed. It skips the packing, and PyTorch has faster kernels for what is not packed.
"""

import sys
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
import torch
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

from benchmarks.child import Answers, epochs, serve
from benchmarks.pytorch_training import Training, linear

VARIANTS = ("packed", "padded")


class Batch(NamedTuple):
    """Texts, longest first, padded to the longest.

    Attributes:
        tokens: `[T, B]`.
        lengths: `[B]`.
        valid: `[T, B, 1]` bool.
        mirrored: `[T * B]`, where each step and text finds its input for the backward direction: the valid steps in
            reverse, then the padding. Its own inverse.
        labels: `[B]`.
    """

    tokens: torch.Tensor
    lengths: torch.Tensor
    valid: torch.Tensor
    mirrored: torch.Tensor
    labels: torch.Tensor


def make_batch(given: Mapping[str, np.ndarray], texts: np.ndarray) -> Batch:
    """The batch of the given texts `[B]`."""
    texts = texts[np.argsort(-given["lengths"][texts], kind="stable")]
    lengths = given["lengths"][texts]
    steps = np.arange(lengths[0])[:, None]
    valid = steps < lengths
    tokens = np.where(valid, given["tokens"][given["starts"][texts] + steps], 0)
    mirrored = np.where(valid, lengths - 1 - steps, steps) * len(texts) + np.arange(len(texts))

    def long(array: np.ndarray) -> torch.Tensor:
        return torch.tensor(array).long()

    valid_steps = torch.tensor(valid[..., None])
    return Batch(long(tokens), long(lengths), valid_steps, long(mirrored.ravel()), long(given["labels"][texts]))


class Packed(torch.nn.Module):
    """Outputs `[T, B, D * H]` of one `nn.LSTM`, zero in the padding."""

    def __init__(self, weights: dict[str, torch.Tensor], sizes: tuple[int, int], num_layers: int, bidirectional: bool):
        super().__init__()
        self.lstm = torch.nn.LSTM(*sizes, num_layers, bidirectional=bidirectional)
        self.lstm.load_state_dict(weights)

    def forward(self, xs: torch.Tensor, batch: Batch) -> torch.Tensor:
        """Of inputs `[T, B, I]`."""
        return pad_packed_sequence(self.lstm(pack_padded_sequence(xs, batch.lengths))[0])[0]


class Padded(torch.nn.Module):
    """The same outputs of an `nn.LSTM` for each layer and direction, anything in the padding."""

    def __init__(self, weights: dict[str, torch.Tensor], sizes: tuple[int, int], num_layers: int, bidirectional: bool):
        super().__init__()
        input_size, hidden_size = sizes
        suffixes = ("", "_reverse")[: 1 + bidirectional]
        self.layers = torch.nn.ModuleList()
        for layer in range(num_layers):
            directions = torch.nn.ModuleList(torch.nn.LSTM(input_size, hidden_size) for _ in suffixes)
            for direction, suffix in zip(directions, suffixes, strict=True):
                names = {name: name.replace("l0", f"l{layer}{suffix}") for name in direction.state_dict()}
                direction.load_state_dict({name: weights[of] for name, of in names.items()})
            self.layers.append(directions)
            input_size = len(suffixes) * hidden_size

    def forward(self, xs: torch.Tensor, batch: Batch) -> torch.Tensor:
        """Of inputs `[T, B, I]`."""

        def mirror(steps: torch.Tensor) -> torch.Tensor:
            return steps.flatten(0, 1).index_select(0, batch.mirrored).view(steps.shape)

        directions: Any
        for directions in self.layers:
            ys = [directions[0](xs)[0]]
            if len(directions) == 2:
                ys.append(mirror(directions[1](mirror(xs))[0]))
            xs = torch.cat(ys, dim=-1) if len(ys) == 2 else ys[0]
        return xs


class Classifier(torch.nn.Module):
    """Embedding, recurrent layers, mean and maximum over the valid steps, a linear layer."""

    def __init__(self, given: Mapping[str, np.ndarray], variant: str):
        super().__init__()
        self.embedding = torch.nn.Embedding.from_pretrained(torch.tensor(given["embedding"]), freeze=False)
        weights = {name: torch.tensor(given[name]) for name in given if name.startswith(("weight_", "bias_"))}
        self.head = linear(given)
        sizes = (weights["weight_ih_l0"].shape[1], weights["weight_hh_l0"].shape[1])
        num_layers = sum(name.startswith("weight_ih") and not name.endswith("_reverse") for name in weights)
        bidirectional = "weight_ih_l0_reverse" in weights
        self.recurrent = {"packed": Packed, "padded": Padded}[variant](weights, sizes, num_layers, bidirectional)

    def forward(self, batch: Batch) -> torch.Tensor:
        """Scores `[B, 2]`."""
        ys = self.recurrent(self.embedding(batch.tokens), batch)
        mean = ys.masked_fill(~batch.valid, 0).sum(dim=0) / batch.lengths[:, None]
        largest = ys.masked_fill(~batch.valid, -torch.inf).amax(dim=0)
        return self.head(torch.cat((mean, largest), dim=-1))


def make_training(given: Mapping[str, np.ndarray], variant: str) -> Training:
    """The training that `benchmarks.imdb_epoch.prepare` describes; its batches are cut and sorted in advance."""
    model = Classifier(given, variant)

    def loss(batch: Batch) -> torch.Tensor:
        return torch.nn.functional.cross_entropy(model(batch), batch.labels)

    return Training(model, loss, [make_batch(given, texts) for texts in given["order"]], given)


def main(start: str, variant: str, compared: str) -> None:
    """Trains whenever it is asked."""

    def set_up() -> tuple[list[float], Answers]:
        made = make_training(dict(np.load(start)), variant)
        return epochs(made.train, len(made.batches), int(compared))

    serve(set_up)


if __name__ == "__main__":
    main(*sys.argv[1:])
