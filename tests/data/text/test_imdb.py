"""IMDB: copies in the data folder, and download and preparation from a server on this machine."""

import functools
import gzip
import hashlib
import http.server
import sys
import threading

import numpy as np
import pytest
from helpers.archives import packed

from rnn_jax.data.errors import DataError
from rnn_jax.data.text import imdb
from rnn_jax.data.text.cleaning import clean_markup
from rnn_jax.data.text.reviews import fingerprint, repeated_in_train

COUNT = 3
FILES = {
    f"aclImdb/{split}/{kind}/{number}_{rating}.txt": f" A {kind} film, {split} {number}.<br />Caf\u00e9\n".encode()
    for split in ("train", "test")
    for kind, rating in (("neg", 2), ("pos", 9))
    for number in range(COUNT)
}
OTHERS = {"aclImdb/README": b"x", "aclImdb/train/unsup/0_0.txt": b"no label", "aclImdb/train/urls_pos.txt": b"x"}


def unpack(path, files):
    for name, content in files.items():
        (path / name).parent.mkdir(parents=True, exist_ok=True)
        (path / name).write_bytes(content)


def check(data):
    assert (data.name, data.classes, data.validation) == ("imdb", ("negative", "positive"), None)
    assert data.train.names[0] == "train/neg/0_2"
    assert data.test.names == [
        "test/neg/0_2",
        "test/neg/1_2",
        "test/neg/2_2",
        "test/pos/0_9",
        "test/pos/1_9",
        "test/pos/2_9",
    ]
    assert data.test.texts[4] == " A pos film, test 1.<br />Caf\u00e9\n"
    assert clean_markup(data.test.texts[4]) == "a pos film, test 1. caf\u00e9"
    assert data.train.labels.tolist() == [0, 0, 0, 1, 1, 1]


class Handler(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *args):
        pass


@pytest.fixture
def served(tmp_path):
    """An archive on a server: its `Download`, and the server to shut down."""
    content = gzip.compress(packed(FILES | OTHERS))
    folder = tmp_path / "served"
    folder.mkdir()
    (folder / "aclImdb_v1.tar.gz").write_bytes(content)
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Handler, directory=folder)) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        url = f"http://127.0.0.1:{server.server_port}/aclImdb_v1.tar.gz"
        yield imdb.Download(url, len(content), hashlib.sha256(content).hexdigest()), server
        server.shutdown()
        thread.join()


def test_folder(tmp_path):
    unpack(tmp_path, FILES | OTHERS)
    check(imdb.read(tmp_path, per_folder=COUNT))


def test_archive(tmp_path):
    (tmp_path / "aclImdb_v1.tar.gz").write_bytes(gzip.compress(packed(FILES | OTHERS)))
    check(imdb.read(tmp_path, per_folder=COUNT))


def test_incomplete(tmp_path):
    unpack(tmp_path, FILES)
    (tmp_path / "aclImdb/test/pos/1_9.txt").unlink()
    with pytest.raises(DataError, match=r"/aclImdb: aclImdb/test/pos/ should hold 3 reviews, found 2: fetch"):
        imdb.read(tmp_path, per_folder=COUNT)


def test_not_utf_8(tmp_path):
    unpack(tmp_path, FILES | {"aclImdb/train/pos/1_9.txt": b"caf\xe9"})
    with pytest.raises(DataError, match=r"/aclImdb: aclImdb/train/pos/1_9.txt is not UTF-8"):
        imdb.read(tmp_path, per_folder=COUNT)


@pytest.mark.parametrize("name", ["review", "_9", "1x_9", "12345678901_9", "99_9", "-1_9", "\u0661_9"])
def test_a_name_without_a_number(tmp_path, name):
    files = {key: content for key, content in FILES.items() if key != "aclImdb/train/pos/1_9.txt"}
    unpack(tmp_path, files | {f"aclImdb/train/pos/{name}.txt": b"good"})
    with pytest.raises(DataError, match=rf"aclImdb: the name of 'train/pos/{name}' does not begin with a number below"):
        imdb.read(tmp_path, per_folder=COUNT)


def test_download(tmp_path, served, capfd):
    pytest.importorskip("tensorflow_datasets")
    download, server = served
    data_dir = tmp_path / "data"
    first = imdb.read(data_dir, download=download, per_folder=COUNT)
    check(first)
    server.shutdown()
    server.server_close()
    again = imdb.read(data_dir, download=download, per_folder=COUNT)
    unpack(tmp_path / "copy", FILES)
    copy = imdb.read(tmp_path / "copy", per_folder=COUNT)
    assert fingerprint(first) == fingerprint(again) == fingerprint(copy)
    assert first.train.names == again.train.names == copy.train.names
    assert not list(data_dir.rglob("*.tar.gz"))  # prepared, so no longer needed
    assert not list(data_dir.rglob("*download*"))
    assert list(data_dir.rglob("*.array_record*"))
    assert capfd.readouterr() == ("", "")
    assert "tensorflow" not in sys.modules


def test_damaged_after_preparation(tmp_path, served):
    pytest.importorskip("tensorflow_datasets")
    download, _ = served
    imdb.read(tmp_path, download=download, per_folder=COUNT)
    record = next(tmp_path.rglob("*train.array_record*"))
    record.write_bytes(record.read_bytes()[: record.stat().st_size // 2])
    with pytest.raises(DataError, match=r"imdb_labelled/plain_text/1.0.0 is damaged .*: delete this folder$"):
        imdb.read(tmp_path, download=download, per_folder=COUNT)


def test_wrong_checksum(tmp_path, served, capfd):
    pytest.importorskip("tensorflow_datasets")
    download, _ = served
    with pytest.raises(DataError) as error:
        imdb.read(tmp_path / "data", download=download._replace(sha256="0" * 64), per_folder=COUNT)
    assert str(error.value) == (
        f"{download.url} has a wrong checksum (SHA-256 should be {'0' * 64}): "
        f"try again later, or put a sound aclImdb_v1.tar.gz into data_dir={tmp_path / 'data'}"
    )
    assert not [path for path in (tmp_path / "data").rglob("*.gz*") if path.is_file()]
    assert capfd.readouterr() == ("", "")
    check(imdb.read(tmp_path / "data", download=download, per_folder=COUNT))


def test_no_server(tmp_path, served, capfd):
    pytest.importorskip("tensorflow_datasets")
    download, server = served
    server.shutdown()
    server.server_close()
    with pytest.raises(DataError) as error:
        imdb.read(tmp_path / "data", download=download, per_folder=COUNT)
    folder = download.url.removesuffix("aclImdb_v1.tar.gz")
    assert str(error.value).startswith(f"no aclImdb in data_dir={tmp_path / 'data'}, and download failed (")
    assert str(error.value).endswith(f"Connection refused): download aclImdb_v1.tar.gz from {folder} and put it there")
    assert "\n" not in str(error.value)
    assert capfd.readouterr() == ("", "")


def test_not_on_the_server(tmp_path, served):
    pytest.importorskip("tensorflow_datasets")
    download, _ = served
    with pytest.raises(
        DataError, match=r"^no aclImdb in .*, and download failed \(.*404.*\): download gone.tar.gz from"
    ):
        imdb.read(tmp_path / "data", download=download._replace(url=download.url.replace("aclImdb_v1", "gone")))


def test_cannot_be_written(tmp_path, served):
    pytest.importorskip("tensorflow_datasets")
    download, _ = served
    (tmp_path / "tensorflow_datasets").write_text("in the way")
    with pytest.raises(DataError, match=r"^cannot write to data_dir=\S+ \(.+\): take a folder that can be written, or"):
        imdb.read(tmp_path, download=download, per_folder=COUNT)


def test_without_the_package(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "tensorflow_datasets", None)
    with pytest.raises(DataError, match=r"^no aclImdb in .* it takes pip install tensorflow-datasets .* put it there$"):
        imdb.read(tmp_path)


def test_facts(real_imdb):
    data = real_imdb
    for split in (data.train, data.test):
        assert np.bincount(split.labels).tolist() == [12_500, 12_500]
        assert all(split.texts)
    assert len({*data.train.texts, *data.test.texts}) == 49_582
    assert repeated_in_train(data).sum() == 123
    assert data.test.names[-1] == "test/pos/9_7"
    assert "<br" not in clean_markup(data.test.texts[0])
    assert data.test.groups is None
