"""Weights from and to other libraries: `rnn_jax.convert.torch`, `rnn_jax.convert.flax`."""
