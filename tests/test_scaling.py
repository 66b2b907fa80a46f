"""Cost in T: work linear, program size constant, memory with checkpoints of order sqrt(T)."""

import math
import time
from functools import partial

import jax
import jax.numpy as jnp
import pytest

from rnn_jax import cells, unroll
from rnn_jax.backends.native import vector_width

NEEDS_A_COMPILER = pytest.mark.skipif(vector_width() is None, reason="no C++ compiler")
BACKENDS = ("scan", "manual", pytest.param("native", marks=NEEDS_A_COMPILER))
"""Those for a CPU: the others need a GPU, or are interpreted."""


def gradient(name, backend, num_steps, batch, hidden, **options):
    """d sum(ys) / d params, jitted, and its arguments in float32."""
    cell = cells.get(name)
    shapes = jax.eval_shape(lambda key: cell.init_params(key, 2, hidden), jax.random.key(0))
    params = jax.tree.map(lambda a: jnp.full(a.shape, 0.1, a.dtype), shapes)

    def loss(params, xs):
        final, ys = unroll(cell, params, xs, backend=backend, **options)
        return ys.sum() + final.h.sum()

    return jax.jit(jax.grad(loss)), (params, jnp.ones((num_steps, batch, 2), jnp.float32))


def cpu_seconds(run, arguments) -> float:
    """What this process computes for a run, on all of its threads: waiting for a busy machine is no part of it."""
    start = time.process_time()
    jax.block_until_ready(run(*arguments))
    return time.process_time() - start


def assert_linear(make, num_steps, repeats=5, attempts=4):
    """Four times the steps are about four times the work; a loop that copies its output at every step has 16 times.

    Short and long runs alternate, and the least of each counts: a neighbour on the same core, who takes room in its
    caches, and threads of ours that spin while they wait for it, only add. So one attempt that is linear is enough.
    """
    short, long = make(num_steps), make(4 * num_steps)
    for run in (short, long):
        cpu_seconds(*run)  # compiles
    ratios = []
    for _ in range(attempts):
        pairs = [(cpu_seconds(*short), cpu_seconds(*long)) for _ in range(repeats)]
        ratios.append(min(slow for _, slow in pairs) / min(fast for fast, _ in pairs))
        if ratios[-1] < 8:
            return
    pytest.fail(f"CPU time at 4T over that at T, {num_steps=}: {ratios}")


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("name", ["rnn", "lstm"])
def test_work_is_linear(name, backend):
    """B = 1, H = 4: rows of 16 bytes, where some versions of XLA's CPU loops are quadratic."""
    assert_linear(lambda num_steps: gradient(name, backend, num_steps, batch=1, hidden=4), num_steps=8192)


def test_a_quadratic_loop_is_noticed():
    """The same check on a loop that does move all of its rows at every step."""

    def make(num_steps):
        def step(rows, row):
            return jnp.roll(rows, 1, axis=0) + row, None

        run = jax.jit(lambda rows: jax.lax.scan(step, rows, rows)[0])
        return run, (jnp.ones((num_steps, 4), jnp.float32),)

    with pytest.raises(pytest.fail.Exception, match="CPU time at 4T over that at T"):
        assert_linear(make, num_steps=1024, repeats=2, attempts=2)


@pytest.mark.parametrize("options", [{}, {"checkpoint_every": 16}], ids=["plain", "checkpoint"])
@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("name", ["rnn", "lstm", "gru"])
def test_the_program_is_as_long_for_any_number_of_steps(name, backend, options):
    lines = []
    for num_steps in (128, 1024):
        run, arguments = gradient(name, backend, num_steps, batch=3, hidden=5, **options)
        lines.append(run.lower(*arguments).as_text().count("\n"))
    assert lines[1] <= 1.05 * lines[0]  # functions of equal shapes are printed once, so not to the line


@pytest.mark.parametrize("backend", BACKENDS)
def test_checkpoints_save_memory(backend):
    """With k = sqrt(T), memory grows by 2 where T grows by 4; without, by 4."""

    @partial(jax.jit, static_argnums=(2, 3))
    def gradient_of_final(params, xs, backend, every):
        # ys of size T is no part of the loss, xs is an argument: what is left is what the gradient needs
        def loss(params):
            return unroll(cells.get("lstm"), params, xs, backend=backend, checkpoint_every=every)[0].h.sum()

        return jax.grad(loss)(params)

    def temporary_bytes(num_steps, every):
        params = jax.eval_shape(lambda key: cells.get("lstm").init_params(key, 2, 32), jax.random.key(0))
        xs = jax.ShapeDtypeStruct((num_steps, 8, 2), jnp.float32)
        return gradient_of_final.lower(params, xs, backend, every).compile().memory_analysis().temp_size_in_bytes

    steps = (4096, 16384)
    # long, since the chunks of the manual back end need some memory for any T
    plain = [temporary_bytes(t, None) for t in steps]
    checkpointed = [temporary_bytes(t, math.isqrt(t)) for t in steps]
    assert checkpointed[0] < 0.5 * plain[0]
    assert checkpointed[1] < 0.2 * plain[1]
    assert plain[1] > 3 * plain[0]
    assert checkpointed[1] < 2.5 * checkpointed[0]
