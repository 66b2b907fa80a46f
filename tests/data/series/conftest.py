"""What tests of series share: a file as a user would have it."""

import pytest


@pytest.fixture
def write(tmp_path):
    """Writes a text, or bytes, to a file and returns its path."""

    def write(text, name="some.csv"):
        path = tmp_path / name
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        return path

    return write
