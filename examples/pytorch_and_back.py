"""A PyTorch LSTM goes on being trained in JAX, and comes back."""

import jax.numpy as jnp
import numpy as np
import optax
import torch
from flax import nnx

from rnn_jax.convert import load_torch, to_torch
from rnn_jax.models import LSTM

theirs = torch.nn.LSTM(3, 8, num_layers=2, bidirectional=True, batch_first=True)
ours = LSTM(3, 8, num_layers=2, bidirectional=True, rngs=nnx.Rngs(0))
xs = np.random.default_rng(0).standard_normal((4, 20, 3), dtype=np.float32)


def outputs_of_theirs():
    with torch.no_grad():
        return theirs(torch.from_numpy(xs))[0].numpy()


def loss(model):
    return jnp.mean(model(xs)[1] ** 2)


load_torch(ours, theirs.state_dict())
before = abs(outputs_of_theirs() - ours(xs)[1]).max()

optimizer = nnx.Optimizer(ours, optax.adam(0.01), wrt=nnx.Param)
first, gradient = nnx.value_and_grad(loss)(ours)
optimizer.update(ours, gradient)

theirs.load_state_dict({name: torch.from_numpy(array) for name, array in to_torch(ours).items()})
after = abs(outputs_of_theirs() - ours(xs)[1]).max()
print(f"loss {first:.5f}, after a step {loss(ours):.5f}; outputs differ by {before:.1e} before it, {after:.1e} after")
assert before < 1e-5
assert after < 1e-5
assert loss(ours) < first
