"""The command line of text classification: training, the lectures' defaults, or prediction."""

from collections.abc import Sequence

from experiments.common.command import main as run_command
from experiments.common.flags import given
from experiments.text.flags import SyntheticConfig, TextConfig
from experiments.text.main import run
from experiments.text.predict import PredictConfig, predict


def main(
    name: str, config: type[TextConfig], lecture: type[TextConfig], about: str | None, arguments: Sequence[str]
) -> int:
    """Runs one of the experiments; returns the exit status."""
    if given(arguments, "mode") == "predict":
        return run_command(name, PredictConfig, predict, about, arguments)
    if given(arguments, "lecture") in ("", "true"):
        config = lecture
    elif given(arguments, "dataset") == "synthetic_reviews":
        config = SyntheticConfig
    return run_command(name, config, run, about, arguments)
