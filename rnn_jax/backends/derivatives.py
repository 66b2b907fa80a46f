"""Reverse mode by hand and every other derivative by the definition: for a back end whose loop JAX cannot see into.

`jax.custom_vjp` gives a function a hand-derived reverse mode and takes forward mode away. Here both stay. The function
is one operation to JAX, and its tangent is another, linear in a direction:

    push(args, dargs) = the derivative of the definition, at args, in the direction dargs
    pull(args, cotangents) = the backward pass by hand, and the transpose of push

Forward mode computes `push`. Reverse mode never does: it transposes it. Derivatives of `push` and `pull` themselves
are those of the definition, twice differentiated by JAX.

The operations are primitives since nothing else has all of it: `jax.custom_jvp` forgets its rule when the first
derivative is taken, and `jax.custom_derivatives.linear_call` has neither second derivatives nor `vmap`.
"""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax.extend.core import Primitive, jaxpr_as_fun, unmapped_aval
from jax.interpreters import ad, batching, mlir

from rnn_jax.types import Array

Arrays = list[Array]


class Passes(NamedTuple):
    """One function by three routes; `args` is a pytree of floats, `fixed` one of which no derivative is asked.

    Attributes:
        definition: `(args, fixed) -> outputs`, in operations that JAX differentiates.
        forward: `(args, fixed, save) -> (outputs, saved)`, the same outputs, and with `save` what `backward` needs.
        backward: `(args, fixed, saved, cotangents) -> dargs`, from those of the outputs.
    """

    definition: Callable[[Any, Any], Any]
    forward: Callable[[Any, Any, bool], tuple[Any, Any]]
    backward: Callable[[Any, Any, Any, Any], Any]


def by_hand(passes: Passes, args: Any, fixed: Any) -> Any:
    """`passes.definition(args, fixed)`, computed and differentiated by the other two; all of JAX's derivatives exist.

    Args:
        passes: the function.
        args: its arguments, floats.
        fixed: further ones, of any type.

    Returns: the outputs.
    """
    return _run(passes, False, args, fixed)


def _run(passes: Passes, save: bool, args: Any, fixed: Any) -> Any:
    """The outputs, and with `save` what the backward pass needs beside them."""
    values, tree = jax.tree.flatten((args, fixed))
    directions, direction_tree = jax.tree.flatten(args)

    def forward(*values: Array) -> Any:
        args, fixed = jax.tree.unflatten(tree, values)
        found = passes.forward(args, fixed, save)
        return found if save else found[0]

    def jvp(values: Arrays, directions: Arrays) -> tuple[Arrays, list[Array | None]]:
        args, fixed = jax.tree.unflatten(tree, values)
        outputs, saved = _run(passes, True, args, fixed)
        dargs = jax.tree.unflatten(direction_tree, directions)
        doutputs = jax.tree.leaves(_push(passes, (args, fixed, saved), outputs, dargs))
        # `saved` is read by the backward pass alone, whose own derivative is the definition's, at args.
        found = jax.tree.leaves((outputs, saved) if save else outputs)
        return found, doutputs + [None] * (len(found) - len(doutputs))

    jaxpr, shapes = jax.make_jaxpr(forward, return_shape=True)(*values)
    of_list: Callable[..., Arrays] = jaxpr_as_fun(jaxpr)
    found = _bind(lambda values: of_list(*values), values, tuple(jaxpr.out_avals), jvp, range(len(directions)), jaxpr)
    return jax.tree.unflatten(jax.tree.structure(shapes), found)


def _push(passes: Passes, known: Any, outputs: Any, dargs: Any) -> Any:
    """The derivative of the outputs in the direction `dargs`; known: args, fixed, saved."""
    known_values, known_tree = jax.tree.flatten(known)
    linear, linear_tree = jax.tree.flatten(dargs)
    num_known = len(known_values)

    def push(values: Arrays) -> Arrays:
        args, fixed, _ = jax.tree.unflatten(known_tree, values[:num_known])
        dargs = jax.tree.unflatten(linear_tree, values[num_known:])
        return jax.tree.leaves(jax.jvp(lambda args: passes.definition(args, fixed), (args,), (dargs,))[1])

    def jvp(values: Arrays, directions: Arrays) -> tuple[Arrays, list[Array | None]]:
        args, fixed, saved = known = jax.tree.unflatten(known_tree, values[:num_known])
        linear = values[num_known:]
        args_directions, linear_directions = directions[: len(linear)], directions[len(linear) :]

        def at(args: Any) -> Any:
            return push([*jax.tree.leaves((args, fixed, saved)), *linear])

        _, of_args = jax.jvp(at, (args,), (jax.tree.unflatten(linear_tree, args_directions),))
        found, of_linear = (
            jax.tree.leaves(_push(passes, known, outputs, jax.tree.unflatten(linear_tree, some)))
            for some in (linear, linear_directions)
        )
        return found, [a + b for a, b in zip(of_args, of_linear, strict=True)]

    def pull(values: Arrays, cotangents: Arrays) -> Arrays:
        known = jax.tree.unflatten(known_tree, values)
        return jax.tree.leaves(_pull(passes, known, jax.tree.unflatten(outputs_tree, cotangents)))

    flat_outputs, outputs_tree = jax.tree.flatten(outputs)
    types = tuple(map(jax.typeof, flat_outputs))
    active = [*range(len(linear)), *range(num_known, num_known + len(linear))]
    found = _bind(push, [*known_values, *linear], types, jvp, active, None, pull, num_known)
    return jax.tree.unflatten(outputs_tree, found)


def _pull(passes: Passes, known: Any, cotangents: Any) -> Any:
    """The derivative with respect to args, from that with respect to the outputs."""
    values, tree = jax.tree.flatten((known, cotangents))
    flat_args, args_tree = jax.tree.flatten(known[0])
    num_cotangents = len(jax.tree.leaves(cotangents))

    def pull(values: Arrays) -> Arrays:
        (args, fixed, saved), cotangents = jax.tree.unflatten(tree, values)
        return jax.tree.leaves(passes.backward(args, fixed, saved, cotangents))

    def jvp(values: Arrays, directions: Arrays) -> tuple[Arrays, list[Array | None]]:
        known, cotangents = jax.tree.unflatten(tree, values)
        args, fixed, _ = known

        def same(args: Any, cotangents: Any) -> Any:
            (dargs,) = jax.vjp(lambda args: passes.definition(args, fixed), args)[1](cotangents)
            return dargs

        moved = jax.tree.unflatten(jax.tree.structure((args, cotangents)), directions)
        _, second = jax.jvp(same, (args, cotangents), moved)
        return jax.tree.leaves(_pull(passes, known, cotangents)), jax.tree.leaves(second)

    active = [*range(len(flat_args)), *range(len(values) - num_cotangents, len(values))]
    found = _bind(pull, values, tuple(map(jax.typeof, flat_args)), jvp, active, jax.make_jaxpr(pull)(values))
    return jax.tree.unflatten(args_tree, found)


def _bind(
    function: Callable[[Arrays], Arrays],
    values: Arrays,
    outputs: tuple[Any, ...],
    jvp: Callable[[Arrays, Arrays], tuple[Arrays, list[Array | None]]],
    active: Sequence[int],
    program: Any,
    pull: Callable[[Arrays, Arrays], Arrays] | None = None,
    num_known: int | None = None,
) -> Arrays:
    """`function(values)`, as one operation.

    Args:
        function: of a list of arrays, to a list.
        values: that list.
        outputs: the types of its results.
        jvp: from values and the directions of the active ones, results and their derivatives, None for zero.
        active: positions in `values` that a derivative may be asked of.
        program: the jaxpr of `function`, in which JAX looks for operations that have to know the devices; None: it has
            none, and is traced only if it is computed.
        pull: from the first `num_known` values and cotangents of the results, those of the other values, in which
            `function` is linear.
        num_known: see there.
    """
    found: Arrays = operation_p.bind(
        *values,
        function=function,
        outputs=outputs,
        jvp=jvp,
        active=tuple(active),
        program=program,
        pull=pull,
        num_known=num_known,
    )
    return found


def _evaluate(*values: Array, function: Callable[[Arrays], Arrays], program: Any, **_: Any) -> Arrays:
    found: Arrays = function(list(values)) if program is None else jaxpr_as_fun(program)(*values)
    return found


def _jvp(primals: Sequence[Any], tangents: Sequence[Any], *, jvp: Any, active: Any, **_: Any) -> tuple[Arrays, Any]:
    found, dfound = jvp(list(primals), [ad.instantiate_zeros(tangents[i]) for i in active])
    zeros = (ad.Zero(jax.typeof(f)) for f in found)
    return found, [zero if d is None else d for d, zero in zip(dfound, zeros, strict=True)]


def _transpose(cotangents: Sequence[Any], *values: Any, pull: Any, num_known: int, **_: Any) -> list[Array | None]:
    found = pull(list(values[:num_known]), [ad.instantiate_zeros(c) for c in cotangents])
    asked = (ad.is_undefined_primal(value) for value in values[num_known:])
    return [*[None] * num_known, *(f if wanted else None for f, wanted in zip(found, asked, strict=True))]


def _batch(
    values: Sequence[Array],
    axes: Sequence[int | None],
    *,
    function: Any,
    outputs: Any,
    jvp: Any,
    active: Any,
    program: Any,
    pull: Any,
    num_known: int | None,
) -> tuple[Arrays, list[int]]:
    (size, *_) = {value.shape[axis] for value, axis in zip(values, axes, strict=True) if axis is not None}
    values, axes = list(values), list(axes)
    for i in range(len(values) if num_known is None else num_known, len(values)):  # what `pull` returns has axis 0 too
        value, axis = values[i], axes[i]
        values[i] = jnp.broadcast_to(value, (size, *value.shape)) if axis is None else jnp.moveaxis(value, axis, 0)
        axes[i] = 0
    mapped = jax.vmap(function, (axes,))
    found = _bind(
        mapped,
        values,
        tuple(unmapped_aval(size, 0, output) for output in outputs),
        jax.vmap(jvp, (axes, [axes[i] for i in active])),
        active,
        program and jax.make_jaxpr(mapped)(values),
        pull and jax.vmap(pull, (axes[:num_known], 0)),
        num_known,
    )
    return found, [0] * len(found)


operation_p = Primitive("recurrence")
operation_p.multiple_results = True
operation_p.def_impl(_evaluate)
operation_p.def_abstract_eval(lambda *_, outputs, **__: outputs)
ad.primitive_jvps[operation_p] = _jvp
ad.primitive_transposes[operation_p] = _transpose
batching.primitive_batchers[operation_p] = _batch
mlir.register_lowering(operation_p, mlir.lower_fun(_evaluate, multiple_results=True))
