"""State that is written and restored is as if the process had never stopped."""

from __future__ import annotations

from typing import Any

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from monitor.alert import Alert
from monitor.pipeline import Partition, Pipeline
from monitor.record import Records
from monitor.state import ModelMark, Restore, StateLog, Writer, begun, read_meta, stages_of
from tests.properties.test_pipeline import FEATURES, LEFT_OVER, Row, pipelines, plain, rows, stamps

MARKER: tuple[bytes | None, bytes] = (None, b"")
"""What ends a transaction: it takes a place in the log."""


class Log:
    """A changelog partition: entries in order, and what compaction leaves of them."""

    def __init__(self) -> None:
        """Begin empty."""
        self.entries: list[tuple[bytes | None, bytes]] = []

    def compacted(self, begin: int) -> list[bytes]:
        """Return the last value of each key from a place on, in the order of the log; markers take places, too."""
        last = {key: place for place, (key, _) in enumerate(self.entries)}
        return [value for place, (key, value) in enumerate(self.entries) if key and last[key] == place >= begin]


def records_of(partition: Partition, mine: list[Row], first: int, *, assign: bool) -> Records:
    """Return rows as records with offsets from `first`; streams that are not known are left out, or assigned."""
    table = partition.table
    found = [
        (slot, row, offset)
        for offset, row in enumerate(mine, first)
        if (slot := table.assign(row[1]) if assign else table.slots.get(row[1])) is not None
    ]
    return Records(
        np.array([slot for slot, _, _ in found], np.int32),
        np.array([row[2] for _, row, _ in found], np.int64),
        np.array([row[3] for _, row, _ in found], np.float32).reshape(-1, FEATURES),
        np.array([offset for _, _, offset in found], np.int64),
        np.array([stamps([row], offset)[0] for _, row, offset in found], np.int64),
    )


NAMES = tuple(f"f{number}" for number in range(FEATURES))


def log_of(
    pipeline: Pipeline,
    partition: Partition,
    offset: int,
    sweep: int,
    position: int,
    restore: Restore | None = None,
) -> StateLog:
    """Return a log that sweeps quickly."""
    return StateLog(
        partition,
        "state",
        offset,
        writer=Writer(ModelMark(kind="k", sha256="b", length=1), "c"),
        stages=restore.meta.stages if restore else begun(stages_of(pipeline, NAMES), offset),
        pending=pipeline.pending,
        sweep_records=sweep,
        sweep_seconds=1e9,
        position=position,
        before=restore.meta if restore else None,
        images=restore.images if restore else None,
        clock=lambda: 0.0,
    )


def restored(pipeline: Pipeline, log: Log) -> Restore:
    """Return a partition that has taken in what a log says."""
    newest = read_meta(log.entries[-2][1])
    restore = Restore(pipeline.partition("t", 0), newest, stages_of(pipeline, NAMES))
    for value in log.compacted(newest.log):
        restore.apply(value)
    return restore


def state_of(partition: Partition, pipeline: Pipeline) -> tuple[Any, ...]:
    """Return all that is known, in bytes."""
    table = partition.table
    return (
        partition.time.value,
        [time for time, _ in partition.time.leaders],
        {name: count for name, count in partition.counts.items() if count},
        pipeline.pending(partition),
        {
            table.id_of(int(slot)): tuple(
                (name, column[slot].tobytes()) for name, column in table._arrays.items() if name not in LEFT_OVER
            )
            for slot in table.live()
        },
    )


@given(
    pipelines(),
    rows(),
    st.lists(st.tuples(st.integers(1, 30), st.booleans(), st.booleans()), min_size=1),
    st.integers(1, 40),
    st.integers(1, 20),
)
@settings(max_examples=60, deadline=None)
def test_a_restored_partition_goes_on_as_if_nothing_had_been(
    pipeline: Pipeline, both: list[Row], turns: list[tuple[int, bool, bool]], sweep: int, slice_size: int
) -> None:
    """If it failed, a restart, a rebalance or kill -9 would change alerts, or the state behind them."""
    records = [row for row in both if row[0] == 0]
    straight = pipeline.partition("t", 0)
    wanted: list[Alert] = []
    for offset in range(len(records)):
        part = records_of(straight, records[offset : offset + 1], offset, assign=True)
        wanted += pipeline.process([(straight, part)]).alerts
    expected = state_of(straight, pipeline)

    log = Log()
    partition = pipeline.partition("t", 0)
    partition.changes.kept = True
    writer = log_of(pipeline, partition, 0, sweep, 0)
    found: list[Alert] = []
    hand: list[Alert] = []  # alerts of polls that are not committed
    at = committed = turn = 0
    while committed < len(records):
        size, commit, crash = turns[turn % len(turns)]
        turn += 1
        part = records_of(partition, records[at : at + size], at, assign=True)
        hand += pipeline.process([(partition, part)]).alerts
        at = min(at + size, len(records))
        if commit or at == len(records) or turn % 5 == 0:  # it must get somewhere
            messages = writer.write(at)
            assert all(len(message.value or b"") < 1_000_000 for message in messages)
            log.entries += [*((message.key, message.value or b"") for message in messages), MARKER]
            found += hand
            hand = []
            committed = at
        if crash:
            hand = []
            at = committed
            if not log.entries:
                partition = pipeline.partition("t", 0)
                partition.changes.kept = True
                writer = log_of(pipeline, partition, 0, sweep, 0)
                continue
            restore = restored(pipeline, log)
            partition = restore.partition
            partition.changes.kept = True
            begin = restore.finish(committed)
            for start in range(begin, committed, slice_size):
                end = min(start + slice_size, committed)
                restore.rewind(pipeline.windower, records_of(partition, records[start:end], start, assign=False))
            assert partition.changes.take().touched.size == 0
            writer = log_of(pipeline, partition, committed, sweep, len(log.entries), restore)
    assert plain(found) == plain(wanted)
    assert state_of(partition, pipeline) == expected
