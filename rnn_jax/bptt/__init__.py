"""Hand-derived backpropagation through time: one backward step per cell, one loop for all."""

from rnn_jax.bptt import gru, lstm, rnn
from rnn_jax.bptt.rule import Rule
from rnn_jax.bptt.through_time import Gradients, backward

RULES = {
    "rnn": rnn.make("tanh"),
    "rnn_relu": rnn.make("relu"),
    "rnn_identity": rnn.make("identity"),
    "lstm": lstm.make(),
    "gru": gru.make(),
}
"""The rule of each cell that has one, by the cell's name."""

__all__ = ["RULES", "Gradients", "Rule", "backward"]
