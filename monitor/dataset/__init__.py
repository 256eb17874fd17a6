"""Recordings → the arrays that training takes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from models.bundle import WindowShape
from models.cells import Cells
from monitor.dataset.labels import Range, carried, read_ranges, within
from monitor.dataset.partition import Columns, PartitionReader
from monitor.record import RecordSettings
from monitor.sources.base import Key, Source
from monitor.window import WindowSettings

__all__ = ["Dataset", "Range", "read", "read_ranges", "shape"]

_POLL_SECONDS = 0.2


@dataclass(frozen=True)
class Dataset:
    """What a recording became.

    Attributes:
        cells: rows, windows and labels. With `window.interval` a row's time is the end of its cell, as in alerts.
        streams: ids by the index in `cells.stream`: partition after partition, within one by first appearance. An id
            in two partitions is two streams.
        classes: records by class; what is pending is in none.
        pending: records that still wait at the end of the recording.
        reasons: dead letters by reason.
        examples: for each reason, where and what the first one was.
        unknown: values of features that were not asked for.
        filled: windows left out because, with their filled cells, more than `window.max_missing` is missing.
        strangers: streams that the ranges name and the recording does not have.
        partitions: topic and partition of each of `streams`.
        made: `(N,)` bool, True where a row was made to fill a gap.
    """

    cells: Cells
    streams: tuple[str, ...]
    classes: Counter[str]
    pending: int
    reasons: Counter[str]
    examples: dict[str, str]
    unknown: int
    filled: int
    strangers: tuple[str, ...]
    partitions: tuple[Key, ...]
    made: NDArray[np.bool_]

    @property
    def records(self) -> int:
        """How many records were read."""
        return self.classes.total() + self.pending


def read(
    source: Source,
    features: Sequence[str],
    record: RecordSettings,
    window: WindowSettings,
    ranges: Sequence[Range] | None = None,
    progress: Callable[[int], None] | None = None,
) -> Dataset:
    """Read a recording to its end, and close it.

    The records go through the decoder and the pipeline of production, with nothing behind the window stage: so a model
    learns from exactly the windows that it will be asked to score. What is left out beyond that, for labels or missing
    values, `models.split` leaves out.

    Args:
        source: where records come from.
        features: names of the columns.
        record: section `record`.
        window: section `window`.
        ranges: labels; None = those of the recording's column `label`, if it has one.
        progress: called after each poll with the number of records so far.

    Raises:
        SourceError: if the recording cannot be read.
    """
    readers: dict[Key, PartitionReader] = {}
    records = 0
    try:
        while not source.exhausted:
            for batch in source.poll(_POLL_SECONDS):
                key = (batch.topic, batch.partition)
                if key not in readers:
                    readers[key] = PartitionReader(key, features, record, window)
                readers[key].take(batch)
                records += len(batch)
            if progress is not None:
                progress(records)
    finally:
        source.close()
    # Partitions in order: which of them a broker sends first is chance, and the order of streams decides the split.
    order = sorted(readers)
    found = [readers[key] for key in order]
    columns, streams, owner = _joined(found, len(features))
    label = columns.label
    if ranges is not None:
        label = within(columns.stream, streams, columns.time, window.interval_ms, ranges)
    label = carried(label, columns.filled, columns.stream)
    starts, filled = _starts(columns, window)
    return Dataset(
        Cells(columns.values, columns.stream, columns.time, starts, label),
        streams,
        sum((reader.classes() for reader in found), Counter()),
        sum(reader.pending() for reader in found),
        sum((reader.reasons for reader in found), Counter()),
        {reason: text for reader in reversed(found) for reason, text in reader.examples.items()},
        sum(reader.unknown for reader in found),
        filled,
        tuple(sorted({part.stream for part in ranges or ()} - set(streams))),
        tuple(order[number] for number in owner),
        columns.filled,
    )


def shape(window: WindowSettings) -> WindowShape:
    """Return what a bundle keeps of section `window`: what decides which windows there are, but not how late."""
    return WindowShape(
        length=window.length,
        stride=window.stride,
        interval=window.interval_ms or None,
        aggregate=window.aggregate,
        max_gap=window.max_gap,
        fill=window.fill,
        max_missing=window.max_missing,
    )


def _joined(readers: Sequence[PartitionReader], features: int) -> tuple[Columns, tuple[str, ...], list[int]]:
    """Return the rows of all partitions, stream after stream, and ids and readers of the streams that have rows."""
    parts: list[Columns] = []
    names: list[tuple[str, int]] = []
    for number, reader in enumerate(readers):
        part = reader.columns()
        part.stream += len(names)
        parts.append(part)
        names += [(name, number) for name in reader.streams]
    columns = Columns.drained(parts or [Columns.none(features)])
    if np.any(columns.stream[1:] < columns.stream[:-1]):
        columns = columns.take(np.argsort(columns.stream, kind="stable"))
    first = np.flatnonzero(np.diff(columns.stream, prepend=-1))
    used = columns.stream[first].tolist()
    # a stream of which no row became final has no number
    columns.stream = np.repeat(np.arange(len(first), dtype=np.int32), np.diff(first, append=len(columns.stream)))
    return columns, tuple(names[number][0] for number in used), [names[number][1] for number in used]


def _starts(columns: Columns, window: WindowSettings) -> tuple[NDArray[np.int64], int]:
    """Return the first row of each window, and how many windows are left out because too much of them is filled."""
    length, features = window.length, columns.values.shape[1]
    starts = (np.flatnonzero(columns.ends) - (length - 1)).astype(np.int64)
    if not columns.filled.any():
        return starts, 0
    # `Cells` knows missing values, but not which rows were filled.
    absent = np.count_nonzero(np.isnan(columns.values), axis=1)
    shares = []
    for missing in (absent, np.where(columns.filled, features, absent)):
        total = np.concatenate([[0], np.cumsum(missing)])
        shares.append((total[starts + length] - total[starts]) / (length * features))
    too_much = (shares[0] <= window.max_missing) & (shares[1] > window.max_missing)
    return starts[~too_much], int(np.count_nonzero(too_much))
