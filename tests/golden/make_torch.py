"""Golden files of `torch.nn.RNN`, `LSTM` and `GRU`: values and gradients in float64.

    python tests/golden/make_torch.py

writes `torch_{rnn_tanh,rnn_relu,lstm,gru}.npz` beside this file. Those in the repository: PyTorch 2.13.0, on a CPU.
All random numbers come from NumPy, so another version of PyTorch changes rounding alone.

Each file has two layers in both directions, with random initial states, and two cases, `full` (every sequence has T
steps) and `packed` (`lengths`, through `pack_padded_sequence`). Arrays, by case:

    state/NAME                              weights by PyTorch's names, shared by both cases
    lengths [B]
    CASE/inputs [T, B, I]                   h_0, and for the LSTM c_0: [L * D, B, H]
    CASE/outputs [T, B, D * H]              h_n, and for the LSTM c_n: [L * D, B, H]
    CASE/d_outputs, CASE/d_h_n, CASE/d_c_n  random cotangents of outputs and final states
    CASE/grad/NAME                          gradients of weights, inputs, h_0, c_0
"""

from pathlib import Path

import numpy as np

NUM_STEPS, BATCH, INPUT_SIZE, HIDDEN_SIZE, NUM_LAYERS = 5, 3, 4, 3, 2
LENGTHS = (3, 5, 1)


def module_of(kind):
    import torch  # here and not above: the collection of doctests imports this file, with PyTorch or without

    options = {"num_layers": NUM_LAYERS, "bidirectional": True, "dtype": torch.float64}
    if kind in ("rnn_tanh", "rnn_relu"):
        return torch.nn.RNN(INPUT_SIZE, HIDDEN_SIZE, nonlinearity=kind.removeprefix("rnn_"), **options)
    return {"lstm": torch.nn.LSTM, "gru": torch.nn.GRU}[kind](INPUT_SIZE, HIDDEN_SIZE, **options)


def run(module, rng, lengths=None):
    """Values and gradients of one case with new inputs, initial states and cotangents."""
    import torch
    from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

    def draw(*shape):
        return torch.from_numpy(rng.normal(size=shape))

    names = ("h", "c") if isinstance(module, torch.nn.LSTM) else ("h",)
    inputs = {"inputs": draw(NUM_STEPS, BATCH, INPUT_SIZE)} | {
        f"{name}_0": draw(2 * NUM_LAYERS, BATCH, HIDDEN_SIZE) for name in names
    }
    for value in inputs.values():
        value.requires_grad_()
    xs, *states = inputs.values()
    if lengths is not None:
        xs = pack_padded_sequence(xs, torch.tensor(lengths), enforce_sorted=False)
    ys, finals = module(xs, tuple(states) if len(states) == 2 else states[0])
    if lengths is not None:
        ys, _ = pad_packed_sequence(ys, total_length=NUM_STEPS)
    finals = finals if len(states) == 2 else (finals,)
    outputs = {"outputs": ys} | {f"{name}_n": final for name, final in zip(names, finals, strict=True)}
    cotangents = {name: draw(*value.shape) for name, value in outputs.items()}
    wanted = dict(module.named_parameters()) | inputs
    gradients = torch.autograd.grad(list(outputs.values()), list(wanted.values()), list(cotangents.values()))
    arrays = {
        **inputs,
        **outputs,
        **{f"d_{name}": value for name, value in cotangents.items()},
        **{f"grad/{name}": value for name, value in zip(wanted, gradients, strict=True)},
    }
    return {name: value.detach().numpy() for name, value in arrays.items()}


def main():
    import torch

    print(f"PyTorch {torch.__version__}")
    for seed, kind in enumerate(("rnn_tanh", "rnn_relu", "lstm", "gru")):
        rng = np.random.default_rng(seed)
        module = module_of(kind)
        state = {name: rng.normal(scale=0.6, size=tuple(value.shape)) for name, value in module.state_dict().items()}
        module.load_state_dict({name: torch.from_numpy(value) for name, value in state.items()})
        arrays = {f"state/{name}": value for name, value in state.items()} | {"lengths": np.array(LENGTHS, np.int32)}
        for case, lengths in (("full", None), ("packed", LENGTHS)):
            arrays |= {f"{case}/{name}": value for name, value in run(module, rng, lengths).items()}
        path = Path(__file__).parent / f"torch_{kind}.npz"
        np.savez_compressed(path, **arrays)
        print(f"{path.name}: {len(arrays)} arrays, {path.stat().st_size / 1024:.0f} KB")


if __name__ == "__main__":
    main()
