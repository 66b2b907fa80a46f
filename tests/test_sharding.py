"""A batch that is spread over devices is the same batch, in each of the ways in which JAX spreads one."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from rnn_jax.backends import native

BACKENDS = ["scan", "manual", "newton", *(["native"] if native.vector_width() else [])]
WAYS = ["shard_map", "shard_map_plain", "grad_in_shard_map", "automatic", "explicit", "explicit_plain"]
BY_NATIVE_ALONE = ["vmapped", "spread_where_vmapped", "two_axes", "uneven"]

# One process for all, since JAX takes seconds to start: it prints what is wrong with each case, or "".
ON_FOUR_DEVICES = """
import json, re, sys
import jax, jax.numpy as jnp, numpy as np
from jax.sharding import AxisType, NamedSharding, PartitionSpec as P
jax.config.update("jax_num_cpu_devices", 4)
from helpers.unrolls import draw_like, quick_jit as jit
from rnn_jax import cells, unroll
from rnn_jax.types import tree_map

LSTM = cells.get("lstm")
params = LSTM.init_params(jax.random.key(0), 3, 5)
xs = jax.random.normal(jax.random.key(1), (7, 8, 3))
plain = (params, xs, None, None, None)
full = (params, xs, draw_like(LSTM.init_carry((8,), 5), 2), jnp.array([7, 4, 0, 7, 2, 3, 7, 1]),
        jax.random.bernoulli(jax.random.key(3), 0.2, (7, 8)))
SPECS = (P(), P(None, "d"), P("d"), P("d"), P(None, "d"))
AUTO, EXPLICIT = (jax.make_mesh((4,), ("d",), axis_types=(kind,)) for kind in (AxisType.Auto, AxisType.Explicit))


def loss_of(backend):
    def loss(params, xs, carry, lengths, resets):
        final, ys = unroll(LSTM, params, xs, carry=carry, lengths=lengths, resets=resets, backend=backend)
        return (ys**2).sum() + sum(jnp.sin(part).sum() for part in final)
    return loss


def spread(arguments, mesh, specs=SPECS):
    pairs = zip(arguments, specs, strict=True)
    return tuple(jax.device_put(argument, NamedSharding(mesh, spec)) for argument, spec in pairs)


def gradient(loss):
    return jax.value_and_grad(loss, (0, 1))


def unlike(found, wanted):
    try:
        tree_map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5), found, wanted)
    except AssertionError as error:
        return str(error)
    return ""


def by_shard_map(loss):
    return gradient(jax.shard_map(lambda *a: jax.lax.psum(loss(*a), "d"), mesh=AUTO, in_specs=SPECS, out_specs=P()))


def in_shard_map(loss):
    out = (P(), (P(), P(None, "d")))

    def of_share(*arguments):
        value, gradients = gradient(loss)(*arguments)
        return jax.lax.psum(value, "d"), gradients

    return jax.shard_map(of_share, mesh=AUTO, in_specs=SPECS, out_specs=out)


def whole_batch_gathered(loss, arguments):
    'What the partitioned program of `native` must not have: a gathered batch, calls for all 8 sequences.'
    text = jit(gradient(loss)).lower(*arguments).compile().as_text()
    calls = re.findall(r'= \\(f32\\[7,(\\d)[^\\n]*rnn_jax_forward', text)
    return "" if "all-gather" not in text and calls == ["2"] else f"{calls} {'all-gather' in text}"


def cases(backend):
    loss = loss_of(backend)
    some = (*full[:4], None) if backend == "native" else full  # which has no resets
    wanted, wanted_plain = (jit(gradient(loss_of("scan")))(*arguments) for arguments in (some, plain))

    def automatic():
        arguments = spread(some, AUTO)
        wrong = unlike(jit(gradient(loss))(*arguments), wanted)
        return wrong or (whole_batch_gathered(loss, arguments) if backend == "native" else "")

    def explicit():
        found = jit(gradient(loss))(*spread(some, EXPLICIT))
        kept = found[1][1].sharding.spec == P(None, "d", None)
        return unlike(found, wanted) or ("" if kept else str(found[1][1].sharding))

    def explicit_plain():
        with jax.set_mesh(EXPLICIT):
            return unlike(jit(gradient(loss))(*spread(plain, EXPLICIT)), wanted_plain)

    return {
        "shard_map": lambda: unlike(jit(by_shard_map(loss))(*some), wanted),
        "shard_map_plain": lambda: unlike(jit(by_shard_map(loss))(*plain), wanted_plain),
        "grad_in_shard_map": lambda: unlike(jit(in_shard_map(loss))(*some), wanted),
        "automatic": automatic,
        "explicit": explicit,
        "explicit_plain": explicit_plain,
    } | (by_native_alone(loss, some, wanted) if backend == "native" else {})


def by_native_alone(loss, some, wanted):
    # Four parameters at once, of one batch that is spread and by one device each.
    several = (tree_map(lambda a: jnp.stack((a, 2 * a, -a, 0 * a)), params), *some[1:])
    of_each, by_scan = (jit(jax.vmap(gradient(f), (0, None, None, None, None))) for f in (loss, loss_of("scan")))
    wanted_of_each = by_scan(*several)

    def spread_where_vmapped():
        arguments = (*spread(several[:1], AUTO, (P("d"),)), *several[1:])
        moved = re.findall("all-[a-z]+", of_each.lower(*arguments).compile().as_text())
        return unlike(of_each(*arguments), wanted_of_each) or ", ".join(moved)

    def two_axes():
        square = jax.make_mesh((2, 2), ("d", "e"), axis_types=(AxisType.Auto,) * 2)
        weights = params._replace(w_hh=jax.device_put(params.w_hh, NamedSharding(square, P(None, "e"))))
        return unlike(jit(gradient(loss))(weights, *spread(some[1:], square, SPECS[1:])), wanted)

    def uneven():
        # XLA would make up rows for the last of 4 shares of 10, and the weights' gradient is a sum over rows.
        ten = lambda loss: lambda p, x, *rest: loss(p, jnp.concatenate((x, x[:, :2]), 1), None, None, None)
        found = jit(gradient(ten(loss)))(*spread(plain, AUTO))
        return unlike(found, jit(gradient(ten(loss_of("scan"))))(*plain))

    return {
        "vmapped": lambda: unlike(of_each(*spread(several, AUTO)), wanted_of_each),
        "spread_where_vmapped": spread_where_vmapped,
        "two_axes": two_axes,
        "uneven": uneven,
    }


def tried(case):
    try:
        return case()
    except Exception as error:
        return f"{type(error).__name__}: {error}"[:2000]


print(json.dumps({backend: {way: tried(case) for way, case in cases(backend).items()} for backend in sys.argv[1:]}))
"""


@pytest.fixture(scope="module")
def wrong():
    """What is wrong with each case of each back end: "", or the difference."""
    tests = Path(__file__).parent
    env = os.environ | {"PYTHONPATH": os.pathsep.join((str(tests), str(tests.parent)))}
    command = [sys.executable, "-W", "error", "-c", ON_FOUR_DEVICES, *BACKENDS]
    ran = subprocess.run(command, env=env, capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stderr
    return json.loads(ran.stdout)


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("backend", BACKENDS)
def test_a_spread_batch_is_the_same_batch(wrong, backend, way):
    assert wrong[backend][way] == ""


@pytest.mark.skipif(not native.vector_width(), reason="no compiler")
@pytest.mark.parametrize("way", BY_NATIVE_ALONE)
def test_shares_of_the_loops(wrong, way):
    assert wrong["native"][way] == ""
