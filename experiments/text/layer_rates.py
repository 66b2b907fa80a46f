"""Learning rates that fall from layer to layer: what lies low knows the language and needs to change least.

    rate(head) = eta    rate(layer k of L) = eta d^(L - k)    rate(embedding) = eta d^(L + 1)        k from 0

Source: Howard and Ruder, "Universal language model fine-tuning for text classification", 2018, where d is 1 / 2.6.
"""

from typing import Any

import jax
import optax

from rnn_jax.types import Params


def factors(params: Params, decay: float) -> Params:
    """The factor of the learning rate of each array.

    Args:
        params: of a `TextClassifier`, nested dicts.
        decay: d.

    >>> factors({"embedding": {"table": 0}, "recurrent": {"layers": {0: {"b": 0}, 1: {"b": 0}}}, "head": {"b": 0}}, 0.5)
    {'embedding': {'table': 0.125}, 'head': {'b': 1.0}, 'recurrent': {'layers': {0: {'b': 0.25}, 1: {'b': 0.5}}}}
    """
    num_layers = len(params["recurrent"]["layers"])

    def factor(path: tuple[Any, ...], leaf: object) -> float:
        part = path[0].key
        if part == "recurrent":
            return decay ** (num_layers - path[2].key)
        return decay ** (num_layers + 1) if part == "embedding" else 1.0

    return jax.tree_util.tree_map_with_path(factor, params)


def falling(optimizer: optax.GradientTransformation, decay: float) -> optax.GradientTransformation:
    """An optimizer whose updates are then multiplied by `factors`; with a decay of 1 the optimizer as it is."""
    if decay == 1:
        return optimizer

    def scale(updates: Params, params: Params | None) -> Params:
        return jax.tree.map(lambda update, factor: update * factor, updates, factors(updates, decay))

    return optax.chain(optimizer, optax.stateless(scale))
