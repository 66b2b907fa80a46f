"""Forecast an hourly series with a recurrent network, against persistence and linear autoregression.

Without flags: three years of a synthetic temperature, 17 seconds on 2 cores. The lectures' system on real data:

    python launch.py forecast --dataset=szeged --protocol=lecture --num_seeds=3

experiments/README.md lists commands, times and figures to expect.
"""

import sys

from experiments.common.command import Experiment
from experiments.forecast.flags import Config

EXPERIMENT = Experiment("forecast", __doc__, Config, "experiments.forecast.run")

if __name__ == "__main__":
    sys.exit(EXPERIMENT.main(sys.argv[1:]))
