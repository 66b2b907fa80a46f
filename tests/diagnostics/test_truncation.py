"""The bias of truncated backpropagation, against a gradient that is taken apart by hand."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.flatten_util import ravel_pytree

from rnn_jax import cells
from rnn_jax.diagnostics.truncation import DELAYS, echo_loss, echo_task, truncation_bias

CELLS = ("rnn", "lstm", "gru")


def measured(cell, params, readout, xs, targets, lengths):
    """`truncation_bias`, compiled."""
    return jax.jit(lambda *arguments: truncation_bias(cell, *arguments, lengths))(params, readout, xs, targets)


def gradient(cell, params, readout, xs, targets, every):
    """The gradient of the loss as one vector, compiled."""
    run = jax.jit(jax.grad(lambda params: echo_loss(cell, params, readout, xs, targets, every)))
    return ravel_pytree(run(params))[0]


def problem(name, num_steps, batch=3, hidden=4, dtype=jnp.float64, **options):
    cell = cells.get(name)
    keys = jax.random.split(jax.random.key(7), 3)
    params = cell.init_params(keys[0], 1, hidden, dtype, **options)
    return (cell, params, jax.random.normal(keys[1], (hidden,), dtype), *echo_task(keys[2], num_steps, batch, dtype))


@partial(jax.jit, static_argnums=0)
def contributions(cell, params, readout, xs, targets):
    """dl_t / d theta_s `[T, T, P]`: a Python loop in which every step has parameters of its own."""
    num_steps, batch = xs.shape[:2]

    def losses(params_of_steps):
        carry, out = cell.init_carry((batch,), readout.shape[0], xs.dtype), []
        for t in range(num_steps):
            carry, y = cell.step(params_of_steps[t], carry, xs[t])
            out.append(jnp.mean((y @ readout - targets[t]) ** 2) / 2)
        return jnp.stack(out)

    by_step = jax.jacobian(losses)([params] * num_steps)
    return jnp.stack([jax.vmap(lambda p: ravel_pytree(p)[0])(each) for each in by_step], axis=1)


@pytest.mark.parametrize("name", CELLS)
def test_truncated_gradients_are_the_sums_that_the_docstring_says(name):
    """k = 1 is the diagonal alone; fixed borders for the others, T no multiple of them."""
    num_steps = 5
    arguments = problem(name, num_steps)
    parts = np.asarray(contributions(*arguments))
    assert np.abs(parts[0, 1:]).max() == 0  # the future has no part in a loss
    whole = parts.sum((0, 1)) / num_steps
    for k in (1, 2, 3):
        kept = [parts[t, k * (t // k) : t + 1].sum(0) for t in range(num_steps)]
        truncated = np.sum(kept, axis=0) / num_steps
        np.testing.assert_allclose(gradient(*arguments, k), truncated, rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose(gradient(*arguments, None), whole, rtol=1e-9, atol=1e-12)
    bias = measured(*arguments, [k])
    expected = np.linalg.norm(truncated - whole) / np.linalg.norm(whole)
    np.testing.assert_allclose(bias.relative_error, [expected], rtol=1e-8)
    expected = truncated @ whole / np.linalg.norm(truncated) / np.linalg.norm(whole)
    np.testing.assert_allclose(bias.cosine, [expected], rtol=1e-8)


@pytest.mark.parametrize("name", CELLS)
def test_no_cut_no_bias(name):
    arguments = problem(name, 12)
    bias = measured(*arguments, [11, 12, 1000])
    assert bias.relative_error[0] > 1e-6
    assert bias.relative_error[1:].tolist() == [0, 0]
    np.testing.assert_allclose(bias.cosine[1:], 1, rtol=1e-12)


def test_longer_is_better_on_average():
    lengths = [1, 4, 16, 64, 256]
    keys = jax.random.split(jax.random.key(1), 4)
    xs, targets = jax.vmap(lambda key: echo_task(key, 256, 4, jnp.float64))(keys)

    def mean_bias(forget_bias):
        cell, params, readout, *_ = problem("lstm", 1, hidden=8, forget_bias=forget_bias)
        run = jax.jit(jax.vmap(lambda xs, targets: truncation_bias(cell, params, readout, xs, targets, lengths)))
        return jax.tree.map(lambda a: np.asarray(a.mean(0)), run(xs, targets))

    bias = mean_bias(forget_bias=0.0)
    assert np.all(np.diff(bias.relative_error) < 0), bias
    assert bias.relative_error[2] < 0.3 * bias.relative_error[0]
    assert np.all(np.diff(bias.cosine) > -1e-9), bias
    # Forget gates near 0.88 remember some 8 steps, those near 0.5 only 2: a cut costs them more.
    assert np.all(mean_bias(forget_bias=2.0).relative_error[1:-1] > 1.5 * bias.relative_error[1:-1])


def test_the_border_and_not_the_window_is_fixed():
    """A power of k, as the share of steps beside a border is, where a sliding window would be exponential in k."""
    cell, params, readout, *_ = problem("rnn", 1, hidden=8)
    xs, targets = echo_task(jax.random.key(2), 4096, 4, jnp.float64)
    errors = measured(cell, params, readout, xs, targets, [16, 64, 256]).relative_error
    ratios = np.asarray(errors[:-1] / errors[1:])
    assert np.all((ratios > 1.5) & (ratios < 12)), errors  # about 4 each; exponential would be far above 1000


def test_the_echo():
    xs, targets = echo_task(jax.random.key(0), 4000, 2)
    assert (xs.shape, xs.dtype, targets.shape, targets.dtype) == ((4000, 2, 1), jnp.float32, (4000, 2), jnp.float32)
    noise = np.asarray(xs[..., 0], np.float64)
    for t in (0, 1, 5, 63, 64, 3999):
        expected = sum(noise[t - delay] for delay in DELAYS if delay <= t) / 2
        np.testing.assert_allclose(targets[t], np.broadcast_to(expected, 2), rtol=1e-5, atol=1e-6)
    assert 0.9 < float(targets[64:].std()) < 1.1
    assert float(jnp.abs(targets[0]).max()) == 0


def test_errors():
    cell, params, readout, xs, targets = problem("rnn", 5)
    for lengths in ([], [2, 0]):
        with pytest.raises(ValueError, match="lengths must be at least 1 and not none, got"):
            truncation_bias(cell, params, readout, xs, targets, lengths)
    with pytest.raises(ValueError, match=r"targets must be \(5, 3\) for xs \(5, 3, 1\), got \(4, 3\)"):
        truncation_bias(cell, params, readout, xs, targets[:4], [1])
    with pytest.raises(ValueError, match="sizes must be at least 1, got num_steps=0, batch_size=2"):
        echo_task(jax.random.key(0), 0, 2)
