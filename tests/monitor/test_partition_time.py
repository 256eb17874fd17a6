"""The clock of a partition."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest

from monitor.partition_time import PartitionTime
from monitor.record import NEVER
from monitor.table import Column, StreamTable
from monitor.window.clock import Judged
from monitor.window.rows import Arrivals
from tests.monitor.batches import live, records

Arrival = tuple[int, int, bool]
"""Slot, the latest time of its stream by then, whether its clock was set back."""


class Clocks:
    """A partition with some streams."""

    def __init__(self, streams: int) -> None:
        """Begin without times."""
        self.table = live(StreamTable([Column("seen", np.int64, initial=NEVER)]), streams)
        self.time = PartitionTime()

    def take(self, arrivals: Sequence[Arrival]) -> list[int]:
        """Return the time after each arrival, given in the order of offsets."""
        slot = np.array([a[0] for a in arrivals], np.int32)
        place = np.argsort(slot, kind="stable")
        seen = np.array([a[1] for a in arrivals], np.int64)
        offset = np.arange(len(arrivals))
        reset = np.array([a[2] for a in arrivals], np.bool_)
        values = np.zeros((len(arrivals), 1), np.float32)
        distinct = np.unique(slot)
        before = self.table["seen"][distinct]
        judged = Judged(
            Arrivals(slot[place], seen[place], values, offset[place], offset[place], seen[place], reset[place]),
            np.argsort(place, kind="stable"),
            [],
            [],
            distinct,
            before,
        )
        for one, time, _ in arrivals:
            self.table["seen"][one] = time
        times: list[int] = self.time.advance(self.table, judged).tolist()
        return times


def plain(arrivals: Sequence[Arrival]) -> list[int]:
    """Return the same by the words of its definition."""
    latest: dict[int, int] = {}
    found: list[int] = []
    for slot, time, _ in arrivals:
        latest[slot] = time
        times = sorted(latest.values(), reverse=True)
        found.append(max([*found[-1:], times[2] if len(times) > 2 else times[0]]))
    return found


def journey(seed: int, streams: int, count: int, resets: float) -> list[Arrival]:
    """Return arrivals of streams that go on by small steps, with ties, and sometimes back."""
    random = np.random.default_rng(seed)
    latest: dict[int, int] = {}
    found: list[Arrival] = []
    for _ in range(count):
        slot = int(random.integers(0, streams))
        reset = slot in latest and bool(random.random() < resets)
        step = -int(random.integers(1, 60)) if reset else int(random.integers(0, 9))
        latest[slot] = latest.get(slot, 1_000) + step
        found.append((slot, latest[slot], reset))
    return found


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("streams", [1, 2, 3, 4, 12])
@pytest.mark.parametrize("resets", [0.0, 0.05, 0.4])
@pytest.mark.parametrize("size", [1, 7, 200])
def test_the_third_largest(seed: int, streams: int, resets: float, size: int) -> None:
    """If it failed, silence would be measured by another clock, and by another one in every batch."""
    arrivals = journey(seed, streams, 200, resets)
    clocks = Clocks(streams)
    found = [time for i in range(0, 200, size) for time in clocks.take(arrivals[i : i + size])]
    assert found == plain(arrivals)
    assert clocks.time.value == found[-1]


def test_no_two_streams_move_it() -> None:
    """If it failed, two sensors with a wrong clock would expire every other stream."""
    clocks = Clocks(5)
    assert clocks.take([(slot, 100 + slot, False) for slot in range(5)])[-1] == 102
    assert clocks.take([(3, 10**12, False), (4, 10**12, False)]) == [102, 102]
    assert clocks.take([(2, 10**12, False)]) == [10**12]


def test_nothing_arrives() -> None:
    """If it failed, a batch of late records would end the daemon."""
    clocks = Clocks(1)
    assert clocks.take([]) == []
    assert clocks.time.value == NEVER


def test_recount() -> None:
    """If it failed, a stream that is gone would go on leading the time."""
    clocks = Clocks(5)
    clocks.take([(slot, 100 * slot, False) for slot in range(5)])
    clocks.table.drop(np.array([4, 3]))
    clocks.time.recount(clocks.table)
    assert clocks.time.leaders == [(200, 2), (100, 1), (0, 0)]
    assert clocks.take([(0, 250, False)]) == [200]  # it never goes back
    assert clocks.take([(1, 240, False), (2, 260, False)]) == [200, 240]


@pytest.mark.parametrize("seed", range(20))
@pytest.mark.parametrize("streams", [1, 2, 3, 9])
def test_the_bound_is_one(seed: int, streams: int) -> None:
    """If it failed, a stream could be dropped in the middle of a slice."""
    arrivals = journey(seed, streams, 120, 0.1)
    clocks = Clocks(streams)
    clocks.take(arrivals[:60])
    found = clocks.time.bound(records([(slot, time, 0.0) for slot, time, _ in arrivals[60:]]))
    leaders = list(clocks.time.leaders)
    actual = clocks.take(arrivals[60:])
    assert (found >= actual).all()
    assert (np.diff(found) >= 0).all()
    assert len(leaders) == min(streams, 3)


def test_a_wrong_clock_does_not_loosen_the_bound() -> None:
    """If it failed, one stream with a clock a year ahead would have every record processed on its own."""
    clocks = Clocks(5)
    clocks.take([(slot, 100, False) for slot in range(4)] + [(4, 10**12, False)])
    assert clocks.time.bound(records([(0, 101, 0.0), (1, 102, 0.0), (2, 103, 0.0)])).tolist() == [100, 101, 102]
