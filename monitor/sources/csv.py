"""CSV in wide form: a header, then one record a line.

The columns: `record.time` (ISO 8601, or numbers in `record.time_unit`), `record.stream` (without it, the file's name
without its ends is the stream), `label` (0 or 1; empty = 0), and one a feature. An empty cell, `nan` or `null` is a
missing value. The delimiter is the one of `,`, `;` and tab that the header has most of. A record is one line: a quoted
cell cannot hold a line break, so that a lone quote costs one record and not all that follow.
"""

from __future__ import annotations

import csv
from collections.abc import Iterator, Sequence
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from monitor import times
from monitor.record import RecordSettings
from monitor.sources.base import Batch, Rows, SourceError
from monitor.sources.columns import Draft, Layout, layout
from monitor.sources.files import FileSettings, check_twice, stem
from monitor.sources.lines import VALUE_LIMIT, Lines, LineSource

suffixes = (".csv", ".tsv")
"""How names of files of this kind end."""

_MISSING = {"", "nan", "null"}


class Settings(FileSettings):
    """Records of CSV files in wide form."""

    type: Literal["csv"] = "csv"

    def build(self, record: RecordSettings, features: Sequence[str] | None = None) -> CsvSource:
        """Open the source; without `features` they are what `peek` finds."""
        return CsvSource(self.paths, record, self.peek(record) if features is None else features)

    def peek(self, record: RecordSettings, count: int = 1_000) -> tuple[str, ...]:
        """Return the columns that hold numbers, those of the first file first.

        A column is one of numbers if more cells of the first `count` lines of a file are numbers than are neither
        number nor missing.

        Raises:
            SourceError: if a file cannot be read, has no numbers at all, or is a pipe.
        """
        check_twice(self.paths)
        return tuple(dict.fromkeys(name for path in self.paths for name in _numeric(path, record, count)))


class CsvSource(LineSource):
    """See the module. `features` are the columns of `Rows.values`; NaN where a file has no such column."""

    def __init__(self, paths: Sequence[str], record: RecordSettings, features: Sequence[str]) -> None:
        """Look at all files, open none yet."""
        super().__init__(paths)
        self.features = tuple(features)
        self._record = record
        self._next = 0
        self._path = paths[0]
        self._header: Header | None = None

    def _begin(self, path: str) -> None:
        self._path, self._header = path, None

    def _take(self, lines: list[bytes]) -> list[Batch | Rows]:
        if self._header is None:
            self._header = Header(self._path, lines.pop(0))
            self._layout = layout(self._path, self._header.names, self._record, self.features)
        if not lines:
            return []
        first = self._next
        self._next += len(lines)
        draft = self._draft(lines, *self._header.split(lines))
        return [draft.finish(self._topic, first, self.features, lambda row: lines[row][: VALUE_LIMIT + 1])]

    def _draft(self, lines: list[bytes], columns: list[Sequence[str]], refused: dict[int, tuple[str, str]]) -> Draft:
        at: Layout = self._layout
        values = np.full((len(lines), len(self.features)), np.nan)
        for column, (name, place) in enumerate(zip(self.features, at.features, strict=True)):
            if place is not None:
                values[:, column] = _numbers(name, columns[place], refused)
        label = None if at.label is None else _numbers("label", columns[at.label], refused)
        names = [stem(self._path)] * len(lines) if at.stream is None else columns[at.stream]
        codes: dict[str, int] = {}
        stream = np.fromiter((codes.setdefault(name, len(codes)) for name in names), np.int32, len(names))
        time = times.from_text(columns[at.time], self._record.time_unit)
        return Draft(time, list(codes), stream, values, label, refused)


class Header:
    """The first line of a file: names of its columns, and how its lines are split.

    Raises:
        SourceError: if it is not UTF-8, or too long to be one.
    """

    def __init__(self, path: str, line: bytes) -> None:
        """Read it; a byte order mark at its beginning is dropped."""
        try:
            text = line.decode("utf-8-sig")
            self.delimiter = max(",;\t", key=text.count)
            self.names = [name.strip() for name in self._cells(text)]
        except (UnicodeDecodeError, csv.Error) as error:
            message = f"{path}: its first line is no header of a CSV file in UTF-8"
            raise SourceError(message) from error

    def _cells(self, text: str) -> list[str]:
        if '"' not in text:
            return text.split(self.delimiter)
        return next(csv.reader([text], delimiter=self.delimiter, strict=True), [])

    def split(self, lines: Sequence[bytes]) -> tuple[list[Sequence[str]], dict[int, tuple[str, str]]]:
        """Return the columns of lines, and why which lines are refused; a refused one has empty cells."""
        width, mark = len(self.names), self.delimiter.encode()
        if not lines:
            return [[]] * width, {}
        if all(line.count(mark) == width - 1 and len(line) <= VALUE_LIMIT for line in lines):
            try:
                text = mark.join(lines).decode()
            except UnicodeDecodeError:
                pass
            else:
                if '"' not in text:  # all cells at once: three times as fast as line by line
                    cells = text.split(self.delimiter)
                    return [cells[place::width] for place in range(width)], {}
        rows, refused = [], {}
        for row, line in enumerate(lines):
            cells, why = self._row(line)
            rows.append(cells)
            if why is not None:
                refused[row] = why
        return list(zip(*rows, strict=True)), refused

    def _row(self, line: bytes) -> tuple[list[str], tuple[str, str] | None]:
        """Return the cells of a line, and why it is refused."""
        width = len(self.names)
        if len(line) > VALUE_LIMIT:
            return [""] * width, ("size", f"the line is longer than {VALUE_LIMIT} bytes")
        try:
            cells = self._cells(line.decode())
        except UnicodeDecodeError:
            return [""] * width, ("encoding", "not UTF-8")
        except csv.Error as error:
            return [""] * width, ("shape", f"not CSV: {error}")
        if len(cells) != width:
            return [""] * width, ("shape", f"{len(cells)} cells where the header has {width}")
        return cells, None


def _numbers(name: str, cells: Sequence[str], refused: dict[int, tuple[str, str]]) -> NDArray[np.float64]:
    """Return `(n,)` numbers, NaN where one is missing; a cell that is none has its row refused."""
    if "_" not in "".join(cells):  # Python would take 1_000
        try:
            return np.fromiter(map(float, [cell or "nan" for cell in cells]), np.float64, len(cells))
        except ValueError:
            pass
    numbers = np.full(len(cells), np.nan)
    for row, cell in enumerate(cells):
        if cell.strip().lower() not in _MISSING:
            try:
                numbers[row] = float("_" if "_" in cell else cell)
            except ValueError:
                refused.setdefault(row, ("shape", f"{name}: {cell[:40]!r} is no number"))
    return numbers


def _numeric(path: str, record: RecordSettings, count: int) -> Iterator[str]:
    """Yield the columns of a file that hold numbers in its first `count` lines."""
    lines = Lines(path)
    try:
        found: list[bytes] = []
        while len(found) <= count and not lines.ended:
            found += lines.read(1.0)
    finally:
        lines.close()
    if not found:
        return
    header = Header(path, found[0])
    layout(path, header.names, record, None)  # for its complaints
    columns, refused = header.split(found[1 : count + 1])
    numeric = 0
    for name, cells in zip(header.names, columns, strict=True):
        if name in {"", "label", record.time, record.stream}:
            continue
        wrong: dict[int, tuple[str, str]] = {}
        numbers = np.count_nonzero(~np.isnan(_numbers(name, cells, wrong)))
        if numbers > len(wrong):
            numeric += 1
            yield name
    if not numeric and len(refused) < len(columns[0]):
        message = f"{path}: no column of numbers besides time, stream and label; its columns: {', '.join(header.names)}"
        raise SourceError(message)
