"""Every peer that is installed computes what ours does; a wrong one, or another function, is noticed."""

import dataclasses
import importlib.util

import jax.numpy as jnp
import numpy as np
import pytest

from benchmarks import contest, peers, shapes
from benchmarks.peers import PEERS, PLAIN, Peer, jax_cudnn, ours
from benchmarks.peers.runner import NotHere
from benchmarks.problem import NUM_GATES, draw, relative_errors, sample

pytestmark = pytest.mark.filterwarnings("ignore")  # of the peers, which are not ours to mend

NOT_HERE = (
    "scan",
    "cudnn",
    "pallas",
    "mosaic",
    "jax_cudnn",
    "torch_one_thread",
)  # the last would set the threads of all tests that follow
THEIRS = [(name, cell) for name in PLAIN for cell in PEERS[name].cells if name not in NOT_HERE]


def values_of(name, problem):
    runner = peers.make(name, problem)
    runner.compile()
    return runner.values()


def problem_of(cell, ragged, dtype="float32"):
    """Sizes that all differ; a GRU's second bias is zero, as Flax has none."""
    return draw(cell, shapes.get("B4T7I3H5" + "r" * ragged), dtype)


@pytest.mark.parametrize("ragged", [False, True], ids=["even", "ragged"])
@pytest.mark.parametrize(("name", "cell"), THEIRS)
def test_agreement(name, cell, ragged):
    """Outputs, the derivative of the inputs, and every derivative of parameters that the peer has."""
    peer = PEERS[name]
    if (package := peers.missing(peer)) is not None:
        pytest.skip(f"{package} is not installed")
    if peers.not_asked(peer, cell, problem_of(cell, ragged).shape):
        pytest.skip("takes no part")
    problem = problem_of(cell, ragged)
    want, got = values_of("scan", problem), values_of(name, problem)
    errors = relative_errors(sample(got, problem.mask), sample(want, problem.mask))
    assert set(errors) >= {"ys", "dxs", "w_ih", "w_hh", "b"}
    assert {name: array.shape for name, array in got.items()} == {name: want[name].shape for name in got}
    assert contest.agreement(errors, "float32") == (cell not in peer.other), errors
    if cell in peer.other:
        assert errors["ys"] > 0.1
    else:
        assert max(errors.values()) < 5e-6, errors


@pytest.mark.parametrize("cell", NUM_GATES)
def test_torch_in_float64(cell):
    pytest.importorskip("torch")
    problem = problem_of(cell, True, "float64")
    errors = relative_errors(values_of("torch", problem), values_of("scan", problem))
    assert 0 < max(errors.values()) < 1e-13
    assert ("b_hn" in errors) == (cell == "gru")


def test_the_second_bias_of_a_gru():
    """It is zero in all contests; here it is not, and PyTorch, Equinox and Keras must have it in its place."""
    problem = problem_of("gru", False)
    problem = dataclasses.replace(problem, params=problem.params | {"b_hn": np.linspace(-1, 1, 5).astype(np.float32)})
    want = values_of("scan", problem)
    for name in ("torch", "equinox", "keras"):
        if peers.missing(PEERS[name]) is None:
            assert max(relative_errors(values_of(name, problem), want).values()) < 5e-6, name


def test_the_gradient_is_of_the_weighted_outputs():
    """By a difference quotient of sum(ys * weights), in parameters and in inputs."""
    problem = problem_of("lstm", True, "float64")
    values = values_of("manual", problem)

    def loss(problem):
        return float((peers.make("scan", problem).forward() * problem.weights).sum())

    for name in ("b", "xs"):
        array = problem.params["b"] if name == "b" else problem.xs
        nudge = np.zeros(array.shape, np.float32)
        nudge[(1,) * array.ndim] = 2**-9
        sides = []
        for nudged in (array + nudge, array - nudge):
            changed = {"xs": nudged} if name == "xs" else {"params": problem.params | {name: nudged}}
            sides.append(loss(dataclasses.replace(problem, **changed)))
        derivative = values["dxs" if name == "xs" else name][(1,) * array.ndim]
        assert abs((sides[0] - sides[1]) / 2**-8 - derivative) < 1e-4 * abs(derivative) + 1e-5


def test_a_peer_that_is_wrong():
    """A thousandth in one parameter's derivative is enough, and NaN."""
    problem = problem_of("rnn", False)
    want = sample(values_of("scan", problem), problem.mask)
    for wrong in (want["w_hh"] * 1.001, want["w_hh"] * np.nan):
        errors = relative_errors(want | {"w_hh": wrong}, want)
        assert not contest.agreement(errors, "float32")
    assert contest.agreement(relative_errors(want, want), "float32")


def test_sampled_places():
    """The same in large arrays of one shape, all of small ones; what stands in the padding of ys counts for nothing."""
    large = np.arange(300 * 400.0).reshape(300, 400, 1)
    mask = np.ones((300, 400, 1), np.float32)
    first, second = (sample({"dxs": array}, mask)["dxs"] for array in (large, 2 * large))
    assert first.shape == (65_536,)
    np.testing.assert_array_equal(2 * first, second)
    mask[2:] = 0
    np.testing.assert_array_equal(sample({"ys": np.full((3, 2, 1), np.nan)}, mask[:3, :2])["ys"][4:], 0)


@pytest.mark.parametrize(
    ("name", "reason"), [("cudnn", "needs an NVIDIA GPU, and this is cpu"), ("pallas", "is interpreted on a CPU")]
)
def test_ours_for_a_gpu_take_no_part_on_a_cpu(name, reason):
    with pytest.raises(NotHere, match=reason):
        peers.make(name, problem_of("lstm", True))


def test_cudnn_weights_without_a_gpu():
    """JAX's own reference of the same function takes the array that we would hand to cuDNN."""
    from jax.experimental import rnn

    problem = problem_of("lstm", True)
    shape, flat = problem.shape, jnp.asarray(jax_cudnn.flat_weights(problem))
    weights = rnn.unpack_lstm_weights(flat, shape.input_size, shape.hidden_size, 1, False)
    zeros = jnp.zeros((1, shape.batch_size, shape.hidden_size), jnp.float32)
    xs, lengths = jnp.asarray(problem.xs).swapaxes(0, 1), jnp.asarray(problem.lengths)
    sizes = (shape.input_size, shape.hidden_size, 1, 0.0, False)
    ys = rnn.lstm_ref(xs, zeros, zeros, *weights, lengths, *sizes)[0].swapaxes(0, 1)
    want = values_of("scan", problem)["ys"]
    np.testing.assert_allclose(np.where(problem.mask > 0, ys, 0), want, atol=1e-6)
    back = jax_cudnn.from_flat(problem, flat)
    for name in ("w_ih", "w_hh", "b"):
        np.testing.assert_array_equal(back[name], problem.params[name])


def test_missing_packages():
    assert peers.missing(Peer("ours", packages=("numpy", "no_such_package"))) == "no_such_package"
    assert peers.missing(PEERS["scan"]) is None
    for name in ("torch", "equinox", "haiku", "keras"):
        assert (peers.missing(PEERS[name]) is None) == (importlib.util.find_spec(name) is not None)


def test_who_is_asked():
    even, ragged, restarting = (shapes.get(f"B2T3I4H5{letter}") for letter in ("", "r", "x"))
    assert peers.not_asked(PEERS["equinox"], "rnn", even) == "has no rnn"
    assert peers.not_asked(PEERS["torch_padded"], "lstm", even) == "takes part where lengths differ"
    assert peers.not_asked(PEERS["torch_padded"], "lstm", ragged) is None
    assert peers.not_asked(PEERS["torch"], "lstm", restarting) == "knows no resets"
    assert peers.not_asked(PEERS["scan"], "lstm", restarting) is None


def test_ours_in_bfloat16():
    """The two back ends within rounding; and that the type is what is asked for."""
    problem = problem_of("lstm", False, "bfloat16")
    runners = [ours.make(problem, backend) for backend in ("scan", "manual")]
    assert all(runner.forward().dtype == jnp.bfloat16 for runner in runners)
    first, second = (sample(runner.values(), problem.mask) for runner in runners)
    errors = relative_errors(first, second)
    assert contest.agreement(errors, "bfloat16")
    assert max(errors.values()) > 1e-6
