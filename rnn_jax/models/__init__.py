"""Flax NNX modules and models, and the bridge from a module to a pure function.

| | |
|---|---|
| `Recurrent`, `RNN`, `LSTM`, `GRU` | layers over time, stacked or bidirectional |
| `FlaxCell` | one step of a cell, for Flax's own loop |
| `Forecaster` | windows of a series in, forecasts out |
| `Output`, `Point`, `Gaussian`, `Quantiles` | what a forecast says of a value, and its loss |
| `LanguageModel`, `Regularization` | at every step a probability for each next token; what its loss has besides |
| `FeedForwardLanguageModel` | the next token from a fixed number of tokens |
| `SequenceModel` | recurrent layers and a linear read-out, of the end or of every step |
| `TextClassifier`, `BagClassifier`, `FlattenClassifier` | tokens in, a score per class out |
| `text_losses` | the loss of every token of a whole text |
| `last_output`, `pool_steps` | from a sequence to one vector |
| `pure`, `bind`, `abstract` | a module as a pure function of its parameters; with given ones; with shapes alone |
| `num_params`, `summary` | how many parameters there are, and where |
| `make_writer`, `Written` | a language model that writes |
| `make_context_losses` | what a longer context is worth to a language model |
| `make_gradient_flow` | the gradient through time of a whole model |
| `make_spectrum` | the Lyapunov exponents of each of its layers |
"""

from rnn_jax.models.context import make_context_losses
from rnn_jax.models.feedforward_language_model import FeedForwardLanguageModel
from rnn_jax.models.forecaster import Forecaster
from rnn_jax.models.gradient_flow import make_gradient_flow
from rnn_jax.models.language_model import LanguageModel, Regularization
from rnn_jax.models.outputs import Gaussian, Output, Point, Quantiles
from rnn_jax.models.parameters import abstract, bind, num_params, pure, summary
from rnn_jax.models.pooling import pool_steps
from rnn_jax.models.reading import text_losses
from rnn_jax.models.recurrent import GRU, LSTM, RNN, FlaxCell, Recurrent
from rnn_jax.models.sequence import SequenceModel, last_output
from rnn_jax.models.spectrum import make_spectrum
from rnn_jax.models.text import BagClassifier, FlattenClassifier, TextClassifier
from rnn_jax.models.writing import Written, make_writer

__all__ = [
    "GRU",
    "LSTM",
    "RNN",
    "BagClassifier",
    "FeedForwardLanguageModel",
    "FlattenClassifier",
    "FlaxCell",
    "Forecaster",
    "Gaussian",
    "LanguageModel",
    "Output",
    "Point",
    "Quantiles",
    "Recurrent",
    "Regularization",
    "SequenceModel",
    "TextClassifier",
    "Written",
    "abstract",
    "bind",
    "last_output",
    "make_context_losses",
    "make_gradient_flow",
    "make_spectrum",
    "make_writer",
    "num_params",
    "pool_steps",
    "pure",
    "summary",
    "text_losses",
]
