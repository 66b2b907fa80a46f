"""The gradient check passes for every cell. That no fault gets past it is in tests/bptt."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rnn_jax import bptt
from rnn_jax.backends import manual
from rnn_jax.cells import get
from rnn_jax.diagnostics import gradcheck
from rnn_jax.diagnostics.gradcheck import CASES, check, check_all, finite_differences, relative_error

# All that happens around a step is the same for every rule; a rule has its step, its chunks and its stacks.
CHECKED = [("lstm", case) for case in CASES]
CHECKED += [(cell, case) for cell in bptt.RULES if cell != "lstm" for case in ("resets", "bidirectional")]
CHECKED += [("gru", "long")]


class TestCheck:
    @pytest.mark.parametrize(("cell", "case"), CHECKED)
    def test_float64(self, cell, case):
        result = check(cell, "float64", case)
        assert result.passed, result

    @pytest.mark.parametrize(("cell", "case"), [*((cell, "lengths") for cell in bptt.RULES), ("lstm", "long")])
    def test_float32(self, cell, case):
        result = check(cell, jnp.float32, case)
        assert result.passed, result
        assert result.manual_error > 1e-12, "in float32 two routes differ by round-off: were both taken in float64?"

    def test_all_goes_row_by_row(self):
        rows = check_all(cells=["rnn", "no such cell"], dtypes=["float64"], cases=["plain"])
        assert next(rows)[:3] == ("rnn", "float64", "plain")
        with pytest.raises(ValueError, match="unknown cell 'no such cell'"):
            next(rows)

    def test_nan_does_not_pass(self):
        result = gradcheck.Result("rnn", "float64", "plain", 0.0, 0.0, 1e-10, 1e-6)
        assert result.passed
        assert not result._replace(manual_error=float("nan")).passed
        assert not result._replace(finite_error=float("nan")).passed

    def test_needs_float64(self):
        with (
            jax.enable_x64(False),
            pytest.raises(ValueError, match="64-bit floats: set the environment variable JAX_ENABLE_X64=1"),
        ):
            check("rnn", "float64", "plain")

    def test_unknown_dtype(self):
        with pytest.raises(ValueError, match="no tolerance for dtype 'bfloat16': take one of float64, float32"):
            check("rnn", jnp.bfloat16, "plain")

    def test_unknown_case(self):
        with pytest.raises(ValueError, match="unknown case 'long-ish': take one of plain, lengths"):
            check("rnn", "float64", "long-ish")


class TestPoint:
    @pytest.mark.parametrize("seed", range(3))
    def test_the_edges_are_there(self, seed):
        case = CASES["long"]
        point = gradcheck.draw_point(get("lstm"), case, seed)
        assert {0, 1, case.num_steps} < set(point.lengths.tolist())
        assert case.num_steps > manual.LARGEST_CHUNK
        assert case.num_steps % manual.chunk_length(case.num_steps) > 0
        assert bool(point.resets.any())
        leaves = jax.tree.leaves((point.inputs, point.cotangents))
        assert len(leaves) == 3 + 1 + 2 + 2 + 1  # params, xs, carry; the cotangents of the final carry and of ys
        assert all(float(jnp.abs(leaf).min()) > 0 for leaf in leaves), "an entry of zero tests nothing"


class TestRelativeError:
    def test_each_leaf_has_its_own_scale(self):
        b = {"large": jnp.array([100.0, 1.0]), "small": jnp.array([1e-3])}
        assert relative_error(b, b) == 0
        assert relative_error(b | {"large": jnp.array([100.0, 2.0])}, b) == pytest.approx(0.01)
        assert relative_error(b | {"small": jnp.array([2e-3])}, b) == pytest.approx(1)

    def test_a_leaf_of_zeros_takes_the_scale_of_the_largest(self):
        b = (jnp.zeros(2), jnp.array([4.0]), jnp.array([0.5]))
        assert relative_error((jnp.array([0.0, 1.0]), *b[1:]), b) == 0.25
        assert relative_error((jnp.array([0.0, 1e-16]), *b[1:]), b) < 1e-15

    def test_beside_nothing_but_zeros_anything_is_wrong(self):
        assert relative_error(jnp.zeros(3), jnp.zeros(3)) == 0
        assert relative_error(jnp.array([1e-12]), jnp.zeros(1)) == np.inf

    @pytest.mark.parametrize("bad", [np.nan, np.inf])
    def test_what_is_not_finite_never_passes(self, bad):
        good, wrong = (jnp.ones(2), jnp.ones(1)), (jnp.array([1.0, bad]), jnp.ones(1))
        for pair in ((good, wrong), (wrong, good), (wrong, wrong), (good[::-1], wrong[::-1])):
            assert np.isnan(relative_error(*pair))

    def test_no_coordinates(self):
        assert relative_error((), ()) == 0
        assert relative_error((jnp.zeros((0, 2)), jnp.array([2.0])), (jnp.zeros((0, 2)), jnp.array([1.0]))) == 1

    def test_what_does_not_match(self):
        with pytest.raises(ValueError, match="cannot compare leaves of shapes \\(1,\\) and \\(3,\\)"):
            relative_error(jnp.ones(1), jnp.ones(3))
        with pytest.raises(ValueError, match="cannot compare PyTreeDef"):
            relative_error((jnp.ones(1),), {"w": jnp.ones(1)})


class TestFiniteDifferences:
    def test_a_quadratic_form(self):
        a = jax.random.normal(jax.random.key(0), (4, 4))
        x = jax.random.normal(jax.random.key(1), (4,))
        np.testing.assert_allclose(finite_differences(lambda x: x @ a @ x, x), (a + a.T) @ x, rtol=1e-9)

    def test_a_tree(self):
        tree = {"a": jnp.array([[1.0, 2.0]]), "b": (jnp.array(3.0),)}
        gradient = finite_differences(lambda t: t["b"][0] * jnp.sum(jnp.exp(t["a"])), tree)
        np.testing.assert_allclose(gradient["a"], 3 * jnp.exp(tree["a"]), rtol=1e-9)
        np.testing.assert_allclose(gradient["b"][0], np.exp(1) + np.exp(2), rtol=1e-9)

    def test_the_error_is_the_square_of_the_step(self):
        """((x + s)^3 - (x - s)^3) / 2s = 3 x^2 + s^2."""
        np.testing.assert_allclose(finite_differences(lambda x: x**3, jnp.array(2.0), step=0.5), 12.25, rtol=1e-14)

    def test_float32_is_taken_to_float64(self):
        gradient = finite_differences(jnp.sin, jnp.array(0.3, jnp.float32))
        assert gradient.dtype == jnp.float64
        np.testing.assert_allclose(gradient, np.cos(float(np.float32(0.3))), rtol=1e-9)

    def test_needs_float64(self):
        with jax.enable_x64(False), pytest.raises(ValueError, match="needs 64-bit floats"):
            finite_differences(jnp.sin, jnp.array(0.3))
