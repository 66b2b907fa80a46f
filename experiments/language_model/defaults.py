"""What flags are where they are not given, by data set: measured settings, see experiments/README.md."""

from experiments.common.flags import When

GRAMMAR = {
    "rungs": ("ngrams", "feedforward", "rnn", "gru"),
    "batch_size": 16,
    "num_steps": 32,
    "epochs": 12,
    "learning_rate": 1e-2,
}
DEFAULTS = (When("dataset", "grammar", GRAMMAR),)
