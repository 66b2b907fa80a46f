"""The points of a search, each a function of the seed, its number and what is known when it is asked for.

So that a search that is killed goes on as if nothing had happened: `sweep.json` has the points and their results, and
nothing else moves.

- `random` draws every flag by itself. Bergstra and Bengio, "Random search for hyper-parameter optimization", 2012.
- `optuna` models good and bad points by Parzen estimators and proposes where they differ most (the first ten points
  are drawn at random). Bergstra, Bardenet, Bengio and Kegl, "Algorithms for hyper-parameter optimization", 2011; Akiba,
  Sano, Yanase, Ohta and Koyama, "Optuna: a next-generation hyperparameter optimization framework", 2019.
"""

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from experiments.sweep.space import Range, Space, Values


class Known(NamedTuple):
    """A point that was asked for before: its objective, smaller is better; None: it runs, or has none."""

    values: Values
    objective: float | None


def draw(space: Space, seed: int, number: int) -> Values:
    """A point at random.

    >>> space = {"cell": ("rnn", "gru"), "learning_rate": Range(1e-4, 1e-1, True, False)}
    >>> draw(space, seed=0, number=3) == draw(space, seed=0, number=3) != draw(space, seed=0, number=4)
    True
    """
    generator = np.random.default_rng([seed, number])

    def value(among: tuple[str, ...] | Range) -> str:
        share = generator.random()
        if not isinstance(among, Range):
            return among[int(share * len(among))]
        low, high = among.low, among.high + among.whole  # a whole number stands for what lies up to the next
        number = low * (high / low) ** share if among.log else low + (high - low) * share
        return among.text(math.floor(number) if among.whole else number)

    return {name: value(among) for name, among in space.items()}


def propose(space: Space, seed: int, number: int, known: Sequence[Known]) -> Values:
    """The point that Optuna's tree of Parzen estimators takes for the most promising.

    Args:
        space: what is swept.
        seed: of the search.
        number: of this point.
        known: the points before it.
    """
    import optuna  # for this search alone

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    distributions = {name: _distribution(among) for name, among in space.items()}
    sampler = optuna.samplers.TPESampler(
        seed=int(np.random.SeedSequence([seed, number]).generate_state(1)[0]), constant_liar=True
    )
    study = optuna.create_study(sampler=sampler)
    for point in known:
        study.add_trial(
            optuna.trial.create_trial(
                state=optuna.trial.TrialState.RUNNING if point.objective is None else optuna.trial.TrialState.COMPLETE,
                params={name: _parameter(space[name], value) for name, value in point.values.items()},
                distributions=distributions,
                value=point.objective,
            )
        )
    drawn = study.ask(distributions).params
    return {name: _written(among, drawn[name]) for name, among in space.items()}


def _distribution(among: tuple[str, ...] | Range) -> Any:
    from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

    if not isinstance(among, Range):
        return CategoricalDistribution(among)
    if among.whole:
        return IntDistribution(int(among.low), int(among.high), log=among.log)
    return FloatDistribution(among.low, among.high, log=among.log)


def _parameter(among: tuple[str, ...] | Range, value: str) -> str | float:
    if not isinstance(among, Range):
        return value
    return int(value) if among.whole else float(value)


def _written(among: tuple[str, ...] | Range, drawn: Any) -> str:
    return among.text(drawn) if isinstance(among, Range) else drawn
