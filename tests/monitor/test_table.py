"""The stream table."""

from __future__ import annotations

import numpy as np
import pytest

from monitor.table import Column, ObjectColumn, RaggedColumn, StreamTable


def table() -> StreamTable:
    """Return a table with a column of each kind."""
    return StreamTable(
        [
            Column("level", np.float64, (2,), initial=7),
            Column("count", np.int64),
            ObjectColumn("list", list, bytes, list),
            RaggedColumn("rows", [("x", "<i8")]),
        ]
    )


def write(stream: StreamTable, slot: int) -> None:
    """Write into every column of a slot."""
    stream["level"][slot] = 1
    stream["count"][slot] = 1
    stream.objects("list")[slot].append(1)
    stream.ragged("rows").append(np.array([slot]), np.array([2]), np.zeros(2, [("x", "<i8")]))


def pristine(stream: StreamTable, slot: int) -> bool:
    """Return whether every column of a slot has its initial value."""
    return (
        stream["level"][slot].tolist() == [7, 7]
        and stream["count"][slot] == 0
        and not stream["live"][slot]
        and stream.objects("list")[slot] == []
        and stream.ragged("rows").count(np.array([slot])).tolist() == [0]
    )


def test_a_stream_keeps_its_slot() -> None:
    """If it failed, two streams would share their state, or one would lose it."""
    streams = table()
    slots = [streams.assign(b"s%d" % i) for i in range(5_000)]
    assert len(set(slots)) == 5_000
    assert [streams.assign(b"s%d" % i) for i in range(5_000)] == slots
    assert [streams.id_of(slot) for slot in slots[:3]] == ["s0", "s1", "s2"]
    assert streams.capacity >= 5_000
    assert streams["level"].shape == (streams.capacity, 2)


def test_growing_keeps_what_is_there() -> None:
    """If it failed, the state of all streams would be lost when the thousandth comes."""
    streams = table()
    first = streams.assign(b"first")
    write(streams, first)
    for i in range(3_000):
        assert pristine(streams, streams.assign(b"%d" % i))
    assert streams["level"][first].tolist() == [1, 1]
    assert streams.objects("list")[first] == [1]


def test_slots_of_streams_that_were_not_admitted_are_free_again() -> None:
    """If it failed, ids in refused records would use up the memory."""
    streams = table()
    kept, refused = streams.assign(b"kept"), streams.assign(b"refused")
    streams.admit(np.array([kept]))
    write(streams, refused)
    streams.settle()
    assert b"refused" not in streams.slots
    assert streams.id_of(refused) == ""
    assert streams.assign(b"other") == refused
    assert pristine(streams, refused)
    assert streams.slots == {b"kept": kept, b"other": refused}


def test_a_dropped_stream_begins_anew() -> None:
    """If it failed, a stream that came back after a month would go on where it stopped."""
    streams = table()
    slot = streams.assign(b"s")
    streams.admit(np.array([slot]))
    write(streams, slot)
    assert streams.live().tolist() == [slot]
    streams.drop(np.array([slot]))
    assert pristine(streams, slot)
    assert streams.live_count == 0
    assert streams.slots == {b"s": slot}  # a record of the same batch may be on its way
    streams.admit(np.array([slot]))
    streams.settle()
    assert streams.slots == {b"s": slot}
    assert streams.live_count == 1
    streams.drop(np.array([slot]))
    streams.settle()
    assert streams.slots == {}
    assert streams.live_count == 0


def test_reset_of_nothing() -> None:
    """If it failed, a batch that drops no stream would cost as much as one that does."""
    streams = table()
    streams.reset(np.zeros(0, np.intp))
    assert streams.capacity == 0


def test_two_columns_of_one_name() -> None:
    """If it failed, two stages would write over each other's state."""
    with pytest.raises(ValueError, match="two stages declare a column named 'x'"):
        StreamTable([Column("x", np.int8), RaggedColumn("x", np.int8)])


def test_bytes_per_stream() -> None:
    """If it failed, the memory that a stream takes would be told wrong."""
    assert table().bytes_per_stream() == {"live": 1, "level": 16, "count": 8}
