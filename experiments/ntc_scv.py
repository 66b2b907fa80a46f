"""Classify Vietnamese restaurant reviews (NTC-SCV): the experiment `imdb` with other data and defaults.

The 50,000 reviews are taken from --data_dir (the folder ntc-scv or its archive). Reviews that are not Vietnamese are
left out of training and validation. The official test split (data_test/test) is kept whole.

experiments/README.md lists commands, times and figures to expect.
"""

import sys
from dataclasses import dataclass

from experiments.common.command import Experiment
from experiments.common.flags import redefined
from experiments.text.flags import TextConfig


@dataclass(frozen=True)
class Config(TextConfig):
    """Flags of text classification with this data set by default."""

    dataset: str = redefined("dataset", "ntc_scv", TextConfig)


EXPERIMENT = Experiment("ntc_scv", __doc__, Config, "experiments.text.run")

if __name__ == "__main__":
    sys.exit(EXPERIMENT.main(sys.argv[1:]))
