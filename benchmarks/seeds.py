"""S replicas of the temperature LSTM in one program: at once (vmap) or one after another (lax.map).

    python -m benchmarks.seeds

B 64, T 64, H 32, Adam, on one device. The figure is seconds per step of all replicas together.
`rnn_jax.training.functions.map_over_seeds` chooses by it: one after another on a CPU, at once elsewhere.
"""

import dataclasses
from functools import partial

from benchmarks.child import Answers, epochs, serve
from benchmarks.ours import Training
from benchmarks.training import compare_and_time, parser, ratio, save
from experiments.common.flags import parse
from experiments.common.training import prepare_jax
from experiments.forecast import task
from experiments.forecast.defaults import settle
from experiments.forecast.flags import Config
from rnn_jax import models
from rnn_jax.data.series import synthetic

CONFIG = dataclasses.replace(parse(Config, ["--protocol=lecture", "--schedule=constant"]), num_devices=1)
CONTENDERS = {
    f"{how}_{num_seeds}": (num_seeds, how == "at_once")
    for num_seeds in (1, 4, 8)
    for how in ("at_once", "one_after_another")
}
"""S, and whether all at once."""
COMPARED_STEPS = 10


def set_up(num_seeds: int, parallel: bool, steps: int) -> tuple[list[float], Answers]:
    """See `benchmarks.child.serve`. The losses are those of the first seed, which trains as if it were alone."""
    prepare_jax(CONFIG)
    series = synthetic.hourly_temperature(10_000, seed=0)
    config = settle(CONFIG, series)
    forecast = task.cut(config, series)
    sizes = task.model_sizes(config, forecast, line=None)
    model = models.abstract(partial(task.make_model, config, **sizes))
    training_task = task.make_training_task(config, forecast, sizes, model)
    made = Training(config, training_task, task.device_data(config, forecast), num_seeds, parallel)
    return epochs(made.train, steps, COMPARED_STEPS)


def main() -> None:
    """Compares, times 1, 4 and 8 replicas both ways and saves the raw numbers."""
    flags = parser(__doc__, repeats=7)
    flags.add_argument("--steps", type=int, default=50, help="steps of a turn, 50 without it")
    arguments = flags.parse_args()
    if arguments.contender:
        return serve(lambda: set_up(*CONTENDERS[arguments.contender], arguments.steps))

    commands = {
        name: ["-m", "benchmarks.seeds", f"--contender={name}", f"--steps={arguments.steps}"] for name in CONTENDERS
    }
    seconds, _ = compare_and_time(commands, arguments.repeats)
    slowdown = {name: ratio(seconds, "one_after_another_1", name) for name in seconds}
    for name, factor in slowdown.items():
        print(f"{name:<22} {factor:5.2f} times one replica")
    save(arguments.raw_dir, "seeds", {"steps": arguments.steps, "times_one_replica": slowdown}, seconds)


if __name__ == "__main__":
    main()
