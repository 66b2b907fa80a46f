"""The flags of the long-memory tasks."""

from dataclasses import dataclass

import jax

from experiments.common.flags import UsageError, flag, redefined
from experiments.common.training import TrainConfig
from rnn_jax.cells import CELLS
from rnn_jax.data.tasks import memory_tasks

IMAGES = ("sequential_mnist", "permuted_mnist")
DEFAULT_LENGTH = 100
DEFAULT_EXAMPLES = 50_000
LONGEST = 1_000_000


@dataclass(frozen=True)
class Config(TrainConfig):
    """Flags of the long-memory tasks."""

    task: str = flag("adding", "what to learn", choices=(*memory_tasks.TASKS, *IMAGES))
    length: int | None = flag(
        None, "T of a generated task; without it 100 (copying: the blanks between)", minimum=1, maximum=LONGEST
    )
    num_examples: int | None = flag(
        None, "training examples, so many per epoch; without it 50000, or all images", minimum=1, maximum=2**31 - 1
    )
    num_evaluation: int = flag(
        1000, "generated examples of the validation split, and of the test split", minimum=1, maximum=10_000_000
    )
    evaluate_lengths: tuple[int, ...] = flag(
        (), "lengths of the test split, T1,T2,...; without it T, 2T and 4T, or 784", minimum=1, maximum=LONGEST
    )
    flossing: int = flag(0, "Lyapunov exponents to push towards 0; 0: none", minimum=0, maximum=64)
    flossing_steps: int = flag(200, "steps of flossing before training", minimum=0, maximum=1_000_000)
    flossing_every: int | None = flag(
        None, "floss at every so many steps of training; without it only before", minimum=1, maximum=1_000_000
    )
    cell: str = redefined("cell", "gru", TrainConfig)
    hidden_size: int = redefined("hidden_size", 64, TrainConfig)
    learning_rate: float = redefined("learning_rate", 5e-3, TrainConfig)
    epochs: int = redefined("epochs", 3, TrainConfig)

    @property
    def training_length(self) -> int:
        """T of a generated task."""
        return DEFAULT_LENGTH if self.length is None else self.length

    @property
    def layer_input(self) -> tuple[int, int]:
        """See `TrainConfig.layer_input`."""
        if self.task in IMAGES:
            return 784, 1
        return self.training_length, memory_tasks.TASKS[self.task].num_features

    def check(self, given: frozenset[str]) -> None:
        """See `RunConfig.check`."""
        if self.task in IMAGES:
            for name in ("length", "evaluate_lengths"):
                if getattr(self, name):
                    raise UsageError(f"--{name}: --task={self.task} has the length of its images; leave it out")
        else:
            shortest = memory_tasks.TASKS[self.task].shortest
            for name, lengths in (("length", [self.training_length]), ("evaluate_lengths", self.evaluate_lengths)):
                if wrong := [length for length in lengths if length < shortest]:
                    raise UsageError(f"--{name}={wrong[0]}: --task={self.task} needs at least {shortest}")
        self.check_flossing()
        super().check(given)

    def check_flossing(self) -> None:
        """Raises `UsageError` for flags that do not go with flossing."""
        if not self.flossing:
            if self.flossing_every is not None:
                raise UsageError(f"--flossing_every={self.flossing_every}: say with --flossing=K how many exponents")
            return
        if self.num_layers > 1 or self.bidirectional:
            raise UsageError(f"--flossing={self.flossing}: it goes with one layer in one direction")
        carry = jax.eval_shape(lambda: CELLS[self.cell].init_carry((), self.hidden_size))
        size = sum(array.size for array in jax.tree.leaves(carry))
        if self.flossing > size:
            raise UsageError(f"--flossing={self.flossing}: the carry has {size} numbers; take at most as many")
