"""The contenders of `benchmarks.streaming`: a step of an LSTM that keeps its state, `x [B, I] -> h [B, H]` in NumPy.

    python -m benchmarks.streaming_steps pytorch_cell FOLDER '[[1, 64]]'

Each imports its own library and no other. PyTorch and ONNX Runtime are there with one thread and with all cores.
"""

import importlib
import json
import sys
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import numpy as np

from benchmarks.child import Answers, serve, stopwatch

INPUT_SIZE = 64
COMPARED = 20
"""Steps that all have to agree on."""

Step = Callable[[np.ndarray], np.ndarray]


def draw(hidden_size: int) -> dict[str, np.ndarray]:
    """The weights of a size: `w_ih [I, 4 H]`, `w_hh [H, 4 H]`, `b [4 H]`."""
    generator, scale = np.random.default_rng(0), hidden_size**-0.5
    shapes = {"w_ih": (INPUT_SIZE, 4 * hidden_size), "w_hh": (hidden_size, 4 * hidden_size), "b": (4 * hidden_size,)}
    return {name: generator.uniform(-scale, scale, shape).astype(np.float32) for name, shape in shapes.items()}


def observations(batch_size: int) -> np.ndarray:
    """`[COMPARED, B, I]`."""
    return np.random.default_rng(1).standard_normal((COMPARED, batch_size, INPUT_SIZE), np.float32)


def rnn_jax(backend: str, folder: str, batch_size: int, hidden_size: int) -> Step:
    """`unroll` over one step with that back end, compiled; what it keeps is its carry."""
    del folder
    import jax
    import jax.numpy as jnp

    from rnn_jax import cells, unroll
    from rnn_jax.cells.lstm import LSTMParams

    cell = cells.get("lstm")
    params = LSTMParams(**{name: jnp.asarray(array) for name, array in draw(hidden_size).items()})

    @partial(jax.jit, donate_argnums=0)
    def advance(carry: Any, x: jax.Array) -> Any:
        return unroll(cell, params, x[None], carry=carry, backend=backend)[0]

    carry = cell.init_carry((batch_size,), hidden_size)

    def step(x: np.ndarray) -> np.ndarray:
        nonlocal carry
        carry = advance(carry, x)
        return np.asarray(carry.h)

    return step


def pytorch(kind: str, one_thread: bool, folder: str, batch_size: int, hidden_size: int) -> Step:
    """`nn.LSTM` called with sequences of one step, or `nn.LSTMCell`."""
    del folder
    import torch

    if one_thread:
        torch.set_num_threads(1)
    module: Any = getattr(torch.nn, kind)(INPUT_SIZE, hidden_size)
    given = draw(hidden_size)
    arrays = {"weight_ih": given["w_ih"].T, "weight_hh": given["w_hh"].T, "bias_ih": given["b"]}
    arrays["bias_hh"] = np.zeros_like(given["b"])
    ending = "_l0" if kind == "LSTM" else ""
    module.load_state_dict({name + ending: torch.tensor(array) for name, array in arrays.items()})
    shape = (1, batch_size, hidden_size) if kind == "LSTM" else (batch_size, hidden_size)
    state = (torch.zeros(shape), torch.zeros(shape))

    @torch.inference_mode()
    def step(x: np.ndarray) -> np.ndarray:
        nonlocal state
        if kind == "LSTM":
            ys, state = module(torch.from_numpy(x)[None], state)
            return ys[0].numpy()
        state = module(torch.from_numpy(x), state)
        return state[0].numpy()

    return step


def onnxruntime(one_thread: bool, folder: str, batch_size: int, hidden_size: int) -> Step:
    """The model of a file that `rnn_jax.convert.to_onnx` made, called with sequences of one step."""
    runtime: Any = importlib.import_module("onnxruntime")
    options = runtime.SessionOptions()
    if one_thread:
        options.intra_op_num_threads = options.inter_op_num_threads = 1
    session = runtime.InferenceSession(f"{folder}/{hidden_size}.onnx", options, ["CPUExecutionProvider"])
    h = c = np.zeros((1, batch_size, hidden_size), np.float32)

    def step(x: np.ndarray) -> np.ndarray:
        nonlocal h, c
        ys, h, c = session.run(["ys", "h_n", "c_n"], {"xs": x[None], "h_0": h, "c_0": c})
        return ys[0]

    return step


MAKERS: dict[str, Callable[..., Step]] = {
    "rnn_jax": partial(rnn_jax, "auto"),
    "rnn_jax_xla": partial(rnn_jax, "manual"),
    "pytorch_lstm_1": partial(pytorch, "LSTM", True),
    "pytorch_lstm_all": partial(pytorch, "LSTM", False),
    "pytorch_cell_1": partial(pytorch, "LSTMCell", True),
    "pytorch_cell_all": partial(pytorch, "LSTMCell", False),
    "onnxruntime_1": partial(onnxruntime, True),
    "onnxruntime_all": partial(onnxruntime, False),
}
"""By name, `(folder, B, H) -> step`."""


def set_up(make: Callable[[int, int], Step], sizes: Sequence[tuple[int, int]]) -> tuple[list[list[float]], Answers]:
    """See `benchmarks.child.serve`: found are the outputs after `COMPARED` steps, flat, of each size.

    >>> found, _ = set_up(lambda batch_size, hidden_size: lambda x: 2 * x, [(1, 64)])
    >>> found[0] == (2 * observations(1)[-1]).ravel().tolist()
    True
    """
    found, timed = [], {}
    for number, (batch_size, hidden_size) in enumerate(sizes):
        step = make(batch_size, hidden_size)
        xs = observations(batch_size)
        found.append([step(x) for x in xs][-1].ravel().tolist())
        timed[str(number)] = partial(step, xs[0])
    return found, {"time": stopwatch(timed)}


def main(name: str, folder: str, sizes: str) -> None:
    """Takes steps whenever it is asked."""
    serve(lambda: set_up(partial(MAKERS[name], folder), json.loads(sizes)))


if __name__ == "__main__":
    main(*sys.argv[1:])
