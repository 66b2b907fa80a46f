"""Classify Vietnamese restaurant reviews (NTC-SCV): the experiment `imdb` with other data and defaults.

The 50,000 reviews are taken from --data_dir (the folder ntc-scv or its archive). Reviews that are not Vietnamese are
left out of training and validation. The official test split (data_test/test) is kept whole.

experiments/README.md lists commands, times and figures to expect.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from experiments.text.command import main as text_main
from experiments.text.flags import LectureConfig, TextConfig, redefined


@dataclass(frozen=True)
class Config(TextConfig):
    """The defaults for NTC-SCV."""

    dataset: str = redefined("dataset", "ntc_scv", TextConfig)
    cleaning: str = redefined("cleaning", "words", TextConfig)
    num_lengths: int = redefined("num_lengths", 16, TextConfig)  # short texts: with 8 a sixth of the steps is padding


@dataclass(frozen=True)
class Lecture(LectureConfig):
    """The defaults for NTC-SCV under `--lecture`."""

    dataset: str = redefined("dataset", "ntc_scv", TextConfig)
    cleaning: str = redefined("cleaning", "words", TextConfig)


def main(arguments: Sequence[str]) -> int:
    """The command line of this experiment; returns the exit status."""
    return text_main("ntc_scv", Config, Lecture, __doc__, arguments)


if __name__ == "__main__":
    import sys

    sys.exit(main(sys.argv[1:]))
