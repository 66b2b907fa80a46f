"""A plot of the log that cannot be drawn costs a line, not the results."""

import json
import shutil

import pytest
from helpers.finished import RUNS, finished
from helpers.running import results_of, run

from experiments import launchable
from experiments.common.curves import draw
from rnn_jax.plotting.training import loss_curves


def test_a_plot_that_cannot_be_drawn_is_a_line(tmp_path, capsys):
    draw(loss_curves, tmp_path / "loss.png", [])
    told = capsys.readouterr().err
    assert told == f"no {tmp_path / 'loss.png'}: metrics.jsonl does not have what it shows (KeyError: 'step')\n"
    draw(loss_curves, tmp_path / "loss.png", [{"step": 1, "loss": 1.0, "grad_norm": 1.0, "update_norm": 1.0}])
    assert (tmp_path / "loss.png").exists()
    assert capsys.readouterr().err == ""


def test_a_disk_that_takes_nothing_is_an_error(tmp_path):
    def full(path):
        raise OSError(28, "No space left on device")

    with pytest.raises(OSError, match="No space left"):
        draw(full, tmp_path / "loss.png")


@pytest.mark.parametrize("damage", ["removed", "no records", "a list for a loss"])
@pytest.mark.parametrize("name", ["memory_copying"])
def test_a_damaged_log_does_not_cost_the_results(tmp_path_factory, tmp_path, name, damage):
    """Of a run that was killed after its last checkpoint."""
    whole = finished(tmp_path_factory, name)
    folder = shutil.copytree(whole.folder, tmp_path / "run")
    (folder / "results.json").unlink()
    log = folder / "metrics.jsonl"
    if damage == "removed":
        log.unlink()
    else:
        contents = {
            "no records": "null\n[]\n{}\nx",
            "a list for a loss": json.dumps({"step": 1, "loss": [[]]}) + "\n",
        }
        log.write_text(contents[damage])
    ran = run(launchable(RUNS[name].experiment).main, *RUNS[name].flags, f"--workdir={folder}")
    assert ran.status == 0, ran.err
    assert results_of(folder)["metrics"] == whole.results["metrics"]
    assert "Traceback" not in ran.err
