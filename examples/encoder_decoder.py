"""Reads a sequence of digits and writes it backwards: one GRU reads, and another one starts from what it has kept."""

import jax
import jax.numpy as jnp
import optax

from rnn_jax import cells, unroll
from rnn_jax.generate import generate

V, T, B, H = 10, 4, 64, 64
BEGIN = V  # a token of its own, the first that the decoder reads
gru = cells.get("gru")
keys = jax.random.split(jax.random.key(0), 4)
params = {
    "embedding": jax.random.normal(keys[0], (V + 1, 16)),
    "encoder": gru.init_params(keys[1], 16, H),
    "decoder": gru.init_params(keys[2], 16, H),
    "head": jax.random.normal(keys[3], (H, V)) / H**0.5,
}


def encode(params, tokens):
    return unroll(gru, params["encoder"], params["embedding"][tokens])[0]


def loss(params, tokens):
    """Teacher forcing: the decoder reads what it should have written, which is known for all steps at once."""
    wanted = tokens[::-1]
    read = jnp.concatenate((jnp.full((1, B), BEGIN), wanted[:-1]))
    _, ys = unroll(gru, params["decoder"], params["embedding"][read], carry=encode(params, tokens))
    return optax.softmax_cross_entropy_with_integer_labels(ys @ params["head"], wanted).mean()


def write(params, tokens):
    """Left to itself: it reads what it wrote."""
    written = generate(
        gru, params["decoder"], jnp.full(tokens.shape[1], BEGIN), T, lambda y: (y @ params["head"]).argmax(-1),
        embed=lambda token: params["embedding"][token], carry=encode(params, tokens),
    )  # fmt: skip
    return written.choices


optimizer = optax.adam(5e-3)


@jax.jit
def train_step(state, key):
    params, moments = state
    value, gradient = jax.value_and_grad(loss)(params, jax.random.randint(key, (T, B), 0, V))
    updates, moments = optimizer.update(gradient, moments)
    return (optax.apply_updates(params, updates), moments), value


(params, _), _ = jax.lax.scan(train_step, (params, optimizer.init(params)), jax.random.split(jax.random.key(1), 500))
tokens = jax.random.randint(jax.random.key(2), (T, 1000), 0, V)
right = (jax.jit(write)(params, tokens) == tokens[::-1]).all(axis=0).mean()
print(f"{right:.1%} of 1,000 new sequences backwards, whole")
assert right > 0.9
