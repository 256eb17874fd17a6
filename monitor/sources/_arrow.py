"""What Parquet files hold, by way of pyarrow. `monitor.sources.parquet` imports this module, and only when used."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import IO, Any, TypeAlias

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from monitor import times
from monitor.record import NEVER, RecordSettings
from monitor.sources.base import Rows, SourceError
from monitor.sources.columns import LABEL, Draft, layout
from monitor.sources.compression import is_compressed
from monitor.sources.files import STDIN, check, failed, stem, topic
from monitor.sources.inputs import open_input
from monitor.sources.lines import VALUE_LIMIT

_ROWS = 16_384
"""Rows of a batch."""

_Arrow: TypeAlias = Any
"""An object of pyarrow, which has no types."""

TEXTS = ("text", "integer")
NUMBERS = ("integer", "float", "decimal", "null")
TIMES = ("timestamp", "date", "integer", "float", "text")


def read(paths: Sequence[str], record: RecordSettings, features: Sequence[str]) -> Iterator[Rows]:
    """Yield the batches of all files, one after another.

    Raises:
        SourceError: if a file cannot be read, or has not the columns that it must.
    """
    first = 0
    for path in paths:
        with opened(path) as file:
            if file is None:
                continue
            reader = Reader(path, file.schema_arrow, record, features)
            for batch in file.iter_batches(batch_size=_ROWS, columns=reader.columns):
                if len(batch):
                    yield reader.draft(batch).finish(topic(paths), first, features, raw(batch))
                    first += len(batch)


def numeric(path: str, record: RecordSettings) -> list[str]:
    """Return the columns of a file that hold numbers."""
    with opened(path) as file:
        if file is None:
            return []
        schema = file.schema_arrow
        layout(path, schema.names, record, None)  # for its complaints
        others = {"", record.time, record.stream, LABEL}
        kinds = {name: kind_of(schema.field(name).type) for name in schema.names if name not in others}
        names = [name for name, kind in kinds.items() if kind in NUMBERS and kind != "null"]
        if not names:
            listed = ", ".join(schema.names)
            message = f"{path}: no column of numbers besides time, stream and label; its columns: {listed}"
            raise SourceError(message)
        return names


class Reader:
    """Columns of Arrow into those of a `Draft`, for the files that have one schema."""

    def __init__(self, path: str, schema: _Arrow, record: RecordSettings, features: Sequence[str]) -> None:
        """Find the columns.

        Raises:
            SourceError: if one is missing, or of a type that cannot be what it shall be.
        """
        self._path, self._unit, self._stem = path, record.time_unit, stem(path)
        at = layout(path, schema.names, record, features)
        self._time = record.time
        self._stream = None if at.stream is None else record.stream
        self._label = None if at.label is None else LABEL
        self._features = [None if place is None else name for name, place in zip(features, at.features, strict=True)]
        wanted = [self._time, self._stream, self._label, *self._features]
        self.columns = [name for name in wanted if name is not None]
        for name in self.columns:
            kinds = TIMES if name == self._time else TEXTS if name == self._stream else NUMBERS
            kind = kind_of(schema.field(name).type)
            if kind not in kinds and not (name == self._label and kind == "bool"):
                message = f"{path}: column {name!r} is of type {schema.field(name).type}: wanted are {', '.join(kinds)}"
                raise SourceError(message)

    def draft(self, batch: _Arrow) -> Draft:
        """Read one batch."""
        values = np.full((len(batch), len(self._features)), np.nan)
        for column, name in enumerate(self._features):
            if name is not None:
                values[:, column] = numbers(batch.column(name))
        label = None if self._label is None else numbers(batch.column(self._label))
        if self._stream is None:
            names, codes = [self._stem], np.zeros(len(batch), np.int32)
        else:
            names, codes = ids(batch.column(self._stream))
        return Draft(times_of(batch.column(self._time), self._unit), names, codes, values, label)


def kind_of(of: _Arrow) -> str:
    """Return what a type of Arrow is to us."""
    is_a = pa.types
    if is_a.is_dictionary(of):
        of = of.value_type
    tests: list[tuple[str, Callable[[_Arrow], bool]]] = [
        ("bool", is_a.is_boolean),
        ("integer", is_a.is_integer),
        ("float", is_a.is_floating),
        ("decimal", is_a.is_decimal),
        ("null", is_a.is_null),
        ("text", lambda t: is_a.is_string(t) or is_a.is_large_string(t) or is_a.is_string_view(t)),
        ("timestamp", is_a.is_timestamp),
        ("date", is_a.is_date),
    ]
    return next((kind for kind, test in tests if test(of)), "other")


def _plain(column: _Arrow, to: _Arrow) -> _Arrow:
    """Return a column in another type, no longer a dictionary."""
    if pa.types.is_dictionary(column.type):
        column = column.dictionary_decode()
    return column.cast(to, safe=False)


def numbers(column: _Arrow) -> NDArray[np.float64]:
    """Return `(n,)` numbers, NaN where one is null."""
    if pa.types.is_boolean(column.type):
        column = column.cast(pa.int8())
    found: NDArray[np.float64] = _plain(column, pa.float64()).to_numpy(zero_copy_only=False)
    return found


def ids(column: _Arrow) -> tuple[list[str], NDArray[np.int32]]:
    """Return the distinct stream ids in order of first appearance, and `(n,)` which each row has; null is empty."""
    found = _plain(column, pa.large_string()).fill_null("").dictionary_encode()
    return _texts(found.dictionary), found.indices.to_numpy().astype(np.int32)


def _texts(column: _Arrow) -> list[str]:
    """Return texts; the reader does not look whether they are UTF-8, so what is not becomes surrogates."""
    try:
        texts: list[str] = column.to_pylist()
    except UnicodeDecodeError:
        texts = [data.decode("utf-8", "surrogateescape") for data in column.cast(pa.large_binary()).to_pylist()]
    return texts


def times_of(column: _Arrow, unit: str) -> NDArray[np.int64]:
    """Return `(n,)` times in ms, `NEVER` where one is null or cannot be read."""
    missing: NDArray[np.bool_] = column.is_null().to_numpy(zero_copy_only=False)
    if pa.types.is_dictionary(column.type):
        column = column.dictionary_decode()
    kind = kind_of(column.type)
    if kind == "text":
        return times.from_text(_texts(_plain(column, pa.large_string()).fill_null("")), unit)
    if kind == "float":
        return times.from_floats(numbers(column), unit)
    if kind == "date":
        column, unit = _plain(column, pa.timestamp("ms")), "ms"
    elif kind == "timestamp":
        unit = column.type.unit
    whole: NDArray[np.int64] = _plain(column, pa.int64()).fill_null(0).to_numpy()
    return np.where(missing, NEVER, times.from_integers(whole, unit))


def raw(batch: _Arrow) -> Callable[[int], bytes]:
    """Return what makes a row into bytes for a dead letter: a JSON object of its columns."""

    def as_json(row: int) -> bytes:
        fields = {name: _field(batch.column(name)[row]) for name in batch.schema.names}
        return json.dumps(fields, default=str, ensure_ascii=False).encode("utf-8", "replace")[: VALUE_LIMIT + 1]

    return as_json


def _field(scalar: _Arrow) -> object:
    """Return a cell as what JSON can hold."""
    try:
        value: object = scalar.as_py()
    except UnicodeDecodeError:
        value = scalar.cast(pa.large_binary()).as_py().decode("utf-8", "replace")
    except (ValueError, OverflowError):  # a time finer than microseconds, or beyond the year 9999
        value = scalar.cast(pa.int64()).as_py()
    return value


def check_file(path: str) -> None:
    """Look whether a file can be read.

    Raises:
        SourceError: if not, or if it is standard input.
    """
    if path == STDIN:
        message = "Parquet cannot be read from standard input, since its index is at its end: read a file"
        raise SourceError(message)
    check(path)


@contextmanager
def opened(path: str) -> Iterator[_Arrow]:
    """Open a Parquet file; None if it is empty. Whatever goes wrong in it while it is open is one readable line."""
    check_file(path)
    try:
        with _unpacked(path) as file:
            file.seek(0, 2)
            yield pq.ParquetFile(file, buffer_size=1 << 20, pre_buffer=False) if file.tell() else None
    except pa.ArrowException as error:
        message = f"{path}: not a Parquet file, or a damaged one: {str(error).partition(chr(10))[0]}"
        raise SourceError(message) from error
    except OSError as error:
        raise failed(path, error) from error


@contextmanager
def _unpacked(path: str) -> Iterator[IO[bytes]]:
    if not is_compressed(path):
        with open(path, "rb") as file:  # noqa: PTH123 - paths are text in all sources, as messages show them
            yield file
        return
    source = open_input(path)
    try:
        with tempfile.TemporaryFile() as file:
            while data := source.read(0.0):
                file.write(data)
            yield file
    finally:
        source.close()
