"""PyTorch's `nn.RNN`, `nn.LSTM` and `nn.GRU`, eager and time-major; on a GPU these call cuDNN.

Imports no JAX: in one process PyTorch's threads and JAX's get in each other's way, and PyTorch takes up to twice as
long.
"""

from typing import Any

import numpy as np
import torch

from benchmarks.problem import Problem


class TorchRunner:
    """A runner, see `benchmarks.peers.runner`; packing counts as work, since whoever has a batch has to pack it."""

    def __init__(self, problem: Problem, packed: bool):
        self.problem = problem
        self.device = "gpu" if torch.cuda.is_available() else "cpu"
        self.instruction_set = torch.backends.cpu.get_cpu_capability()
        self.place = {"device": "cuda" if self.device == "gpu" else "cpu", "dtype": getattr(torch, problem.dtype)}
        sizes = (problem.shape.input_size, problem.shape.hidden_size)
        kind = {"rnn": torch.nn.RNN, "lstm": torch.nn.LSTM, "gru": torch.nn.GRU}[problem.cell]
        self.module: Any = kind(*sizes, **self.place)
        given = problem.params
        recurrent_bias = np.zeros_like(given["b"])
        if problem.cell == "gru":
            recurrent_bias[2 * problem.shape.hidden_size :] = given["b_hn"]
        arrays = {"weight_ih": given["w_ih"].T, "weight_hh": given["w_hh"].T}
        arrays |= {"bias_ih": given["b"], "bias_hh": recurrent_bias}
        self.module.load_state_dict({f"{name}_l0": torch.tensor(array) for name, array in arrays.items()})
        self.params = list(self.module.parameters())
        self.xs = torch.tensor(problem.xs).to(**self.place).requires_grad_()
        self.weights = torch.tensor(problem.weights).to(**self.place)
        self.lengths = torch.tensor(problem.lengths) if packed and problem.lengths is not None else None

    def compile(self, options: object = None) -> dict[str, Any]:
        """Nothing: eager."""
        del options
        return {}

    def _run(self) -> torch.Tensor:
        torch.backends.cudnn.allow_tf32 = self.problem.tf32  # a switch for all of PyTorch, on unless one turns it off
        if self.lengths is None:
            return self.module(self.xs)[0]
        utils = torch.nn.utils.rnn
        packed = utils.pack_padded_sequence(self.xs, self.lengths, enforce_sorted=False)
        return utils.pad_packed_sequence(self.module(packed)[0], total_length=self.problem.shape.length)[0]

    def _wait(self) -> None:
        if self.device == "gpu":
            torch.cuda.synchronize()

    def forward(self) -> torch.Tensor:
        """ys, when they are there, without recording for a gradient."""
        with torch.no_grad():
            ys = self._run()
        self._wait()
        return ys

    def forward_backward(self) -> tuple[torch.Tensor, ...]:
        """The gradients with respect to the parameters, in PyTorch's order, and to xs."""
        gradients = torch.autograd.grad((self._run() * self.weights).sum(), [*self.params, self.xs])
        self._wait()
        return gradients

    def device_bytes(self) -> int:
        """As PyTorch counts while a gradient is computed, its inputs and parameters with it."""
        if self.device == "cpu":
            return 0
        mine = sum(tensor.nbytes for tensor in (*self.params, self.xs, self.weights))
        before = torch.cuda.memory_allocated()
        torch.cuda.reset_peak_memory_stats()
        self.forward_backward()
        return torch.cuda.max_memory_allocated() - before + mine

    def values(self) -> dict[str, np.ndarray]:
        """One call of each, in our layout; the two biases have one derivative, but for n's block of a GRU."""

        def numpy(tensor: torch.Tensor) -> np.ndarray:
            return tensor.to(device="cpu", dtype=torch.float64).numpy()

        ys = numpy(self.forward())
        w_ih, w_hh, b, b_hh, dxs = (numpy(gradient) for gradient in self.forward_backward())
        values = {"ys": ys, "dxs": dxs, "w_ih": w_ih.T, "w_hh": w_hh.T, "b": b}
        if self.problem.cell == "gru":
            values["b_hn"] = b_hh[2 * self.problem.shape.hidden_size :]
        return values


def make(problem: Problem, variant: str) -> TorchRunner:
    """The runner. Sequences of unequal length are packed unless `variant` is `padded`; `one_thread` keeps to one core.

    PyTorch's threads wait for each other at every step, which one thread may do faster, and does on a busy machine.
    """
    if variant == "one_thread":
        torch.set_num_threads(1)
    return TorchRunner(problem, packed=variant != "padded")
