"""Rows → a recording that every verb reads: CSV or Parquet in wide form, or JSON Lines of record v1.

Values are float32, in CSV and JSON their shortest decimal. A missing value is an empty cell, or null. A row without any
value is left out: it would come back as a dead letter.
"""

from __future__ import annotations

import gzip
import json
import os
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any, BinaryIO

import numpy as np
import zstandard
from numpy.typing import NDArray

from monitor.sinks.base import SinkError
from monitor.sources.compression import bare
from monitor.times import to_iso

SUFFIXES = (".csv", ".jsonl", ".parquet")
"""How names of recordings that can be written end; CSV and JSON Lines also with .gz or .zst."""

_ROWS = 65_536  # written at a time


@dataclass(frozen=True)
class Rows:
    """Rows to write, each stream's in order of time.

    Attributes:
        streams: ids.
        stream: `(n,)` index in `streams`.
        time: `(n,)` int64 ms.
        features: names of the columns.
        values: `(n, F)` float32, NaN = missing.
    """

    streams: Sequence[str]
    stream: NDArray[np.int32]
    time: NDArray[np.int64]
    features: Sequence[str]
    values: NDArray[np.float32]


def check(path: Path) -> None:
    """Refuse a name or folder that no recording can be written to, before anything is computed.

    Raises:
        SinkError: with what to name instead.
    """
    kind = Path(bare(str(path))).suffix.lower()
    packed = bare(str(path)) != str(path)
    if kind not in SUFFIXES or (packed and kind == ".parquet"):
        message = (
            f"{path}: no known kind of recording to write: its name must end in {', '.join(SUFFIXES)}"
            " (.csv and .jsonl also with .gz or .zst)"
        )
        raise SinkError(message)
    if kind == ".parquet":
        pyarrow(path)
    writable(path)


def writable(path: Path) -> None:
    """Refuse a path that is a directory, or whose folder is not there.

    Raises:
        SinkError: with what is wrong.
    """
    if path.is_dir():
        message = f"{path}: is a directory: name a file"
        raise SinkError(message)
    if not path.absolute().parent.is_dir():
        message = f"{path}: cannot be written: there is no folder {path.parent}"
        raise SinkError(message)


def write(path: Path, rows: Rows) -> int:
    """Write a recording, whole or not at all; return how many rows it has.

    Raises:
        SinkError: if it cannot be written.
    """
    check(path)
    kind = Path(bare(str(path))).suffix.lower()
    taken = sorted({"time", "stream"} & set(rows.features))
    if taken and kind != ".jsonl":
        message = f"{path}: the feature {taken[0]!r} has the name of a column of its own: write .jsonl"
        raise SinkError(message)
    kept = np.flatnonzero(~np.isnan(rows.values).all(axis=1))
    parts = (kept[at : at + _ROWS] for at in range(0, len(kept), _ROWS))
    with replacing(path) as made:
        if kind == ".parquet":
            _parquet(path, made, rows, parts)
        else:
            with _opened(path, made) as file:
                if kind == ".csv":
                    file.write(_line(["time", "stream", *rows.features]))
                for part in parts:
                    file.write(b"".join(_csv(rows, part) if kind == ".csv" else _json(rows, part)))
    return len(kept)


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Give a new file beside `path` to write; it takes the place of `path` if all went well, else it is gone.

    Raises:
        SinkError: if the system refuses.
    """
    made: Path | None = None
    try:
        descriptor, name = tempfile.mkstemp(prefix=".tidegauge-", dir=path.absolute().parent)
        os.close(descriptor)
        made = Path(name)
        yield made
        made.chmod(0o644)
        made.replace(path)
    except OSError as error:
        message = f"{path}: cannot be written: {error.strerror or error}"
        raise SinkError(message) from None
    finally:
        if made is not None:
            made.unlink(missing_ok=True)


def pyarrow(path: Path, otherwise: str = "") -> tuple[ModuleType, ModuleType]:
    """Return pyarrow and its Parquet module; `otherwise` says what to do without them.

    Raises:
        SinkError: if they are not installed.
    """
    try:
        import pyarrow as pa
        import pyarrow.parquet as pq
    except ImportError:
        message = f"{path}: Parquet needs pyarrow: pip install 'tidegauge[parquet]'{otherwise}"
        raise SinkError(message) from None
    return pa, pq


@contextmanager
def _opened(path: Path, made: Path) -> Iterator[BinaryIO]:
    """Open a file of text, compressed as the name of `path` says."""
    end = path.suffix.lower()
    with made.open("wb") as file:
        if end == ".gz":
            with gzip.GzipFile("", "wb", fileobj=file, mtime=0) as packed:
                yield packed  # type: ignore[misc]  # a file of bytes like any other
        elif end == ".zst":
            with zstandard.ZstdCompressor().stream_writer(file) as packed:
                yield packed
        else:
            yield file


def _csv(rows: Rows, part: NDArray[np.intp]) -> Iterator[bytes]:
    for stream, time, values in _each(rows, part):
        yield _line([to_iso(time), stream, *("" if text == "nan" else text for text in map(str, values))])


def _json(rows: Rows, part: NDArray[np.intp]) -> Iterator[bytes]:
    for stream, time, values in _each(rows, part):
        # The text of a float32, not of the float64 that it would become.
        texts = zip(rows.features, map(str, values), strict=True)
        found = {name: None if text == "nan" else float(text) for name, text in texts}
        record = {"stream": stream, "time": to_iso(time), "values": found}
        yield json.dumps(record, ensure_ascii=False, separators=(",", ":")).encode() + b"\n"


def _each(rows: Rows, part: NDArray[np.intp]) -> Iterator[tuple[str, int, NDArray[np.float32]]]:
    streams, times = rows.stream[part].tolist(), rows.time[part].tolist()
    for at, stream, time in zip(part.tolist(), streams, times, strict=True):
        yield rows.streams[stream], time, rows.values[at]


def _line(cells: Sequence[str]) -> bytes:
    quoted = ('"' + cell.replace('"', '""') + '"' if any(mark in cell for mark in ',;\t"') else cell for cell in cells)
    return (",".join(quoted) + "\n").encode()


def _parquet(path: Path, made: Path, rows: Rows, parts: Iterator[NDArray[np.intp]]) -> None:
    pa, pq = pyarrow(path)
    columns: list[tuple[str, Any]] = [("time", pa.timestamp("ms", tz="UTC")), ("stream", pa.string())]
    schema = pa.schema([*columns, *((name, pa.float32()) for name in rows.features)])
    with pq.ParquetWriter(made, schema) as out:
        for part in parts:
            ids = pa.array([rows.streams[number] for number in rows.stream[part].tolist()], pa.string())
            values = [pa.array(column, from_pandas=True) for column in rows.values[part].T.copy()]  # NaN becomes null
            time = pa.array(rows.time[part], pa.timestamp("ms", tz="UTC"))
            out.write_table(pa.table([time, ids, *values], schema=schema))
