"""Learn what takes a long memory: generated tasks, and MNIST a pixel at a time.

Without flags: the sum of two marked numbers among 100. The same among 1,000, and digits:

    python launch.py memory --length=1000 --chrono=1000 --batch_size=32
    python launch.py memory --task=sequential_mnist --data_dir=DATA --chrono=6 --hidden_size=96 --epochs=25

Test examples are as long as those of training, and twice and four times as long. experiments/README.md lists commands,
times and figures to expect.
"""

import sys

from experiments.common.command import Experiment
from experiments.memory.flags import Config

EXPERIMENT = Experiment("memory", __doc__, Config, "experiments.memory.run")

if __name__ == "__main__":
    sys.exit(EXPERIMENT.main(sys.argv[1:]))
