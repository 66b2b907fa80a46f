"""Golden file of PyTorch run piece by piece: sequences that begin anew inside, and an empty one, in float64.

    python tests/golden/make_torch_pieces.py

writes `torch_pieces.npz` beside this file. That in the repository: PyTorch 2.13.0, on a CPU. All random numbers come
from NumPy, so another version of PyTorch changes rounding alone.

One layer in both directions. PyTorch knows no resets: each sequence is cut where it begins anew, and each piece is a
call of the module, by itself and without padding. The first piece of the forward direction begins with the initial
state, and so does the last piece of the backward one, which comes from behind; the other pieces begin with zeros.
PyTorch takes no empty sequence either, so that the second one is not run: its outputs stay zeros, its state the initial
one. Arrays, by module:

    lengths [B], resets [T, B]      for all modules; a reset is where a piece begins
    KIND/state/NAME                 weights by PyTorch's names
    KIND/inputs [T, B, I]           KIND/h_0, and for the LSTM KIND/c_0: [2, B, H]
    KIND/outputs [T, B, 2 * H]      KIND/h_n, and for the LSTM KIND/c_n: [2, B, H]
"""

from itertools import pairwise
from pathlib import Path

import numpy as np

PATH = Path(__file__).parent / "torch_pieces.npz"
KINDS = ("rnn_tanh", "rnn_relu", "lstm", "gru")
NUM_STEPS, INPUT_SIZE, HIDDEN_SIZE = 6, 3, 4
LENGTHS = (6, 0, 4, 1)
BEGINS = {0: (2, 5), 2: (0, 3)}
"""The steps at which a sequence begins anew. At its first step that changes what it begins with: to zeros."""


def module_of(kind):
    import torch  # here and not above: the collection of doctests imports this file, with PyTorch or without

    options = {"bidirectional": True, "dtype": torch.float64}
    if kind in ("rnn_tanh", "rnn_relu"):
        return torch.nn.RNN(INPUT_SIZE, HIDDEN_SIZE, nonlinearity=kind.removeprefix("rnn_"), **options)
    return {"lstm": torch.nn.LSTM, "gru": torch.nn.GRU}[kind](INPUT_SIZE, HIDDEN_SIZE, **options)


def run_sequence(module, inputs, states, begins):
    """Outputs `[T, 2 * H]` and final states `[2, H]` of one sequence `[T, I]` from `states` `[2, H]`, h or h and c."""
    import torch

    borders = [0, *(step for step in begins if step), len(inputs)]
    outputs, finals = [], [state.copy() for state in states]
    for first, end in pairwise(borders):
        starts = [np.zeros_like(state) for state in states]
        for start, state in zip(starts, states, strict=True):
            if first == 0 and 0 not in begins:
                start[0] = state[0]
            if end == len(inputs):
                start[1] = state[1]
        given = tuple(torch.from_numpy(start) for start in starts)
        ys, last = module(torch.from_numpy(inputs[first:end]), given if len(given) == 2 else given[0])
        outputs.append(ys.detach().numpy())
        for final, value in zip(finals, last if len(given) == 2 else (last,), strict=True):
            if end == len(inputs):
                final[0] = value.detach().numpy()[0]
            if first == 0:
                final[1] = value.detach().numpy()[1]
    return np.concatenate(outputs), finals


def arrays_of(kind, rng):
    """The arrays of one module."""
    import torch

    module = module_of(kind)
    state = {name: rng.normal(scale=0.6, size=tuple(value.shape)) for name, value in module.state_dict().items()}
    module.load_state_dict({name: torch.from_numpy(value) for name, value in state.items()})
    batch = len(LENGTHS)
    inputs = rng.normal(size=(NUM_STEPS, batch, INPUT_SIZE))
    starts = {f"{part}_0": rng.normal(size=(2, batch, HIDDEN_SIZE)) for part in ("hc" if kind == "lstm" else "h")}
    outputs = np.zeros((NUM_STEPS, batch, 2 * HIDDEN_SIZE))
    finals = {name.replace("0", "n"): value.copy() for name, value in starts.items()}
    for row, length in enumerate(LENGTHS):
        if length == 0:
            continue
        states = [value[:, row] for value in starts.values()]
        outputs[:length, row], last = run_sequence(module, inputs[:length, row], states, BEGINS.get(row, ()))
        for final, value in zip(finals.values(), last, strict=True):
            final[:, row] = value
    named = {"inputs": inputs, **starts, "outputs": outputs, **finals}
    return {f"{kind}/{name}": value for name, value in named.items()} | {
        f"{kind}/state/{k}": v for k, v in state.items()
    }


def main():
    import torch

    resets = np.zeros((NUM_STEPS, len(LENGTHS)), bool)
    for row, steps in BEGINS.items():
        resets[list(steps), row] = True
    arrays = {"lengths": np.array(LENGTHS, np.int32), "resets": resets}
    for seed, kind in enumerate(KINDS):
        arrays |= arrays_of(kind, np.random.default_rng(seed))
    np.savez_compressed(PATH, **arrays)
    print(f"PyTorch {torch.__version__}, {PATH.name}: {len(arrays)} arrays, {PATH.stat().st_size / 1024:.0f} KB")


if __name__ == "__main__":
    main()
