"""Labels: which rows are anomalous, from a file of ranges or from the records themselves."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from monitor import times
from monitor.record import RecordSettings
from monitor.sources.base import SourceError
from monitor.sources.csv import Header
from monitor.sources.lines import Lines

_COLUMNS = ("stream", "start", "end")


@dataclass(frozen=True, slots=True)
class Range:
    """A stream is anomalous from `start` to `end`, both in ms and both included; in every partition that has it."""

    stream: str
    start: int
    end: int


def read_ranges(path: str, record: RecordSettings) -> list[Range]:
    """Read labels: CSV with the columns `stream`, `start` and `end`, times as in a recording.

    Raises:
        SourceError: if the file cannot be read, or a line of it means nothing.
    """
    lines = Lines(path)
    found: list[bytes] = []
    try:
        while not lines.ended:
            found += lines.read(1.0)
    finally:
        lines.close()
    header = Header(path, found[0] if found else b"")
    missing = [name for name in _COLUMNS if name not in header.names]
    if missing:
        message = f"{path}: no column {missing[0]!r}: labels are CSV with the columns {', '.join(_COLUMNS)}"
        raise SourceError(message)
    columns, refused = header.split(found[1:])
    stream, start, end = (columns[header.names.index(name)] for name in _COLUMNS)
    begins, ends = times.from_text(start, record.time_unit), times.from_text(end, record.time_unit)
    believed = (begins >= times.FIRST) & (ends <= times.LAST) & (begins <= ends)
    for row in np.flatnonzero(~believed).tolist():
        refused.setdefault(row, ("time", f"{start[row]!r} to {end[row]!r} is no range of times"))
    if refused:
        row = min(refused)
        message = f"{path}: label {row + 1}: {refused[row][1]}"
        raise SourceError(message)
    return [Range(*label) for label in zip(stream, begins.tolist(), ends.tolist(), strict=True)]


def within(
    stream: NDArray[np.int32],
    names: Sequence[str],
    time: NDArray[np.int64],
    interval: int,
    ranges: Sequence[Range],
) -> NDArray[np.bool_]:
    """Return for each row whether a range of its stream holds its time, or reaches into its cell.

    Args:
        stream: `(N,)` index of each row's stream, sorted.
        names: ids by that index; several can be equal.
        time: `(N,)` ms, of the record, or of the end of the cell (which is not in it any more).
        interval: width of a cell in ms, 0 without a grid.
        ranges: in any order.
    """
    label = np.zeros(len(stream), np.bool_)
    places: dict[str, list[slice]] = {part.stream: [] for part in ranges}
    for number, name in enumerate(names):
        if name in places:
            first, last = np.searchsorted(stream, [number, number + 1]).tolist()
            places[name].append(slice(first, last))
    for part in ranges:
        for rows in places[part.stream]:
            own = time[rows]
            after = own > part.start if interval else own >= part.start
            label[rows] |= after & (own - interval <= part.end)
    return label


def matched(
    stream: NDArray[np.int32],
    start: NDArray[np.int64],
    labelled_stream: NDArray[np.int32],
    labelled_start: NDArray[np.int64],
) -> NDArray[np.bool_]:
    """Return for each row `(N,)` whether one of the labelled records is of its stream and its time, or cell."""
    if len(labelled_start) == 0:
        return np.zeros(len(stream), np.bool_)
    moments, place = np.unique(labelled_start, return_inverse=True)
    nearest = np.minimum(np.searchsorted(moments, start), len(moments) - 1)
    codes = labelled_stream.astype(np.int64) * len(moments) + place
    found: NDArray[np.bool_] = np.isin(stream.astype(np.int64) * len(moments) + nearest, codes)
    found &= moments[nearest] == start
    return found


def carried(label: NDArray[np.bool_], filled: NDArray[np.bool_], stream: NDArray[np.int32]) -> NDArray[np.bool_]:
    """Label filled rows, too, whose values come from a labelled row before or after the gap; rows by stream."""
    if not (label.any() and filled.any()):
        return label
    place = np.arange(len(label))
    before = np.maximum.accumulate(np.where(filled, 0, place))
    after = np.minimum.accumulate(np.where(filled, len(place) - 1, place)[::-1])[::-1]
    found = label.copy()
    for source in (before, after):
        found |= filled & label[source] & (stream[source] == stream)
    return found
