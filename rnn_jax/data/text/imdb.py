"""Film reviews of IMDB: 25,000 to train on, 25,000 to test on, half of each positive.

Source: A. L. Maas, R. E. Daly, P. T. Pham, D. Huang, A. Y. Ng, C. Potts, "Learning Word Vectors for Sentiment
Analysis", ACL 2011; "Large Movie Review Dataset v1.0".

A copy in the data folder is read as it is. Without one TensorFlow Datasets downloads and prepares the archive. Its own
builder needs TensorFlow only to walk the archive, so one that inherits from it walks it with `tarfile`: TensorFlow
need not be installed.
"""

import contextlib
import importlib
import io
import logging
import re
import tempfile
from collections.abc import Iterator
from os import PathLike
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from rnn_jax.data.errors import DataError, shown
from rnn_jax.data.text import archive
from rnn_jax.data.text.films import film_groups
from rnn_jax.data.text.reviews import CLASSES, ReviewData, Reviews, from_files

__all__ = ["CLASSES", "NAME", "OFFICIAL", "Download", "read"]

NAME = "imdb"
"""Of the data set, as its texts and results carry it."""

FOLDER = "aclImdb"
ARCHIVES = ("aclImdb_v1.tar.gz", "aclImdb_labelled.tar.xz")
# The archive also holds 50,000 reviews without a label, which are left out.
MEMBERS = re.compile(r"aclImdb/(?:train|test)/(?:neg|pos)/[^/]+\.txt")
PER_FOLDER = 12_500
PREPARED = "tensorflow_datasets"
"""The folder inside the data folder where TensorFlow Datasets keeps what it prepared."""

TRIES = 3


class Download(NamedTuple):
    """An archive on a server.

    Attributes:
        url: its address.
        size: in bytes.
        sha256: its checksum.
    """

    url: str
    size: int
    sha256: str


OFFICIAL = Download(
    "https://ai.stanford.edu/~amaas/data/sentiment/aclImdb_v1.tar.gz",
    84_125_825,
    "c40f74a18d3b61f90feba1e17730e0d38e8b97c05fde7008942e91923d1658fe",
)
"""The archive on its authors' page."""


def read(data_dir: str | PathLike[str], *, download: Download = OFFICIAL, per_folder: int = PER_FOLDER) -> ReviewData:
    """Reads the labelled reviews, raw, without a validation split; `cleaning.clean_markup` is for them.

    Looks in `data_dir` for the folder `aclImdb`, then for the archives `ARCHIVES`, then for what TensorFlow Datasets
    prepared there before; else it downloads the archive, checks it, and prepares it there.

    No film is in both the training and the test split, as the authors say. The groups of the training split keep it so
    for what is cut from it, as far as the words of the reviews tell of which film they are, see `films`.

    Args:
        data_dir: the data folder.
        download: where the archive is.
        per_folder: how many reviews each of train/neg, train/pos, test/neg and test/pos must hold.

    Raises:
        DataError: files that are missing, damaged or not UTF-8; no copy and no download; a wrong checksum; a folder
            that cannot be written; a missing package.
    """
    files = archive.read_members(data_dir, FOLDER, ARCHIVES, MEMBERS)
    source = archive.find(data_dir, FOLDER, ARCHIVES)
    if files is None:
        source = Path(data_dir, PREPARED)
        files = _read_prepared(Path(data_dir), download)
    train, test = (from_files(files, f"{FOLDER}/{split}", per_folder, str(source)) for split in ("train", "test"))
    return ReviewData(NAME, CLASSES, train._replace(groups=_groups(train, per_folder, str(source))), None, test)


def _groups(reviews: Reviews, per_folder: int, source: str) -> np.ndarray:
    numbers = []
    for name in reviews.names:
        digits = re.match("[0-9]{1,9}(?=_)", name.rpartition("/")[2])
        if digits is None or int(digits[0]) >= per_folder:
            text = f"{source}: the name of {shown(name)} does not begin with a number below {per_folder:,} and _"
            raise DataError(f"{text}: fetch the data set again")
        numbers.append(int(digits[0]))
    return film_groups(reviews.texts, reviews.labels, np.array(numbers))


def _read_prepared(data_dir: Path, download: Download) -> dict[str, bytes]:
    """The files as TensorFlow Datasets has them, which are prepared first if need be."""
    try:
        tfds: Any = importlib.import_module("tensorflow_datasets")
        parent: Any = importlib.import_module("tensorflow_datasets.datasets.imdb_reviews.imdb_reviews_dataset_builder")
    except ImportError as error:
        raise DataError(
            f"{_absent(data_dir)}, and to download it takes pip install tensorflow-datasets importlib_resources "
            f"({_one_line(error)}); or {_by_hand(download)}"
        ) from error
    prepared = data_dir / PREPARED
    with _silence(tfds):
        builder = _make_builder(tfds, parent, data_dir, prepared, download)
        if not builder.data_path.exists():
            # The archive is kept only until it is prepared.
            with _writable(data_dir, prepared) as temporary:
                builder.download_and_prepare(download_dir=temporary)
        try:
            files: dict[str, bytes] = {}
            for split in ("train", "test"):
                examples = builder.as_data_source(split=split)
                files.update((example["name"].decode(), example["text"]) for example in examples)
        except Exception as error:  # the reader raises its own kinds, from C++
            raise DataError(f"{builder.data_path} is damaged ({_one_line(error)}): delete this folder") from error
    return files


def _make_builder(tfds: Any, parent: Any, data_dir: Path, prepared: Path, download: Download) -> Any:
    """A builder that inherits from the one of TensorFlow Datasets but walks the archive without TensorFlow.

    Also unlike that one it keeps the names of the files and the blanks around the texts, and no unlabelled reviews, so
    that what it prepares equals what is read from a copy.
    """

    class Labelled(parent.Builder, skip_registration=True):  # type: ignore[call-arg]
        name = "imdb_labelled"
        pkg_dir_path = Path(parent.__file__).parent
        url_infos: dict[str, Any] = {  # noqa: RUF012 - the base class has it as a class attribute
            download.url: tfds.download.checksums.UrlInfo(download.size, download.sha256, ARCHIVES[0])
        }

        def _info(self) -> Any:
            text = tfds.features.Text
            label = tfds.features.ClassLabel(names=["neg", "pos"])
            features = tfds.features.FeaturesDict({"name": text(), "text": text(), "label": label})
            return self.dataset_info_from_configs(features=features, homepage="https://ai.stanford.edu/~amaas/data/")

        def _split_generators(self, dl_manager: Any) -> dict[str, Any]:
            try:
                path = Path(dl_manager.download(download.url))
            except tfds.download.download_manager.NonMatchingChecksumError as error:
                raise DataError(
                    f"{download.url} has a wrong checksum (SHA-256 should be {download.sha256}): "
                    f"try again later, or put a sound {ARCHIVES[0]} into data_dir={data_dir}"
                ) from error
            except Exception as error:  # the errors of its network libraries have no base in common
                raise DataError(
                    f"{_absent(data_dir)}, and download failed ({_cause(error)}): {_by_hand(download)}"
                ) from error
            files = archive.read_archive(path, MEMBERS)
            return {split: self._generate_examples(files, f"{FOLDER}/{split}/") for split in ("train", "test")}

        def _generate_examples(self, files: dict[str, bytes], folder: str) -> Iterator[tuple[str, dict[str, Any]]]:
            for name, text in files.items():
                if name.startswith(folder):
                    yield name, {"name": name, "text": text, "label": name.split("/")[2]}

    return Labelled(data_dir=prepared, file_format="array_record")


@contextlib.contextmanager
def _writable(data_dir: Path, prepared: Path) -> Iterator[str]:
    """A temporary folder inside `prepared`; errors in writing, there or in the block, become a `DataError`."""
    try:
        with tempfile.TemporaryDirectory(prefix="download-", dir=_made(prepared)) as temporary:
            yield temporary
    except OSError as error:
        raise DataError(
            f"cannot write to data_dir={data_dir} ({error.strerror or _one_line(error)}): "
            f"take a folder that can be written, or put {ARCHIVES[0]} there"
        ) from error


@contextlib.contextmanager
def _silence(tfds: Any) -> Iterator[None]:
    """Without the progress bars and log lines of TensorFlow Datasets, and with a few tries at the server only.

    Its ten tries, each after twice the wait of the last, take over three minutes without a network.
    """
    downloader: Any = importlib.import_module("tensorflow_datasets.core.download.downloader")
    tqdm: Any = importlib.import_module("tensorflow_datasets.core.utils.tqdm_utils")
    loggers = [logging.getLogger(name) for name in ("absl", "urllib3.connectionpool")]
    before = downloader.MAX_RETRIES, tqdm._active, [logger.disabled for logger in loggers]
    downloader.MAX_RETRIES = TRIES
    tfds.disable_progress_bar()
    for logger in loggers:
        logger.disabled = True
    try:
        with contextlib.redirect_stdout(io.StringIO()):
            yield
    finally:
        downloader.MAX_RETRIES, tqdm._active, disabled = before
        for logger, value in zip(loggers, disabled, strict=True):
            logger.disabled = value


def _made(folder: Path) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def _absent(data_dir: Path) -> str:
    return f"no {FOLDER} in data_dir={data_dir}"


def _by_hand(download: Download) -> str:
    folder, _, file = download.url.rpartition("/")
    return f"download {file} from {folder}/ and put it there"


def _cause(error: BaseException) -> str:
    """The first of a chain of errors: "Connection refused" rather than what each library says about it."""
    while error.__context__ is not None:
        error = error.__context__
    return _one_line(error)


def _one_line(error: BaseException) -> str:
    return " ".join(str(error).split()) or type(error).__name__
