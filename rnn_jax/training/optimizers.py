"""An optax optimizer and its learning rate, from a few numbers.

Optax is imported where it is used: who reads the names alone, as a command's help does, need not wait for it.
"""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import optax

OPTIMIZERS = ("adam", "adamw", "sgd", "rmsprop")
"""What `make_optimizer` makes."""

SCHEDULES = ("constant", "cosine", "linear")
"""What `learning_rate_schedule` makes."""


def learning_rate_schedule(
    schedule: str, learning_rate: float, total_steps: int, warmup_steps: int = 0
) -> "optax.Schedule":
    """The learning rate at each step: a linear rise over `warmup_steps`, then constant, or falling to 0 at the end.

    Args:
        schedule: `constant`, `cosine` or `linear`.
        learning_rate: the highest.
        total_steps: where cosine and linear reach 0.
        warmup_steps: steps of the rise from 0.

    Returns: `step -> rate`.

    Raises: `ValueError` for another schedule.

    >>> float(learning_rate_schedule("linear", 0.5, 10)(5))
    0.25
    """
    import optax

    rest = max(total_steps - warmup_steps, 1)
    after = {
        "constant": optax.constant_schedule(learning_rate),
        "cosine": optax.cosine_decay_schedule(learning_rate, rest),
        "linear": optax.linear_schedule(learning_rate, 0.0, rest),
    }
    if schedule not in after:
        raise ValueError(f"unknown schedule {schedule!r}: take one of {', '.join(after)}")
    if warmup_steps == 0:
        return after[schedule]
    rise = optax.linear_schedule(0.0, learning_rate, warmup_steps)
    return optax.join_schedules([rise, after[schedule]], [warmup_steps])


def make_optimizer(
    name: str, learning_rate: "optax.ScalarOrSchedule", *, clip_norm: float | None = None, weight_decay: float = 0.0
) -> "optax.GradientTransformation":
    """The named optimizer behind a clip of the gradient's global norm.

    Args:
        name: `adam`, `adamw` (decoupled weight decay), `sgd` or `rmsprop`.
        learning_rate: a number or a schedule.
        clip_norm: scales the gradient down to this norm where it is larger; None: no clipping.
        weight_decay: for `adamw` only.

    Raises: `ValueError` for another name, or weight decay where nothing would apply it.

    Source of the clip: Pascanu, Mikolov and Bengio, "On the difficulty of training recurrent neural networks", 2013.
    """
    import optax

    if weight_decay and name != "adamw":
        raise ValueError(f"weight_decay={weight_decay} needs optimizer=adamw, not {name}")
    if name == "adamw":
        optimizer = optax.adamw(learning_rate, weight_decay=weight_decay)
    elif name in OPTIMIZERS:
        optimizer = getattr(optax, name)(learning_rate)
    else:
        raise ValueError(f"unknown optimizer {name!r}: take one of {', '.join(OPTIMIZERS)}")
    return optimizer if clip_norm is None else optax.chain(optax.clip_by_global_norm(clip_norm), optimizer)
