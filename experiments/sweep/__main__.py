"""Run an experiment at many points, each in a folder and a process of its own.

    python launch.py sweep EXPERIMENT --grid="cell=rnn,lstm;hidden_size=32,64" --num_seeds=3 --jobs=2

The word after `sweep` is the experiment; flags that are not below, and all behind a --, are flags of every point. The
same command goes on where it was stopped or killed, and tries the points again that failed.
"""

import sys
from collections.abc import Sequence
from dataclasses import dataclass

from experiments.common.command import Experiment
from experiments.sweep.flags import Config, gather


@dataclass(frozen=True)
class SweepExperiment(Experiment):
    """An experiment whose command line has another's within it."""

    def main(self, arguments: Sequence[str], program: str = "python launch.py") -> int:
        """See `Experiment.main`."""
        return super().main(gather(arguments), program)


EXPERIMENT = SweepExperiment("sweep", __doc__, Config, "experiments.sweep.run")

if __name__ == "__main__":
    sys.exit(EXPERIMENT.main(sys.argv[1:]))
