"""A module and its parameters: apart from each other as a pure function, put together again, counted, listed."""

from collections.abc import Callable
from typing import Any

import jax
from flax import nnx

from rnn_jax.types import Params


def abstract(make_model: Callable[[nnx.Rngs], nnx.Module]) -> Any:
    """The module that `make_model` would make, shapes in place of arrays: nothing is drawn, nothing compiled.

    Good for its summary and as the form of a pure function, which gets its parameters from elsewhere.

    >>> model = abstract(lambda rngs: nnx.Linear(3, 4, rngs=rngs))
    >>> num_params(model), type(pure(model)[1]["kernel"]).__name__
    (16, 'ShapeDtypeStruct')
    """
    return nnx.eval_shape(lambda: make_model(nnx.Rngs(0)))


def bind(model: nnx.Module) -> Callable[[Params], Any]:
    """A function of parameters, nested dicts of arrays, to the module that has them; `model` gives its form alone."""
    graph, state = nnx.split(model, nnx.Param)

    def with_params(params: Params) -> Any:
        filled = jax.tree.map(lambda leaf: leaf, state)
        nnx.replace_by_pure_dict(filled, params)
        return nnx.merge(graph, filled)

    return with_params


def pure(model: nnx.Module, method: str = "__call__") -> tuple[Callable[..., Any], Params]:
    """A module as a pure function: `apply(params, *args, **kwargs)`, what `model(*args, **kwargs)` gives with `params`,
    and the parameters that the model has, nested dicts of arrays. `method`: another one than the call.

    >>> import jax.numpy as jnp
    >>> apply, params = pure(nnx.Linear(3, 4, rngs=nnx.Rngs(0)))
    >>> apply(params, jnp.ones((2, 3))).shape, sorted(params)
    ((2, 4), ['bias', 'kernel'])
    """
    with_params = bind(model)

    def apply(params: Params, *args: Any, **kwargs: Any) -> Any:
        return getattr(with_params(params), method)(*args, **kwargs)

    return apply, nnx.to_pure_dict(nnx.state(model, nnx.Param))


def num_params(model: nnx.Module) -> int:
    """How many numbers a module, or one of `abstract`, learns."""
    return sum(leaf.size for leaf in jax.tree.leaves(nnx.state(model, nnx.Param)))


def summary(model: nnx.Module) -> list[tuple[str, str, int]]:
    """A row `(name, shape, number of parameters)` for each array and one for each part and the whole, parts in order.

    >>> from rnn_jax.models import SequenceModel
    >>> for row in summary(SequenceModel("rnn", 1, 4, 1, rngs=nnx.Rngs(0))):
    ...     print(*row, sep=" | ")
    recurrent.layers.0.b | 4 | 4
    recurrent.layers.0.w_hh | 4 x 4 | 16
    recurrent.layers.0.w_ih | 1 x 4 | 4
    recurrent |  | 24
    head.bias | 1 | 1
    head.kernel | 4 x 1 | 4
    head |  | 5
    total |  | 29
    """
    params = nnx.to_pure_dict(nnx.state(model, nnx.Param))
    rows: list[tuple[str, str, int]] = []
    for part in (name for name in vars(model) if name in params):
        leaves = jax.tree_util.tree_leaves_with_path(params[part])
        for path, leaf in leaves:
            name = ".".join([part, *(str(entry.key) for entry in path)])
            rows.append((name, " x ".join(map(str, leaf.shape)), leaf.size))
        rows.append((part, "", sum(leaf.size for _, leaf in leaves)))
    rows.append(("total", "", num_params(model)))
    return rows
