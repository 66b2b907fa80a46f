"""The log: what it holds after a restart, whatever the restart found, and the TensorBoard events beside it."""

import io
import json
import os
import struct
import subprocess
import sys
import threading
from pathlib import Path

import pandas as pd
import pytest
from tensorboardX.crc32c import crc32c
from tensorboardX.proto.event_pb2 import Event, SessionLog

import rnn_jax
from rnn_jax.training.log import TrainingLog, read_log

WITH_TORCH = """
import sys
from pathlib import Path
if sys.argv[2] == "before":
    import torch
from rnn_jax.training.log import TrainingLog
log = TrainingLog(Path(sys.argv[1]), 0)
assert ("torch" in sys.modules) == (sys.argv[2] == "before"), "imported for the log"
import torch
assert torch.Tensor is int, "not to be had any more"
"""


def write(folder, first_step, steps, **options):
    log = TrainingLog(folder, first_step, **options)
    for step in steps:
        log.write({"step": step, "loss": 1 / step, "losses": [0.5, 1.5]})
    log.close()


def steps_in(folder):
    return [record["step"] for record in read_log(folder / "metrics.jsonl")]


def read_events(folder):
    """The events of a folder, file by file in the order of writing, every checksum tested."""
    events = []
    for path in sorted((folder / "events").glob("events.out.tfevents.*")):
        content = path.read_bytes()
        while content:
            (length,) = struct.unpack("<Q", content[:8])
            data = content[12 : 12 + length]
            for part, found in ((content[:8], content[8:12]), (data, content[12 + length : 16 + length])):
                crc = crc32c(part)
                masked = ((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF
                assert struct.pack("<I", masked) == found
            events.append(Event.FromString(data))
            content = content[16 + length :]
    return events


class TestJSONLines:
    def test_one_object_per_line(self, tmp_path):
        write(tmp_path, 0, [10, 20], tensorboard=False)
        lines = (tmp_path / "metrics.jsonl").read_text().splitlines()
        assert [json.loads(line) for line in lines] == [
            {"step": 10, "loss": 0.1, "losses": [0.5, 1.5]},
            {"step": 20, "loss": 0.05, "losses": [0.5, 1.5]},
        ]
        assert read_log(tmp_path / "metrics.jsonl") == [json.loads(line) for line in lines]
        frame = pd.read_json(tmp_path / "metrics.jsonl", lines=True)
        assert frame["step"].tolist() == [10, 20]

    def test_a_record_is_there_before_the_log_is_closed(self, tmp_path):
        log = TrainingLog(tmp_path, 0, tensorboard=False)
        log.write({"step": 10, "loss": 0.5})
        assert steps_in(tmp_path) == [10]
        log.close()

    def test_no_file(self, tmp_path):
        assert read_log(tmp_path / "metrics.jsonl") == []

    def test_numbers_come_back_to_the_bit(self, tmp_path):
        log = TrainingLog(tmp_path, 0, tensorboard=False)
        values = [0.1 + 0.2, 1e-320, float("inf"), 2.0**53 + 2]
        log.write({"step": 1, "values": values})
        log.close()
        assert read_log(tmp_path / "metrics.jsonl")[0]["values"] == values


class TestDamage:
    """The log is for people and plots: what can be read of it is read."""

    def test_lines_that_are_no_records(self, tmp_path):
        path = tmp_path / "metrics.jsonl"
        good = [{"step": 10, "loss": 0.5}, {"step": 20, "losses": [1.0, None]}]
        bad = [
            b"",
            b"null",
            b"[1]",
            b"7",
            b'{"loss": 1}',
            b'{"step": "30"}',
            b'{"step": true}',
            b"\xff\x00",
            b"[" * 10**5,
        ]
        lines = [json.dumps(good[0]).encode(), *bad, json.dumps(good[1]).encode(), b'{"step": 30, "lo']
        path.write_bytes(b"\n".join(lines))
        assert read_log(path) == good
        write(tmp_path, 20, [30], tensorboard=False)
        assert steps_in(tmp_path) == [10, 20, 30]

    def test_numbers_that_are_none(self, tmp_path):
        (tmp_path / "metrics.jsonl").write_text('{"step": 1, "loss": "0.5", "grad_norm": null, "update_norm": 2.0}\n')
        assert read_log(tmp_path / "metrics.jsonl") == [{"step": 1, "update_norm": 2.0}]

    def test_what_is_no_file(self, tmp_path):
        (tmp_path / "metrics.jsonl").mkdir()
        assert read_log(tmp_path / "metrics.jsonl") == []


def test_a_disk_that_is_full(tmp_path):
    """An error where something is logged, which ends: no thread that others would wait for."""
    threads = threading.active_count()
    log = TrainingLog(tmp_path, 0)
    assert threading.active_count() == threads
    log.write({"step": 1, "loss": 0.5})
    log.events.file.close()
    log.events.file = io.BufferedWriter(io.FileIO("/dev/full", "wb"))
    for step in range(2, 40):
        with pytest.raises(OSError, match="No space left"):
            log.write({"step": step, "loss": 0.5})
    with pytest.raises(OSError, match="No space left"):
        log.close()
    assert [event.step for event in read_events(tmp_path)] == [1, 1, 1]
    assert steps_in(tmp_path) == list(range(1, 40))


class TestRestart:
    @pytest.mark.parametrize(
        ("at", "kept"), [(0, []), (5, []), (10, [10]), (15, [10]), (20, [10, 20]), (30, [10, 20, 30])]
    )
    def test_what_came_after_is_dropped(self, tmp_path, at, kept):
        write(tmp_path, 0, [10, 20, 30], tensorboard=False)
        write(tmp_path, at, [at + 7], tensorboard=False)
        assert steps_in(tmp_path) == [*kept, at + 7]
        assert sorted(path.name for path in tmp_path.iterdir()) == ["metrics.jsonl"]

    @pytest.mark.parametrize("cut", [1, 2, 10, 25])
    def test_a_torn_last_line(self, tmp_path, cut):
        """Its step runs again, so its record comes again: no line may be lost or glued to the torn one."""
        write(tmp_path, 0, [10, 20, 30], tensorboard=False)
        path = tmp_path / "metrics.jsonl"
        content = path.read_bytes()
        path.write_bytes(content[:-cut])
        complete = [10, 20] if cut > 1 else [10, 20, 30]  # the last byte is the end of the line
        assert steps_in(tmp_path) == complete
        write(tmp_path, 20, [30, 40], tensorboard=False)
        assert steps_in(tmp_path) == [10, 20, 30, 40]
        assert path.read_bytes().startswith(content)

    def test_what_is_kept_stays_to_the_byte(self, tmp_path):
        log = TrainingLog(tmp_path, 0, tensorboard=False)
        for step in (1, 2):
            log.write({"step": step, "loss": 0.1 * step, "best": float("inf"), "losses": [1 / 3, None], "n": 10**17})
        log.close()
        before = (tmp_path / "metrics.jsonl").read_bytes()
        TrainingLog(tmp_path, 2, tensorboard=False).close()
        assert (tmp_path / "metrics.jsonl").read_bytes() == before


class TestEvents:
    def test_hold_the_numbers_of_each_step(self, tmp_path):
        write(tmp_path, 0, [10, 20])
        found = [(e.step, v.tag, v.simple_value) for e in read_events(tmp_path) for v in e.summary.value]
        assert [(step, tag) for step, tag, _ in found] == [(10, "loss"), (20, "loss")]
        assert [value for *_, value in found] == pytest.approx([0.1, 0.05])

    def test_a_restart_tells_which_steps_are_void(self, tmp_path):
        write(tmp_path, 0, [10, 20, 30])
        for path in (tmp_path / "events").iterdir():  # the names hold the second of the start: the next has another
            path.unlink()
        write(tmp_path, 20, [30])
        starts = [e.step for e in read_events(tmp_path) if e.session_log.status == SessionLog.START]
        assert starts == [21]

    def test_none_without_tensorboard(self, tmp_path):
        write(tmp_path, 0, [10], tensorboard=False)
        assert not (tmp_path / "events").exists()

    @pytest.mark.parametrize("when", ["before", "after"])
    def test_pytorch_is_not_imported_for_them(self, tmp_path, when):
        """And who imports it, before or after, has it."""
        (tmp_path / "torch.py").write_text("Tensor = int\n")
        path = os.pathsep.join([str(tmp_path), str(Path(rnn_jax.__file__).parents[1])])
        command = [sys.executable, "-c", WITH_TORCH, str(tmp_path), when]
        ran = subprocess.run(
            command, env={**os.environ, "PYTHONPATH": path}, capture_output=True, text=True, check=False
        )
        assert ran.returncode == 0, ran.stderr
