"""CSV: what a cell means, and that a bad row costs itself alone."""

from __future__ import annotations

import csv
import io
import math
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from monitor.record import DEAD_LETTER_REASONS, RecordSettings
from monitor.sources.base import Rows, SourceError
from monitor.sources.csv import CsvSource, Settings

RECORD = RecordSettings()
T = 1_700_000_000_000


def drain(source: CsvSource) -> list[Rows]:
    """Poll a source to its end."""
    rows: list[Rows] = []
    try:
        while not source.exhausted:
            rows += [batch for batch in source.poll(1.0) if isinstance(batch, Rows)]
    finally:
        source.close()
    return rows


def read(path: Path, text: str | bytes, *features: str, record: RecordSettings = RECORD) -> Rows:
    """Write a file of one batch and read it."""
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    (rows,) = drain(Settings(path=str(path)).build(record, features or None))
    return rows


def reasons(rows: Rows) -> list[tuple[int, str]]:
    """Return offset and reason of the refused rows."""
    assert {refused.reason for refused in rows.refused} <= set(DEAD_LETTER_REASONS)
    return [(refused.offset, refused.reason) for refused in rows.refused]


def test_wide_form(tmp_path: Path) -> None:
    """The plain case: columns where the header says, missing cells as NaN, labels beside them."""
    text = f"time,stream,a,label,b\n{T},p,1.5,0,\n{T + 1},q,nan,1,-2e3\n\n{T + 2},p, null ,,NaN\n{T + 3},p,7,0.0,8\n"
    rows = read(tmp_path / "r.csv", text)
    assert (rows.topic, rows.partition) == ("r.csv", 0)
    assert rows.streams == ["p", "q"]
    assert rows.stream.tolist() == [0, 1, 0]
    assert rows.time.tolist() == [T, T + 1, T + 3]
    np.testing.assert_array_equal(rows.values, np.array([[1.5, np.nan], [np.nan, -2000], [7, 8]], np.float32))
    assert rows.offset.tolist() == [0, 1, 3]
    assert rows.label is not None
    assert rows.label.tolist() == [False, True, False]
    assert reasons(rows) == [(2, "features")]
    assert [str(column.dtype) for column in (rows.stream, rows.time, rows.values)] == ["int32", "int64", "float32"]


def test_files_are_one_input_and_the_stem_is_the_stream(tmp_path: Path) -> None:
    """A folder of one file a machine is the commonest archive: positions count on, each file is its own stream."""
    for name, header, row in (("pump-1", "time,a,b", "1,2"), ("pump-2", "b;time;c", f"3;{T};4")):
        (tmp_path / f"{name}.csv").write_text(f"{header}\n{row if ';' in row else f'{T},{row}'}\n")
    source = Settings(path=(str(tmp_path / "pump-1.csv"), str(tmp_path / "pump-2.csv"))).build(RECORD)
    assert source.features == ("a", "b", "c")
    one, two = drain(source)
    assert (one.topic, two.topic) == ("pump-1.csv", "pump-1.csv")
    assert (one.streams, two.streams) == (["pump-1"], ["pump-2"])
    assert (one.offset.tolist(), two.offset.tolist()) == ([0], [1])
    np.testing.assert_array_equal(one.values, np.array([[1, 2, np.nan]], np.float32))
    np.testing.assert_array_equal(two.values, np.array([[np.nan, 3, 4]], np.float32))


BAD = {
    "p,1,x,3": "shape",
    "p,1,1_000,3": "shape",
    "p,1,true,3": "shape",
    "p,1,2": "shape",
    "p,1,2,3,4": "shape",
    'p,1,"2,3': "shape",
    "p,1,1e999,3": "range",
    "p,1,inf,3": "range",
    "p,1,1e39,3": "range",
    "p,1,,": "features",
    ",1,2,3": "stream",
    "a\x07b,1,2,3": "stream",
    "é" * 129 + ",1,2,3": "stream",
    "p,,2,3": "time",
    "p,yesterday,2,3": "time",
    "p,1969-12-31T23:59:59Z,2,3": "time",
    "p,2100-01-01T00:00:00Z,2,3": "time",
    "p,99999999999999999999,2,3": "time",
    "p,-1,2,3": "time",
    "\udcff,1,2,3": "encoding",
    "p,1,2," + "3" * 70_000: "size",
}


@pytest.mark.parametrize("bad", BAD)
def test_a_bad_row_costs_itself_alone(tmp_path: Path, bad: str) -> None:
    """Each kind of nonsense gets its reason, and the rows around it are read as if it were not there."""
    lines = ["stream,time,a,b", "p,1,2,3", bad, "q,2,,5", '"q",3,"6",7']
    rows = read(tmp_path / "r.csv", "\n".join(lines).encode("utf-8", "surrogateescape") + b"\n")
    assert reasons(rows) == [(1, BAD[bad])]
    assert rows.refused[0].value == bad.encode("utf-8", "surrogateescape")[: (1 << 16) + 1]
    assert rows.refused[0].detail
    assert rows.offset.tolist() == [0, 2, 3]
    assert rows.time.tolist() == [1, 2, 3]
    assert [rows.streams[code] for code in rows.stream] == ["p", "q", "q"]
    assert list(rows.streams) == ["p", "q"]
    np.testing.assert_array_equal(rows.values, np.array([[2, 3], [np.nan, 5], [6, 7]], np.float32))


def test_labels_are_0_or_1(tmp_path: Path) -> None:
    """A label that is neither would silently count as one of them."""
    rows = read(tmp_path / "r.csv", f"time,a,label\n{T},1,2\n{T},1,1.0\n{T},1,\n")
    assert reasons(rows) == [(0, "shape")]
    assert rows.label is not None
    assert rows.label.tolist() == [True, False]


@pytest.mark.parametrize(
    ("unit", "cell", "ms"),
    [
        ("ms", "2026-11-21T12:00:00.250Z", 1_795_262_400_250),
        ("ms", "2026-11-21T13:00:00.250999+01:00", 1_795_262_400_250),
        ("ms", "2026-11-21 12:00:00", 1_795_262_400_000),
        ("ms", "2026-11-21t12:00:00z", 1_795_262_400_000),
        ("ms", "2026-11-21", 1_795_219_200_000),
        ("s", "1795262400", 1_795_262_400_000),
        ("s", "1795262400.251", 1_795_262_400_251),
        ("us", "1795262400250999", 1_795_262_400_250),
        ("ns", "1795262400250999999", 1_795_262_400_250),
        ("ms", "1.79526240025e12", 1_795_262_400_250),
    ],
)
def test_times(tmp_path: Path, unit: str, cell: str, ms: int) -> None:
    """A time that is misread puts a record into the wrong window; each form means one instant."""
    record = RecordSettings.model_validate({"time_unit": unit})
    assert read(tmp_path / "r.csv", f"time,a\n{cell},1\n", record=record).time.tolist() == [ms]
    rows = read(tmp_path / "r.csv", f"time,a\n{cell},1\n2026-11-21T12:00:00Z,1\n7000000,1\n", record=record)
    assert rows.time[0] == ms
    assert rows.time[1] == 1_795_262_400_000


def test_names_of_the_columns_follow_the_settings(tmp_path: Path) -> None:
    """An archive has its own names for time and stream; `record` says them, as for every other input."""
    record = RecordSettings(time="at", stream="id")
    rows = read(tmp_path / "r.tsv", f"\ufeffat\tid\ttime\n{T}\tp\t3\n", record=record)
    assert rows.streams == ["p"]
    assert rows.values.tolist() == [[3.0]]


def test_features_in_the_order_asked_for(tmp_path: Path) -> None:
    """The model reads columns by place: the file's own order must not matter."""
    rows = read(tmp_path / "r.csv", f"time,a,b,c\n{T},1,2,3\n", "c", "x", "a")
    np.testing.assert_array_equal(rows.values, np.array([[3, np.nan, 1]], np.float32))


def test_peek_takes_columns_of_numbers(tmp_path: Path) -> None:
    """`train` takes its features from here: comments, ids and empty columns are none, though a number is among them."""
    path = tmp_path / "r.csv"
    path.write_text(f",time,note,a,empty,label,b\n0,{T},ok,1,,0,nan\n1,{T},5,x,,1,2\n2,{T},bad,3,,0,\n")
    assert Settings(path=str(path)).peek(RECORD) == ("a", "b")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("stream,a\np,1\n", r"r\.csv: no column 'time' \(record\.time .*its columns: stream, a"),
        ("time,a,a\n1,1,1\n", r"r\.csv: column 'a' is there more than once"),
        ("time,stream\n1,p\n", r"r\.csv: no column of numbers"),
        (b"\xff\xfet\x00i\x00", r"r\.csv: its first line is no header"),
        ("time,b\n1,1\n", r"r\.csv: none of the features a is a column; its columns: time, b"),
    ],
)
def test_a_header_that_cannot_be_used_is_one_line(tmp_path: Path, text: str | bytes, message: str) -> None:
    """What is wrong with a whole file is said once, with its columns, and not as a dead letter for each row."""
    with pytest.raises(SourceError, match=message) as caught:
        read(tmp_path / "r.csv", text, *(["a"] if b"time,b" in str(text).encode() else []))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("text", ["", "\n\n", "time,stream,a\n", "time,stream,a"])
def test_nothing_in_it_is_no_error(tmp_path: Path, text: str) -> None:
    """An hour in which nothing came leaves a header, or less; that must not stop a replay of the day."""
    path = tmp_path / "r.csv"
    path.write_text(text)
    assert drain(Settings(path=str(path)).build(RECORD)) == []
    assert drain(Settings(path=str(path)).build(RECORD, ["a"])) == []


NAMES = st.text(st.characters(exclude_categories=["Cc", "Cs"]), min_size=1, max_size=20)
VALUES = st.one_of(st.none(), st.floats(width=32, allow_nan=False, allow_infinity=False))


@settings(max_examples=60, deadline=None)
@given(
    rows=st.lists(
        st.tuples(st.integers(0, 4_102_444_799_999), NAMES, st.lists(VALUES, min_size=2, max_size=2)), max_size=30
    ),
    delimiter=st.sampled_from(",;\t"),
)
def test_what_is_written_is_read(
    tmp_path_factory: pytest.TempPathFactory, rows: list[tuple[int, str, list[float | None]]], delimiter: str
) -> None:
    """Any id and any float32, quoted or not, must come back as it was, or a backtest differs from production."""
    text = io.StringIO(newline="")
    writer = csv.writer(text, delimiter=delimiter)
    writer.writerow(["time", "stream", "a", "b"])
    writer.writerows(
        [time, name, *("" if value is None else repr(value) for value in cells)] for time, name, cells in rows
    )
    path = tmp_path_factory.mktemp("round") / "r.csv"
    path.write_bytes(text.getvalue().encode())
    found = {}
    for batch in drain(Settings(path=str(path)).build(RECORD, ["a", "b"])):
        assert {refused.reason for refused in batch.refused} <= {"features"}
        for offset, time, code, cells in zip(
            batch.offset, batch.time, batch.stream, batch.values.tolist(), strict=True
        ):
            found[int(offset)] = (time, batch.streams[code], [None if math.isnan(cell) else cell for cell in cells])
    assert found == {at: row for at, row in enumerate(rows) if row[2] != [None, None]}


def test_any_bytes_are_survived(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Whatever lies in a file, reading it must end in rows and refused rows that are as many as its lines."""

    @settings(max_examples=60, deadline=None)
    @given(st.lists(st.binary(min_size=1, max_size=30).map(lambda line: line.replace(b"\n", b",")), max_size=20))
    def check(lines: list[bytes]) -> None:
        path = tmp_path_factory.mktemp("any") / "r.csv"
        path.write_bytes(b"\n".join([b"time,stream,a", *lines]))
        rows = drain(Settings(path=str(path)).build(RECORD, ["a"]))
        assert sum(map(len, rows)) == sum(1 for line in lines if line.strip())

    check()
