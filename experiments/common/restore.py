"""A finished run, rebuilt from its folder: for prediction, for a look at its gradients, for reports.

The folder may come from elsewhere: what is read are JSON, arrays and flags, nothing that is executed.
"""

import importlib
import inspect
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

from experiments import launchable
from experiments.common import digests, results
from experiments.common.flags import UsageError, parse, read_flagfile
from experiments.common.training import prepare_jax
from rnn_jax.types import Params

Value = TypeVar("Value")


class Restored(NamedTuple):
    """A finished run.

    Attributes:
        name: of its experiment.
        config: its flags, but for the back end: `auto`, which computes the same on this machine.
        results: its `results.json`.
        task: the module of its experiment with `make_model` and `look_at`.
        model: its form, shapes in place of parameters.
        params: the best of the first seed.
        where: the flag that names the folder, for messages.
    """

    name: str
    config: Any
    results: dict[str, Any]
    task: Any
    model: Any
    params: Params
    where: str

    def result(self, key: str, kind: type[Value]) -> Value:
        """An entry of the results. Raises `UsageError` where it is missing or of another type."""
        found = self.results.get(key)
        if not isinstance(found, kind):
            raise UsageError(f"{self.where}: results.json there has no {key}, as of another version; train it anew")
        return found


def restore(folder: Path, flag: str) -> Restored:
    """The run in `folder`, which stays as it is.

    Args:
        folder: of the run.
        flag: that names the folder, for messages.

    Raises: `UsageError` where there is no finished run of an experiment that trains, one of an older form, or one that
        is not as the run left it; `TrainingError` for parameters that cannot be read.
    """
    from rnn_jax import models
    from rnn_jax.training.checkpoints import load_params

    where = f"--{flag}={folder}"
    found = results.read(folder, where=where) if (folder / "flags.txt").is_file() else None
    if found is None or not (folder / results.MODEL).is_dir():
        raise UsageError(f"{where}: no finished run with a model there; train one to its end first")
    digests.check(folder, "flags.txt", results.MODEL, where=where)
    if "model" not in found:
        raise UsageError(f"{where}: results.json there has no sizes of a model, as of an older version; train it anew")
    experiment = launchable(str(found.get("experiment", "")))
    if experiment is None:
        raise UsageError(f"{where}: results.json there is of no experiment that there is; train it anew")
    try:
        config: Any = parse(experiment.config, [*read_flagfile(folder / "flags.txt"), "--backend=auto"])
    except UsageError as error:
        raise UsageError(f"{where}: flags.txt there is of another version: {error}") from error
    prepare_jax(config)
    task: Any = importlib.import_module(experiment.module)
    try:
        inspect.signature(task.make_model).bind(config, None, **found["model"])
        model = models.abstract(partial(task.make_model, config, **found["model"]))
    except Exception as error:  # sizes of no model may surface as almost any error
        reason = " ".join(str(error).split())[:200]
        raise UsageError(f"{where}: results.json there is of another version: {reason}; train it anew") from error
    params = load_params(folder / results.MODEL, models.pure(model)[1])
    return Restored(found["experiment"], config, found, task, model, params, where)
