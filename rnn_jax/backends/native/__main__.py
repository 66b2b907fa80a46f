"""`python -m rnn_jax.backends.native` compiles the library and says where it is."""

import sys

from rnn_jax.backends import native

if __name__ == "__main__":
    try:
        print(native.build())
    except RuntimeError as error:
        sys.exit(str(error))
