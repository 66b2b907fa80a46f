"""Classify film reviews (IMDB) with a recurrent network, against classifiers without recurrence.

The 50,000 labelled reviews of Maas et al. (2011) are taken from --data_dir (the folder aclImdb or its archive), and
downloaded through TensorFlow Datasets where they are not there. With --lecture the other flags have the lectures'
values by default: 500 tokens, padding read as input, the last state. To classify texts with a trained model:

    python launch.py imdb --mode=predict --workdir=FOLDER --text="a fine film"

With --init_from=RUN it starts from a language model of --dataset=imdb, which has read the training reviews alone.

experiments/README.md lists commands, times and figures to expect.
"""

import sys

from experiments.common.command import Experiment
from experiments.text.flags import TextConfig

EXPERIMENT = Experiment("imdb", __doc__, TextConfig, "experiments.text.run")

if __name__ == "__main__":
    sys.exit(EXPERIMENT.main(sys.argv[1:]))
