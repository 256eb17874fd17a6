"""What holds for every kind of source that reads recordings; a new kind adds what writes one of it to `WRITERS`."""

from __future__ import annotations

import csv
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from monitor.record import DEAD_LETTER_REASONS, RecordSettings
from monitor.sources import for_recording, kinds
from monitor.sources.base import Batch, Rows, Source, SourceError

Table = list[tuple[int, str, float | None, float | None]]
"""Rows of time, stream, and the features `a` and `b`."""

RECORD = RecordSettings()
FEATURES = ("a", "b")
TABLE: Table = [(1_700_000_000_000 + 7 * row, f"pump-{row % 3}", row / 4, row % 5 or None) for row in range(30_000)]


def write_jsonl(path: Path, table: Table) -> None:
    """Write record v1."""
    with path.open("w") as file:
        for time, stream, a, b in table:
            file.write(json.dumps({"stream": stream, "time": time, "values": {"a": a, "b": b}}) + "\n")


def write_csv(path: Path, table: Table) -> None:
    """Write the wide form."""
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerows([("time", "stream", *FEATURES), *table])


def write_parquet(path: Path, table: Table) -> None:
    """Write the wide form."""
    rows = [dict(zip(("time", "stream", *FEATURES), row, strict=True)) for row in table]
    types = [("time", pa.int64()), ("stream", pa.string()), ("a", pa.float64()), ("b", pa.float64())]
    pq.write_table(pa.Table.from_pylist(rows, pa.schema(types)), path)


WRITERS: dict[str, tuple[str, Callable[[Path, Table], None]]] = {
    "csv": (".csv", write_csv),
    "jsonl": (".jsonl", write_jsonl),
    "parquet": (".parquet", write_parquet),
}

ELSEWHERE = {"kafka"}
"""Kinds that need more than a file: their own tests hold them to the same."""

every_kind = pytest.mark.parametrize("kind", sorted(set(kinds()) - ELSEWHERE))


def recording(directory: Path, kind: str, table: Table, name: str = "recording") -> str:
    """Write a recording and return its path."""
    suffix, write = WRITERS[kind]
    path = directory / f"{name}{suffix}"
    write(path, table)
    return str(path)


def drain(source: Source) -> list[Batch | Rows]:
    """Poll a source to its end, at most a thousand times without a record."""
    batches: list[Batch | Rows] = []
    idle = 0
    while not source.exhausted:
        polled = source.poll(0.1)
        batches += polled
        idle = 0 if polled else idle + 1
        assert idle < 1_000
    assert source.poll(0.0) == []
    source.close()
    source.close()
    return batches


def table_of(batches: list[Batch | Rows]) -> Table:
    """Return the records as they were written."""
    table: Table = []
    for batch in batches:
        if isinstance(batch, Rows):
            assert not batch.refused
            cells = [[None if np.isnan(cell) else cell for cell in row] for row in batch.values.tolist()]
            names = [batch.streams[code] for code in batch.stream]
            table += [(int(t), n, a, b) for t, n, (a, b) in zip(batch.time, names, cells, strict=True)]
        else:
            for value in batch.values:
                found = json.loads(value or b"")
                table.append((found["time"], found["stream"], found["values"]["a"], found["values"]["b"]))
    return table


@every_kind
def test_nothing_is_lost_and_positions_count_on(tmp_path: Path, kind: str) -> None:
    """Every record comes once, in order, at its row number: alert ids and dead letters are made of these."""
    paths = [recording(tmp_path, kind, TABLE[:20_000], "first"), recording(tmp_path, kind, TABLE[20_000:], "second")]
    settings = for_recording(paths)
    assert settings.type == kind
    batches = drain(settings.build(RECORD, FEATURES))
    assert table_of(batches) == TABLE
    offsets = [int(o) for batch in batches for o in (batch.offset if isinstance(batch, Rows) else batch.offsets)]
    assert offsets == list(range(len(TABLE)))
    assert {(batch.topic, batch.partition) for batch in batches} == {(Path(paths[0]).name, 0)}


@every_kind
def test_no_batch_is_the_whole_recording(tmp_path: Path, kind: str) -> None:
    """A recording may be larger than memory: it must come in parts, each with one batch a partition."""
    table = TABLE * 2
    source = for_recording([recording(tmp_path, kind, table)]).build(RECORD, FEATURES)
    polls = []
    while not source.exhausted:
        polls.append(source.poll(0.1))
    assert max(sum(map(len, polled)) for polled in polls) < len(table)
    assert max(len(polled) for polled in polls) == 1


@every_kind
@pytest.mark.parametrize("suffix", [".gz", ".zst"])
def test_compressed_is_the_same(tmp_path: Path, kind: str, suffix: str) -> None:
    """An archive is compressed; what is in it must not depend on that."""
    import gzip

    import zstandard

    path = Path(recording(tmp_path, kind, TABLE[:5_000]))
    pack = gzip.compress if suffix == ".gz" else zstandard.ZstdCompressor().compress
    packed = path.with_name(path.name + suffix)
    packed.write_bytes(pack(path.read_bytes()))
    settings = for_recording([str(packed)])
    assert settings.peek(RECORD) == FEATURES
    assert table_of(drain(settings.build(RECORD, FEATURES))) == TABLE[:5_000]


@every_kind
def test_peek_finds_the_features_and_consumes_nothing(tmp_path: Path, kind: str) -> None:
    """`train` asks for the names first and reads then: both must see the whole recording."""
    settings = for_recording([recording(tmp_path, kind, TABLE[:100])])
    assert settings.peek(RECORD) == FEATURES
    assert table_of(drain(settings.build(RECORD, None))) == TABLE[:100]


@every_kind
def test_a_recording_without_records_is_no_error(tmp_path: Path, kind: str) -> None:
    """An hour in which nothing came is a part of the recording like any other."""
    full, empty = recording(tmp_path, kind, TABLE[:10]), recording(tmp_path, kind, [], "empty")
    void = tmp_path / f"void{WRITERS[kind][0]}"
    void.touch()
    settings = for_recording([str(void), empty, full, empty])
    batches = drain(settings.build(RECORD, None))
    assert table_of(batches) == TABLE[:10]
    assert {batch.topic for batch in batches} == {void.name}


@every_kind
def test_what_cannot_be_read_is_one_line_before_anything_is_read(tmp_path: Path, kind: str) -> None:
    """The last of many files must not fail after an hour, and what is wrong with it is for a person to read."""
    good, suffix = recording(tmp_path, kind, TABLE[:10]), WRITERS[kind][0]
    folder = tmp_path / f"folder{suffix}"
    folder.mkdir()
    missing = tmp_path / f"missing{suffix}"
    for path, message in ((missing, "No such file or directory"), (folder, "is a directory")):
        with pytest.raises(SourceError, match=message) as caught:
            for_recording([good, str(path)]).build(RECORD, FEATURES)
        assert str(caught.value).startswith(f"{path}: ")
        assert "\n" not in str(caught.value)


OPEN = """
import os, sys
import monitor.sources._arrow  # the other user may not see the libraries
from monitor.record import RecordSettings
from monitor.sources import for_recording
from monitor.sources.base import SourceError
settings = for_recording(sys.argv[1:])
os.setuid(int(os.environ["AS_USER"]))
try:
    settings.build(RecordSettings(), ("a",))
except SourceError as error:
    print(error)
"""


@every_kind
def test_permission_denied_is_one_line(tmp_path: Path, kind: str) -> None:
    """A service runs as its own user: that it may not read a file is the commonest mistake of all."""
    path = recording(tmp_path, kind, TABLE[:10])
    Path(path).chmod(0o000)
    user = os.getuid() or 65_534  # root may read everything, so the check is made as somebody else
    root = str(Path(__file__).parents[2])
    found = subprocess.run(
        [sys.executable, "-c", OPEN, path],
        capture_output=True,
        check=True,
        cwd=root,
        env={**os.environ, "AS_USER": str(user), "PYTHONPATH": root},
    )
    assert found.stdout.decode() == f"{path}: cannot be read: Permission denied\n"


@every_kind
def test_close_ends_it(tmp_path: Path, kind: str) -> None:
    """A daemon that stops closes its source in the middle: nothing may stay open, nothing may come after."""
    source = for_recording([recording(tmp_path, kind, TABLE)] * 2).build(RECORD, FEATURES)
    assert source.poll(1.0)
    source.close()
    source.close()
    assert source.poll(0.0) == []
    assert source.exhausted


def test_reasons_are_known() -> None:
    """A reason that nobody counts would be a record that has no class."""
    root = Path(__file__).parents[2] / "monitor" / "sources"
    words = {word for path in root.glob("*.py") for word in path.read_text().split('"')}
    assert {"shape", "range", "stream", "time", "features", "size", "encoding"} <= words & set(DEAD_LETTER_REASONS)
