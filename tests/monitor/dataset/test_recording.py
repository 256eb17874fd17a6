"""Recordings that are written."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from numpy.testing import assert_array_equal

from monitor import dataset, sources
from monitor.dataset.recording import Rows, check, write
from monitor.record import RecordSettings
from monitor.sinks.base import SinkError
from monitor.window import WindowSettings

START = 1_700_000_000_000
NAMES = ("a, b", "c")


@pytest.fixture
def rows() -> Rows:
    """Two streams with awkward names, and values that are missing, tiny and large."""
    values = np.array([[0.1, 1e-30], [np.nan, 2], [3, np.nan], [np.nan, np.nan], [-1 / 3, 3e38]], np.float32)
    time = START + np.array([0, 10, 20, 30, 5])
    return Rows(('pump "1"', "Ω;2"), np.array([0, 0, 0, 0, 1], np.int32), time, NAMES, values)


@pytest.mark.parametrize("name", ["x.csv", "x.csv.gz", "x.jsonl", "x.jsonl.zst", "x.parquet"])
def test_what_is_written_is_read_back_to_the_last_bit(name: str, rows: Rows, tmp_path: Path) -> None:
    """A cleaned or decoded recording could not be trained on, or its values would drift."""
    path = tmp_path / name
    assert write(path, rows) == 4  # the row without any value would be a dead letter
    source = sources.for_recording([str(path)]).build(RecordSettings(), NAMES)
    found = dataset.read(source, NAMES, RecordSettings(), WindowSettings(length=1, stride=1))
    kept = [0, 1, 2, 4]
    assert found.records == 4
    assert not found.reasons
    assert [found.streams[number] for number in found.cells.stream] == [rows.streams[n] for n in rows.stream[kept]]
    assert_array_equal(found.cells.time, rows.time[kept])
    assert_array_equal(found.cells.values, rows.values[kept])
    assert [file.name for file in tmp_path.iterdir()] == [name]


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("x.txt", "its name must end in"),
        ("x.parquet.gz", "must end in"),
        ("no/x.csv", "there is no folder"),
        ("dir.csv", "is a directory"),
    ],
)
def test_a_name_that_cannot_be_written_is_refused(name: str, said: str, tmp_path: Path) -> None:
    """An hour of computing would end in a traceback."""
    (tmp_path / "dir.csv").mkdir()
    with pytest.raises(SinkError, match=said):
        check(tmp_path / name)


def test_a_feature_with_the_name_of_a_column_needs_json_lines(rows: Rows, tmp_path: Path) -> None:
    """The recording would have two columns of that name, and no verb could read it."""
    named = Rows(rows.streams, rows.stream, rows.time, ("time", "c"), rows.values)
    with pytest.raises(SinkError, match=r"write \.jsonl"):
        write(tmp_path / "x.csv", named)
    assert write(tmp_path / "x.jsonl", named) == 4
