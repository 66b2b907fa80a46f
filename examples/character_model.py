"""A GRU that learns to write one character after another, and what it then writes."""

import jax
import jax.numpy as jnp
import numpy as np
import optax

from rnn_jax import cells, unroll
from rnn_jax.generate import generate

TEXT = """
Humpty Dumpty sat on a wall,
Humpty Dumpty had a great fall.
All the king's horses and all the king's men
Couldn't put Humpty together again.
"""
LETTERS = sorted(set(TEXT))
tokens = np.array([LETTERS.index(letter) for letter in TEXT])
V, H, T = len(LETTERS), 64, 32

gru = cells.get("gru")
key_gru, key_head = jax.random.split(jax.random.key(0))
params = {"gru": gru.init_params(key_gru, V, H), "w": jax.random.normal(key_head, (H, V)) / H**0.5}

starts = np.arange(len(tokens) - T)
windows = jnp.asarray(tokens[starts + np.arange(T + 1)[:, None]])  # [T + 1, B]: every window of the text


def loss(params, windows):
    _, ys = unroll(gru, params["gru"], jax.nn.one_hot(windows[:-1], V))
    return optax.softmax_cross_entropy_with_integer_labels(ys @ params["w"], windows[1:]).mean()


optimizer = optax.adam(0.01)


@jax.jit
def train_step(params, state):
    value, gradient = jax.value_and_grad(loss)(params, windows)
    updates, state = optimizer.update(gradient, state)
    return optax.apply_updates(params, updates), state, value


state = optimizer.init(params)
for _ in range(120):
    params, state, value = train_step(params, state)

# To write, the cell reads what it wrote: a letter drawn by its score, the more boldly the higher the temperature.
TEMPERATURE = 0.3
prompt = jnp.array([LETTERS.index(letter) for letter in "\nHumpty"])
carry, _ = unroll(gru, params["gru"], jax.nn.one_hot(prompt[:-1], V)[:, None])
written = generate(
    gru, params["gru"], prompt[-1:], 80,
    lambda y, key: jax.random.categorical(key, y @ params["w"] / TEMPERATURE),
    embed=lambda letter: jax.nn.one_hot(letter, V), carry=carry, key=jax.random.key(1),
)  # fmt: skip
print("Humpty" + "".join(LETTERS[i] for i in written.choices[:, 0]))
print(f"cross-entropy {value:.3f}, of a guess {np.log(V):.3f}")
assert value < 0.2
