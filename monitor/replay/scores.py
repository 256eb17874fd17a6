"""Scores as CSV or Parquet: one row a window.

The columns are `stream, time, offset, score, threshold, anomaly_score, status, reason`. Numbers are float32, as in
events, in CSV its shortest decimal; a window that is not scored has none, and a `reason`: `missing` (more missing and
filled values than `window.max_missing`), `not_finite` (the model made no finite score of it) or `warmup` (the detector
of a bundle of preset `quality` knows too little of the stream yet); so has one over its line that is `normal`:
`ignored` (by a rule of `alert.ignore`). Times are timestamps in ms, UTC, in Parquet, and texts of ISO 8601 in CSV. Rows
are in the order of their partition, then of the record that made the window due, then of the stream: however the
recording was cut into batches, the file is the same.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Literal, Self

import numpy as np
from numpy.typing import NDArray

from monitor.dataset.recording import pyarrow
from monitor.pipeline import REASONS, STATUS, ScoreRows
from monitor.replay.parts import Parts, writing
from monitor.sinks.base import SinkError
from monitor.sources.base import Key
from monitor.times import to_iso

COLUMNS = ("stream", "time", "offset", "score", "threshold", "anomaly_score", "status", "reason")
ScoreFormat = Literal["csv", "parquet"]
SUFFIXES: Mapping[str, ScoreFormat] = {".csv": "csv", ".parquet": "parquet"}
_GROUP = 65_536
"""Rows of a row group in Parquet, and most rows of a partition that are in memory."""


@dataclass(frozen=True, slots=True)
class _Columns:
    """Rows of one partition, in order; numbers are NaN where there is none."""

    stream: list[str]
    time: NDArray[np.int64]
    offset: NDArray[np.int64]
    numbers: NDArray[np.float32]  # (n, 3): score, threshold, anomaly_score
    status: list[str]
    reason: list[str]  # empty where there is nothing to say


class ScoreFile(ABC):
    """Takes the scores of a replay; as a context it puts the file in its place at the end, if all went well."""

    @staticmethod
    def open(path: Path) -> ScoreFile:
        """Return the writer for a file, by the end of its name.

        Raises:
            SinkError: if the name ends otherwise, the folder cannot be written, or pyarrow is missing.
        """
        kind = SUFFIXES.get(path.suffix.lower())
        if kind is None:
            message = f"{path}: no known kind of file for scores: its name must end in {' or '.join(SUFFIXES)}"
            raise SinkError(message)
        return _Csv(path) if kind == "csv" else _Parquet(path)

    def __init__(self, path: Path) -> None:
        """Prepare."""
        self._path = path
        self._parts = Parts(path)

    def add(self, scores: Mapping[Key, Sequence[ScoreRows]]) -> None:
        """Take what the pipeline made of a batch (`Output.scores`)."""
        for key, rows in scores.items():
            self._write(key, _sorted(rows))

    @abstractmethod
    def _write(self, key: Key, columns: _Columns) -> None:
        """Take rows of one partition."""

    @abstractmethod
    def _join(self, made: Path) -> None:
        """Write the whole file."""

    def _abandon(self) -> None:  # noqa: B027 - CSV holds nothing open
        """Let go of what is open."""

    def __enter__(self) -> Self:
        """Return itself."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Put the file in its place, unless something failed."""
        with self._parts:
            try:
                if kind is None:
                    made = self._parts.folder / "all"
                    with writing(self._path):
                        self._join(made)
                    self._parts.publish(made)
            finally:
                self._abandon()


def _sorted(rows: Sequence[ScoreRows]) -> _Columns:
    """Return the rows of a batch in the order of what made them due; those of a stream stay in their order."""
    stream = [name for part in rows for name in part.stream]
    score, threshold, due, time, offset, status, reason = (
        np.concatenate([getattr(part, name) for part in rows])
        for name in ("score", "threshold", "due", "time", "offset", "status", "reason")
    )
    order = np.lexsort((np.array(stream), due))
    with np.errstate(over="ignore", invalid="ignore", divide="ignore"):
        numbers = np.stack([score, threshold, score / threshold], axis=1)[order].astype(np.float32)
    places = order.tolist()
    return _Columns(
        [stream[i] for i in places],
        time[order],
        offset[order],
        numbers,
        [STATUS[code] for code in status[order].tolist()],
        [REASONS[code] for code in reason[order].tolist()],
    )


class _Csv(ScoreFile):
    """CSV with a header."""

    def _write(self, key: Key, columns: _Columns) -> None:
        numbers = [["" if number != number else str(number) for number in row] for row in columns.numbers]  # noqa: PLR0124 - NaN
        lines = [
            ",".join((_quoted(stream), to_iso(time), str(offset), *row, status, reason))
            for stream, time, offset, row, status, reason in zip(
                columns.stream,
                columns.time.tolist(),
                columns.offset.tolist(),
                numbers,
                columns.status,
                columns.reason,
                strict=True,
            )
        ]
        self._parts.append(key, ("\n".join(lines) + "\n").encode())

    def _join(self, made: Path) -> None:
        with made.open("wb") as out:
            out.write((",".join(COLUMNS) + "\n").encode())
            self._parts.copy(out)


def _quoted(cell: str) -> str:
    """Return a cell of CSV."""
    return '"' + cell.replace('"', '""') + '"' if any(mark in cell for mark in ',"\r\n') else cell


class _Parquet(ScoreFile):
    """Parquet, in row groups of one size whatever the batches were."""

    def __init__(self, path: Path) -> None:
        """Prepare.

        Raises:
            SinkError: if pyarrow is missing.
        """
        self._arrow, self._parquet = pyarrow(path, ", or name a .csv file")
        super().__init__(path)
        arrow = self._arrow
        self._schema = arrow.schema(
            [
                ("stream", arrow.string()),
                ("time", arrow.timestamp("ms", tz="UTC")),
                ("offset", arrow.int64()),
                *((name, arrow.float32()) for name in ("score", "threshold", "anomaly_score")),
                ("status", arrow.string()),
                ("reason", arrow.string()),
            ]
        )
        self._waiting: dict[Key, list[Any]] = {}  # tables that make no whole row group yet
        self._writers: dict[Key, Any] = {}

    def _write(self, key: Key, columns: _Columns) -> None:
        arrow = self._arrow
        numbers = [arrow.array(column, from_pandas=True) for column in columns.numbers.T.copy()]  # NaN becomes null
        table = arrow.table(
            [
                arrow.array(columns.stream, arrow.string()),
                arrow.array(columns.time, arrow.timestamp("ms", tz="UTC")),
                arrow.array(columns.offset),
                *numbers,
                arrow.array(columns.status, arrow.string()),
                arrow.array([reason or None for reason in columns.reason], arrow.string()),
            ],
            schema=self._schema,
        )
        waiting = self._waiting.setdefault(key, [])
        waiting.append(table)
        if sum(len(each) for each in waiting) >= _GROUP:
            table = arrow.concat_tables(waiting)
            whole = len(table) - len(table) % _GROUP
            self._flush(key, table[:whole])
            self._waiting[key] = [table[whole:]]

    def _flush(self, key: Key, table: Any) -> None:  # noqa: ANN401 - pyarrow has no types
        with writing(self._path):
            if key not in self._writers:
                self._writers[key] = self._parquet.ParquetWriter(self._parts.file(key), self._schema)
            self._writers[key].write_table(table, row_group_size=_GROUP)

    def _join(self, made: Path) -> None:
        for key, waiting in sorted(self._waiting.items()):
            rest = self._arrow.concat_tables(waiting)
            if len(rest) or key not in self._writers:
                self._flush(key, rest)
        self._abandon()
        files = self._parts.files()
        if len(files) == 1:
            files[0].replace(made)
            return
        with self._parquet.ParquetWriter(made, self._schema) as out:
            for path in files:
                with self._parquet.ParquetFile(path) as part:
                    for group in range(part.num_row_groups):
                        out.write_table(part.read_row_group(group))

    def _abandon(self) -> None:
        for writer in self._writers.values():
            writer.close()
        self._writers.clear()
