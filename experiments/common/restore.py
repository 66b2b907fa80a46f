"""A finished run, rebuilt from its folder: for prediction, for a look at its gradients, for reports."""

import importlib
import inspect
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

from experiments import launchable
from experiments.common import results
from experiments.common.flags import UsageError, parse
from experiments.common.training import prepare_jax
from rnn_jax.types import Params


class Restored(NamedTuple):
    """A finished run.

    Attributes:
        name: of its experiment.
        config: its flags, but for the back end: `auto`, which computes the same on this machine.
        results: its `results.json`.
        task: the module of its experiment with `make_model` and `look_at`.
        model: its form, shapes in place of parameters.
        params: the best of the first seed.
    """

    name: str
    config: Any
    results: dict[str, Any]
    task: Any
    model: Any
    params: Params


def restore(folder: Path, flag: str) -> Restored:
    """The run in `folder`, which stays as it is.

    Args:
        folder: of the run.
        flag: that names the folder, for messages.

    Raises: `UsageError` where there is no finished run of an experiment that trains, or one of an older form.
    """
    from rnn_jax import models
    from rnn_jax.training.checkpoints import load_params

    where = f"--{flag}={folder}"
    found = results.read(folder) if (folder / "flags.txt").is_file() else None
    if found is None or not (folder / results.MODEL).is_dir():
        raise UsageError(f"{where}: no finished run with a model there; train one to its end first")
    if "model" not in found:
        raise UsageError(f"{where}: results.json there has no sizes of a model, as of an older version; train it anew")
    experiment = launchable(found.get("experiment", ""))
    if experiment is None:
        raise UsageError(f"{where}: results.json there is of no experiment that there is; train it anew")
    try:
        config: Any = parse(experiment.config, [f"--flagfile={folder / 'flags.txt'}", "--backend=auto"])
    except UsageError as error:
        raise UsageError(f"{where}: flags.txt there is of another version: {error}") from error
    prepare_jax(config)
    task: Any = importlib.import_module(experiment.module)
    try:
        inspect.signature(task.make_model).bind(config, None, **found["model"])
    except TypeError as error:
        raise UsageError(f"{where}: results.json there is of another version: {error}; train it anew") from error
    model = models.abstract(partial(task.make_model, config, **found["model"]))
    params = load_params(folder / results.MODEL, models.pure(model)[1])
    return Restored(found["experiment"], config, found, task, model, params)
