"""The figures that a test draws."""

import pytest
from matplotlib.figure import Figure


@pytest.fixture
def figures(monkeypatch):
    """The figures that were written, to be looked into; each file has to be a picture."""
    kept, write = [], Figure.savefig

    def savefig(figure, path):
        write(figure, path)
        assert path.read_bytes()[:4] == b"\x89PNG"
        assert path.stat().st_size > 5_000
        kept.append(figure)

    monkeypatch.setattr(Figure, "savefig", savefig)
    return kept
