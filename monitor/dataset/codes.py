"""Codes as Parquet: one row a window, what makes them readable again in the file's own metadata.

The columns: `stream`; `start` and `end`, the times of the window's first and last row (with `window.interval`, the
start of its first and the end of its last cell), timestamps in ms, UTC; `row`, the window's first row among all rows of
the recording, stream after stream, by which overlapping windows are put together; `label`, whether a row of the window
is labelled; `code_0`, `code_1`, … float32.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from monitor.dataset.recording import pyarrow, replacing, writable
from monitor.sinks.base import SinkError
from monitor.sources.base import SourceError

_KEY = b"tidegauge"


class Origin(BaseModel):
    """Where codes come from.

    Attributes:
        bundle: SHA-256 of the bundle that made them.
        error: mean squared difference between the recording and what comes back, in scaled units.
        baseline: the same with the training mean in place of what comes back.
        deviations: root mean squared difference of each feature in its own units; null where it has no value.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    format: int = Field(default=1, ge=1, le=1)
    bundle: str
    error: float | None
    baseline: float | None
    deviations: tuple[float | None, ...]


@dataclass(frozen=True)
class Codes:
    """Codes of windows; the columns of the file.

    Attributes:
        stream: `(n,)` ids.
        start: `(n,)` int64 ms.
        end: `(n,)` int64 ms.
        row: `(n,)` int64.
        label: `(n,)` bool.
        codes: `(n, Z)` float32.
        origin: None in a file that something else has written.
    """

    stream: list[str]
    start: NDArray[np.int64]
    end: NDArray[np.int64]
    row: NDArray[np.int64]
    label: NDArray[np.bool_]
    codes: NDArray[np.float32]
    origin: Origin | None


def check(path: Path) -> None:
    """Refuse a name that codes cannot be written to.

    Raises:
        SinkError: with what to name instead.
    """
    if path.suffix.lower() != ".parquet":
        message = f"{path}: codes are Parquet: its name must end in .parquet"
        raise SinkError(message)
    pyarrow(path)
    writable(path)


def write(path: Path, codes: Codes) -> None:
    """Write codes, whole or not at all.

    Raises:
        SinkError: if they cannot be written.
    """
    check(path)
    pa, pq = pyarrow(path)
    moment = pa.timestamp("ms", tz="UTC")
    columns: dict[str, Any] = {
        "stream": pa.array(codes.stream, pa.string()),
        "start": pa.array(codes.start, moment),
        "end": pa.array(codes.end, moment),
        "row": pa.array(codes.row),
        "label": pa.array(codes.label),
        **{f"code_{place}": pa.array(column) for place, column in enumerate(codes.codes.T.copy())},
    }
    table = pa.table(columns)
    if codes.origin is not None:
        table = table.replace_schema_metadata({_KEY: codes.origin.model_dump_json().encode()})
    with replacing(path) as made:
        pq.write_table(table, made)


def read(path: Path, size: int) -> Codes:
    """Read codes of `size` numbers each.

    Raises:
        SourceError: if the file cannot be read, a column is missing, or a code is not finite.
    """
    try:
        pa, pq = pyarrow(path)
    except SinkError as error:
        raise SourceError(str(error)) from None
    names = [f"code_{place}" for place in range(size)]
    if not path.is_file():
        message = f"{path}: cannot be read: there is no such file"
        raise SourceError(message)
    try:
        table = pq.ParquetFile(path).read()
    except OSError as error:
        message = f"{path}: cannot be read: {error.strerror or error}"
        raise SourceError(message) from None
    except pa.ArrowException:
        message = f"{path}: cannot be read: it is no Parquet file, or damaged"
        raise SourceError(message) from None
    missing = [name for name in ("stream", "start", "end", "row", *names) if name not in table.column_names]
    if missing:
        message = f"{path}: no column {missing[0]!r}: codes are what `tidegauge encode` writes with this bundle"
        raise SourceError(message)
    if f"code_{size}" in table.column_names:
        message = f"{path}: more than {size} numbers a code: another bundle made them"
        raise SourceError(message)
    try:
        moment = pa.timestamp("ms", tz="UTC")
        start, end = (table[name].cast(moment).cast(pa.int64()).to_numpy() for name in ("start", "end"))
        found = Codes(
            table["stream"].cast(pa.string()).to_pylist(),
            start,
            end,
            table["row"].cast(pa.int64()).to_numpy(),
            np.zeros(len(table), np.bool_),
            np.stack([table[name].cast(pa.float32()).to_numpy() for name in names], axis=1),
            _origin(table.schema.metadata or {}),
        )
    except (pa.ArrowException, ValueError) as error:
        message = f"{path}: its columns are not those of codes: {' '.join(str(error).split())[:200]}"
        raise SourceError(message) from None
    if table.column("stream").null_count or not np.isfinite(found.codes).all():
        message = f"{path}: a stream or a number of a code is missing or infinite"
        raise SourceError(message)
    if (found.end < found.start).any() or (found.row < 0).any() or len(np.unique(found.row)) != len(found.row):
        message = f"{path}: two windows begin at the same row, or one ends before its start"
        raise SourceError(message)
    return found


def _origin(metadata: dict[bytes, bytes]) -> Origin | None:
    """Return what the file says of its origin.

    Raises:
        ValueError: if that cannot be read.
    """
    if _KEY not in metadata:
        return None
    try:
        return Origin.model_validate(json.loads(metadata[_KEY]))
    except ValidationError as error:
        message = f"its metadata is not valid at {error.errors()[0]['loc']}"
        raise ValueError(message) from None
