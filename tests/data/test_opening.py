"""What is no regular file is refused at once, and nothing is read beyond a limit, packed or not."""

import gzip
import lzma
import os
import socket

import pytest

from rnn_jax.data.errors import DataError, listed, shown
from rnn_jax.data.opening import check_regular, is_packed, opened

PACKERS = {"plain": bytes, "gzip": gzip.compress, "xz": lzma.compress}


@pytest.fixture(params=PACKERS)
def pack(request):
    return PACKERS[request.param]


def test_reads_and_seeks(tmp_path, pack):
    content = bytes(range(256)) * 5000
    (tmp_path / "a").write_bytes(pack(content))
    with opened(tmp_path / "a", len(content)) as file:
        assert file.read(1000) == content[:1000]
        assert file.seek(700_001) == 700_001
        assert file.read() == content[700_001:]
        assert is_packed(file) == (pack is not bytes)


@pytest.mark.parametrize("size", [0, 1, 5])
def test_short_files(tmp_path, size):
    (tmp_path / "a").write_bytes(b"x" * size)
    with opened(tmp_path / "a") as file:
        assert file.read() == b"x" * size


def test_a_file_beyond_the_limit(tmp_path, pack):
    (tmp_path / "a").write_bytes(pack(b"\0" * 1_000_001))
    with pytest.raises(DataError, match=r"/a holds more than 1,000,000 bytes: take another$"):
        opened(tmp_path / "a", 1_000_000, "take another").read()


def test_a_bomb_takes_no_memory(tmp_path):
    with gzip.open(tmp_path / "a", "wb") as file:
        for _ in range(200):
            file.write(b"\0" * 1_000_000)
    assert (tmp_path / "a").stat().st_size < 250_000
    with opened(tmp_path / "a", 1_000_000) as file:
        with pytest.raises(DataError, match="more than 1,000,000 bytes"):
            file.read()
        assert file.tell() < 2_000_000


@pytest.mark.parametrize("packer", [gzip.compress, lzma.compress])
def test_a_damaged_file(tmp_path, packer):
    whole = packer(os.urandom(10_000))
    changed = bytearray(whole)
    changed[len(whole) // 2] ^= 1
    for content in (whole[:-5], bytes(changed)):
        (tmp_path / "a").write_bytes(content)
        with pytest.raises(DataError, match=r"/a is damaged or cut short \(.+\): fetch it again$"):
            opened(tmp_path / "a").read()


class TestRefused:
    def test_a_pipe_without_waiting_for_a_writer(self, tmp_path):
        os.mkfifo(tmp_path / "a")
        with pytest.raises(DataError, match=r"/a is a pipe, a socket or a device: name a regular file$"):
            opened(tmp_path / "a")

    def test_a_socket(self, tmp_path, monkeypatch):
        monkeypatch.chdir(tmp_path)  # the address of a socket is short
        with socket.socket(socket.AF_UNIX) as server:
            server.bind("a")
            with pytest.raises(DataError, match=r"^a is a pipe, a socket"):
                opened("a")

    @pytest.mark.parametrize("device", ["/dev/zero", "/dev/null"])
    def test_a_device(self, device, tmp_path):
        (tmp_path / "link").symlink_to(device)
        for path in (device, tmp_path / "link"):
            with pytest.raises(DataError, match=f"^{path} is a pipe, a socket or a device"):
                opened(path)

    def test_what_is_not_there(self, tmp_path):
        (tmp_path / "loop").symlink_to("loop")
        (tmp_path / "a").write_bytes(b"")
        cases = {
            tmp_path: "is a folder: name a file",
            tmp_path / "nowhere": "^no file",
            tmp_path / "a" / "b": "^no file",
            "a\0b": "^no file",
            tmp_path / "loop": "^cannot read .*loop: ",
            "x" * 5000: "^cannot read x+: File name too long",
        }
        for path, message in cases.items():
            with pytest.raises(DataError, match=message):
                check_regular(path)

    @pytest.mark.skipif(os.geteuid() == 0, reason="may read everything")
    def test_a_file_that_may_not_be_read(self, tmp_path):
        (tmp_path / "a").write_bytes(b"x")
        (tmp_path / "a").chmod(0)
        with pytest.raises(DataError, match=r"cannot read .*/a: Permission denied"):
            opened(tmp_path / "a")


def test_messages_are_short_and_have_no_control_characters():
    assert len(shown("\x1b[2J" * 100_000)) < 400
    assert "\x1b" not in shown("\x1b[2J" * 100_000)
    assert len(listed(["x" * 100_000] * 100_000)) < 3000
