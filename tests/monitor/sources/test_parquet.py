"""Parquet: the types that a column may have, and what is said about others."""

from __future__ import annotations

import datetime as dt
import decimal
import gzip
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import zstandard
from hypothesis import given, settings
from hypothesis import strategies as st

from monitor.record import RecordSettings
from monitor.sources.base import Rows, SourceError
from monitor.sources.parquet import ParquetSource, Settings

RECORD = RecordSettings()
T = 1_795_262_400_250
MOMENT = dt.datetime(2026, 11, 21, 12, 0, 0, 250_000, tzinfo=dt.UTC)


def drain(source: ParquetSource) -> list[Rows]:
    """Poll a source to its end."""
    rows: list[Rows] = []
    try:
        while not source.exhausted:
            rows += [batch for batch in source.poll(1.0) if isinstance(batch, Rows)]
    finally:
        source.close()
    return rows


def read(path: Path, columns: dict[str, Any], *features: str, record: RecordSettings = RECORD) -> Rows:
    """Write a file of one batch and read it."""
    pq.write_table(pa.table(columns), path)
    (rows,) = drain(Settings(path=str(path)).build(record, features or None))
    return rows


def test_wide_form(tmp_path: Path) -> None:
    """The plain case: columns where the schema says, nulls as NaN, labels beside them."""
    columns = {
        "stream": pa.array(["p", "q", "p"]).dictionary_encode(),
        "time": pa.array([T, T + 1, T + 2]),
        "a": pa.array([1.5, None, float("nan")]),
        "label": pa.array([True, None, False]),
        "b": pa.array([None, 2, 3], pa.int8()),
        "note": pa.array(["x", "y", "z"]),
    }
    source = Settings(path=str(tmp_path / "r.parquet"))
    rows = read(tmp_path / "r.parquet", columns)
    assert source.peek(RECORD) == ("a", "b")
    assert (rows.topic, rows.partition, rows.streams) == ("r.parquet", 0, ["p", "q"])
    assert rows.stream.tolist() == [0, 1, 0]
    assert rows.time.tolist() == [T, T + 1, T + 2]
    assert rows.offset.tolist() == [0, 1, 2]
    np.testing.assert_array_equal(rows.values, np.array([[1.5, np.nan], [np.nan, 2], [np.nan, 3]], np.float32))
    assert rows.label is not None
    assert rows.label.tolist() == [True, False, False]
    assert [str(column.dtype) for column in (rows.stream, rows.time, rows.values)] == ["int32", "int64", "float32"]


@pytest.mark.parametrize(
    ("column", "unit", "ms"),
    [
        (pa.array([MOMENT], pa.timestamp("ms", "UTC")), "s", T),
        (pa.array([MOMENT], pa.timestamp("us", "Asia/Tokyo")), "s", T),
        (pa.array([T * 1_000_000 + 1], pa.timestamp("ns")), "s", T),
        (pa.array([MOMENT.replace(tzinfo=None)], pa.timestamp("us")), "s", T),
        (pa.array([1_795_262_400], pa.timestamp("s")), "ms", 1_795_262_400_000),
        (pa.array([MOMENT.date()], pa.date32()), "s", 1_795_219_200_000),
        (pa.array([MOMENT.date()], pa.date64()), "s", 1_795_219_200_000),
        (pa.array([1_795_262_400], pa.uint32()), "s", 1_795_262_400_000),
        (pa.array([1_795_262_400.25]), "s", T),
        (pa.array(["2026-11-21T12:00:00.250Z"], pa.large_string()), "ms", T),
        (pa.array([str(T)]).dictionary_encode(), "ms", T),
    ],
)
def test_times(tmp_path: Path, column: Any, unit: str, ms: int) -> None:
    """Every writer has its own type for times; each must mean the same instant."""
    record = RecordSettings.model_validate({"time_unit": unit})
    columns = {"time": pa.concat_arrays([column, pa.nulls(1, column.type)]), "a": [1, 2]}
    rows = read(tmp_path / "pump.parquet", columns, record=record)
    assert rows.time.tolist() == [ms]
    assert rows.streams == ["pump"]
    assert [(refused.offset, refused.reason) for refused in rows.refused] == [(1, "time")]


def test_bad_rows_cost_themselves_alone(tmp_path: Path) -> None:
    """Each row that cannot be a record gets its reason and a readable copy, the others are read."""
    not_utf8 = pa.array([b"p", b"p", b"", b"\xff", None, b"p", b"p"]).view(pa.string())
    columns = {
        "time": pa.array([T, 2**62, T, T, T, T, T], pa.timestamp("ms")),
        "stream": not_utf8,
        "a": pa.array([1.0, 1.0, 1.0, 1.0, 1.0, 1e39, None]),
    }
    rows = read(tmp_path / "r.parquet", columns)
    expected = [(1, "time"), (2, "stream"), (3, "stream"), (4, "stream"), (5, "range"), (6, "features")]
    assert [(refused.offset, refused.reason) for refused in rows.refused] == expected
    assert rows.offset.tolist() == [0]
    assert rows.streams == ["p"]
    assert json.loads(rows.refused[0].value) == {"time": 2**62, "stream": "p", "a": 1.0}


def test_numbers_of_any_kind(tmp_path: Path) -> None:
    """A feature is a number, whatever its width; also one that the writer kept as decimal or as dictionary."""
    columns = {
        "time": [T],
        "a": pa.array([decimal.Decimal("1.25")]),
        "b": pa.array([7], pa.uint64()),
        "c": pa.array([0.5], pa.float16()),
        "d": pa.array([3]).dictionary_encode(),
        "e": pa.nulls(1),
    }
    rows = read(tmp_path / "r.parquet", columns, "a", "b", "c", "d", "e", "absent")
    np.testing.assert_array_equal(rows.values, np.array([[1.25, 7, 0.5, 3, np.nan, np.nan]], np.float32))


@pytest.mark.parametrize(
    ("columns", "features", "message"),
    [
        ({"time": [[1]], "a": [1]}, (), "column 'time' is of type list"),
        ({"time": [T], "a": ["x"]}, ("a",), "column 'a' is of type string"),
        ({"time": [T], "a": [True]}, ("a",), "column 'a' is of type bool"),
        ({"time": [T], "stream": [1.5], "a": [1]}, (), "column 'stream' is of type double"),
        ({"time": [T], "a": ["x"]}, (), "no column of numbers"),
        ({"at": [T], "a": [1]}, (), "no column 'time'"),
    ],
)
def test_a_schema_that_cannot_be_used_is_one_line(
    tmp_path: Path, columns: dict[str, Any], features: tuple[str, ...], message: str
) -> None:
    """What is wrong with a whole file is said once, by column and type."""
    with pytest.raises(SourceError, match=rf"r\.parquet: {message}"):
        read(tmp_path / "r.parquet", columns, *features)


def test_damage_is_one_line(tmp_path: Path) -> None:
    """A file that is no Parquet, or cut short, must not end in a traceback; an empty one has no records."""
    path = tmp_path / "r.parquet"
    for content in (b"PAR1 and then something else", b"x" * 100):
        path.write_bytes(content)
        with pytest.raises(SourceError, match=r"r\.parquet: not a Parquet file"):
            Settings(path=str(path)).build(RECORD)
    pq.write_table(pa.table({"time": list(range(50_000)), "a": np.random.default_rng(0).random(50_000)}), path)
    whole = path.read_bytes()
    path.write_bytes(whole[:1_000] + bytes(len(whole) - 60_000) + whole[1_000 + len(whole) - 60_000 :])
    with pytest.raises(SourceError, match=r"r\.parquet: "):
        drain(Settings(path=str(path)).build(RECORD))
    path.write_bytes(b"")
    assert drain(Settings(path=str(path)).build(RECORD)) == []


def test_many_row_groups_and_packed_files_are_one_input(tmp_path: Path) -> None:
    """Batches must join without a seam: offsets count on through row groups, batches and files, packed or not."""
    path = tmp_path / "a.parquet"
    pq.write_table(
        pa.table({"time": range(40_000), "stream": ["p"] * 40_000, "a": range(40_000)}), path, row_group_size=7_000
    )
    packed, frozen = tmp_path / "b.parquet.gz", tmp_path / "c.parquet.zst"
    packed.write_bytes(gzip.compress(path.read_bytes()))
    frozen.write_bytes(zstandard.ZstdCompressor().compress(path.read_bytes()))
    rows = drain(Settings(path=(str(path), str(packed), str(frozen))).build(RECORD))
    assert np.concatenate([batch.offset for batch in rows]).tolist() == list(range(120_000))
    assert np.concatenate([batch.time for batch in rows]).tolist() == [*range(40_000)] * 3
    assert {batch.topic for batch in rows} == {"a.parquet"}


WITHOUT = """
import sys
sys.modules["pyarrow"] = None
from monitor.record import RecordSettings
from monitor.sources import for_recording
from monitor.sources.base import SourceError
try:
    for_recording(sys.argv[1:]).build(RecordSettings(), None)
except SourceError as error:
    print(error)
"""


def test_without_pyarrow_the_extra_is_named(tmp_path: Path) -> None:
    """The base install has no pyarrow; an operator must learn what to install, not see an ImportError."""
    path = tmp_path / "r.parquet"
    path.touch()
    root = str(Path(__file__).parents[3])
    found = subprocess.run([sys.executable, "-c", WITHOUT, str(path)], capture_output=True, check=True, cwd=root)
    assert found.stdout.decode() == f"{path}: reading Parquet needs pyarrow: pip install 'tidegauge[parquet]'\n"


def test_standard_input_is_refused() -> None:
    """Parquet has its index at the end; a pipe would fail deep inside the reader."""
    with pytest.raises(SourceError, match="standard input"):
        Settings(path="-").build(RECORD)


@settings(max_examples=60, deadline=None)
@given(
    st.lists(
        st.tuples(st.integers(0, 4_102_444_799_999), st.sampled_from(["p", "q", "r"]), st.floats(width=32)), max_size=20
    )
)
def test_what_is_written_is_read(tmp_path_factory: pytest.TempPathFactory, rows: list[tuple[int, str, float]]) -> None:
    """Every float32 comes back bit for bit, and each row that does not is one of the refused."""
    path = tmp_path_factory.mktemp("round") / "r.parquet"
    times, names, values = zip(*rows, strict=True) if rows else ((), (), ())
    columns = {
        "time": pa.array(times, pa.int64()),
        "stream": pa.array(names, pa.string()),
        "a": pa.array(values, pa.float32()),
    }
    pq.write_table(pa.table(columns), path)
    found = {}
    for batch in drain(Settings(path=str(path)).build(RECORD)):
        for offset, time, code, value in zip(batch.offset, batch.time, batch.stream, batch.values[:, 0], strict=True):
            found[int(offset)] = (time, batch.streams[code], value)
    assert found == {at: row for at, row in enumerate(rows) if np.isfinite(row[2])}
