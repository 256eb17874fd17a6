"""Tables in wide form: a column of times, of stream ids, of labels, and one a feature. What CSV and Parquet share."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from monitor import times
from monitor.identity import wrong_id
from monitor.record import NEVER, RecordSettings
from monitor.sources.base import Refused, Rows, SourceError

LABEL = "label"
"""The column that says 1 where a row is anomalous."""


@dataclass(frozen=True, slots=True)
class Layout:
    """At which index each column of a table lies; None = the table has none such."""

    time: int
    stream: int | None
    label: int | None
    features: tuple[int | None, ...]


def layout(path: str, names: Sequence[str], record: RecordSettings, features: Sequence[str] | None) -> Layout:
    """Find the columns of a table by their names.

    Args:
        path: the file, for the message.
        names: of its columns in order; "" = a column without a name, which is none.
        record: `time` and `stream` name two of them.
        features: the columns wanted; None = every other named one.

    Raises:
        SourceError: if there is no time, none of the features, or a name is doubled.
    """
    index = {name: place for place, name in enumerate(names) if name}
    doubled = sorted({name for name in index if names.count(name) > 1})
    listed = ", ".join(index) or "none"
    message = ""
    if doubled:
        message = f"{path}: column {doubled[0]!r} is there more than once: rename one"
    elif record.time not in index:
        message = f"{path}: no column {record.time!r} (record.time names the column of times); its columns: {listed}"
    elif features and not any(name in index for name in features):
        message = f"{path}: none of the features {', '.join(features)} is a column; its columns: {listed}"
    if message:
        raise SourceError(message)
    if features is None:
        features = [name for name in index if name not in {record.time, record.stream, LABEL}]
    label = None if LABEL in features else index.get(LABEL)
    return Layout(index[record.time], index.get(record.stream), label, tuple(map(index.get, features)))


@dataclass(slots=True)
class Draft:
    """Rows that have been read but not yet judged.

    Attributes:
        time: `(n,)` int64 ms, `NEVER` where it cannot be read.
        streams: distinct stream ids in order of first appearance.
        stream: `(n,)` int32, index into `streams`.
        values: `(n, F)` float64, NaN = missing.
        label: `(n,)` float64, NaN = missing; None = there is no such column.
        refused: row → reason and detail, of rows whose other columns mean nothing.
    """

    time: NDArray[np.int64]
    streams: Sequence[str]
    stream: NDArray[np.int32]
    values: NDArray[np.float64]
    label: NDArray[np.float64] | None
    refused: dict[int, tuple[str, str]] = field(default_factory=dict)

    def _refuse(self, rows: np.bool_ | NDArray[np.bool_], reason: str, detail: Callable[[int], str]) -> None:
        """Refuse rows, unless they are already."""
        for row in np.flatnonzero(rows).tolist():
            if row not in self.refused:
                self.refused[row] = (reason, detail(row))

    def finish(self, topic: str, first: int, features: Sequence[str], raw: Callable[[int], bytes]) -> Rows:
        """Judge the rows.

        Args:
            topic: of the recording.
            first: offset of the first row.
            features: names of the columns of `values`.
            raw: returns a row as bytes, for its dead letter.
        """
        with np.errstate(over="ignore"):
            values = self.values.astype(np.float32)
        infinite = np.isinf(values)
        self._refuse(infinite.any(axis=1), "range", lambda row: self._range(row, infinite, features))
        self._refuse(np.isnan(values).all(axis=1), "features", lambda _: "no feature has a value")
        if self.label is not None:
            label = np.nan_to_num(self.label, nan=0.0)
            self._refuse(
                (label != 0) & (label != 1), "shape", lambda row: f"{LABEL}: {label[row]:g} is neither 0 nor 1"
            )
        wrong = {code: text for code, name in enumerate(self.streams) if (text := wrong_id(name))}
        if wrong:
            self._refuse(np.isin(self.stream, list(wrong)), "stream", lambda row: wrong[int(self.stream[row])])
        outside = (self.time < times.FIRST) | (self.time > times.LAST)
        self._refuse(outside, "time", lambda row: _wrong_time(int(self.time[row])))

        keep = np.ones(len(self.time), np.bool_)
        keep[list(self.refused)] = False
        streams, stream = self.streams, self.stream[keep]
        if self.refused:  # ids that only refused rows have are no streams
            codes, where, inverse = np.unique(stream, return_index=True, return_inverse=True)
            order = np.argsort(where)
            streams = [streams[code] for code in codes[order]]
            stream = np.argsort(order)[inverse].astype(np.int32)
        return Rows(
            topic,
            0,
            streams,
            stream,
            self.time[keep],
            values[keep],
            np.arange(first, first + len(keep), dtype=np.int64)[keep],
            None if self.label is None else (label == 1)[keep],
            [Refused(first + row, raw(row), *self.refused[row]) for row in sorted(self.refused)],
        )

    def _range(self, row: int, infinite: NDArray[np.bool_], features: Sequence[str]) -> str:
        column = int(infinite[row].argmax())
        return f"{features[column]}: {self.values[row, column]:g} is not finite as float32"


def _wrong_time(ms: int) -> str:
    if ms == NEVER:
        return "the time cannot be read"
    return f"the time, {ms} ms since 1970, lies outside 1970-2100"
