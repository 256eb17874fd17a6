"""Columns for tests, written as short lists."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from monitor.pipeline import Output, Partition, Pipeline
from monitor.record import Records
from monitor.score import Scored
from monitor.table import StreamTable
from monitor.window import Windows

Sample = tuple[int, int, float]
"""Slot, time, value of a record with one feature."""


def records(samples: Sequence[Sample], first: int = 0) -> Records:
    """Return records with offsets from `first`."""
    return Records(
        np.array([s[0] for s in samples], np.int32),
        np.array([s[1] for s in samples], np.int64),
        np.array([[s[2]] for s in samples], np.float32).reshape(-1, 1),
        np.arange(first, first + len(samples), dtype=np.int64),
    )


def windows(slot: Sequence[int], end: Sequence[int], restarted: Sequence[int] = ()) -> Windows:
    """Return windows of two rows and two features; offsets are 10 × end, start is 100 ms before the end."""
    n = len(slot)
    times = np.array(end, np.int64)
    anew = np.zeros(n, np.bool_)
    anew[list(restarted)] = True
    values = np.arange(n * 4, dtype=np.float32).reshape(n, 2, 2)
    return Windows(
        np.array(slot, np.int32),
        values,
        times - 100,
        times,
        times * 10 - 5,
        times * 10,
        times * 10 + 1,
        np.zeros(n),
        anew,
    )


def scored(score: Sequence[float]) -> Scored:
    """Return scores, NaN = not scored; errors 3:1, everything expected to be 0."""
    column = np.array(score, np.float64)
    n = len(column)
    return Scored(
        ~np.isnan(column), column, np.tile(np.array([3, 1], np.float32), (n, 1)), np.zeros((n, 2, 2), np.float32)
    )


def live(table: StreamTable, count: int) -> StreamTable:
    """Make `count` streams named `s0`, `s1`, … live."""
    table.admit(np.array([table.assign(b"s%d" % i) for i in range(count)], np.intp))
    return table


class Feed:
    """Feeds samples of named streams to one partition, and counts offsets."""

    def __init__(self, pipeline: Pipeline, topic: str = "t", number: int = 0) -> None:
        """Begin at offset 0."""
        self.pipeline = pipeline
        self.partition: Partition = pipeline.partition(topic, number)
        self.offset = 0

    def send(self, *samples: tuple[str, int, float]) -> Output:
        """Process (stream, time, value) as one batch."""
        table = self.partition.table
        batch = records([(table.assign(stream.encode()), time, value) for stream, time, value in samples], self.offset)
        self.offset += len(samples)
        return self.pipeline.process([(self.partition, batch)])

    def balanced(self) -> bool:
        """Return whether every record that was sent is in one class, or pending."""
        return sum(self.partition.counts.values()) + self.pipeline.pending(self.partition) == self.offset
