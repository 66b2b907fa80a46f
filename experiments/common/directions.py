"""Which of two figures is the better one, by the name of the metric; what an experiment is about; who competes."""

from collections.abc import Sequence

BETTER = {
    **dict.fromkeys(("accuracy", "accuracy_unrepeated", "f1", "r2", "skill"), "higher"),
    **dict.fromkeys(("mse", "train_mse", "mae", "rmse", "mase"), "lower"),
    **dict.fromkeys(("loss", "perplexity", "bits_per_character", "cross_entropy"), "lower"),
    **dict.fromkeys(("manual_error", "finite_error", "failed", "gradient_error"), "lower"),
    **dict.fromkeys(("seconds", "predicted_bytes", "process_bytes"), "lower"),
}
"""By name; of all others, like an exponent or a horizon, neither more nor less is better."""

MAIN = ("mse", "accuracy", "loss", "gradient_error", "manual_error")
"""The main figure is the first of these that the results have: where none is, the first metric that they have."""

NO_RIVALS = ("known_limit", "ensemble of ", "dynamic evaluation", "neural cache")
"""How those of `baselines` begin that no run is to beat: the best there can be, and the run itself in other use."""


def main_metric(names: Sequence[str]) -> str:
    """The main figure of results with metrics of these names.

    >>> main_metric(["cross_entropy", "accuracy"]), main_metric(["lyapunov_exponent", "horizon_e"])
    ('accuracy', 'lyapunov_exponent')
    """
    return next((name for name in MAIN if name in names), names[0])
