"""What is left out at random in training: features, units' steps, recurrent weights.

Each function takes the key that draws its mask; without random numbers there is no dropout and these are not called.
"""

import jax
import jax.numpy as jnp

from rnn_jax.types import Array, DType, Key, P


def dropout(key: Key, values: Array, rate: float, variational: bool = False) -> Array:
    """Sets a share `rate` of `values` `[T, *batch, H]` to zero and scales the others by 1 / (1 - rate).

    Args:
        key: draws the mask.
        values: of every step.
        rate: from 0 up to but not including 1.
        variational: one mask `[*batch, H]` serves all steps, so that a feature is absent from a whole sequence.

    Returns: an array like `values`.

    Raises: `ValueError` for a rate outside [0, 1).

    Sources: Srivastava et al., "Dropout: a simple way to prevent neural networks from overfitting", 2014; Gal and
    Ghahramani, "A theoretically grounded application of dropout in recurrent neural networks", 2016.
    """
    check_rate("dropout", rate)
    if rate == 0:
        return values
    shape = values.shape[1:] if variational else values.shape
    keep = jax.random.bernoulli(key, 1 - rate, shape)
    return jnp.where(keep, values / (1 - rate), jnp.zeros_like(values))


def zoneout_shares(key: Key | None, rate: float, shape: tuple[int, ...], dtype: DType) -> Array:
    """What `unroll` takes as `zoneout`: 1 for a share `rate` of the entries and else 0; without a key the rate.

    Args:
        key: draws the entries; None: evaluation.
        rate: from 0 to 1.
        shape: `[T, *batch, H]`.
        dtype: of the result.

    Source: Krueger et al., "Zoneout: regularizing RNNs by randomly preserving hidden activations", 2017.
    """
    if key is None:
        return jnp.full(shape, rate, dtype)
    return jax.random.bernoulli(key, rate, shape).astype(dtype)


def check_rate(name: str, rate: float) -> None:
    """Raises `ValueError` for a rate outside [0, 1), with the `name` of its parameter."""
    if not 0 <= rate < 1:
        raise ValueError(f"{name} must be in [0, 1), got {rate}")


def drop_weights(key: Key, params: P, rate: float) -> P:
    """Sets a share `rate` of the recurrent weights `w_hh` to zero and scales the others by 1 / (1 - rate).

    One mask serves all steps and sequences, and is drawn before the cell runs: so it works on every back end.

    Args:
        key: draws the mask.
        params: parameters of a cell that has `w_hh` `[H, G H]`.
        rate: from 0 up to but not including 1.

    Returns: parameters of the same structure.

    Raises: `ValueError` for a rate outside [0, 1), or parameters without `w_hh`.

    Source: Merity, Keskar and Socher, "Regularizing and optimizing LSTM language models", 2018 (DropConnect of Wan et
    al., 2013, on the hidden-to-hidden weights).

    >>> from rnn_jax import cells
    >>> params = cells.RNNParams(jnp.ones((1, 4)), jnp.ones((4, 4)), jnp.zeros(4))
    >>> dropped = drop_weights(jax.random.key(0), params, 0.5)
    >>> sorted(set(dropped.w_hh.ravel().tolist())), bool((dropped.w_ih == 1).all())
    ([0.0, 2.0], True)
    """
    check_rate("weight_drop", rate)
    if not hasattr(params, "w_hh"):
        raise ValueError(f"weight_drop needs recurrent weights w_hh, and {type(params).__name__} has none")
    return params._replace(w_hh=dropout(key, params.w_hh, rate))  # type: ignore[attr-defined]
