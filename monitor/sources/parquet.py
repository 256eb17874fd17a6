"""Parquet in wide form; needs pyarrow, which only the extra `parquet` installs.

The columns are those of a CSV file. Times may be timestamps (without a time zone they are UTC), dates, numbers in
`record.time_unit`, or text; stream ids are text, plain or as a dictionary, or whole numbers; features are numbers of
any kind; null is a missing value. A file is read batch by batch, so that it may be larger than memory. Parquet keeps
its index at the end: a compressed file is first unpacked into a temporary one.
"""

from __future__ import annotations

from collections.abc import Generator, Sequence
from types import ModuleType
from typing import Literal

from monitor.record import RecordSettings
from monitor.sources.base import Batch, Rows, Source, SourceError
from monitor.sources.files import FileSettings

suffixes = (".parquet", ".pq")
"""How names of files of this kind end."""


class Settings(FileSettings):
    """Records of Parquet files in wide form."""

    type: Literal["parquet"] = "parquet"

    def build(self, record: RecordSettings, features: Sequence[str] | None = None) -> ParquetSource:
        """Open the source; without `features` they are what `peek` finds."""
        return ParquetSource(self.paths, record, self.peek(record) if features is None else features)

    def peek(self, record: RecordSettings, count: int = 1_000) -> tuple[str, ...]:
        """Return the columns of numbers, those of the first file first; the schema says so, no record is looked at.

        Raises:
            SourceError: if a file cannot be read, or has no numbers.
        """
        del count
        numeric = _arrow(self.paths[0]).numeric
        return tuple(dict.fromkeys(name for path in self.paths for name in numeric(path, record)))


class ParquetSource(Source):
    """See the module. `features` are the columns of `Rows.values`; NaN where a file has no such column."""

    def __init__(self, paths: Sequence[str], record: RecordSettings, features: Sequence[str]) -> None:
        """Look at all files, open none yet.

        Raises:
            SourceError: if pyarrow is missing, or a file cannot be read.
        """
        arrow = _arrow(paths[0])
        for path in paths:
            arrow.check_file(path)
        self.features = tuple(features)
        self._batches: Generator[Rows] | None = arrow.read(paths, record, self.features)

    def poll(self, timeout: float) -> list[Batch | Rows]:
        """Return the next batch of the current file, or of the next; there is never a wait."""
        del timeout
        rows = None if self._batches is None else next(self._batches, None)
        if rows is None:
            self._batches = None
            return []
        return [rows]

    @property
    def exhausted(self) -> bool:
        """True when the last file has come to its end."""
        return self._batches is None

    def close(self) -> None:
        """Close the open file."""
        if self._batches is not None:
            self._batches.close()
            self._batches = None


def _arrow(path: str) -> ModuleType:
    """Import what reads Parquet, for the sake of a file."""
    try:
        from monitor.sources import _arrow
    except ImportError as error:
        message = f"{path}: reading Parquet needs pyarrow: pip install 'tidegauge[parquet]'"
        raise SourceError(message) from error
    return _arrow
