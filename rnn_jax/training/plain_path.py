"""A path that Orbax can take.

Orbax looks for its own files with `glob`, whose patterns it makes of the whole path (`etils.epath`), and a backslash
does not reach the files as one: below a folder called `lr[0.01]` what was saved is not found again. So such a folder
is reached by way of a link to it.
"""

import re
import shutil
import tempfile
import weakref
from pathlib import Path

AWKWARD = re.compile(r"[\\*?\[\]]|:(/|$)")
"""Patterns of `glob`, backslashes, and what would be read as the scheme of an address."""


class PlainPath:
    """A folder under a name without characters that mean something elsewhere.

    Attributes:
        path: leads to the folder, as long as this object lives: itself, or a link in a temporary folder of ours.
    """

    def __init__(self, folder: Path):
        """`folder` has to be there."""
        self.folder = folder.resolve()
        self.path = self.folder
        if AWKWARD.search(str(self.folder)):
            links = tempfile.mkdtemp(prefix="rnn_jax-")
            weakref.finalize(self, shutil.rmtree, links, ignore_errors=True)
            self.path = Path(links) / "folder"
            self.path.symlink_to(self.folder, target_is_directory=True)

    def named(self, message: str) -> str:
        """A message about the path, as one about the folder."""
        return message.replace(str(self.path), str(self.folder))
