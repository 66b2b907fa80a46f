"""A sweep that is killed twice ends with every point run exactly once.

    python -m drills.sweep FOLDER

24 points of 3 seeds on the built-in series. First everything is killed at once, as when a machine loses its power: the
sweep, its jobs and the commands of its points. Then the sweep alone, whose jobs go on and are met by the next start. At
the end, for every point that was interrupted, the same run without interruption: it has the same log and results.
"""

import json
import os
import shlex
import signal
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
GRID = "cell=rnn,gru,lstm;hidden_size=3,4;learning_rate=0.003,0.01;optimizer=adam,rmsprop"
FLAGS = "--num_seeds=3 --num_hours=1500 --lag=12 --epochs=12 --batch_size=32 --notrees --steps_per_dispatch=10"
POINTS = 24
OF_THE_CLOCK = {"compile_seconds", "train_seconds"}


def start(folder: Path) -> subprocess.Popen:
    """The sweep, as the leader of a group of processes."""
    command = [sys.executable, "launch.py", "sweep", "forecast", f"--grid={GRID}", "--jobs=2", f"--workdir={folder}"]
    return subprocess.Popen([*command, *FLAGS.split()], cwd=ROOT, start_new_session=True)


def points(folder: Path) -> list[dict]:
    file = folder / "sweep.json"
    return json.loads(file.read_text())["points"] if file.exists() else []


def wait_for(folder: Path, sweep: subprocess.Popen, done: int) -> None:
    """Until so many points have results and another is in the middle of its training."""
    while True:
        assert sweep.poll() is None, "the sweep ended by itself"
        finished = {path.parent for path in folder.glob("points/*/results.json")}
        training = {path.parent for path in folder.glob("points/*/metrics.jsonl")} - finished
        if len(finished) >= done and training:
            return
        time.sleep(0.1)


def kill_everything(folder: Path, sweep: subprocess.Popen) -> set[str]:
    """The group of the sweep, and the commands of its points, which have groups of their own.

    Returns the points that had written their results, but may not have shown them.
    """
    os.killpg(sweep.pid, signal.SIGKILL)
    for point in points(folder):
        lock = folder / "logs" / f"{point['name']}.lock"
        if point["state"] == "running" and lock.exists() and lock.read_text():
            pid = json.loads(lock.read_text())["pid"]
            command = Path(f"/proc/{pid}/cmdline")
            if command.exists() and str(folder) in command.read_text():
                os.kill(pid, signal.SIGKILL)
    sweep.wait()
    running = {point["name"] for point in points(folder) if point["state"] == "running"}
    return {name for name in running if (folder / "points" / name / "results.json").exists()}


def log_of(run: Path) -> list[dict]:
    records = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    return [{name: value for name, value in record.items() if name not in OF_THE_CLOCK} for record in records]


def results_of(run: Path) -> dict:
    found = json.loads((run / "results.json").read_text())
    return {name: value for name, value in found.items() if name not in OF_THE_CLOCK}


def main(folder: Path) -> None:
    began = time.monotonic()
    sweep = start(folder)
    wait_for(folder, sweep, done=5)
    unseen = kill_everything(folder, sweep)
    print(f"--- killed everything with {sum(p['state'] == 'done' for p in points(folder))} points done", flush=True)

    sweep = start(folder)
    wait_for(folder, sweep, done=14)
    sweep.kill()
    sweep.wait()
    print(
        f"--- killed the sweep alone with {sum(p['state'] == 'done' for p in points(folder))} points done", flush=True
    )

    sweep = start(folder)
    assert sweep.wait() == 0
    print(f"--- {time.monotonic() - began:.0f} s", flush=True)

    found = points(folder)
    assert len(found) == len({point["name"] for point in found}) == len(list(folder.glob("points/*"))) == POINTS
    assert all(point["state"] == "done" for point in found)
    for point in found:
        said = (folder / "logs" / f"{point['name']}.out").read_text()
        shown = said.count("| persistence ")
        assert shown == 1 or (shown == 0 and point["name"] in unseen), (
            f"{point['name']} has shown its table {shown} times"
        )
        steps = [record["step"] for record in log_of(folder / "points" / point["name"])]
        assert steps == sorted(set(steps)), f"{point['name']} has logged a step twice"
    again = [point for point in found if point["starts"] > 1]
    assert again, "no point was interrupted"
    print(f"--- every point once; begun again: {len(again)}; these without interruption:", flush=True)

    core = ["taskset", "-c", str(min(os.sched_getaffinity(0)))]  # a point had one core of two
    for point in again:
        alone = folder.with_name(f"{folder.name}-alone") / point["name"]
        flags = [f"--{name}={value}" for name, value in point["values"].items()]
        command = [*core, sys.executable, "launch.py", "forecast", f"--workdir={alone}", *flags, *FLAGS.split()]
        subprocess.run(command, cwd=ROOT, check=True, capture_output=True)
        run = folder / "points" / point["name"]
        same = log_of(run) == log_of(alone) and results_of(run) == results_of(alone)
        print(f"{point['name']}: {'the same' if same else f'differs: diff -r {run} {alone}'}", flush=True)
        assert same, shlex.join(command)


if __name__ == "__main__":
    main(Path(sys.argv[1]).resolve())
