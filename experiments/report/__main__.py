"""Compare finished and unfinished runs: tables with tests of significance, plots, a CSV, one HTML page.

    python launch.py report --runs="runs/*"
    python launch.py report --runs=SWEEP --metric=mae --plot=hidden_size --baseline=persistence

Runs that differ in nothing but their seeds are one row. Writes index.html, which needs no other file and no network,
runs.csv and plots/*.png. Folders that cannot be read are listed with the reason. experiments/README.md says more.
"""

import sys

from experiments.common.command import Experiment
from experiments.report.flags import Config

EXPERIMENT = Experiment("report", __doc__, Config, "experiments.report.run")

if __name__ == "__main__":
    sys.exit(EXPERIMENT.main(sys.argv[1:]))
