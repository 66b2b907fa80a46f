"""Would time in parallel pay? Iterations of Newton's method over all steps at once, predicted and measured, and cost.

Without flags: three cells with recurrent weights of growing size, from networks that forget to chaotic ones, T up to
10,000. The first layers of trained runs are looked at with --run=FOLDERS, each on its own validation data, one sequence
after the other, and cells at their initialization beside them where --cells names some:

    python launch.py parallel --run=runs/forecast-...

Nothing is trained here. The prediction is made from the growth of small differences along one run of the scan
(`rnn_jax.diagnostics.parallel`), the crossover on a GPU from its bandwidth (`experiments/parallel/cost.py`).
"""

import sys

from experiments.common.command import Experiment
from experiments.parallel.flags import Config

EXPERIMENT = Experiment("parallel", __doc__, Config, "experiments.parallel.task")

if __name__ == "__main__":
    sys.exit(EXPERIMENT.main(sys.argv[1:]))
