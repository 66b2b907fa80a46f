"""Newton's method over time: how many iterations, what it does where it cannot converge, how deep its program is."""

import dataclasses
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from helpers.unrolls import FULL, B, H, I, T, assert_trees_close, case, draw, draw_like, problem, value_and_vjp
from jax.extend.core import Literal

from rnn_jax import Cell, cells, unroll
from rnn_jax.backends import choose, newton
from rnn_jax.backends.newton import backend, solver
from rnn_jax.cells.cell import zero_carry
from rnn_jax.controls import StepMasks


def solve(name, num_steps=200, hidden_size=8, gain=1.0, dtype=jnp.float64, **options):
    """The states of a cell on noise, those of the scan beside them."""
    cell = cells.get(name)
    xs = jax.random.normal(jax.random.key(1), (num_steps, 2), dtype)
    scaled = {} if name in ("mingru", "minlstm", "lru") else {"gain": gain}
    params = cell.init_params(jax.random.key(0), 2, hidden_size, dtype, init="gaussian", **scaled)
    args = backend.Arguments(params, zero_carry(cell, params, ()), xs, None, None)
    run = jax.jit(lambda: newton.solved(cell, False, args, StepMasks(), **options))
    outputs, solution = run()
    return solution, outputs, unroll(cell, params, xs, backend="scan")


class TestIterations:
    @pytest.mark.parametrize("name", ["lru", "mingru", "minlstm", "rnn_identity"])
    def test_one_for_a_linear_recurrence(self, name):
        solution, found, expected = solve(name, gain=0.5)
        assert int(solution.iterations) == 1
        assert_trees_close(found, expected, rtol=1e-11, atol=1e-12)

    def test_a_nonlinear_one_that_forgets_takes_as_many_for_any_length(self):
        counts = [int(solve("rnn", num_steps, gain=0.5)[0].iterations) for num_steps in (100, 1000, 10_000)]
        assert counts[0] <= 5
        assert counts[2] <= counts[0] + 1

    @pytest.mark.parametrize("max_iterations", [1, 2, 5])
    def test_each_makes_one_more_state_exact(self, max_iterations):
        """Of a chaotic network, where nothing else helps."""
        solution, (_, ys), (_, expected) = solve("rnn", gain=4.0, max_iterations=max_iterations)
        assert not solution.converged
        assert int(solution.iterations) == max_iterations
        np.testing.assert_allclose(ys[:max_iterations], expected[:max_iterations], rtol=1e-12)

    def test_as_many_as_steps_suffice(self):
        solution, found, expected = solve("rnn", 40, gain=5.0, max_iterations=40)
        assert solution.converged
        assert_trees_close(found, expected, rtol=1e-10, atol=1e-10)

    @pytest.mark.parametrize("name", ["rnn", "lstm", "gru", "mgu"])
    def test_the_residual_can_be_reached_in_float32(self, name):
        solution, found, expected = solve(name, 1000, hidden_size=16, dtype=jnp.float32)
        assert solution.converged
        assert float(solution.residual) <= solver.TOLERANCE * 1.2e-7
        assert_trees_close(found, expected, atol=1e-4)


@pytest.mark.parametrize("reverse", [False, True])
def test_the_gradient_takes_one_prefix(monkeypatch, reverse):
    """The transposed recurrence is linear; with other matrices than the transposed ones it would take more."""
    seen = []

    def noted(*arguments, **options):
        solution = solver.solve(*arguments, **options)
        seen.append(int(solution.iterations))
        return solution

    monkeypatch.setattr(backend, "solve", noted)
    cell = cells.get("gru")
    params, xs, carry = draw(cell, 20, (B,))
    args = backend.Arguments(params, carry, xs, None, None)
    outputs, solution = backend.forward(cell, reverse, args, StepMasks(), True)
    backend.backward(cell, reverse, args, StepMasks(), solution, draw_like(outputs, 3))
    assert seen[0] > 2
    assert seen[1] == 1


def test_no_sequences():
    cell = cells.get("lstm")
    params, xs, carry = draw(cell, T, (0,))

    def outputs(params):
        return unroll(cell, params, xs, carry=carry, backend="newton")

    (final, ys), pull = jax.vjp(outputs, params)
    assert ys.shape == (T, 0, H)
    assert final.c.shape == (0, H)
    assert not any(grad.any() for grad in jax.tree.leaves(pull((final, ys))))


@pytest.fixture
def diagonal(monkeypatch):
    monkeypatch.setattr(backend, "LARGEST_MATRIX", 0)


class TestQuasiNewton:
    @pytest.mark.parametrize("name", ["lstm", "gru_reset_before", "mingru"])
    def test_the_same_values_and_gradients(self, diagonal, name):
        arguments, options, cotangents = problem(name, case(reverse=True, truncate_every=3, **FULL))
        found, expected = (
            value_and_vjp(dataclasses.replace(cells.get(name)), each, options, arguments, cotangents)
            for each in ("newton", "scan")
        )
        assert_trees_close(found, expected, rtol=1e-10, atol=1e-11)

    def test_large_carries_have_no_matrices(self):
        """In all that is computed for them nothing has the size of a Jacobian, forward or back."""
        cell = cells.get("gru")
        size = newton.LARGEST_MATRIX + 1
        params = jax.eval_shape(lambda: cell.init_params(jax.random.key(0), I, size))
        xs = jax.ShapeDtypeStruct((9, B, I), jnp.float32)

        def loss(params, xs):
            return newton.run(cell, False, params, cell.init_carry((B,), size), xs, StepMasks())[1].sum()

        text = str(jax.make_jaxpr(jax.grad(loss))(params, xs))
        assert f"[9,{B},{size}]" in text
        assert f"[9,{B},{size},{size}]" not in text


class TestWhereItCannotConverge:
    @pytest.mark.parametrize("dtype", [jnp.float32, jnp.float64])
    def test_the_scan_takes_over(self, dtype):
        """Products of Jacobians far beyond the range of floats, and gradients that are not."""
        cell = cells.get("rnn")
        xs = jax.random.normal(jax.random.key(1), (300, 2, 2), dtype)
        params = cell.init_params(jax.random.key(0), 2, 8, dtype, init="gaussian", gain=20.0)

        def loss(params, xs, backend):
            final, ys = unroll(cell, params, xs, backend=backend)
            return (ys[-3:] ** 2).sum() + final.h.sum()

        found, expected = (jax.value_and_grad(loss, (0, 1))(params, xs, each) for each in ("newton", "scan"))
        assert_trees_close(found, expected, rtol=1e-5)

    def test_one_sequence_of_several(self, monkeypatch):
        """Under `vmap` each has its own number of iterations, and its own way."""
        monkeypatch.setattr(backend, "MAX_ITERATIONS", 6)
        cell, seen = dataclasses.replace(cells.get("rnn")), []
        xs = jax.random.normal(jax.random.key(1), (60, 2))
        params = cell.init_params(jax.random.key(0), 2, 8, jnp.float64, init="gaussian")
        gains = jnp.array([0.3, 5.0])

        def loss(gain, backend):
            _, ys = unroll(cell, params._replace(w_hh=gain * params.w_hh), xs, backend=backend)
            return (ys**2).sum()

        for each in ("newton", "scan"):
            seen.append(jax.vmap(jax.value_and_grad(partial(loss, backend=each)))(gains))
        assert_trees_close(*seen, rtol=1e-9)

    def test_the_scan_is_not_computed_where_it_need_not_be(self):
        def never(_):
            raise AssertionError("computed")

        def instead(x):
            return jax.pure_callback(never, x, x, vmap_method="sequential")

        found = jax.vmap(lambda x: backend.unless(x == x, x, instead, x))(jnp.ones(3))
        assert found.tolist() == [1, 1, 1]


def test_states_that_are_not_finite_begin_again_from_the_guess():
    """s = 1 / s_{t-1} - 0.9 from 1: the Newton step runs over the pole at 0."""

    def f(before):
        return 1 / before - jnp.where(before > 0, 0.5, -0.5)

    solution = solver.solve(f, partial(solver.jacobians, f, False), jnp.array([1.0]), 30, max_iterations=30)
    state = 1.0
    for found in solution.states[:, 0]:
        state = 1 / state - (0.5 if state > 0 else -0.5)
        assert float(found) == pytest.approx(state, rel=1e-8)
    assert solution.converged


def test_a_residual_is_small_beside_the_states_of_its_own_step():
    """Beside a state of 1e15 the others count as well: growth for 15 steps, chaos between -1 and 1 after a reset."""
    length, growing = 40, 15
    xs = jax.random.normal(jax.random.key(1), (length, 4))
    weights = 2 * jax.random.normal(jax.random.key(0), (4, 4))
    grows, again = ((jnp.arange(length) < growing)[:, None], (jnp.arange(length) == growing)[:, None])

    def f(before, steps=slice(None)):
        before = jnp.where(again[steps], 0.3, before)
        return jnp.where(grows[steps], 10 * before, jnp.tanh(before @ weights + xs[steps]))

    start = jnp.full(4, 0.3)
    solution = solver.solve(f, partial(solver.jacobians, f, False), start, length, max_iterations=length)
    state = start
    for t, found in enumerate(solution.states):
        state = f(state[None], slice(t, t + 1))[0]
        np.testing.assert_allclose(found, state, rtol=1e-8)
    assert solution.converged


def depth(jaxpr, known=None) -> int:
    """The largest number of matrix products on any way through a program; of a loop one round counts."""
    depths = dict(known or {})

    def of(atom):
        return 0 if isinstance(atom, Literal) else depths.get(atom, 0)

    for equation in jaxpr.eqns:
        before = max(map(of, equation.invars), default=0)
        inner = [each for each in jax.tree.leaves(list(equation.params.values())) if hasattr(each, "eqns")]
        inner += [each.jaxpr for each in jax.tree.leaves(list(equation.params.values())) if hasattr(each, "jaxpr")]
        own = max((depth(each) for each in inner), default=0) + (equation.primitive.name == "dot_general")
        depths |= dict.fromkeys(equation.outvars, before + own)
    return max(map(of, jaxpr.outvars), default=0)


def test_the_depth_of_an_iteration_is_logarithmic():
    """Twice the steps: two more rounds of products, up the tree and down; the scan's depth is T."""

    def rounds(num_steps):
        jacobians, inputs = jnp.zeros((num_steps, 3, 3)), jnp.zeros((num_steps, 3))
        return depth(jax.make_jaxpr(solver.all_states)(jacobians, inputs).jaxpr)

    counts = [rounds(2**power) for power in range(2, 15)]
    assert set(np.diff(counts)) == {2}
    assert counts[-1] < 2 * 14 + 1

    def whole(num_steps):
        cell = cells.get("rnn")
        params = cell.init_params(jax.random.key(0), I, H)
        run = partial(newton.run, cell, False, params, cell.init_carry((), H), masks=StepMasks())
        return depth(jax.make_jaxpr(jax.grad(lambda xs: run(xs)[1].sum()))(jnp.zeros((num_steps, I))).jaxpr)

    assert 0 < whole(1024) - whole(512) <= 2 * 2  # forward, and back


def test_the_program_grows_with_the_logarithm():
    def lines(num_steps):
        xs = jax.ShapeDtypeStruct((num_steps, B, I), jnp.float32)
        cell = cells.get("gru")
        params = jax.eval_shape(lambda: cell.init_params(jax.random.key(0), I, H))
        run = jax.jit(jax.grad(lambda params, xs: unroll(cell, params, xs, backend="newton")[1].sum()))
        return run.lower(params, xs).as_text().count("\n")

    few, more, many = map(lines, (64, 512, 4096))
    assert many - more <= 1.1 * (more - few)
    assert many < 2 * few


class TestRefusals:
    def test_numbers_without_derivatives(self):
        counter = Cell(
            "counter",
            init_params=lambda key, i, h, dtype=jnp.float32: (),
            init_carry=lambda batch, h, dtype=jnp.float32: jnp.zeros((*batch, h), jnp.int32),
            recur=lambda params, carry, x: (carry + 1, carry[..., :1] + x),
        )
        message = "backend 'newton' takes derivatives, which there are none of int32 in the carry of 'counter'; take"
        with pytest.raises(ValueError, match=f"^{message}"):
            unroll(counter, (), jnp.zeros((T, B, H)), carry=jnp.zeros((B, H), jnp.int32), backend="newton")

    def test_it_is_asked_for(self):
        cell = cells.get("indrnn")
        params, xs, carry = draw(cell, T, (B,))
        assert choose("auto", cell, params, carry, xs, StepMasks()) == "scan"
        assert choose("newton", cell, params, carry, xs, StepMasks()) == "newton"
