"""Keras's tests of its recurrent layers with constant weights: what they call, and the numbers that they expect.

Transcribed from `keras/src/layers/rnn/{simple_rnn,lstm,gru,bidirectional}_test.py` of Keras 3.15.1: every call whose
output is compared with literal numbers. Calls of the same layer on the same inputs are here once, however Keras
computes them (`unroll`, `implementation`), and so is one that is repeated after a reset of the layer's state.

Inputs count up, `arange` of the shape `[B, T, I]`. Kernels are 0.01, recurrent kernels 0.02, biases 0.03. A GRU has
both biases; the forget gate's is 1 where `unit_forget_bias` is not False.
"""

from typing import Any, NamedTuple

import numpy as np

GAPS = [[1, 1, 0, 1], [1, 0, 0, 1]]
PADDING = [[1, 1, 1, 0], [1, 1, 0, 0]]
PADDING_BEFORE = [[0, 1, 1, 1], [0, 0, 1, 1]]


class Entry(NamedTuple):
    """A call by Keras's names.

    Attributes:
        name: file and test, and what tells it from others of that test.
        layer: Keras's class.
        shape: of the inputs, `[B, T, I]`.
        units: H.
        want: the outputs; with `states`, behind them, those of each direction.
        options: of the layer, and `mask` and `initial_state` of the call.
        back: what the weights of the backward direction are, where there is one: kernel, recurrent kernel, bias.
        merge: `concat`, `ave`, `mul`, `sum`; empty: one direction.
        states: the states are compared too.
        calls: of a stateful layer.
    """

    name: str
    layer: str
    shape: tuple[int, int, int]
    units: int
    want: list[Any]
    options: dict[str, Any] = {}  # noqa: RUF012  # never written to
    back: tuple[float, float, float] = (0.01, 0.02, 0.03)
    merge: str = ""
    states: bool = False
    calls: int = 1


def rows(units: int, *values: float) -> list[list[float]]:
    """One row for each value, the same in all units: constant weights make units alike."""
    return [[value] * units for value in values]


def counted(*shape: int, times: int = 1) -> np.ndarray:
    """0, 1, 2, ... in float32, times a number."""
    return times * np.arange(np.prod(shape), dtype=np.float32).reshape(shape)


RNN, LSTM, GRU = "SimpleRNN", "LSTM", "GRU"
BACK = {"go_backwards": True}
SEQUENCES = {"return_sequences": True}
ZERO = {"return_sequences": True, "zero_output_for_mask": True}

ENTRIES = [
    Entry("simple_rnn correctness", RNN, (2, 3, 4), 4, [rows(4, 0.405432, 0.73605347)]),
    Entry("simple_rnn correctness, backwards", RNN, (2, 3, 4), 4, [rows(4, 0.11144729, 0.5528889)], BACK),
    Entry("simple_rnn statefulness", RNN, (2, 3, 4), 4, [rows(4, 0.40559256, 0.7361247)], calls=2),
    Entry(
        "simple_rnn initial_state",
        *(RNN, (2, 4, 3), 4, [rows(4, 0.33621645, 0.6262637)], {"initial_state": [counted(2, 4)]}),
    ),
    Entry(
        "simple_rnn initial_state, backwards",
        *(RNN, (2, 4, 3), 4, [rows(4, 0.07344437, 0.43043602)], BACK | {"initial_state": [counted(2, 4)]}),
    ),
    Entry("simple_rnn masking", RNN, (2, 4, 3), 4, [rows(4, 0.32951632, 0.61799484)], {"mask": GAPS}),
    Entry(
        "simple_rnn masking, sequences",
        *(RNN, (2, 4, 3), 2),
        [
            [
                rows(2, 0.0599281, 0.15122814, 0.15122814, 0.32394567),
                rows(2, 0.3969304, 0.3969304, 0.3969304, 0.608085),
            ]
        ],
        SEQUENCES | {"mask": GAPS},
    ),
    Entry(
        "simple_rnn masking, zeros",
        *(RNN, (2, 4, 3), 2),
        [[rows(2, 0.0599281, 0.15122814, 0, 0.32394567), rows(2, 0.3969304, 0, 0, 0.608085)]],
        ZERO | {"mask": GAPS},
    ),
    Entry(
        "simple_rnn masking, backwards",
        *(RNN, (2, 4, 3), 4, [rows(4, 0.07376196, 0.43645123)], BACK | {"mask": GAPS}),
    ),
    Entry("lstm correctness", LSTM, (3, 6, 4), 3, [rows(3, 0.6288687, 0.86899155, 0.9460773)]),
    Entry("lstm correctness, backwards", LSTM, (3, 6, 4), 3, [rows(3, 0.35622165, 0.74789524, 0.8872726)], BACK),
    Entry(
        "lstm correctness, unit_forget_bias=False",
        *(LSTM, (3, 6, 4), 3, [rows(3, 0.57019705, 0.8661914, 0.9459622)], {"unit_forget_bias": False}),
    ),
    Entry(
        "lstm correctness, use_bias=False",
        *(LSTM, (3, 6, 4), 3, [rows(3, 0.54986924, 0.86226785, 0.9443936)], {"use_bias": False}),
    ),
    Entry("lstm statefulness", LSTM, (2, 3, 4), 4, [rows(4, 0.3124785, 0.6863672)], calls=2),
    Entry(
        "lstm initial_state",
        *(LSTM, (2, 4, 3), 2, [[[0.20574439, 0.3558822], [0.64930826, 0.66276]]]),
        {"initial_state": [counted(2, 2), counted(2, 2)]},
    ),
    Entry(
        "lstm initial_state, backwards",
        *(LSTM, (2, 4, 3), 2, [[[0.13281618, 0.2790356], [0.5839337, 0.5992567]]]),
        BACK | {"initial_state": [counted(2, 2), counted(2, 2)]},
    ),
    Entry("lstm masking", LSTM, (2, 4, 3), 2, [rows(2, 0.11755939, 0.28556206)], {"mask": PADDING}),
    Entry(
        "lstm masking, sequences",
        *(LSTM, (2, 4, 3), 2),
        [
            [
                rows(2, 0.01588910, 0.05552048, 0.11755939, 0.11755939),
                rows(2, 0.14185596, 0.28556206, 0.28556206, 0.28556206),
            ]
        ],
        SEQUENCES | {"mask": PADDING},
    ),
    Entry(
        "lstm masking, zeros",
        *(LSTM, (2, 4, 3), 2),
        [[rows(2, 0.01588910, 0.05552048, 0.11755939, 0), rows(2, 0.14185596, 0.28556206, 0, 0)]],
        ZERO | {"mask": PADDING},
    ),
    Entry(
        "lstm masking, backwards",
        *(LSTM, (2, 4, 3), 2, [rows(2, 0.15341201, 0.3844719)], BACK | {"mask": PADDING_BEFORE}),
    ),
    Entry("gru correctness", GRU, (3, 6, 4), 3, [rows(3, 0.5217289, 0.6371659, 0.39384964)]),
    Entry("gru correctness, backwards", GRU, (3, 6, 4), 3, [rows(3, 0.24406259, 0.611516, 0.3928808)], BACK),
    Entry(
        "gru correctness, reset_after=False",
        *(GRU, (3, 6, 4), 3, [rows(3, 0.51447755, 0.6426879, 0.40208298)], {"reset_after": False}),
    ),
    Entry(
        "gru correctness, use_bias=False",
        *(GRU, (3, 6, 4), 3, [rows(3, 0.49988455, 0.64701194, 0.4103359)], {"use_bias": False}),
    ),
    Entry("gru statefulness", GRU, (2, 3, 4), 4, [rows(4, 0.29542392, 0.5885018)], calls=2),
    Entry(
        "gru initial_state and return_state",
        *(GRU, (2, 4, 3), 2, 2 * [[[0.23774096, 0.33508456], [0.83659905, 1.0227708]]]),
        {"initial_state": [counted(2, 2)]},
        states=True,
    ),
    Entry(
        "gru initial_state and return_state, backwards",
        *(GRU, (2, 4, 3), 2, 2 * [[[0.13486053, 0.23261218], [0.78257304, 0.9691353]]]),
        BACK | {"initial_state": [counted(2, 2)]},
        states=True,
    ),
    Entry("gru masking", GRU, (2, 4, 3), 2, [rows(2, 0.19393763, 0.30818558)], {"mask": GAPS}),
    Entry(
        "gru masking, sequences",
        *(GRU, (2, 4, 3), 2),
        [
            [
                rows(2, 0.03606692, 0.09497581, 0.09497581, 0.19393763),
                rows(2, 0.16051409, 0.16051409, 0.16051409, 0.30818558),
            ]
        ],
        SEQUENCES | {"mask": GAPS},
    ),
    Entry(
        "gru masking, zeros",
        *(GRU, (2, 4, 3), 2),
        [[rows(2, 0.03606692, 0.09497581, 0, 0.19393763), rows(2, 0.16051409, 0, 0, 0.30818558)]],
        ZERO | {"mask": GAPS},
    ),
    Entry(
        "gru masking, backwards",
        *(GRU, (2, 4, 3), 2, [rows(2, 0.11669192, 0.28380975)], BACK | {"mask": GAPS}),
    ),
    Entry(
        "bidirectional correctness",
        *(RNN, (2, 3, 4), 2),
        [[[0.39687276, 0.39687276, 0.10004295, 0.10004295], [0.7237238, 0.7237238, 0.53391594, 0.53391594]]],
        merge="concat",
    ),
    Entry("bidirectional correctness, ave", RNN, (2, 3, 4), 2, [rows(2, 0.24845785, 0.6288199)], merge="ave"),
    Entry(
        "bidirectional correctness, mul",
        *(RNN, (2, 3, 4), 2, [rows(2, 0.08374989, 0.6740834)]),
        back=(0.03, 0.02, 0.01),
        merge="mul",
    ),
    Entry(
        "bidirectional correctness, sum of sequences",
        *(GRU, (2, 3, 4), 2),
        [[rows(2, 0.20937867, 0.34462988, 0.40290534), rows(2, 0.59829646, 0.6734641, 0.6479671)]],
        SEQUENCES,
        merge="sum",
    ),
    Entry(
        "bidirectional statefulness",
        *(LSTM, (2, 4, 3), 2),
        [[[0.26234663, 0.26234663, 0.16959146, 0.16959146], [0.6137073, 0.6137073, 0.5381646, 0.5381646]]],
        merge="concat",
        calls=2,
    ),
    Entry(
        "bidirectional initial_state",
        *(LSTM, (2, 4, 3), 2),
        [[[0.20794602, 0.4577124, 0.14046375, 0.48191673], [0.6682636, 0.6711909, 0.60943645, 0.60950446]]],
        {"initial_state": [counted(2, 2, times=times) for times in (1, 2, 3, 4)]},
        merge="concat",
    ),
    Entry(
        "bidirectional masking",
        *(GRU, (2, 4, 3), 2),
        [[[0.19393763, 0.19393763, 0.11669192, 0.11669192], [0.30818558, 0.30818558, 0.28380975, 0.28380975]]],
        {"mask": GAPS},
        merge="concat",
    ),
    Entry(
        "bidirectional return_state",
        *(LSTM, (2, 4, 3), 2),
        [
            [[0.1990008, 0.1990008, 0.12659755, 0.12659755], [0.52335435, 0.52335435, 0.44717982, 0.44717982]],
            rows(2, 0.1990008, 0.52335435),
            rows(2, 0.35567185, 1.0492687),
            rows(2, 0.12659755, 0.44717982),
            rows(2, 0.2501858, 0.941473),
        ],
        merge="concat",
        states=True,
    ),
]
