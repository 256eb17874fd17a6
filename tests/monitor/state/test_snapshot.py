"""Snapshots: a partition written whole is read as it was, and nothing else is read."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from monitor.message import Message
from monitor.state import Restore, StateError, read_meta, stages_of
from monitor.state.snapshot import INDEX, Snapshot, SnapshotWriter
from monitor.state.whole import Whole
from tests.monitor.batches import Feed
from tests.monitor.state.test_log import FEATURES, log_of, pipeline, taken_in

KEY = ("t", 0)


def busy() -> Feed:
    """Return a partition with streams that fire, wait and have gone silent."""
    feed = Feed(pipeline(lateness="3ms"))
    for time in range(1, 30):
        feed.send(*((f"s{number}", time, 9.0 if time > 20 and number < 2 else 1.0) for number in range(5)))
    return feed


def messages_of(feed: Feed) -> list[Message]:
    """Return a partition as a whole log."""
    log = log_of(feed)
    meta = read_meta(log.write(feed.offset)[-1].value or b"")
    whole = Whole(feed.partition, feed.offset, meta, meta.stages)
    return whole.messages("t", feed.pipeline.pending)


def save(feed: Feed, folder: Path) -> Path:
    """Write a snapshot of a partition."""
    with SnapshotWriter(folder) as snapshot:
        snapshot.add(KEY, feed.offset, messages_of(feed))
    return folder


def test_it_goes_on_as_if_nothing_had_been(tmp_path: Path) -> None:
    """If it failed, what is made from a snapshot would be others than what production made."""
    feed = busy()
    snapshot = Snapshot(save(feed, tmp_path / "saved"))
    end = snapshot.ends([KEY])[KEY]
    newest = snapshot.newest(KEY, end)
    assert newest is not None
    meta = read_meta(newest)
    assert (meta.next_offset, meta.needed, meta.log) == (feed.offset, feed.offset, 0)  # no input, nothing before
    again = Feed(feed.pipeline)
    again.offset = feed.offset
    restore = Restore(again.partition, meta, stages_of(feed.pipeline, FEATURES))
    for values in snapshot.read(KEY, 0, end):
        for value in values:
            restore.apply(value)
    assert restore.finish(feed.offset) == feed.offset
    assert again.partition.counts == feed.partition.counts
    assert again.partition.time.value == feed.partition.time.value
    for time in range(30, 60):
        batch = [(f"s{number}", time, 1.0) for number in range(4)]
        mine, theirs = feed.send(*batch).alerts, again.send(*batch).alerts
        assert [(a.alert_id, a.revision, a.time, a.score) for a in mine] == [
            (a.alert_id, a.revision, a.time, a.score) for a in theirs
        ]
    assert again.balanced()


def test_a_whole_log_needs_nothing_before_it() -> None:
    """If it failed, a log behind old entries would be read from them on."""
    feed = busy()
    first = messages_of(feed)
    restore = taken_in(feed, first)
    assert restore.finish(feed.offset) == feed.offset
    assert first == Whole(feed.partition, feed.offset, restore.meta, restore.meta.stages).messages(
        "t", feed.pipeline.pending
    )
    assert len({message.key for message in first}) == len(first)  # compaction leaves all of them


def test_what_was_changed_is_refused(tmp_path: Path) -> None:
    """If it failed, half a file would become the state of a group."""
    folder = save(busy(), tmp_path / "saved")
    (file,) = folder.glob("*.state")
    good, index = file.read_bytes(), (folder / INDEX).read_text()
    for bad in (good[:-1], good + b"x", good[:40] + bytes([good[40] ^ 1]) + good[41:]):
        file.write_bytes(bad)
        with pytest.raises(StateError, match="another size or hash"):
            Snapshot(folder)
    file.write_bytes(good)
    Snapshot(folder)
    for name, value, said in (
        ("format", 2, "format 2"),
        ("partitions", [{**json.loads(index)["partitions"][0], "file": "../x.state"}], "no file of the snapshot"),
        ("partitions", 7, "no index"),
    ):
        (folder / INDEX).write_text(json.dumps({**json.loads(index), name: value}))
        with pytest.raises(StateError, match=said):
            Snapshot(folder)
    with pytest.raises(StateError, match="state export"):
        Snapshot(tmp_path)


def test_nothing_is_written_over(tmp_path: Path) -> None:
    """If it failed, a snapshot that somebody needs would be gone; or a half-written one would look like one."""
    folder = save(busy(), tmp_path / "saved")
    with pytest.raises(StateError, match="is there already"):
        SnapshotWriter(folder)
    with pytest.raises(StateError, match="No such file"):
        SnapshotWriter(tmp_path / "no" / "folder")

    def fail() -> None:
        with SnapshotWriter(tmp_path / "other") as snapshot:
            snapshot.add(KEY, 1, [Message("t", b"k", b"v")])
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    assert list(tmp_path.iterdir()) == [folder]
