"""Where does the gradient go? How fast it vanishes or explodes, by cell, initialization and length, with a verdict.

Without flags: seven cells, their initializations, lags up to 10,000. A trained run is looked at with --run=FOLDER: how
far back its network really looks, on its own validation data:

    python launch.py vanishing --run=runs/forecast-...

Nothing is trained here. The gradient is kept as a logarithm, exact where floats would be 0 or inf.
"""

import sys

from experiments.common.command import Experiment
from experiments.vanishing.flags import Config

EXPERIMENT = Experiment("vanishing", __doc__, Config, "experiments.vanishing.task")

if __name__ == "__main__":
    sys.exit(EXPERIMENT.main(sys.argv[1:]))
