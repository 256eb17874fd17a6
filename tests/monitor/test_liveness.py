"""Which streams are live: how batches are cut, who is admitted, who is dropped."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from monitor.alert import AlertSettings
from monitor.duration import Duration
from monitor.liveness import Liveness
from monitor.pipeline import Pipeline
from monitor.record import RecordSettings
from monitor.threshold import Static
from monitor.window import WindowSettings
from tests.monitor.batches import Feed, records
from tests.properties.models import PRIOR, LevelModel

EXPIRE = 1_000


def feed(max_streams: int = 100, lateness: str = "0s", interval: str | None = None) -> Feed:
    """Return a partition that forgets a stream after a second."""
    return Feed(
        Pipeline(
            RecordSettings(expire=Duration("1s"), max_streams=max_streams, max_step=Duration("1h")),
            WindowSettings(
                length=2, stride=1, lateness=Duration(lateness), interval=Duration(interval) if interval else None
            ),
            Static.Settings(value=4.0),
            AlertSettings(open_after=1, resolve_after=1, rest=0),
            LevelModel(),
            PRIOR,
            1,
        )
    )


def streams(found: Feed) -> set[str]:
    """Return the ids of the live streams."""
    return {found.partition.table.id_of(int(slot)) for slot in found.partition.table.live()}


def steady(start: int, names: Sequence[str] = "abc") -> list[tuple[str, int, float]]:
    """Return a record of each of these streams, a millisecond apart."""
    return [(name, start + i, 1.0) for i, name in enumerate(names)]


def test_a_silent_stream_is_dropped_by_partition_time() -> None:
    """If it failed, streams that are gone would fill the partition, or live ones would be forgotten."""
    partition = feed()
    partition.send(*steady(10_000, "abcd"))  # partition time is 10,001 now
    partition.send(*steady(10_500))
    partition.send(("a", 11_001, 1), ("b", 11_002, 1), ("c", 11_000, 1))
    assert streams(partition) == set("abcd")  # the third largest is 11,000
    partition.send(("c", 11_001, 1))
    assert streams(partition) == set("abc")
    assert b"d" not in partition.partition.table.slots


def test_its_own_clock_is_no_matter() -> None:
    """If it failed, a stream whose clock is behind would be dropped while it sends."""
    partition = feed()
    for step in range(20):
        partition.send(*steady(10_000 + 300 * step), ("behind", step, 1.0))
    assert streams(partition) == {"a", "b", "c", "behind"}


def test_the_next_record_begins_a_new_stream() -> None:
    """If it failed, a window would hold rows from before and after a month of silence."""
    whole, single = feed(), feed()
    sent = [*steady(10_000, "abcd"), ("d", 10_100, 9.0), *steady(10_800), *steady(11_500), *steady(12_200)]
    sent += [("d", 10_050, 9.0), ("d", 10_060, 9.0), *steady(12_300)]
    outputs = whole.send(*sent)
    windows = sum(single.send(sample).windows for sample in sent)
    assert outputs.windows == windows
    assert outputs.late == {}  # its clock began anew too
    assert [alert.time for alert in outputs.alerts if alert.status == "firing"] == [10_100, 10_060]
    assert whole.balanced()
    assert whole.partition.table["seen"][whole.partition.table.slots[b"d"]] == 10_060


def test_what_waits_in_a_dropped_stream_is_late() -> None:
    """If it failed, records would vanish from the counts when their stream does."""
    partition = feed(interval="50ms")
    partition.send(*steady(10_000, "abcd"), ("d", 10_020, 1.0), ("d", 10_010_000, 1.0))  # the last one is held
    output = partition.send(*steady(10_600), *steady(11_100), *steady(11_200))
    assert streams(partition) == set("abc")
    assert output.late == {("t", 0): [5, 3, 4]}
    assert partition.balanced()


def test_no_more_than_max_streams() -> None:
    """If it failed, a producer that makes up ids would take all memory, or push out streams that are watched."""
    partition = feed(max_streams=3)
    output = partition.send(*steady(10_000, "abxdea"), ("x", 10_100, 1.0), ("d", 10_101, 1.0))
    assert streams(partition) == set("abx")
    assert output.refused == {("t", 0): [3, 4, 7]}
    assert partition.partition.counts["dead_lettered"] == 3
    assert set(partition.partition.table.slots) == {b"a", b"b", b"x"}
    assert partition.balanced()


def test_a_drop_makes_room() -> None:
    """If it failed, a full partition would refuse new streams for ever, or when depends on the batches."""
    samples = [*steady(10_000, "abcd"), *steady(10_600), ("e", 10_700, 1.0), *steady(11_200), ("e", 11_300, 1.0)]
    samples += [("d", 11_301, 1.0)]
    whole, single = feed(max_streams=4), feed(max_streams=4)
    together = whole.send(*samples)
    alone = [offset for sample in samples for offset in single.send(sample).refused.get(("t", 0), [])]
    assert together.refused == {("t", 0): [7, 12]}
    assert alone == [7, 12]
    assert streams(whole) == streams(single) == set("abce")


def test_a_leader_is_dropped_at_its_own_record() -> None:
    """If it failed, the partition's time would depend on the batch in which a stream with a wrong clock was dropped."""
    before = [*steady(10_000, "abcde"), ("wrong", 900_000, 1.0), *steady(10_900, "abcde"), *steady(10_950, "abcde")]
    # `wrong` is dropped at the second record. Were it still leading at the end, the time would be 11,500.
    after = [*steady(11_100, "abcde"), ("a", 11_600, 1.0), ("b", 11_500, 1.0)]
    whole, single = feed(), feed()
    whole.send(*before)
    whole.send(*after)
    for sample in before + after:
        single.send(sample)
    assert whole.partition.time.value == single.partition.time.value == 11_104
    assert streams(whole) == streams(single) == set("abcde")


def test_slices_are_long_when_a_clock_is_wrong() -> None:
    """If it failed, one sensor with a clock in the next year would slow its partition down a hundred times."""
    partition = feed()
    partition.send(*steady(10_000, "abcde"), ("wrong", 900_000, 1.0), ("wrong", 900_001, 1.0))
    inner = partition.partition
    later = records([(inner.table.slots[b"%c" % name], 10_100 + i, 1.0) for i, name in enumerate(b"abcde" * 50)])
    assert inner.liveness.cut(inner.table, inner.time, later) == len(later)


def test_a_batch_that_spans_months_is_cut() -> None:
    """If it failed, a backtest would keep streams that production would have dropped."""
    partition = feed()
    inner = partition.partition
    batch = records([(inner.table.assign(b"s"), 10_000 + 300 * i, 1.0) for i in range(10)])
    assert inner.liveness.cut(inner.table, inner.time, batch) == 4


def test_nothing_to_drop() -> None:
    """If it failed, an empty partition would look for streams in vain."""
    liveness = Liveness(EXPIRE, 10)
    partition = feed().partition
    assert liveness.drop(partition.table, partition.time).tolist() == []
    assert np.size(partition.table.live()) == 0
