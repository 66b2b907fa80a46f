"""Our side of the benchmarks of training: the training of the experiments, so many steps whenever it is asked."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from experiments.common.fit import make_config_optimizer
from experiments.common.training import TrainConfig, devices
from rnn_jax.cells import LSTMParams
from rnn_jax.compose import Directions
from rnn_jax.convert.torch import to_torch
from rnn_jax.training.functions import make_functions
from rnn_jax.training.step import Task


class Training:
    """S replicas of a model, which go on from where they are.

    Args:
        config: its flags.
        task: what is trained.
        data: of the task, put on the devices once.
        num_seeds: S, with the seeds 0 ... S - 1.
        parallel, average_decay: of `rnn_jax.training.functions.make_functions`.

    Raises: `experiments.common.flags.UsageError` where there are fewer devices than the flags ask for.
    """

    def __init__(
        self,
        config: TrainConfig,
        task: Task,
        data: Any,
        num_seeds: int = 1,
        parallel: bool | None = None,
        average_decay: float | None = None,
    ):
        self.config = config
        self.functions = make_functions(
            task,
            make_config_optimizer(config, config.learning_rate),
            batch_size=config.batch_size,
            parallel=parallel,
            devices=devices(config),
            average_decay=average_decay,
        )
        self.data = self.functions.put(data)
        seeds = jax.device_put(jnp.arange(num_seeds, dtype=jnp.uint32), self.functions.devices.everywhere())
        self.states, self.order = self.functions.init(seeds), self.functions.order(seeds, 0)

    def train(self, first: int, count: int) -> jax.Array:
        """So many steps of the first epoch, from its step `first` on: their mean loss for seed 0, `[]`, when done."""
        self.states, summary = self.functions.steps(self.states, self.order, self.data, 0, first, count)
        return jax.block_until_ready(summary.loss)[0]

    def for_torch(self) -> dict[str, Any]:
        """What `benchmarks.pytorch_training` goes on with: weights by PyTorch's names, the optimizer, the order.

        Of a model of LSTM layers with a linear layer `head`, or a `decoder` with one, for seed 0: the state of
        `nn.LSTM`, `head_weight` `[O, H]`, `head_bias` `[O]`, `learning_rate`, `clip_norm`, and `order` `[M, B]`, the
        examples of each step.
        """
        params = jax.tree.map(lambda leaf: np.array(leaf[0]), self.states.params)
        head = params.get("decoder", params)["head"]
        order, batch_size = np.array(self.order[0]), self.config.batch_size
        steps = len(order) // batch_size
        return {
            **to_torch([layer_of(params["recurrent"]["layers"][at]) for at in range(self.config.num_layers)]),
            "head_weight": head["kernel"].T,
            "head_bias": head["bias"],
            "learning_rate": np.float64(self.config.learning_rate),
            "clip_norm": np.float64(self.config.clip_norm or np.inf),
            "order": order[: steps * batch_size].reshape(steps, batch_size),
        }


def layer_of(weights: dict[str, Any]) -> Any:
    """`LSTMParams`, or `Directions` of two, from the parameters of a module's layer."""
    if "forward" in weights:
        return Directions(layer_of(weights["forward"]), layer_of(weights["backward"]))
    return LSTMParams(**{name: jnp.asarray(weight) for name, weight in weights.items()})
