"""Weights from and to other libraries, of which none is imported before it is used.

| | |
|---|---|
| `from_torch`, `to_torch` | the state of PyTorch's `nn.RNN`, `nn.LSTM`, `nn.GRU`: all layers and directions |
| `load_torch` | that state into a `Recurrent` module |
| `from_flax`, `to_flax` | a cell of Flax NNX |
| `to_onnx` | a stack as an ONNX model, which computes what `unroll_stack` does: all layers and directions |
"""

from rnn_jax.convert.flax import from_flax, to_flax
from rnn_jax.convert.onnx import to_onnx
from rnn_jax.convert.torch import from_torch, load_torch, to_torch

__all__ = ["from_flax", "from_torch", "load_torch", "to_flax", "to_onnx", "to_torch"]
