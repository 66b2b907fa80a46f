"""What flags are where they are not given, by data set: measured settings, see experiments/README.md."""

from experiments.common.flags import When

GRAMMAR = {"rungs": ("ngrams", "feedforward", "rnn", "gru"), "learning_rate": 5e-3}
DEFAULTS = (When("dataset", "grammar", GRAMMAR),)
