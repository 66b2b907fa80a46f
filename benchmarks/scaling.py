"""The data-parallel step on several devices and in several processes, and a model of it on a thousand accelerators.

    python -m benchmarks.scaling

An LSTM (I 32, H 128, T 32) with a linear layer, back end `manual`, Adam; strong scaling is a batch of 64 for all,
weak scaling 16 examples for each. The devices are threads of a CPU: with more of them than cores a step cannot become
faster, and what is to be seen is what sharing costs. In collectives is what an all-reduce of the same message takes
alone, in a loop. The figures are the fastest of several dispatches: other work on the machine only adds to them.

The model, of n devices, b examples for each, m bytes of gradient:

    t(n) = compute(b) max(1, n / cores) + allreduce(n, m)
    allreduce(n, m) = 2 (n - 1) (latency + m / (n bandwidth))                                  a ring

`compute` is measured on one device; latency and bandwidth from all-reduces of 8 bytes and of m by two members; what it
says of more members is compared with what is measured.

Source of the ring: Patarasuk and Yuan, "Bandwidth optimal all-reduce algorithms for clusters of workstations", 2009.
"""

import argparse
import json
import os
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from tabulate import tabulate

from benchmarks.training import save
from rnn_jax.cells import CELLS
from rnn_jax.training import processes
from rnn_jax.training.devices import BATCH, EVERYWHERE, Devices, choose, put
from rnn_jax.training.functions import make_functions
from rnn_jax.training.step import Task
from rnn_jax.unrolling import unroll

STEPS, INPUTS, HIDDEN, CLASSES = 32, 32, 128, 10
STRONG, WEAK = 64, 16
SHARES = (64, 32, 16, 8)
"""Examples of one device that occur."""

SETTINGS = ((1, 1), (1, 2), (1, 4), (1, 8), (2, 1), (4, 1))
"""Processes, and devices of each."""


class Ring(NamedTuple):
    """A network, or threads that stand for one.

    Attributes:
        latency: seconds of a message between neighbours.
        bandwidth: bytes a second.
    """

    latency: float
    bandwidth: float

    def allreduce(self, members: int, size: float) -> float:
        """Seconds for `size` bytes.

        >>> Ring(1.0, 4.0).allreduce(2, 16.0), Ring(1.0, 4.0).allreduce(1, 16.0)
        (6.0, 0.0)
        """
        return 2 * (members - 1) * (self.latency + size / (members * self.bandwidth))


def fit_ring(members: int, small: tuple[float, float], large: tuple[float, float]) -> Ring:
    """The ring of which two all-reduces were timed, each as bytes and seconds.

    >>> fit_ring(2, (0.0, 2.0), (16.0, 6.0))
    Ring(latency=1.0, bandwidth=4.0)
    """
    slope = max((large[1] - small[1]) / (large[0] - small[0]), 1e-15)
    turns = 2 * (members - 1)
    latency = max(small[1] - slope * small[0], 0.0) / turns
    return Ring(latency, turns / (members * slope))


def make_task(num_examples: int) -> Task:
    """A classifier of random sequences."""

    def init(key: jax.Array) -> Any:
        first, second = jax.random.split(key)
        head = jax.random.normal(second, (HIDDEN, CLASSES), jnp.float32) / HIDDEN**0.5
        return {"layer": CELLS["lstm"].init_params(first, INPUTS, HIDDEN), "head": head}

    def loss(params: Any, batch: Any, key: jax.Array) -> tuple[jax.Array, dict[str, jax.Array]]:
        _, ys = unroll(CELLS["lstm"], params["layer"], batch["x"].swapaxes(0, 1), backend="manual")
        scores = ys[-1] @ params["head"]
        return optax.softmax_cross_entropy_with_integer_labels(scores, batch["y"]).mean(), {}

    def take(data: Any, indices: jax.Array) -> Any:
        return {name: array[indices] for name, array in data.items()}

    return Task(init, loss, take, lambda params, data: {"loss": loss(params, data, jax.random.key(0))[0]}, num_examples)


def step_seconds(devices: Devices, batch_size: int, count: int, repeats: int) -> list[float]:
    """Seconds of a step, of each of `repeats` dispatches of `count`."""
    rng = np.random.default_rng(0)
    num_examples = batch_size * count
    examples = {
        "x": rng.normal(size=(num_examples, STEPS, INPUTS)).astype(np.float32),
        "y": rng.integers(0, CLASSES, num_examples, np.int32),
    }
    functions = make_functions(make_task(num_examples), optax.adam(1e-3), batch_size=batch_size, devices=devices)
    seeds, data = put((np.zeros(1, np.uint32), examples), devices.everywhere())
    states, order, found = functions.init(seeds), functions.order(seeds, 0), []
    for _ in range(repeats + 1):  # the first compiles
        started = time.perf_counter()
        states, summary = functions.steps(states, order, data, 0, 0, count)
        jax.block_until_ready(summary)
        found.append((time.perf_counter() - started) / count)
    return found[1:]


def allreduce_seconds(devices: Devices, numbers: int, count: int, repeats: int) -> list[float]:
    """Seconds of an all-reduce of so many float32, likewise."""

    def on_device(values: jax.Array) -> jax.Array:
        mean = 1.0 / devices.batch
        return jax.lax.fori_loop(0, count, lambda i, v: jax.lax.psum(v, BATCH) * mean, values)

    spread = jax.shard_map(on_device, mesh=devices.mesh, in_specs=EVERYWHERE, out_specs=EVERYWHERE, check_vma=False)
    values, run, found = put(np.ones(numbers, np.float32), devices.everywhere()), jax.jit(spread), []
    for _ in range(repeats + 1):
        started = time.perf_counter()
        jax.block_until_ready(run(values))
        found.append((time.perf_counter() - started) / count)
    return found[1:]


def measure(count: int, repeats: int) -> dict[str, Any]:
    """What one setting takes, seconds of each dispatch; of one device also each share alone."""
    members = jax.device_count()
    devices = choose(members)
    params = jax.eval_shape(make_task(1).init, jax.random.key(0))
    numbers = sum(leaf.size for leaf in jax.tree.leaves(params)) + 2  # the loss and the weight are in it too
    found: dict[str, Any] = {
        "bytes": 4 * numbers,
        "strong": step_seconds(devices, STRONG, count, repeats),
        "weak": step_seconds(devices, WEAK * members, count, repeats),
        "allreduce": allreduce_seconds(devices, numbers, count, repeats),
        "allreduce_of_8_bytes": allreduce_seconds(devices, 2, count, repeats),
    }
    if members == 1:
        found["compute"] = {b: step_seconds(devices, b, count, repeats) for b in SHARES}
    return found


def run_setting(num_processes: int, num_devices: int, count: int, repeats: int) -> dict[str, Any]:
    """`measure` in processes of their own."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    of_each = [f"--of={num_processes},{num_devices},{port}", f"--steps={count}", f"--repeats={repeats}"]
    started = [
        subprocess.Popen(
            [sys.executable, "-m", "benchmarks.scaling", *of_each, f"--process={number}"],
            stdout=subprocess.PIPE if number == 0 else subprocess.DEVNULL,
            text=True,
        )
        for number in range(num_processes)
    ]
    said = started[0].communicate()[0]
    if any([each.wait() for each in started]):
        raise RuntimeError(f"{num_processes} processes of {num_devices} devices: one of them failed")
    found: dict[str, Any] = json.loads(said.splitlines()[-1])
    return found


def predicted(found: dict[str, Any], ring: Ring, members: int, share: int, cores: int) -> float:
    """The model: seconds of a step of `members` with a `share` of the batch each. See the top of this file."""
    compute = min(found["1x1"]["compute"][str(share)])
    return compute * max(1.0, members / cores) + ring.allreduce(members, found["1x1"]["bytes"])


def table(found: dict[str, Any], cores: int) -> str:
    """What was measured, beside what the model says."""
    rings = {}
    for kind, setting in (("devices", "1x2"), ("processes", "2x1")):
        two = found[setting]
        rings[kind] = fit_ring(2, (8, min(two["allreduce_of_8_bytes"])), (two["bytes"], min(two["allreduce"])))
    rows = []
    for num_processes, num_devices in SETTINGS:
        members, one = num_processes * num_devices, found[f"{num_processes}x{num_devices}"]
        ring = rings["processes" if num_processes > 1 else "devices"]
        row = [f"{num_processes} x {num_devices}"]
        for kind, share in (("strong", STRONG // members), ("weak", WEAK)):
            says = predicted(found, ring, members, share, cores)
            in_collectives = 0.0 if members == 1 else min(one["allreduce"]) / min(one[kind])
            row += [f"{1e3 * min(one[kind]):.1f}", f"{in_collectives:.0%}", f"{1e3 * says:.1f}"]
        rows.append(row)
    names = ["processes x devices", "strong, ms", "in collectives", "model", "weak, ms", "in collectives", "model"]
    measured = tabulate(rows, headers=names, tablefmt="pipe", disable_numparse=True)
    fitted = ", ".join(
        f"{kind}: {1e6 * ring.latency:.0f} us, {ring.bandwidth / 1e9:.2f} GB/s" for kind, ring in rings.items()
    )
    return f"{measured}\n\n{fitted}; {found['1x1']['bytes']:,} bytes a step"


def settings_of(raw: dict[str, Any]) -> dict[str, Any]:
    """What `table` takes, from the raw numbers."""
    found: dict[str, Any] = {}
    for name, seconds in raw["seconds"].items():
        setting, kind = name.split(" ", 1)
        one = found.setdefault(setting, {"bytes": raw["bytes"]})
        if kind.endswith(" examples"):
            one.setdefault("compute", {})[kind.removesuffix(" examples")] = seconds
        else:
            one[kind] = seconds
    return found


class Accelerators(NamedTuple):
    """What the model of a cluster takes, each a round number of a current machine, not measured here.

    Attributes:
        name: of the model that is trained.
        bytes: of its gradient.
        step_floor: seconds of the steps through time, forward and backward, however few the examples.
        example: seconds that each example of a share adds.
        batch_size: examples that all share, in strong scaling.
    """

    name: str
    bytes: float
    step_floor: float
    example: float
    batch_size: int


NETWORK = Ring(latency=5e-6, bandwidth=50e9)
"""Of accelerators with 400 Gb/s each."""

TRAINED = (
    Accelerators("LSTM, 1 M parameters, T 70", 4e6, 2 * 70 * 5e-6, 5e-6, 4096),
    Accelerators("AWD-LSTM, 24 M parameters, T 70", 96e6, 3 * 2 * 70 * 10e-6, 100e-6, 4096),
)


def cluster_table() -> str:
    """The model on up to 4096 accelerators, with one batch for all: step, share in collectives, speed-up."""
    rows = []
    for trained in TRAINED:
        alone = trained.step_floor + trained.example * trained.batch_size
        for members in (8, 64, 256, 1024, 4096):
            compute = trained.step_floor + trained.example * trained.batch_size / members
            ring = NETWORK.allreduce(members, trained.bytes)
            # A tree passes a message on in log2(n) turns; so do NCCL's between nodes.
            tree = 2 * (np.log2(members) * NETWORK.latency + trained.bytes / NETWORK.bandwidth)
            seconds = compute + min(ring, tree)
            row = [trained.name, members, trained.batch_size // members, f"{1e3 * compute:.2f}", f"{1e3 * ring:.2f}"]
            rows.append([*row, f"{1e3 * tree:.2f}", f"{min(ring, tree) / seconds:.0%}", f"{alone / seconds:.0f}"])
    names = ["model", "accelerators", "examples each", "compute, ms", "ring, ms", "tree, ms", "collectives", "speed-up"]
    return tabulate(rows, headers=names, tablefmt="pipe", disable_numparse=True)


def main() -> None:
    """Measures all settings, prints the tables and saves the raw numbers; with `--of`, one process of a setting."""
    flags = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    flags.add_argument("--steps", type=int, default=3, help="steps of a dispatch, 3 without it")
    flags.add_argument("--repeats", type=int, default=80, help="dispatches that are timed, 80 without it")
    flags.add_argument("--cores", type=int, help="cores that are free; without it all that this process may use")
    flags.add_argument("--raw_dir", type=Path, default=Path(__file__).parent / "raw", help="for the raw numbers")
    flags.add_argument("--of", help=argparse.SUPPRESS)
    flags.add_argument("--process", type=int, default=0, help=argparse.SUPPRESS)
    arguments = flags.parse_args()
    if arguments.of:
        num_processes, num_devices, port = map(int, arguments.of.split(","))
        jax.config.update("jax_num_cpu_devices", num_devices)
        if num_processes > 1:
            processes.start(f"127.0.0.1:{port}", num_processes, arguments.process)
        found = measure(arguments.steps, arguments.repeats)
        if processes.is_first():
            print(json.dumps(found))
        return

    jax.config.update("jax_num_cpu_devices", 1)
    settings = {f"{p}x{d}": run_setting(p, d, arguments.steps, arguments.repeats) for p, d in SETTINGS}
    cores = arguments.cores or len(os.sched_getaffinity(0))
    print(table(settings, cores))
    print()
    print(cluster_table())
    kinds = ("strong", "weak", "allreduce", "allreduce_of_8_bytes")
    seconds = {f"{setting} {kind}": one[kind] for setting, one in settings.items() for kind in kinds}
    seconds |= {f"1x1 {share} examples": each for share, each in settings["1x1"]["compute"].items()}
    save(
        arguments.raw_dir,
        "scaling",
        {"bytes": settings["1x1"]["bytes"], "cores": cores, "steps": arguments.steps},
        seconds,
    )


if __name__ == "__main__":
    main()
