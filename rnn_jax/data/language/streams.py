"""One long text as B streams side by side, read chunk after chunk: what a chunk ends with, the next begins with."""

from typing import NamedTuple

import numpy as np


class Streams(NamedTuple):
    """B streams of a text of N tokens; stream b begins at token b N / B of an epoch's text.

    In epoch 0 that text begins with its first token. In a later one it begins at a place that is a function of the
    epoch, and goes on from its last token to its first: so that the borders of chunks and streams, which no gradient
    passes, lie elsewhere in each. `moving` False: in all epochs at the first.

    Attributes:
        tokens: `[N]` integers.
        batch_size: B.
        num_steps: T, tokens of a chunk.
        moving: see above.
    """

    tokens: np.ndarray
    batch_size: int
    num_steps: int
    moving: bool = True

    @property
    def num_chunks(self) -> int:
        """Chunks of an epoch: what is left over, less than one chunk of each stream, is not read in it."""
        return len(self.tokens) // self.batch_size // self.num_steps

    def read(self, epoch: int, first: int, count: int) -> np.ndarray:
        """Some chunks of all streams, and the token that follows: `[B, count T + 1]` int32.

        Args:
            epoch: from 0.
            first: the first chunk, from 0.
            count: how many; beyond the last chunk a stream goes on with the one beside it.

        >>> Streams(np.arange(12), batch_size=2, num_steps=3).read(0, 1, 1).tolist()
        [[3, 4, 5, 6], [9, 10, 11, 0]]
        """
        size = len(self.tokens)
        begin = 0
        if self.moving and epoch > 0:
            begin = int(np.random.default_rng(epoch).integers(size))
        starts = begin + np.arange(self.batch_size) * (size // self.batch_size) + first * self.num_steps
        places = (starts[:, None] + np.arange(count * self.num_steps + 1)) % size
        return np.asarray(self.tokens[places], np.int32)
