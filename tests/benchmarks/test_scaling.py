"""The model of a data-parallel step, and that its measurements run."""

import jax
import pytest

from benchmarks.scaling import (
    SETTINGS,
    SHARES,
    Ring,
    allreduce_seconds,
    cluster_table,
    fit_ring,
    predicted,
    settings_of,
    step_seconds,
    table,
)
from rnn_jax.training.devices import choose

RING = Ring(latency=1e-3, bandwidth=1e6)
BYTES = 4000


@pytest.mark.parametrize("members", [2, 3, 8])
def test_a_ring_is_found_again(members):
    small, large = ((size, RING.allreduce(members, size)) for size in (8.0, 1e6))
    assert fit_ring(members, small, large) == pytest.approx(RING)


def test_the_largest_part_of_a_ring():
    """Every member sends nearly twice the message, in 2 (n - 1) pieces."""
    assert RING.allreduce(1000, 1e9) == pytest.approx(2 * 999 * (1e-3 + 1e9 / 1000 / 1e6))


def made_up():
    """Measurements that the model explains: an example takes a millisecond, on two cores."""
    found = {}
    for processes, devices in SETTINGS:
        members = processes * devices
        collective = {size: RING.allreduce(members, size) for size in (8, BYTES)}
        seconds = {"strong": 64 // members, "weak": 16}
        found[f"{processes}x{devices}"] = {
            "bytes": BYTES,
            "allreduce": [collective[BYTES], 1.0],
            "allreduce_of_8_bytes": [collective[8], 1.0],
            **{kind: [1e-3 * b * max(1, members / 2) + collective[BYTES], 1.0] for kind, b in seconds.items()},
        }
    found["1x1"]["compute"] = {str(share): [1e-3 * share] for share in SHARES}
    return found


def test_table():
    found = made_up()
    assert predicted(found, RING, 8, 8, cores=2) == pytest.approx(min(found["1x8"]["strong"]))
    rows = [line.split("|")[1:-1] for line in table(found, cores=2).splitlines()[2:8]]
    assert [row[0].strip() for row in rows] == ["1 x 1", "1 x 2", "1 x 4", "1 x 8", "2 x 1", "4 x 1"]
    for row in rows:
        assert row[1].strip() == row[3].strip()
        assert row[4].strip() == row[6].strip()
    assert rows[0][2].strip() == "0%"
    assert rows[3][2].strip() == f"{RING.allreduce(8, BYTES) / min(found['1x8']['strong']):.0%}"


def test_raw_numbers_hold_all_of_it():
    found, seconds = made_up(), {}
    for setting, one in found.items():
        seconds |= {f"{setting} {kind}": of for kind, of in one.items() if isinstance(of, list)}
    seconds |= {f"1x1 {share} examples": of for share, of in found["1x1"]["compute"].items()}
    assert settings_of({"bytes": BYTES, "seconds": seconds}) == found


def test_cluster():
    speedups = [float(line.split("|")[-2]) for line in cluster_table().splitlines()[2:7]]
    assert speedups == sorted(speedups)
    assert speedups[0] < 8
    assert speedups[-1] < 4096 / 50, "the steps through time do not become fewer"


def test_measurements():
    with jax.enable_x64(False):
        assert len(step_seconds(choose(), 4, 2, 3)) == 3
        assert min(allreduce_seconds(choose(), 5, 2, 3)) > 0
