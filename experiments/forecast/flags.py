"""The flags of the forecast."""

from dataclasses import dataclass, replace
from typing import ClassVar

from experiments.common.flags import UsageError, When, flag, redefined
from experiments.common.training import MANY, TrainConfig
from rnn_jax.data.series import CYCLES, DATASETS, MAX_CELLS, MAX_FILE_BYTES, PROTOCOLS, SCALINGS

MODES = ("train", "predict", "backtest")
DECODERS = ("direct", "recursive", "sequence", "parallel")
NORMALIZATIONS = ("auto", "none", "change", "last", "mean")
OUTPUTS = ("point", "gaussian", "quantiles")
LOSSES = ("auto", "mse", "mae", "huber")
"""Of `rnn_jax.models`, which to import would take Flax: more than `--help` may need."""

OF_A_FILE = ("csv", "time", "series_id", "known_future", "angles")
"""Flags of `--dataset=csv` alone."""

OF_PREDICTION = frozenset({"mode", "workdir", "csv", "time", "series_id", "max_file_bytes", "max_cells"})
"""Flags of `--mode=predict`; all others are those of the run."""

LECTURE = {
    "calendar": ("none",),
    "normalize": "none",
    "loss": "mse",
    "origins": 1,
    "blend": False,
    "equal_steps": False,
    "trees": False,
    "lag": 64,
    "epochs": 10,
    "batch_size": 64,
    "learning_rate": 1e-2,
    "average_decay": 0.0,
}
"""The systems of the lectures as they were."""


@dataclass(frozen=True)
class Config(TrainConfig):
    """Flags of the forecast."""

    mode: str = flag(
        "train",
        "train; or forecast what follows the rows of --csv with the model in --workdir; or forecast from several "
        "origins of the test split, see --cutoffs",
        choices=MODES,
        local=True,
    )
    dataset: str = flag("synthetic", "what to forecast", choices=tuple(DATASETS))
    protocol: str = flag("clean", "how to order and split the rows", choices=PROTOCOLS)
    csv: str = flag("", "CSV or Parquet file of --dataset=csv")
    time: str = flag("", "column of --csv with the time of each row; without it rows are one step apart")
    max_file_bytes: int = flag(MAX_FILE_BYTES, "bytes of --csv at most, unpacked", minimum=1, local=True)
    max_cells: int = flag(
        MAX_CELLS, "cells of --csv at most, of the columns that are read; some 60 bytes of memory each",
        minimum=1, local=True,
    )  # fmt: skip
    series_id: str = flag("", "column of --csv that says which series a row belongs to; one model forecasts all")
    target: tuple[str, ...] = flag((), "columns to forecast; without it what the data set is known for")
    inputs: tuple[str, ...] = flag((), "columns to read besides the targets, or all; without it as the data set has it")
    known_future: tuple[str, ...] = flag((), "columns to read that are known of the rows to forecast, too")
    angles: tuple[str, ...] = flag((), "columns of degrees, which are read as sine and cosine")
    calendar: tuple[str, ...] = flag(
        ("auto",), f"cycles to read ({','.join(CYCLES)}), none, or auto: those that the times show"
    )
    scaling: tuple[str, ...] = flag(
        ("standard",), f"how numbers are scaled ({' | '.join(SCALINGS)}), once for all columns or for each of them"
    )
    lag: int | None = flag(
        None, "steps that the model reads; without it 64, or fewer of a short series", minimum=1, maximum=10_000
    )
    ahead: int = flag(1, "steps that it forecasts", minimum=1, maximum=10_000)
    report_steps: tuple[int, ...] = flag((), "steps ahead to report by themselves; without it some", minimum=1)
    season: int | None = flag(
        None, "steps of the main cycle; without it what the times say: a day of hours, a year of months, ...",
        minimum=1, maximum=10_000,
    )  # fmt: skip
    decoder: str = flag("direct", "how the steps ahead follow from what was read", choices=DECODERS)
    teacher_forcing: bool = flag(False, "in training recursive and sequence read true values, not their own forecasts")
    segment: int = flag(1, "rows that the recurrent layers read as one step", minimum=1, maximum=10_000)
    separate: bool = flag(False, "read and forecast every target by itself, with the same weights")
    normalize: str = flag(
        "auto",
        "the targets of a window: none; the network adds to the last value; less the last value; less the mean and "
        "divided by the deviation; auto: change, but mean where the series has left the range of its training rows",
        choices=NORMALIZATIONS,
    )
    output: str = flag("point", "what is said of a value", choices=OUTPUTS)
    loss: str = flag(
        "auto", "the loss of --output=point; auto: huber, but mse of a short series, whose rare values say much",
        choices=LOSSES,
    )  # fmt: skip
    origins: int | None = flag(
        None, "rows at the end of a window to forecast from in training; without it up to 8 where it can",
        minimum=1, maximum=10_000,
    )  # fmt: skip
    equal_steps: bool = flag(True, "in the loss errors count relative to the typical change up to their step")
    blend: bool = flag(True, "forecast with the share of the best line that validation asks for")
    head_dropout: float = flag(0.0, "dropout rate before the last layer", minimum=0.0, below=1.0)
    average_decay: float = flag(0.99, "decay of the average of the weights that is evaluated", minimum=0.0, below=1.0)
    layer_norm: bool = flag(False, "normalize what one layer hands to the next")
    residual_layers: bool = flag(False, "add what a layer reads to its outputs, above the first")
    level: float = flag(0.9, "share of the values that the intervals are to hold", above=0.0, below=1.0)
    interval_window: int = flag(
        1000, "errors, the last that an origin knows, which intervals follow; 0: all of validation, and no others",
        minimum=0, maximum=MANY,
    )  # fmt: skip
    trees: bool | None = flag(
        None, "also gradient-boosted trees, for the steps of --report_steps; without it where there is one target"
    )
    units: str = flag("auto", "report errors in units, or as scaled", choices=("auto", "units", "scaled"))
    cutoffs: int = flag(12, "origins of --mode=backtest", minimum=2, maximum=1000)
    refit: bool = flag(False, "train anew at every origin of --mode=backtest, on what came before it")
    num_hours: int = flag(26_304, "hours of the synthetic series", minimum=1, maximum=10_000_000)
    epochs: int | None = flag(  # type: ignore[assignment]  # `defaults.settle` gives it a value
        None, "epochs at most; without it what makes some 4,000 steps, 4 to 100", minimum=1, maximum=MANY
    )
    batch_size: int | None = flag(  # type: ignore[assignment]
        None, "windows per step; without it 64, or less of a short series", minimum=1, maximum=MANY
    )
    learning_rate: float = redefined("learning_rate", 5e-3, TrainConfig)

    DEFAULTS: ClassVar[tuple[When, ...]] = (When("protocol", "lecture", LECTURE),)

    @property
    def layer_input(self) -> tuple[int, int]:
        """See `TrainConfig.layer_input`."""
        return max((self.lag or 64) // self.segment, 1), max(len(self.target), 1) * self.segment

    def check(self, given: frozenset[str]) -> None:
        """See `RunConfig.check`."""
        if self.mode == "predict":
            self._check_prediction(given)
            return
        if self.dataset != "csv" and any(getattr(self, name) for name in OF_A_FILE):
            names = ", ".join(f"--{name}" for name in OF_A_FILE)
            raise UsageError(f"{names} go with --dataset=csv, not with --dataset={self.dataset}")
        for name in ("target", "inputs"):
            if getattr(self, name) and name not in DATASETS[self.dataset].options:
                raise UsageError(f"--{name}={','.join(getattr(self, name))}: --dataset={self.dataset} has one column")
        if self.dataset == "csv" and not (self.csv and self.target):
            raise UsageError("--dataset=csv needs --csv=FILE and --target=COLUMN")
        self._check_shape(given)
        # What the series decides is not known yet; `fit` looks again at the batch size that it gave.
        TrainConfig.check(replace(self, batch_size=self.batch_size or 64), given)

    @property
    def makes_folder(self) -> bool:
        """See `RunConfig.makes_folder`."""
        return self.mode != "predict"

    def _check_prediction(self, given: frozenset[str]) -> None:
        if extra := sorted(given - OF_PREDICTION):
            raise UsageError(f"--{extra[0]} goes with --mode=train: --mode=predict has the flags of the run")
        if not (self.workdir and self.csv):
            raise UsageError("--mode=predict needs --workdir=FOLDER of a finished run and --csv=FILE to go on from")

    def _check_shape(self, given: frozenset[str]) -> None:
        if self.lag is not None and self.lag % self.segment:
            raise UsageError(f"--segment={self.segment}: does not divide --lag={self.lag}")
        if self.decoder == "parallel" and self.ahead % self.segment:
            raise UsageError(
                f"--segment={self.segment}: --decoder=parallel needs one that divides --ahead={self.ahead}"
            )
        if self.decoder == "recursive" and self.segment > 1:
            raise UsageError(f"--segment={self.segment}: --decoder=recursive reads row after row; take 1")
        if self.decoder != "direct" and self.bidirectional:
            raise UsageError(f"--bidirectional: --decoder={self.decoder} goes on in one direction; take direct")
        if self.teacher_forcing and self.decoder not in ("recursive", "sequence"):
            raise UsageError(f"--teacher_forcing: --decoder={self.decoder} reads no forecasts; take sequence")
        if (self.origins or 1) > 1 and not self.takes_origins:
            raise UsageError(
                f"--origins={self.origins}: takes --decoder=direct, --segment=1, one direction and --normalize=none or "
                "change: an earlier origin would know what follows it"
            )
        if "loss" in given and self.output != "point":
            raise UsageError(f"--loss={self.loss}: --output={self.output} has a loss of its own; take --output=point")
        for step in self.report_steps:
            if step > self.ahead:
                raise UsageError(f"--report_steps={step}: --ahead={self.ahead} steps are forecast")
        words = set(self.calendar) - {"none", "auto"}
        if (words and len(words) < len(self.calendar)) or words - set(CYCLES):
            raise UsageError(f"--calendar={','.join(self.calendar)}: take some of {','.join(CYCLES)}, or none, or auto")
        if self.refit and self.mode != "backtest":
            raise UsageError("--refit goes with --mode=backtest")

    @property
    def takes_origins(self) -> bool:
        """Whether the network has a state at each row of a window that knows nothing of later ones."""
        alone = self.segment == 1 and not self.bidirectional and self.normalize in ("auto", "none", "change")
        return self.decoder == "direct" and alone
