"""The flags of the forecast."""

from dataclasses import dataclass

from experiments.common.flags import UsageError, flag
from experiments.common.training import TrainConfig
from rnn_jax.data.series import DATASETS, PROTOCOLS


@dataclass(frozen=True)
class Config(TrainConfig):
    """Flags of the forecast."""

    dataset: str = flag("synthetic", "what to forecast", choices=tuple(DATASETS))
    protocol: str = flag("clean", "how to order and split the rows", choices=PROTOCOLS)
    csv: str = flag("", "CSV file of --dataset=csv")
    target: str = flag("", "column of --csv to forecast")
    time: str = flag("", "column of --csv with the time of each row; without it rows are one step apart")
    lag: int = flag(64, "steps that the model reads", minimum=1, maximum=10_000)
    ahead: int = flag(1, "steps that it forecasts", minimum=1, maximum=10_000)
    season: int = flag(24, "steps of the cycle that the seasonal forecast repeats", minimum=1, maximum=10_000)
    residual: bool = flag(False, "predict the change from the last value instead of the value")
    num_hours: int = flag(26_304, "hours of the synthetic series", minimum=1, maximum=10_000_000)

    @property
    def layer_input(self) -> tuple[int, int]:
        """See `TrainConfig.layer_input`."""
        return self.lag, 1

    def check(self, given: frozenset[str]) -> None:
        """See `RunConfig.check`."""
        if self.dataset != "csv" and (self.csv or self.target or self.time):
            raise UsageError(f"--csv, --target and --time go with --dataset=csv, not with --dataset={self.dataset}")
        if self.dataset == "csv" and not (self.csv and self.target):
            raise UsageError("--dataset=csv needs --csv=FILE and --target=COLUMN")
        super().check(given)
