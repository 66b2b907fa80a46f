"""What flags are where they are not given, by data set: measured settings, see experiments/README.md."""

from experiments.common.flags import GIVEN, When

GRAMMAR = {
    "rungs": ("ngrams", "feedforward", "rnn", "gru"),
    "batch_size": 16,
    "num_steps": 32,
    "epochs": 12,
    "learning_rate": 1e-2,
}
CHARACTERS = {
    "tied": False,
    "hidden_size": 256,
    "num_steps": 64,
    "epochs": 10,
    "learning_rate": 3e-3,
    "output_dropout": 0.1,
    "ngram_orders": (1, 2, 3, 5, 7),
}
WORDS = {
    "hidden_size": 512,
    "embedding_size": 512,
    "num_layers": 2,
    "num_steps": 35,
    "epochs": 8,
    "learning_rate": 3e-3,
    "rnn_learning_rate": 1e-3,
    "warmup_steps": 200,
    "sampled": 2048,
    "embedding_dropout": 0.1,
    "input_dropout": 0.3,
    "dropout": 0.2,
    "weight_drop": 0.2,
    "output_dropout": 0.3,
    "direct": False,
}
REVIEWS = {
    "hidden_size": 384,
    "embedding_size": 256,
    "num_steps": 64,
    "batch_size": 64,
    "epochs": 3,
    "learning_rate": 3e-3,
    "warmup_steps": 200,
    "sampled": 2048,
    "embedding_dropout": 0.05,
    "input_dropout": 0.1,
    "output_dropout": 0.2,
    "ngram_orders": (1, 3),
    "direct": False,
}
TEXT = {"hidden_size": 256, "tied": False, "num_steps": 32, "batch_size": 16, "epochs": 4, "learning_rate": 3e-3}

DEFAULTS = (
    When("dataset", "grammar", GRAMMAR),
    When("dataset", "tiny_shakespeare", CHARACTERS),
    When("dataset", "ptb", WORDS),
    When("dataset", "imdb", REVIEWS),
    When("text", GIVEN, {"rungs": ("ngrams",), **TEXT}),
)
