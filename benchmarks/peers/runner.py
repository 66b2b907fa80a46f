"""What a peer hands over: two calls that return when their work is done, and their values in our layout.

    runner.compile(options)     what compiling took: `{"forward": seconds, ...}`, and `planned_bytes` if known
    runner.forward()            ys
    runner.forward_backward()   the derivatives of the loss with respect to the parameters AND the inputs
    runner.device_bytes()       what a gradient holds of the device's memory at most; 0 where nobody says so
    runner.values()             name to NumPy array: `ys [T, B, H]`, `dxs [T, B, I]` and the derivatives of the
                                parameters under our names, those that the peer has
    runner.device               the platform that computes: `cpu`, `gpu`
    runner.instruction_set      of the processor, as far as the peer says which it uses; else None

JAX peers share `JaxRunner`; PyTorch has its own.
"""

import contextlib
import time
from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from benchmarks.child import Refused
from benchmarks.problem import Problem

NO_OPTIONS: Mapping[str, Any] = {}


class NotHere(Refused):
    """The peer cannot take part on this machine or in this type; the message says why."""

    def __init__(self, message: str):
        super().__init__("not_here", message)


def products(problem: Problem) -> contextlib.AbstractContextManager[None]:
    """How JAX rounds the factors of float32 products that are traced inside: not at all, or to TF32."""
    if problem.dtype != "float32":
        return contextlib.nullcontext()
    return jax.default_matmul_precision("tensorfloat32" if problem.tf32 else "highest")


class JaxRunner:
    """A peer that is a pure function of JAX.

    Args:
        problem: what to compute.
        apply: `(params, xs, lengths [B] int32 or None) -> ys`, in the peer's own layout.
        params: a pytree that the gradient is taken with respect to.
        to_ours: the gradient, like `params`, to our names and layout.
        batch_major: the peer takes `[B, T, I]` and returns `[B, T, H]`: it gets its inputs that way in advance.
    """

    instruction_set: str | None = None

    def __init__(
        self,
        problem: Problem,
        apply: Callable[[Any, Any, Any], Any],
        params: Any,
        to_ours: Callable[[Any], dict[str, Any]],
        batch_major: bool = False,
    ):
        self.problem, self.to_ours, self.batch_major = problem, to_ours, batch_major
        self.device, self.planned_bytes = jax.devices()[0].platform, 0
        xs, weights = (self._turn(array) for array in (problem.xs, problem.weights))
        lengths = None if problem.lengths is None else jnp.asarray(problem.lengths)
        self.arguments = jax.block_until_ready(
            (params, jnp.asarray(xs, problem.dtype), lengths, jnp.asarray(weights, problem.dtype))
        )

        def loss(params, xs, lengths, weights):
            return jnp.sum(apply(params, xs, lengths) * weights, dtype=jnp.promote_types(weights.dtype, jnp.float32))

        self._forward: Any = jax.jit(lambda params, xs, lengths, weights: apply(params, xs, lengths))
        self._gradient: Any = jax.jit(jax.grad(loss, argnums=(0, 1)))

    def _turn(self, array: np.ndarray) -> np.ndarray:
        return np.ascontiguousarray(array.swapaxes(0, 1)) if self.batch_major else array

    def compile(self, options: Mapping[str, Any] = NO_OPTIONS) -> dict[str, Any]:
        """Seconds of tracing and compiling, and the bytes that the compiler plans for a gradient.

        Args:
            options: of the compiler; one that it does not know is an error.
        """
        found: dict[str, Any] = {}
        for name, attribute in (("forward", "_forward"), ("forward_backward", "_gradient")):
            started = time.perf_counter()
            with products(self.problem):
                compiled = getattr(self, attribute).lower(*self.arguments).compile(compiler_options=dict(options))
            found[name] = time.perf_counter() - started
            setattr(self, attribute, compiled)
        plan = compiled.memory_analysis()
        if plan is not None:
            parts = (plan.temp_size_in_bytes, plan.argument_size_in_bytes, plan.output_size_in_bytes)
            found["planned_bytes"] = self.planned_bytes = sum(parts)
        return found

    def device_bytes(self) -> int:
        """As the compiler plans."""
        return self.planned_bytes

    def forward(self) -> Any:
        """ys, when they are there."""
        return jax.block_until_ready(self._forward(*self.arguments))

    def forward_backward(self) -> Any:
        """The gradient with respect to (params, xs), when it is there."""
        return jax.block_until_ready(self._gradient(*self.arguments))

    def values(self) -> dict[str, np.ndarray]:
        """One call of each, in our layout."""
        ys = np.asarray(self.forward())
        dparams, dxs = self.forward_backward()
        values = {"ys": self._turn(ys), "dxs": self._turn(np.asarray(dxs))}
        return values | {name: np.asarray(array) for name, array in self.to_ours(dparams).items()}


def columns(array: Any, order: tuple[int, ...]) -> Any:
    """`[..., G*H]` with its G blocks of columns in another order: the k-th of the result is `order[k]` of `array`.

    >>> columns(np.arange(6), (2, 0, 1)).tolist()
    [4, 5, 0, 1, 2, 3]
    """
    blocks = np.split(np.asarray(array), len(order), axis=-1)
    return np.concatenate([blocks[k] for k in order], axis=-1)
