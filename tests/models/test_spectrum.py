"""The Lyapunov exponents of whole models: of each layer, along what it reads."""

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from numpy.testing import assert_allclose

from rnn_jax import cells, unroll
from rnn_jax.diagnostics import cell_step, lyapunov_spectrum
from rnn_jax.models import Forecaster, SequenceModel, pure
from rnn_jax.models.spectrum import make_spectrum
from rnn_jax.models.text import TextClassifier

B, T, H = 3, 40, 4


def xs_of(batch, features):
    return jax.random.normal(jax.random.key(0), (batch, T, features), jnp.float64)


def test_of_two_layers_each_has_the_exponents_of_its_cell_along_what_it_reads():
    model = SequenceModel("lstm", 3, H, output_size=2, num_layers=2, param_dtype=jnp.float64, rngs=nnx.Rngs(0))
    xs = xs_of(B, 3)
    params = pure(model)[1]
    found = jax.jit(make_spectrum(model, 2 * H, 2))(params, xs)
    assert list(found) == ["layer 0", "layer 1"]
    lstm, read = cells.get("lstm"), jnp.swapaxes(xs, 0, 1)
    start = lstm.init_carry((), H, jnp.float64)
    run = jax.jit(lambda weights, read, b: lyapunov_spectrum(cell_step(lstm, weights), start, read[:, b]).growth)
    for number, exponents in enumerate(found.values()):
        weights = cells.LSTMParams(**params["recurrent"]["layers"][number])
        each = [run(weights, read, b).mean(axis=0) for b in (0, B - 1)]
        assert_allclose(exponents, np.sort(np.mean(each, axis=0))[::-1], rtol=1e-9)
        read = unroll(lstm, weights, read)[1]


def test_the_sum_of_all_exponents_is_the_mean_of_log_det():
    """Of a simple network J = diag(1 - h^2) W_hh^T: log |det| without any QR decomposition."""
    model = SequenceModel("rnn", 2, H, output_size=1, param_dtype=jnp.float64, rngs=nnx.Rngs(1))
    xs, params = xs_of(B, 2), pure(model)[1]
    weights = cells.RNNParams(**params["recurrent"]["layers"][0])
    hs = unroll(cells.get("rnn"), weights, jnp.swapaxes(xs, 0, 1))[1]
    dets = np.log(1 - np.asarray(hs) ** 2).sum(axis=-1) + np.linalg.slogdet(weights.w_hh)[1]
    found = jax.jit(make_spectrum(model, 99, B))(params, xs)["layer 0"]
    assert found.shape == (H,)
    assert_allclose(found.sum(), dets.mean(), rtol=1e-9)


def test_padding_has_no_part_in_it():
    """Of two directions over texts of several lengths; what stands behind an end changes nothing."""
    model = TextClassifier(11, 3, "gru", H, 2, bidirectional=True, pool="last", rngs=nnx.Rngs(0))
    spectrum = jax.jit(make_spectrum(model, H, 2))
    params = pure(model)[1]
    tokens = jax.random.randint(jax.random.key(1), (2, 9), 1, 11)
    found = spectrum(params, tokens, jnp.array([5, 9]))
    assert set(found) == {"layer 0 forward", "layer 0 backward"}
    other = spectrum(params, tokens.at[0, 5:].set(3), jnp.array([5, 9]))
    alone = [spectrum(params, tokens[i : i + 1, :n], jnp.array([n])) for i, n in enumerate((5, 9))]
    for name, values in found.items():
        assert_allclose(values, other[name], rtol=1e-6)
        summed = np.asarray(5 * alone[0][name] + 9 * alone[1][name]).sum() / 14
        assert_allclose(np.asarray(values).sum(), summed, rtol=1e-4)


def test_zoneout_keeps_a_share_of_every_difference():
    """Of zeros in, with small weights: the exponents are those of (1 - z) W + z."""
    options = {"zoneout": 0.3, "param_dtype": jnp.float64, "gain": 0.1}
    model = SequenceModel("rnn", 2, H, output_size=1, rngs=nnx.Rngs(0), **options)
    params = jax.tree.map(jnp.array, pure(model)[1])
    layer = params["recurrent"]["layers"][0]
    layer["b"] = jnp.zeros(H)
    found = jax.jit(make_spectrum(model, H, 1))(params, jnp.zeros((1, 4000, 2)))["layer 0"]
    moduli = np.abs(np.linalg.eigvals(0.7 * np.asarray(layer["w_hh"]) + 0.3 * np.eye(H)))
    assert_allclose(found, np.sort(np.log(moduli))[::-1], atol=2e-3)


def test_where_the_layers_read_other_steps_than_the_model():
    """Three segments of three rows, and each target as an example of its own; in bfloat16 as in float32."""
    options = {"num_targets": 2, "lag": 9, "ahead": 3, "segment": 3, "separate": True, "dtype": jnp.bfloat16}
    model = Forecaster("gru", 4, H, **options, rngs=nnx.Rngs(0))
    xs = jax.random.normal(jax.random.key(0), (B, 9, 4))
    found = jax.jit(make_spectrum(model, 2, 5))(pure(model)[1], xs, jnp.zeros((B, 3, 0)))
    assert found["layer 0"].shape == (2,)
    assert found["layer 0"].dtype == jnp.float32
    assert np.isfinite(found["layer 0"]).all()
