"""Checkpoints: which are kept, the same bits back, and damage of every kind stepped over."""

import hashlib
import json
import re
import shutil
import tempfile
from functools import cache
from typing import ClassVar

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from helpers.disk import no_file_above
from helpers.toy_tasks import PER_EPOCH, assert_same_bits, regression_data, regression_functions, start

from rnn_jax.training import parts
from rnn_jax.training.checkpoints import Checkpoints, load_params, save_params
from rnn_jax.training.errors import TrainingError
from rnn_jax.training.plain_path import PlainPath
from rnn_jax.training.restoring import check_files, read_checkpoint
from rnn_jax.training.shared_checkpoints import SharedCheckpoints

SEEDS = [3, 11]


@cache
def after_epochs():
    """The states of two seeds after 0 to 5 epochs, as NumPy arrays."""
    functions, data = regression_functions(), regression_data()
    states = start(functions, SEEDS)
    found = [jax.tree.map(np.array, states)]
    for epoch in range(5):
        order = functions.order(states.seed, epoch)
        states, _ = functions.steps(states, order, data, epoch, 0, PER_EPOCH)
        states, _ = functions.evaluate(states, data, epoch)
        found.append(jax.tree.map(np.array, states))
    return found


def save(folder, steps, losses=None, keep=3):
    checkpoints = Checkpoints(folder, keep)
    for step, loss in zip(steps, losses or [1.0 / step for step in steps], strict=True):
        checkpoints.save(step, after_epochs()[step], {"train_seconds": 1.5 * step}, loss)
    checkpoints.close()


def restore(folder):
    """What a new process would find: the checkpoint, the steps that are left, and that saving still works."""
    checkpoints = Checkpoints(folder)
    try:
        restored = checkpoints.restore_latest(after_epochs()[0])
        left = sorted(checkpoints.manager.all_steps())
        checkpoints.save(9, after_epochs()[5], {"train_seconds": 13.5}, 0.01)
        checkpoints.save(10, after_epochs()[5], {"train_seconds": 15.0}, 0.02)
        assert checkpoints.manager.best_step() == 9
    finally:
        checkpoints.close()
    return restored, left


class TestADiskThatIsFull:
    STATE: ClassVar = {"a": np.random.default_rng(0).normal(size=50_000), "b": np.random.default_rng(1).normal(size=9)}

    def test_the_one_before_stays_and_nothing_else_is_said(self, tmp_path, capfd):
        checkpoints = Checkpoints(tmp_path)
        checkpoints.save(1, self.STATE, {"train_seconds": 1.0}, 0.5)
        with no_file_above(100_000), pytest.raises(TrainingError) as caught:
            checkpoints.save(2, self.STATE, {"train_seconds": 2.0}, 0.4)
        assert str(caught.value) == f"cannot save step 2 in {tmp_path / 'checkpoints'}: File too large"
        checkpoints.close()
        assert capfd.readouterr().err == ""

        checkpoints = Checkpoints(tmp_path)
        assert checkpoints.restore_latest(self.STATE).step == 1
        checkpoints.save(2, self.STATE, {"train_seconds": 2.0}, 0.4)
        assert checkpoints.restore_latest(self.STATE).step == 2
        checkpoints.close()
        assert sorted(path.name for path in (tmp_path / "checkpoints").iterdir()) == ["1", "2"]

    def test_of_parameters_alone(self, tmp_path, capfd):
        with (
            no_file_above(100_000),
            pytest.raises(TrainingError, match=r"cannot save parameters in .*: File too large"),
        ):
            save_params(tmp_path / "model", self.STATE)
        assert capfd.readouterr().err == ""
        save_params(tmp_path / "model", self.STATE)
        assert load_params(tmp_path / "model", self.STATE)["a"].tobytes() == self.STATE["a"].tobytes()


class TestWhichAreKept:
    def test_the_last_and_the_best(self, tmp_path):
        save(tmp_path, [1, 2, 3, 4, 5], [5.0, 1.0, 4.0, 3.0, 2.0], keep=2)
        checkpoints = Checkpoints(tmp_path, keep=2)
        assert sorted(checkpoints.manager.all_steps()) == [2, 4, 5]
        assert checkpoints.manager.best_step() == 2
        checkpoints.close()

    def test_one_between_two_evaluations_is_not_the_best(self, tmp_path):
        save(tmp_path, [1, 2, 3, 4], [3.0, np.inf, np.inf, np.inf], keep=1)
        checkpoints = Checkpoints(tmp_path, keep=1)
        assert sorted(checkpoints.manager.all_steps()) == [1, 4]
        assert checkpoints.manager.best_step() == 1
        checkpoints.close()

    def test_a_step_that_is_there_is_left_alone(self, tmp_path):
        save(tmp_path, [1, 2])
        checkpoints = Checkpoints(tmp_path)
        checkpoints.save(2, after_epochs()[4], {"train_seconds": 99.0}, 0.0)
        restored = checkpoints.restore_latest(after_epochs()[0])
        checkpoints.close()
        assert_same_bits(restored.state, after_epochs()[2])
        assert restored.clocks == {"train_seconds": 3.0}


class TestRestoring:
    def test_none_there(self, tmp_path):
        checkpoints = Checkpoints(tmp_path)
        assert checkpoints.restore_latest(after_epochs()[0]) is None
        assert checkpoints.manager.best_step() is None
        checkpoints.close()

    def test_the_same_bits_and_types(self, tmp_path):
        """Parameters, the optimizer's state, the best parameters and all counters, in their own types."""
        save(tmp_path, [2, 3, 4])
        restored, left = restore(tmp_path)
        assert restored.step == 4
        assert restored.clocks == {"train_seconds": 6.0}
        assert left == [2, 3, 4]
        assert_same_bits(restored.state, after_epochs()[4])
        assert jax.tree.structure(restored.state) == jax.tree.structure(after_epochs()[4])
        moments = [leaf for leaf in jax.tree.leaves(restored.state.opt_state) if leaf.ndim > 1]
        assert len(moments) == 2
        assert all(np.abs(np.asarray(m)).min() > 0 for m in moments)

    def test_training_goes_on_as_if_nothing_had_happened(self, tmp_path):
        save(tmp_path, [2])
        functions, data = regression_functions(), regression_data()
        states = jax.device_put(restore(tmp_path)[0].state)
        order = functions.order(states.seed, 2)
        states, _ = functions.steps(states, order, data, 2, 0, PER_EPOCH)
        states, _ = functions.evaluate(states, data, 2)
        assert_same_bits(states, after_epochs()[3])

    def test_an_infinite_number(self, tmp_path):
        checkpoints = Checkpoints(tmp_path)
        checkpoints.save(7, after_epochs()[0], {"train_seconds": 0.0}, np.inf)
        assert np.isinf(after_epochs()[0].best_loss).all()
        assert_same_bits(checkpoints.restore_latest(after_epochs()[1]).state, after_epochs()[0])
        checkpoints.close()


def old_fingerprint(state):
    """As it was first written; checkpoints hold it."""
    sha = hashlib.sha256()
    for leaf in jax.tree.leaves(state):
        array = np.asarray(leaf)
        sha.update(f"{array.dtype}{array.shape}".encode())
        sha.update(np.ascontiguousarray(array).tobytes())
    return sha.hexdigest()


@pytest.mark.parametrize("changed", [False, True])
def test_a_checkpoint_written_before_is_read(tmp_path, capsys, changed):
    """What was saved is known by its fingerprint, whoever wrote it: the right one is read, another one is not."""
    save(tmp_path, [2, 3])
    about = tmp_path / "checkpoints" / "3" / "about" / "metadata"
    (tmp_path / "checkpoints" / "3" / "digests.txt").unlink()
    content = json.loads(about.read_text())
    del content["step"], content["loss"]
    content["digest"] = old_fingerprint(after_epochs()[4 if changed else 3])
    about.write_text(json.dumps(content))
    restored, _ = restore(tmp_path)
    assert restored.step == (2 if changed else 3)
    assert ("what is there is not what was saved" in capsys.readouterr().err) == changed


def test_shapes_are_enough_to_restore(tmp_path):
    save(tmp_path, [4])
    checkpoints = Checkpoints(tmp_path)
    shapes = jax.eval_shape(lambda: jax.tree.map(jnp.asarray, after_epochs()[0]))
    assert all(isinstance(leaf, jax.ShapeDtypeStruct) for leaf in jax.tree.leaves(shapes))
    restored = checkpoints.restore_latest(shapes)
    checkpoints.close()
    assert_same_bits(restored.state, after_epochs()[4])


def truncate(path):
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def flip(path):
    """One bit, at a third."""
    content = bytearray(path.read_bytes())
    content[len(content) // 3] ^= 1
    path.write_bytes(content)


def scramble(path):
    """One byte in the middle becomes one that no text holds."""
    content = bytearray(path.read_bytes())
    content[len(content) // 2] = 0xFF
    path.write_bytes(content)


def delete(path):
    path.unlink()


def clear(path):
    path.write_bytes(b"")


# TensorStore reads all arrays at once; the reads that still run when the first one fails find their loop closed.
pytestmark = pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")

DAMAGE = [truncate, clear, flip, scramble, delete]

NEEDED = {"about/metadata", "state/_METADATA", "state/manifest.ocdbt", "state/d/*"}
"""Files without which the state is not known."""


@pytest.fixture(scope="module")
def three(tmp_path_factory):
    """A folder with the checkpoints 1, 2 and 3, and the files of the last by kind: names drawn at random are one."""
    folder = tmp_path_factory.mktemp("three")
    save(folder, [1, 2, 3])
    newest = folder / "checkpoints" / "3"
    kinds = {}
    for path in sorted(newest.rglob("*")):
        if path.is_file():
            name = path.relative_to(newest).as_posix()
            kinds.setdefault(re.sub(r"/d/[0-9a-f]+$", "/d/*", name), []).append(name)
    return folder, kinds


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # Orbax's reads end after its loop
class TestDamage:
    @pytest.mark.parametrize("damage", DAMAGE, ids=lambda damage: damage.__name__)
    def test_of_each_file_in_turn(self, three, tmp_path, capsys, damage):
        """Either the newest is whole all the same, or the one before it is taken and the user told."""
        folder, kinds = three
        assert set(kinds) >= NEEDED | {"metrics/metrics"}
        for kind, names in kinds.items():
            for index, name in enumerate(names):
                copy = tmp_path / f"{kind.replace('/', '_').replace('*', 'any')}-{index}"
                shutil.copytree(folder, copy)
                damage(copy / "checkpoints" / "3" / name)
                restored, left = restore(copy)
                assert_same_bits(restored.state, after_epochs()[restored.step])
                assert restored.clocks == {"train_seconds": 1.5 * restored.step}
                told = capsys.readouterr().err
                if restored.step == 3:
                    assert (kind, damage) == ("digests.txt", delete), f"{damage.__name__} of {name} went unseen"
                    assert left == [1, 2, 3]
                    assert "set aside" not in told
                else:
                    assert restored.step == 2, (damage.__name__, name)
                    assert left == [1, 2]
                    assert told.count("checkpoint 3 is damaged and set aside: ") == 1
                    assert (copy / "damaged" / "3").is_dir()
                    if index == 0:
                        assert restore(copy)[0].step == 10, "saved after the damage; the next start must find it"
                        assert "set aside" not in capsys.readouterr().err

    def test_whole_files_with_the_wrong_arrays(self, three, tmp_path, capsys):
        """No checksum of a file sees this; the fingerprint of what was saved does."""
        shutil.copytree(three[0], tmp_path / "run")
        checkpoints = tmp_path / "run" / "checkpoints"
        shutil.rmtree(checkpoints / "3" / "state")
        (checkpoints / "3" / "digests.txt").unlink()
        shutil.copytree(checkpoints / "1" / "state", checkpoints / "3" / "state")
        restored, _ = restore(tmp_path / "run")
        assert restored.step == 2
        assert_same_bits(restored.state, after_epochs()[2])
        line = "checkpoint 3 is damaged and set aside: what is there is not what was saved\n"
        assert capsys.readouterr().err == line

    @pytest.mark.parametrize("digests", [True, False])
    @pytest.mark.parametrize("seed", range(2))
    def test_any_bit_of_any_file(self, three, tmp_path, capfd, seed, digests):
        """The one before is taken and one line says so: of the damage itself nobody prints a word.

        Without digests of the files, as of an older version: the same bits as were saved, or those of the step before.
        """
        folder, kinds = three
        rng = np.random.default_rng(seed)
        names = [name for several in kinds.values() for name in several if digests or name != "digests.txt"]
        capfd.readouterr()
        for number, name in enumerate(rng.permutation(names)):
            shutil.copytree(folder, tmp_path / str(number))
            file = tmp_path / str(number) / "checkpoints" / "3" / name
            content = bytearray(file.read_bytes())
            content[rng.integers(len(content))] ^= 1 << rng.integers(8)
            file.write_bytes(content)
            if not digests:
                (tmp_path / str(number) / "checkpoints" / "3" / "digests.txt").unlink()
            checkpoints = Checkpoints(tmp_path / str(number))
            restored = checkpoints.restore_latest(after_epochs()[0])
            checkpoints.close()
            assert restored.step in ((2,) if digests else (2, 3))
            assert_same_bits(restored.state, after_epochs()[restored.step])
            assert restored.clocks == {"train_seconds": 1.5 * restored.step}
            assert checkpoints.damaged == [3] * (restored.step == 2)
            if digests:
                assert capfd.readouterr().err.count("\n") == 1

    @pytest.mark.parametrize(
        ("file", "old", "new"),
        [
            ("about/metadata", '"step": 3', '"step": 2'),
            ("about/metadata", '"train_seconds": 4.5', '"train_seconds": 4.4'),
            ("about/metadata", '"loss": 0.', '"loss": 1.'),
            ("metrics/metrics", '"loss": 0.', '"loss": 9.'),
        ],
    )
    def test_a_number_beside_the_arrays(self, three, tmp_path, capsys, file, old, new):
        shutil.copytree(three[0], tmp_path / "run")
        path = tmp_path / "run" / "checkpoints" / "3" / file
        text = path.read_text()
        assert old in text
        (path.parents[1] / "digests.txt").unlink()
        path.write_text(text.replace(old, new))
        assert restore(tmp_path / "run")[0].step == 2
        assert capsys.readouterr().err.startswith("checkpoint 3 is damaged and set aside: ")

    def test_a_number_that_is_the_name_of_a_folder(self, three, tmp_path, capsys):
        """Where a run stands in its data is the number of its step, and nothing else."""
        shutil.copytree(three[0], tmp_path / "run")
        folder = tmp_path / "run" / "checkpoints"
        (folder / "3").rename(folder / "7")
        assert restore(tmp_path / "run")[0].step == 2
        assert capsys.readouterr().err == "checkpoint 7 is damaged and set aside: what is there is not what was saved\n"

    @pytest.mark.parametrize("make", [lambda path: path.mkdir(), lambda path: path.write_text("x")])
    def test_an_empty_folder_or_no_folder(self, three, tmp_path, make):
        shutil.copytree(three[0], tmp_path / "run")
        newest = tmp_path / "run" / "checkpoints" / "3"
        shutil.rmtree(newest)
        make(newest)
        restored, left = restore(tmp_path / "run")
        assert restored.step == 2
        assert left == [1, 2]

    def test_the_two_newest(self, three, tmp_path, capsys):
        shutil.copytree(three[0], tmp_path / "run")
        for step in ("2", "3"):
            truncate(tmp_path / "run" / "checkpoints" / step / "about" / "metadata")
        restored, left = restore(tmp_path / "run")
        assert restored.step == 1
        assert left == [1]
        assert_same_bits(restored.state, after_epochs()[1])
        told = capsys.readouterr().err
        assert re.findall(r"checkpoint (\d) is damaged and set aside", told) == ["2", "3"]

    @pytest.mark.parametrize("name", ["about/metadata", "metrics/metrics"])
    def test_all(self, three, tmp_path, name):
        shutil.copytree(three[0], tmp_path / "run")
        for step in ("1", "2", "3"):
            truncate(tmp_path / "run" / "checkpoints" / step / name)
        checkpoints = Checkpoints(tmp_path / "run")
        with pytest.raises(TrainingError, match=r"^every checkpoint in .*checkpoints was damaged and is now in .*dam"):
            checkpoints.restore_latest(after_epochs()[0])
        checkpoints.close()
        assert sorted(path.name for path in (tmp_path / "run" / "damaged").iterdir()) == ["1", "2", "3"]
        checkpoints = Checkpoints(tmp_path / "run")
        assert checkpoints.restore_latest(after_epochs()[0]) is None, "as the message says, the next start is a new one"
        checkpoints.close()


class TestKilledWhileSaving:
    @pytest.mark.parametrize("files", ["all", "half"])
    def test_what_is_left_is_ignored(self, three, tmp_path, capsys, files):
        """Orbax writes under another name and renames at the end."""
        shutil.copytree(three[0], tmp_path / "run")
        folder = tmp_path / "run" / "checkpoints"
        unfinished = folder / "4.orbax-checkpoint-tmp-1700000000000000"
        shutil.copytree(folder / "3", unfinished)
        if files == "half":
            for path in sorted(p for p in unfinished.rglob("*") if p.is_file())[::2]:
                path.unlink()
            truncate(unfinished / "metrics" / "metrics") if (unfinished / "metrics" / "metrics").exists() else None
        restored, left = restore(tmp_path / "run")
        assert restored.step == 3
        assert left == [1, 2, 3]
        assert capsys.readouterr().err == ""
        assert not unfinished.exists(), "leftovers must not pile up"


AWKWARD = ["lr[0.01]", "[", "a*b", "what?", "a\\b", "a b#50%", "漢ü", "a:b", "gs:"]


@pytest.mark.parametrize("name", AWKWARD)
def test_folders_of_any_name(tmp_path, capsys, name):
    """Saved, found by another process, and damage still told by the name that the folder has."""
    folder = tmp_path / name
    save(folder, [1, 2])
    assert {path.name for path in folder.iterdir()} == {"checkpoints"}
    assert restore(folder)[0].step == 2
    shutil.rmtree(folder / "checkpoints" / "10" / "state")
    assert restore(folder)[0].step == 9
    told = capsys.readouterr().err
    assert told.startswith("checkpoint 10 is damaged and set aside: ")
    assert tempfile.gettempdir() + "/rnn_jax" not in told
    assert (folder / "damaged" / "10").is_dir()


def test_a_folder_that_is_removed_meanwhile_is_not_made_again(tmp_path):
    save(tmp_path / "run", [1])
    checkpoints = Checkpoints(tmp_path / "run")
    shutil.rmtree(tmp_path / "run")
    with pytest.raises(TrainingError, match=r"^cannot save step 2 in .*/run/checkpoints: it is no longer there$"):
        checkpoints.save(2, after_epochs()[2], {"train_seconds": 0.0}, 1.0)
    checkpoints.close()
    assert not (tmp_path / "run").exists()


def test_too_little_memory_is_no_damage(tmp_path, monkeypatch):
    save(tmp_path, [1, 2])
    checkpoints = Checkpoints(tmp_path)

    def full(*args, **kwargs):
        raise MemoryError

    monkeypatch.setattr("rnn_jax.training.restoring.reader", full)
    with pytest.raises(MemoryError):
        checkpoints.restore_latest(after_epochs()[0])
    checkpoints.close()
    monkeypatch.undo()
    assert restore(tmp_path)[0].step == 2


def test_a_disk_that_takes_nothing(tmp_path, monkeypatch):
    save(tmp_path, [1])
    checkpoints = Checkpoints(tmp_path)

    def full(*args, **kwargs):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(checkpoints.manager, "save", full)
    with pytest.raises(TrainingError, match=r"^cannot save step 2 in .*checkpoints: .*No space left on device$"):
        checkpoints.save(2, after_epochs()[2], {"train_seconds": 0.0}, 1.0)
    checkpoints.close()
    assert restore(tmp_path)[0].step == 1


class TestWrittenInParts:
    """Here by one process that has all of them; by several: `test_processes.py`."""

    def save(self, folder, steps):
        checkpoints = Checkpoints(folder)
        for step in steps:
            states = jax.tree.map(jnp.asarray, after_epochs()[step])
            beside = parts.beside(folder, step)
            parts.begin(beside)
            parts.write(beside, states)
            paths = parts.finish(beside)
            shares = [parts.digests_of(beside, paths, member, 3) for member in range(3)]
            files = {path: digest for share in shares for path, digest in share.items()}
            assert len(files) == sum(map(len, shares))
            written = parts.Written(beside, files, parts.types_of(states))
            checkpoints.save(step, written, {"train_seconds": 1.5 * step}, 1.0 / step)
        checkpoints.close()
        return folder / "checkpoints" / str(steps[-1])

    def test_is_read_as_any_other_one(self, tmp_path):
        newest = self.save(tmp_path, [2, 3])
        assert (newest / "parts").is_dir()
        assert not (newest / "state").exists()
        restored, _ = restore(tmp_path)
        assert restored.step == 3
        assert_same_bits(restored.state, after_epochs()[3])
        assert restored.clocks == {"train_seconds": 4.5}

    @pytest.mark.parametrize("digests", [True, False])
    def test_one_of_its_readers_sees_any_damage(self, tmp_path, digests):
        """Killed before it had digests of all files, it has those of its arrays all the same."""
        newest = self.save(tmp_path, [2])
        if not digests:
            (newest / "digests.txt").unlink()
        names = [path.relative_to(newest).as_posix() for path in sorted(newest.rglob("*")) if path.is_file()]
        names = [name for name in names if digests or (name.startswith("parts/") and "commit_success" not in name)]
        assert len(names) > 5  # in how many files TensorStore puts an array differs from time to time
        for name in names:
            before = (newest / name).read_bytes()
            flip(newest / name)
            seen = 0
            for member in range(2):
                try:
                    check_files(newest, member, 2)
                except Exception:
                    seen += 1
            assert seen, name
            (newest / name).write_bytes(before)

    def test_what_it_says_of_itself(self, tmp_path):
        newest = self.save(tmp_path, [2])
        (newest / "digests.txt").unlink()
        about = json.loads((newest / "about" / "metadata").read_text())
        for name, value in {"step": 3, "loss": 0.25, "clocks": {}, "arrays": ["float32(1,)"]}.items():
            (newest / "about" / "metadata").write_text(json.dumps({**about, name: value}))
            with pytest.raises(ValueError, match=r"^(what is there is not what was saved|.* have other shapes)$"):
                read_checkpoint(newest, after_epochs()[2])

    def test_by_all_processes_and_never_twice_in_a_folder_of_the_same_name(self, tmp_path, monkeypatch):
        """One process, which takes its state for one in parts: what comes late, under an old name, spoils nothing."""
        folders, write = [], parts.write

        def noted(folder, states):
            folders.append(folder)
            write(folder, states)

        monkeypatch.setattr(parts, "write", noted)
        monkeypatch.setattr(parts, "lies_in_parts", lambda states: True)
        checkpoints = SharedCheckpoints(tmp_path)
        checkpoints._plain = PlainPath(tmp_path)
        for step in (1, 2, 2, 3):
            checkpoints.save(step, jax.tree.map(jnp.asarray, after_epochs()[step]), {"train_seconds": 1.0}, 1.0 / step)
        with (
            no_file_above(0),
            pytest.raises(TrainingError, match=r"^cannot save step 4 in .*checkpoints: File too large$"),
        ):
            checkpoints.save(4, jax.tree.map(jnp.asarray, after_epochs()[4]), {"train_seconds": 1.0}, 0.25)
        checkpoints.close()
        assert len(folders) == len(set(folders)) == 4
        assert not any(folder.exists() for folder in folders[:3])
        restored, left = restore(tmp_path)
        assert left == [1, 2, 3]
        assert_same_bits(restored.state, after_epochs()[3])

    def test_arrays_of_another_model(self, tmp_path):
        newest = self.save(tmp_path, [2])
        other = jax.tree.map(lambda leaf: np.zeros((*leaf.shape, 2), leaf.dtype), after_epochs()[2])
        with pytest.raises(ValueError, match="other shapes"):
            read_checkpoint(newest, other)

    def test_what_a_kill_has_left_goes(self, tmp_path):
        (tmp_path / "checkpoints.partial" / "d").mkdir(parents=True)
        Checkpoints(tmp_path).close()
        assert not (tmp_path / "checkpoints.partial").exists()
