"""Gradients through very long sequences: what they cost, and what truncating them leaves out.

Memory and time of the gradient through up to a million steps, for every back end, stored whole (`plain`), with
checkpoints near every sqrt(T)-th step (`checkpointed`), and with the loss taken inside the segments as well
(`segmented`); every measurement in a process of its own, every gradient compared with one in float64. Then the bias of
truncated backpropagation against the truncation length, for several cells. 16 minutes on 2 busy cores.
"""

import sys

from experiments.common.command import Experiment
from experiments.long_sequences.flags import Config

EXPERIMENT = Experiment("long_sequences", __doc__, Config, "experiments.long_sequences.task")

if __name__ == "__main__":
    sys.exit(EXPERIMENT.main(sys.argv[1:]))
