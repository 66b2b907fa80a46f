"""Where the file of a data set lies."""

from os import PathLike
from pathlib import Path

from rnn_jax.data.errors import DataError


def find(data_dir: str | PathLike[str], file: str, source: str) -> Path:
    """The path of `file`, or of the same with `.gz`, in `data_dir`.

    Args:
        data_dir: the folder with data files.
        file: its name without `.gz`.
        source: where to get it, for the message: what follows "download".

    Raises:
        DataError: there is neither.
    """
    for name in (file, f"{file}.gz"):
        if (Path(data_dir) / name).is_file():
            return Path(data_dir) / name
    raise DataError(f"no {file} in data_dir={data_dir}: download {source} and put its {file} there")
