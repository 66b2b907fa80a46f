"""Learn to predict the next character, word or piece of a word, against n-grams and other networks; then write.

Without flags: a made-up language whose entropy is known, so that the table says how far each model is from a perfect
one. --dataset=tiny_shakespeare, ptb and imdb are read from --data_dir, any text from --text=FILE. To write with a
trained model:

    python launch.py language_model --mode=generate --workdir=FOLDER --prompt="the boys"

experiments/README.md lists commands, times and figures to expect.
"""

import sys

from experiments.common.command import Experiment
from experiments.language_model.flags import LanguageConfig

EXPERIMENT = Experiment("language_model", __doc__, LanguageConfig, "experiments.language_model.run")

if __name__ == "__main__":
    sys.exit(EXPERIMENT.main(sys.argv[1:]))
