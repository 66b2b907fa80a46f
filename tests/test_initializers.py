"""What parameters begin as: distributions and exact values, gate by gate."""

import inspect
import math

import jax
import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from rnn_jax import cells, initializers

SCHEMES = tuple(initializers.SCHEMES)
I, H = 3, 5  # noqa: E741  # the letters of the axes


class TestInitialWeights:
    """Statistics over blocks of `[40, 60]` and `[60, 60]` per gate, that is of 2,400 and more entries."""

    inputs, hidden = 40, 60

    def blocks(self, name, scheme, seed=0, **options):
        """Arrays `[G, I, H]`, `[G, H, H]` and `[G, H]`, and the second bias of the GRU."""
        cell = cells.get(name)
        params = cell.init_params(jax.random.key(seed), self.inputs, self.hidden, init=scheme, **options)
        cut = [np.stack(np.split(np.asarray(a, np.float64), cell.num_gates, axis=-1)) for a in params[:3]]
        return *cut, np.asarray(params[3], np.float64) if name == "gru" else None

    def assert_uniform(self, values, bound):
        """Within the bound, reaching it, with the mean and the spread of a uniform draw."""
        assert np.abs(values).max() <= bound * (1 + 1e-6)
        assert np.abs(values).max() > bound * (1 - 10 / values.size)
        assert abs(values.mean()) < 4 * bound / math.sqrt(3 * values.size)
        assert_allclose(values.std(), bound / math.sqrt(3), rtol=2 / math.sqrt(values.size))

    @pytest.mark.parametrize("name", ["rnn", "lstm", "gru"])
    def test_pytorch_weights(self, name):
        w_ih, w_hh, _, _ = self.blocks(name, "pytorch")
        for block in (*w_ih, *w_hh):
            self.assert_uniform(block, 1 / math.sqrt(self.hidden))

    @pytest.mark.parametrize("name", ["rnn", "lstm", "gru"])
    def test_pytorch_biases(self, name):
        """A sum of two uniform draws, but for n of the GRU, whose two biases stay apart."""
        drawn = [self.blocks(name, "pytorch", seed) for seed in range(20)]
        bound = 1 / math.sqrt(self.hidden)
        for gate in range(cells.get(name).num_gates):
            values = np.concatenate([b[gate] for _, _, b, _ in drawn])
            if name == "gru" and gate == 2:
                self.assert_uniform(values, bound)
                self.assert_uniform(np.concatenate([b_hn for *_, b_hn in drawn]), bound)
                assert not np.isclose(drawn[0][2][2], drawn[0][3]).any()
            else:
                assert np.abs(values).max() <= 2 * bound
                assert np.abs(values).max() > 1.7 * bound
                assert_allclose(values.std(), bound * math.sqrt(2 / 3), rtol=0.08)

    @pytest.mark.parametrize("scheme", ["glorot_orthogonal", "identity"])
    @pytest.mark.parametrize("name", ["rnn", "lstm", "gru"])
    def test_glorot_inputs_and_no_bias(self, name, scheme):
        """The fan-out is that of one gate, not of all side by side."""
        w_ih, _, b, b_hn = self.blocks(name, scheme)
        for block in w_ih:
            self.assert_uniform(block, math.sqrt(6 / (self.inputs + self.hidden)))
        assert_array_equal(b, 0)
        assert b_hn is None or not b_hn.any()

    @pytest.mark.parametrize("name", ["rnn", "lstm", "gru"])
    def test_each_gate_orthogonal(self, name):
        for block in self.blocks(name, "glorot_orthogonal")[1]:
            assert_allclose(block.T @ block, np.eye(self.hidden), atol=2e-6)
            assert np.abs(block - np.eye(self.hidden)).max() > 0.1

    @pytest.mark.parametrize("name", ["rnn", "lstm", "gru"])
    def test_each_gate_the_identity(self, name):
        for block in self.blocks(name, "identity")[1]:
            assert_array_equal(block, np.eye(self.hidden))

    @pytest.mark.parametrize("scheme", ["pytorch", "glorot_orthogonal"])
    @pytest.mark.parametrize("name", ["rnn", "lstm", "gru"])
    def test_gates_and_keys_draw_apart(self, name, scheme):
        first, second, again = (self.blocks(name, scheme, seed) for seed in (0, 1, 0))
        for kind in (0, 1):
            assert_array_equal(first[kind], again[kind])
            assert not np.isclose(first[kind], second[kind], rtol=1e-3, atol=0).mean() > 0.02
            for gate in range(1, len(first[kind])):
                assert not np.isclose(first[kind][gate], first[kind][0], rtol=1e-3, atol=0).mean() > 0.02

    @pytest.mark.parametrize("scheme", SCHEMES)
    def test_forget_bias_there_and_nowhere_else(self, scheme):
        plain, biased = self.blocks("lstm", scheme), self.blocks("lstm", scheme, forget_bias=1.5)
        assert_array_equal(biased[2][1], 1.5)
        for gate in (0, 2, 3):
            assert_array_equal(biased[2][gate], plain[2][gate])
        assert_array_equal(biased[0], plain[0])
        assert_array_equal(biased[1], plain[1])
        assert not np.any(plain[2][1] == 1.5)

    def test_forget_bias_of_zero_counts(self):
        assert_array_equal(self.blocks("lstm", "pytorch", forget_bias=0.0)[2][1], 0)


class TestChrono:
    @pytest.mark.parametrize("name", ["lstm", "lstm_peephole", "lstm_layer_norm"])
    def test_forget_and_input_biases_of_an_lstm(self, name):
        hidden, longest = 1000, 1000
        b = np.asarray(cells.get(name).init_params(jax.random.key(0), I, hidden, chrono=longest).b).reshape(4, hidden)
        assert_array_equal(b[0], -b[1])
        memory = np.exp(b[1])  # uniform from 1 to T - 1
        assert 1 <= memory.min() < 5
        assert longest - 5 < memory.max() <= longest - 1 + 1e-2
        assert abs(memory.mean() - longest / 2) < 4 * (longest - 2) / np.sqrt(12 * hidden)
        plain = np.asarray(cells.get(name).init_params(jax.random.key(0), I, hidden).b).reshape(4, hidden)
        assert_array_equal(b[2:], plain[2:])

    def test_the_gate_that_keeps(self):
        for name, gate, sign in (("gru", 1, 1), ("lstm_coupled", 0, -1)):
            b = np.asarray(cells.get(name).init_params(jax.random.key(0), I, H, chrono=100).b).reshape(3, H)
            memory = np.exp(sign * b[gate])
            assert np.all((memory >= 1) & (memory <= 99.01))

    def test_errors(self):
        init = cells.get("lstm").init_params
        with pytest.raises(ValueError, match="chrono must be at least 3"):
            init(jax.random.key(0), I, H, chrono=2)
        with pytest.raises(ValueError, match=r"forget_bias=1.0 and chrono=9 both set .*: give one"):
            init(jax.random.key(0), I, H, chrono=9, forget_bias=1.0)


def takes(cell):
    """The names of the options of `init_params`."""
    return inspect.signature(cell.init_params).parameters


@pytest.mark.parametrize("name", [name for name, cell in cells.CELLS.items() if "gain" in takes(cell)])
def test_gain_multiplies_the_recurrent_weights_alone(name):
    init = cells.get(name).init_params
    plain, doubled = (init(jax.random.key(0), I, H, init="gaussian", gain=gain) for gain in (1.0, 2.0))
    for field, value in plain._asdict().items():
        assert_array_equal(getattr(doubled, field), 2 * value if field in ("w_hh", "w_zh") else value)


def test_gaussian_recurrent_weights_fill_the_unit_disc():
    w_hh = np.asarray(cells.get("rnn").init_params(jax.random.key(0), I, 400, init="gaussian").w_hh)
    assert abs(w_hh.std() * 20 - 1) < 0.02
    assert abs(np.abs(np.linalg.eigvals(w_hh)).max() - 1) < 0.1
