"""The vocabulary that a run leaves in its folder: for writing, for a look at its context, for classifiers."""

from pathlib import Path

from experiments.common import digests
from experiments.common.flags import UsageError
from rnn_jax.data.language import vocabulary
from rnn_jax.data.language.vocabulary import Vocabulary

VOCABULARY = "vocabulary.json"
"""The file."""


def load_vocabulary(folder: Path, flag: str) -> Vocabulary:
    """That of the run in `folder`, which `flag` names. Raises `UsageError` for a file that is missing or damaged."""
    where = f"--{flag}={folder}"
    digests.check(folder, VOCABULARY, where=where)
    try:
        return vocabulary.load(folder / VOCABULARY)
    except (OSError, ValueError) as error:
        raise UsageError(f"{where}: {error}") from error
