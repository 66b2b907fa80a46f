"""PyTorch's side of `benchmarks.generation`: the same language model, written out step by step. Imports no JAX.

    python -m benchmarks.generation_pytorch start.npz cells 1 50

Two ways to take a step, the same function: `lstm` calls one `nn.LSTM` with a sequence of one step, as most do; `cells`
calls an `nn.LSTMCell` for each layer. Nothing leaves PyTorch until a text is done: no `item()`, no lists of numbers.
`torch.compile` of a step of `cells`, the choice of the token included, changes little and is left out: with 65 and with
10,000 tokens it was up to 10 % slower at batch 1 and up to 7 % faster at batch 64.
"""

import sys
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import numpy as np
import torch

from benchmarks.child import Answers, serve, stopwatch

VARIANTS = ("lstm", "cells")

State = Any
"""h and c: of `nn.LSTM` `[L, B, H]` each, of cells a pair `[B, H]` for each layer."""


class Layers(torch.nn.Module):
    """All layers in one `nn.LSTM`."""

    def __init__(self, weights: dict[str, torch.Tensor], sizes: tuple[int, int], num_layers: int):
        super().__init__()
        self.lstm = torch.nn.LSTM(*sizes, num_layers)
        self.lstm.load_state_dict(weights)

    def begin(self, batch_size: int) -> State:
        """Zeros."""
        shape = (self.lstm.num_layers, batch_size, self.lstm.hidden_size)
        return torch.zeros(shape), torch.zeros(shape)

    def forward(self, x: torch.Tensor, state: State) -> tuple[torch.Tensor, State]:
        """One step: x `[B, D]` to y `[B, H]` and the state after it."""
        ys, state = self.lstm(x[None], state)
        return ys[0], state


class Cells(torch.nn.Module):
    """An `nn.LSTMCell` for each layer."""

    def __init__(self, weights: dict[str, torch.Tensor], sizes: tuple[int, int], num_layers: int):
        super().__init__()
        input_size, self.hidden_size = sizes
        self.cells = torch.nn.ModuleList()
        for layer in range(num_layers):
            cell = torch.nn.LSTMCell(self.hidden_size if layer else input_size, self.hidden_size)
            cell.load_state_dict({name: weights[f"{name}_l{layer}"] for name in cell.state_dict()})
            self.cells.append(cell)

    def begin(self, batch_size: int) -> State:
        """Zeros."""
        zeros = torch.zeros(batch_size, self.hidden_size)
        return [(zeros, zeros) for _ in self.cells]

    def forward(self, x: torch.Tensor, state: State) -> tuple[torch.Tensor, State]:
        """One step: x `[B, D]` to y `[B, H]` and the state after it."""
        after = []
        for cell, before in zip(self.cells, state, strict=True):
            after.append(cell(x, before))
            x = after[-1][0]
        return x, after


class Writer(torch.nn.Module):
    """Embedding, LSTM, a score per token, and the token that is drawn.

    Args:
        given: what `benchmarks.generation.set_up` writes.
        variant: one of `VARIANTS`.
    """

    def __init__(self, given: Mapping[str, np.ndarray], variant: str):
        super().__init__()
        weights = {name: torch.tensor(given[name]) for name in given if name.startswith(("weight_", "bias_"))}
        self.embedding = torch.nn.Embedding.from_pretrained(torch.tensor(given["embedding"]))
        vocab_size, hidden_size = len(given["head_bias"]), weights["weight_hh_l0"].shape[1]
        self.head = torch.nn.Linear(hidden_size, vocab_size)
        tied = "head_weight" not in given
        self.head.weight = self.embedding.weight if tied else torch.nn.Parameter(torch.tensor(given["head_weight"]))
        self.head.bias = torch.nn.Parameter(torch.tensor(given["head_bias"]))
        kind = {"lstm": Layers, "cells": Cells}[variant]
        sizes = (weights["weight_ih_l0"].shape[1], hidden_size)
        self.layers: Any = kind(weights, sizes, sum(name.startswith("weight_ih") for name in weights))

    def scores(self, token: torch.Tensor, state: State) -> tuple[torch.Tensor, State]:
        """Tokens `[B]` to the score of each next one `[B, V]`, and the state after them."""
        y, state = self.layers(self.embedding(token), state)
        return self.head(y), state

    def drawn(self, token: torch.Tensor, state: State, top_k: int | None) -> tuple[torch.Tensor, State]:
        """The next tokens `[B]`, from softmax of all scores or of the `top_k` largest."""
        scores, state = self.scores(token, state)
        if top_k is None:
            return torch.multinomial(scores.softmax(dim=-1), 1)[:, 0], state
        largest, tokens = scores.topk(top_k, dim=-1)
        return tokens.gather(-1, torch.multinomial(largest.softmax(dim=-1), 1))[:, 0], state

    def likeliest(self, token: torch.Tensor, state: State) -> tuple[torch.Tensor, State]:
        """The next tokens `[B]`, those of the largest score."""
        scores, state = self.scores(token, state)
        return scores.argmax(dim=-1), state

    @torch.inference_mode()
    def write(self, step: Callable[..., tuple[torch.Tensor, State]], batch_size: int, num_tokens: int) -> torch.Tensor:
        """What `step`, `drawn` or `likeliest`, writes after the tokens 0, 1, ..., one a text: `[B, T]`."""
        token, state, tokens = torch.arange(batch_size) % self.head.out_features, self.layers.begin(batch_size), []
        for _ in range(num_tokens):
            token, state = step(token, state)
            tokens.append(token)
        return torch.stack(tokens, dim=1)


def set_up(given: Mapping[str, np.ndarray], variant: str, compared: int) -> tuple[list[list[list[int]]], Answers]:
    """See `benchmarks.child.serve`: found are the likeliest texts `[B][compared]` of each size of a batch."""
    writer = Writer(given, variant)
    settings = [(int(batch), int(tokens), int(top_k) or None) for batch, tokens, top_k in given["settings"]]
    timed = {
        str(number): partial(writer.write, partial(writer.drawn, top_k=top_k), batch_size, num_tokens)
        for number, (batch_size, num_tokens, top_k) in enumerate(settings)
    }
    batches = dict.fromkeys(batch_size for batch_size, _, _ in settings)
    found = [writer.write(writer.likeliest, batch_size, compared).tolist() for batch_size in batches]
    return found, {"time": stopwatch(timed)}


def main(start: str, variant: str, threads: str, compared: str) -> None:
    """Writes whenever it is asked."""
    torch.set_num_threads(int(threads))
    serve(lambda: set_up(dict(np.load(start)), variant, int(compared)))


if __name__ == "__main__":
    main(*sys.argv[1:])
