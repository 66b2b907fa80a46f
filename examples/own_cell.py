"""A cell of one's own: a leaky unit, h_t = (1 - a) h_{t-1} + a tanh(x_t W + h_{t-1} U), with a share a for each."""

import jax
import jax.numpy as jnp
import optax

from rnn_jax import Cell, unroll


def init_params(key, input_size, hidden_size, dtype=jnp.float32):
    key_w, key_u = jax.random.split(key)
    w = jax.random.normal(key_w, (input_size, hidden_size), dtype) / input_size**0.5
    u = jax.random.normal(key_u, (hidden_size, hidden_size), dtype) / hidden_size**0.5
    return {"w": w, "u": u, "leak": jnp.linspace(-3, 3, hidden_size, dtype=dtype)}


def init_carry(batch_shape, hidden_size, dtype=jnp.float32):
    return jnp.zeros((*batch_shape, hidden_size), dtype)


def recur(params, h, projected):
    a = jax.nn.sigmoid(params["leak"])
    h = (1 - a) * h + a * jnp.tanh(projected + h @ params["u"])
    return h, h


# `project` is what does not need the carry: one large product for all steps.
leaky = Cell("leaky", init_params, init_carry, recur, project=lambda params, xs: xs @ params["w"])

# The task: the mean of the last ten inputs.
T, B, H = 60, 64, 24
xs = jax.random.normal(jax.random.key(0), (T, B, 1))
sums = jnp.cumsum(xs, axis=0)
wanted = (sums[10:] - sums[:-10]) / 10


def loss(params):
    _, hs = unroll(leaky, params["cell"], xs, hidden_size=H)
    return jnp.mean((hs[10:] @ params["head"] - wanted) ** 2)


optimizer = optax.adam(0.01)


@jax.jit
def train_step(state, _):
    params, moments = state
    value, gradient = jax.value_and_grad(loss)(params)
    updates, moments = optimizer.update(gradient, moments)
    return (optax.apply_updates(params, updates), moments), value


params = {"cell": leaky.init_params(jax.random.key(1), 1, H), "head": jnp.zeros((H, 1))}
_, losses = jax.lax.scan(train_step, (params, optimizer.init(params)), length=400)
print(f"mean squared error {losses[-1]:.4f}, of the mean {losses[0]:.4f}")
assert losses[-1] < 0.1 * losses[0]
