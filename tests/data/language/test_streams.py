"""One text as streams side by side: where a chunk goes on, what an epoch reads, where it begins."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from rnn_jax.data.language.streams import Streams

# N, B, T: tokens of some chunks of all streams, and a rest.
SIZES = st.tuples(st.integers(1, 6), st.integers(0, 30), st.integers(1, 8), st.integers(1, 9)).map(
    lambda drawn: (drawn[0] * drawn[2] * drawn[3] + drawn[1], drawn[2], drawn[3])
)


def of_any_sizes(test):
    return settings(max_examples=50, deadline=None, derandomize=True)(given(sizes=SIZES)(test))


def make(size, batch_size, num_steps, **options):
    """Each token is its own number."""
    return Streams(np.arange(size, dtype=np.uint16), batch_size, num_steps, **options)


class TestChunks:
    @of_any_sizes
    def test_each_goes_on_where_the_one_before_ended(self, sizes):
        """However many are read at once; a chunk's last token is the first that the next one reads."""
        size, batch_size, num_steps = sizes
        streams = make(*sizes)
        for epoch in (0, 2):
            whole = streams.read(epoch, 0, streams.num_chunks)
            assert whole.shape == (batch_size, streams.num_chunks * num_steps + 1)
            assert whole.dtype == np.int32
            assert ((np.diff(whole, axis=1) - 1) % size == 0).all(), "text in its order"
            for chunk in range(streams.num_chunks):
                alone = streams.read(epoch, chunk, 1)
                np.testing.assert_array_equal(
                    alone, whole[:, chunk * num_steps : (chunk + 1) * num_steps + 1], err_msg=str(chunk)
                )

    @of_any_sizes
    def test_streams_begin_at_equal_distances(self, sizes):
        size, batch_size, _ = sizes
        starts = make(*sizes).read(0, 0, 1)[:, 0]
        np.testing.assert_array_equal(starts, np.arange(batch_size) * (size // batch_size))

    @of_any_sizes
    def test_an_epoch_reads_every_token_once_but_for_a_rest(self, sizes):
        size, batch_size, num_steps = sizes
        streams = make(*sizes)
        rest = size - streams.num_chunks * batch_size * num_steps
        assert 0 <= rest < batch_size * (num_steps + 1), "less than a chunk of each stream, and of what no stream has"
        for epoch in range(3):
            read = streams.read(epoch, 0, streams.num_chunks)[:, :-1].ravel()
            assert len(np.unique(read)) == len(read) == size - rest


class TestEpochs:
    streams = make(101, 4, 5)

    def starts(self, streams, epochs=range(6)):
        return [int(streams.read(epoch, 0, 1)[0, 0]) for epoch in epochs]

    def test_begin_elsewhere_but_for_the_first(self):
        starts = self.starts(self.streams)
        assert starts[0] == 0
        assert len(set(starts)) == len(starts)

    def test_are_a_function_of_the_epoch(self):
        again = make(101, 4, 5)
        assert self.starts(again, reversed(range(6))) == self.starts(self.streams)[::-1]
        wide = self.starts(make(101, 2, 11))
        assert wide == self.starts(self.streams), "and of neither streams nor chunks"

    def test_go_on_from_the_last_token_to_the_first(self):
        wrapped = [self.streams.read(epoch, 0, self.streams.num_chunks) for epoch in range(1, 6)]
        assert any((np.diff(read, axis=1) < 0).any() for read in wrapped)

    def test_none_moves_unless_told(self):
        still = make(101, 4, 5, moving=False)
        assert set(self.starts(still)) == {0}
        np.testing.assert_array_equal(still.read(3, 2, 2), self.streams.read(0, 2, 2))


def test_a_dispatch_that_is_longer_than_the_epoch():
    """The last one of an epoch asks for as many chunks as the others."""
    streams = make(24, 2, 4)
    found = streams.read(0, 2, 3)
    assert found.shape == (2, 13)
    np.testing.assert_array_equal(found, (np.array([[8], [20]]) + np.arange(13)) % 24)


def test_a_text_that_is_too_short_has_no_chunk():
    assert make(7, 4, 2).num_chunks == 0
    assert make(8, 4, 2).num_chunks == 1


def test_tokens_may_lie_in_a_file(tmp_path):
    np.arange(60, dtype=np.uint8).tofile(tmp_path / "tokens.bin")
    stored = np.memmap(tmp_path / "tokens.bin", np.uint8, "r")
    found = Streams(stored, 3, 4).read(1, 0, 2)
    assert type(found) is np.ndarray
    np.testing.assert_array_equal(found, make(60, 3, 4).read(1, 0, 2))
