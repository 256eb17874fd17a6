"""Streams that move to the partitions of another count take everything along that means something there."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from monitor.engine import Engine
from monitor.pipeline import Partition
from monitor.ragged import Ragged
from monitor.record import NEVER
from monitor.state import Meta, Restore, read_meta
from monitor.table import Column
from monitor.upkeep.moving import Moved, Target, misplaced, move
from monitor.upkeep.reading import Loaded
from tests.monitor.batches import Feed
from tests.monitor.state.test_log import log_of, pipeline

FAR = 10**9
"""Where offsets begin: no time and no count is near it."""


def loaded(feed: Feed) -> Loaded:
    """Return a partition as if it had been read."""
    meta: Meta = read_meta(log_of(feed).write(feed.offset)[-1].value or b"")
    restore: Any = SimpleNamespace(partition=feed.partition, meta=meta, restarted=set())
    found: Restore = restore
    return Loaded(found, dict(meta.stages))


@pytest.fixture
def feeds() -> list[Feed]:
    """Two partitions with a stream in each that fires, one that waits, and one that both have."""
    pipe = pipeline(lateness="3ms")
    found = []
    for number in range(2):
        feed = Feed(pipe, "t", number)
        feed.offset = FAR * (number + 1)
        for time in range(1, 30):
            names = (f"{number}-firing", f"{number}-quiet", f"{number}-third", "both")
            shift = 1_000 * number
            feed.send(*((name, time + shift, 9.0 if time > 20 and "firing" in name else 1.0) for name in names))
        found.append(feed)
    return found


def moved(feeds: list[Feed], count: int = 3) -> Moved:
    """Move all streams: each to the partition that its name's first digit says, plus one; `both` to the last."""
    engine: Any = SimpleNamespace(pipeline=feeds[0].pipeline)
    used: Engine = engine
    targets = [Target(feed.offset, same=True) for feed in feeds] + [Target(5, same=False)] * (count - len(feeds))
    return move(used, dict(enumerate(map(loaded, feeds))), targets, place, "id")


def place(stream: bytes) -> int:
    """Return the partition of a stream."""
    return 2 if stream == b"both" else int(stream[:1]) + 1


def numbers(partition: Partition, slots: list[int]) -> dict[str, list[Any]]:
    """Return all numbers of some streams."""
    table = partition.table
    found: dict[str, list[Any]] = {}
    for column in partition.columns:
        if isinstance(column, Column):
            found[column.name] = table[column.name][slots].ravel().tolist()
        else:
            ragged: Ragged = table.ragged(column.name)
            rows = ragged.rows(np.array(slots))[0]
            found |= {f"{column.name}.{name}": rows[name].ravel().tolist() for name in rows.dtype.names or ()}
    return found


def test_everything_moves_but_offsets(feeds: list[Feed]) -> None:
    """If it failed, a stream would begin anew after a move, or cite records that its partition does not have."""
    before = {f.partition.table.id_of(s): (f.partition, s) for f in feeds for s in f.partition.table.live().tolist()}
    result = moved(feeds)
    assert (result.streams, result.doubled) == (7, 1)
    assert result.moved == 7
    seen = 0
    for whole in result.wholes:
        table = whole.partition.table
        for slot in table.live().tolist():
            seen += 1
            old, there = before[table.id_of(slot)]
            was, now = numbers(old, [there]), numbers(whole.partition, [slot])
            for name, values in now.items():
                offsets = {value for value in values if FAR <= value < 4 * FAR} if name != "opened_offset" else set()
                assert offsets <= {whole.offset}, name
            alike = {"opened_partition", "opened_offset", "active", "first_offset", "last_window"}
            for name, values in was.items():
                if not (alike & {name} or "offset" in name or "mark" in name or name.endswith(".due")):
                    np.testing.assert_array_equal(now[name], values, name)
            assert now["last_window"][:2] == was["last_window"][:2]
            assert now["opened_offset"] == was["opened_offset"]
    assert seen == 7


def test_an_alert_ends_under_the_id_under_which_it_was_opened(feeds: list[Feed]) -> None:
    """If it failed, an alert that fires during a move would never resolve, and one that nobody knows would."""
    stay = Feed(feeds[0].pipeline)
    stay.offset = FAR
    events = []
    for time in range(1, 30):
        names = ("0-firing", "0-quiet", "0-third", "both")
        events += stay.send(*((name, time, 9.0 if time > 20 and "firing" in name else 1.0) for name in names)).alerts
    (opened,) = [event for event in events if event.stream == "0-firing"]
    feed = Feed(feeds[0].pipeline)
    feed.partition = moved(feeds).wholes[1].partition
    feed.offset = feeds[1].offset
    ends = [event for time in range(30, 60) for event in feed.send(("0-firing", time, 1.0)).alerts]
    (resolved,) = [event for event in ends if event.stream == "0-firing"]
    assert (resolved.alert_id, resolved.revision, resolved.partition) == (opened.alert_id, 1, 1)
    again = [event for time in range(60, 90) for event in feed.send(("0-firing", time, 9.0)).alerts]
    assert again[0].alert_id != opened.alert_id
    assert feed.partition.table["opened_partition"].max() == -1  # the new one is of this partition


def test_partition_time_goes_on_and_what_is_left_stays(feeds: list[Feed]) -> None:
    """If it failed, streams of a partition with an early time would expire with the move."""
    left = {
        f.partition.table.id_of(slot): f.partition.time.value - int(f.partition.table["active"][slot])
        for f in feeds
        for slot in f.partition.table.live().tolist()
    }
    wholes = moved(feeds).wholes
    assert [whole.partition.time.value for whole in wholes] == [
        feeds[0].partition.time.value,  # its own, although its streams are gone
        max(feed.partition.time.value for feed in feeds),
        feeds[1].partition.time.value,
    ]
    for whole in wholes:
        table = whole.partition.table
        for slot in table.live().tolist():
            assert whole.partition.time.value - int(table["active"][slot]) == left[table.id_of(slot)]
    total = sum((whole.partition.counts for whole in wholes), start=type(feeds[0].partition.counts)())
    assert total == feeds[0].partition.counts + feeds[1].partition.counts
    assert all(time != NEVER for time, _ in wholes[1].partition.time.leaders)


def test_streams_of_other_producers_are_seen(feeds: list[Feed]) -> None:
    """If it failed, state would be torn from the records of its streams, because producers choose otherwise."""
    parts = dict(enumerate(map(loaded, feeds)))
    assert misplaced(parts, lambda stream: int(stream[:1]) if stream != b"both" else 0) == 1
    assert misplaced(parts, place) == 8  # all, and one of them twice
