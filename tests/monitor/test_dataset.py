"""Recordings → arrays for training."""

from __future__ import annotations

import gzip
import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from models.cells import check, scorable
from monitor import dataset, sources
from monitor.alert import AlertSettings
from monitor.codec import Decoder
from monitor.dataset import Dataset, Range, read_ranges, shape
from monitor.pipeline import Partition, Pipeline
from monitor.record import RecordSettings
from monitor.score import ModelScores
from monitor.sources.base import Batch, SourceError
from monitor.threshold import Prior, Tracked
from monitor.times import to_iso
from monitor.window import WindowSettings

FEATURES = ("a", "b")
START = 1_700_000_000_000 // 3_600_000 * 3_600_000


@dataclass
class _Scores:
    score: NDArray[np.float32]
    errors: NDArray[np.float32]
    reconstruction: NDArray[np.float32]


@dataclass
class _Listener:
    """A model that keeps what it is asked to score."""

    windows: list[bytes] = field(default_factory=list)

    def score(self, windows: NDArray[np.float32]) -> ModelScores:
        self.windows += [window.tobytes() for window in windows]
        return _Scores(np.ones(len(windows), np.float32), np.ones((len(windows), 2), np.float32), windows)


def _read(
    path: Path | Sequence[Path],
    window: WindowSettings,
    record: RecordSettings | None = None,
    ranges: Sequence[Range] | None = None,
    features: Sequence[str] = FEATURES,
) -> Dataset:
    record = record or RecordSettings()
    paths = [str(path)] if isinstance(path, Path) else [str(one) for one in path]
    source = sources.for_recording(paths).build(record, features)
    return dataset.read(source, features, record, window, ranges)


def _served(path: Path, window: WindowSettings, record: RecordSettings) -> list[bytes]:
    """Return the windows that the model of a daemon would be asked to score."""
    model = _Listener()
    prior = Prior(0.0, 1.0, [(0.5, 1.0)], 1.0, 1.0)
    pipeline = Pipeline(record, window, Tracked.Settings(), AlertSettings(), model, prior, len(FEATURES))
    decoder, partitions = Decoder(record, FEATURES), dict[tuple[str, int], Partition]()
    source = sources.for_recording([str(path)]).build(record, FEATURES)
    while not source.exhausted:
        for batch in source.poll(0.1):
            assert isinstance(batch, Batch)
            key = (batch.topic, batch.partition)
            partition = partitions.setdefault(key, pipeline.partition(*key))
            pipeline.process([(partition, decoder.decode(batch, partition.table).records)])
    return model.windows


def _envelopes(path: Path, seed: int, records: int = 3_000) -> None:
    """Write what kcat -J writes: 2 partitions, 4 ids, with gaps, repeats, late records, jumps, silences and holes."""
    random = np.random.default_rng(seed)
    clock = dict.fromkeys([(partition, stream) for partition in range(2) for stream in "pqrs"], START)
    offsets = [0, 0]
    lines = []
    for _ in range(records):
        partition, stream = int(random.integers(2)), "pqrs"[random.choice(4, p=[0.5, 0.3, 0.19, 0.01])]
        step = random.choice([60_000, 0, -90_000, 600_000, 90_000_000], p=[0.93, 0.03, 0.02, 0.015, 0.005])
        time = clock[partition, stream] + int(step)
        clock[partition, stream] = max(clock[partition, stream], time)
        values = {name: None if random.random() < 0.1 else round(random.normal(), 3) for name in FEATURES}
        payload = json.dumps({"stream": stream, "time": time, "values": values})
        envelope = {"topic": "t", "partition": partition, "offset": offsets[partition], "ts": time, "key": stream}
        lines.append(json.dumps({**envelope, "payload": payload}))
        offsets[partition] += 1
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")


@pytest.mark.parametrize(
    "settings",
    [
        {"stride": 1},
        {"stride": 3},
        {"stride": 2, "lateness": "3m"},
        {"stride": 2, "interval": "2m", "max_gap": 4},
        {"stride": 3, "interval": "1m", "max_gap": 6, "fill": "linear", "lateness": "2m", "aggregate": "last"},
        {"stride": 1, "interval": "2m", "max_gap": 5, "max_missing": 0.3},
    ],
    ids=str,
)
def test_windows_are_those_of_production(tmp_path: Path, settings: dict[str, Any]) -> None:
    """Without this a model would learn from windows that serving never makes, or miss some that it does."""
    window = WindowSettings.model_validate({"length": 6} | settings)
    record = RecordSettings.model_validate({"expire": "2d"})
    path = tmp_path / "records.jsonl"
    _envelopes(path, seed=len(str(settings)))
    found = _read(path, window, record)
    check(found.cells, shape(window), FEATURES)
    usable = np.flatnonzero(scorable(found.cells, shape(window), len(FEATURES)))
    learned = [values.tobytes() for values in found.cells.gather(usable, window.length)]
    served = _served(path, window, record)
    assert len(served) > 100
    assert sorted(learned) == sorted(served)


def test_every_record_is_accounted_for(tmp_path: Path) -> None:
    """Otherwise a recording that is mostly thrown away would train a model without a word."""
    path = tmp_path / "pump.jsonl"
    record = {"stream": "p", "values": {"a": 1.0, "b": 2.0}}
    lines = [json.dumps({**record, "time": START + i * 1000}) for i in range(10)]
    lines += [lines[4], json.dumps({**record, "time": START + 500}), "{", '{"stream":"p","time":1,"values":{"c":1}}']
    lines.append(json.dumps({**record, "stream": "other", "time": START}))
    path.write_text("\n".join(lines), encoding="utf-8")
    record_settings = RecordSettings.model_validate({"select": {"exclude": ["other"]}})
    found = _read(path, WindowSettings.model_validate({"length": 4, "stride": 1, "lateness": "2s"}), record_settings)
    assert found.classes == {"processed": 8, "late": 1, "repeated": 1, "filtered": 1, "dead_lettered": 2}
    assert found.pending == 2
    assert found.records == len(lines)
    assert found.reasons == {"syntax": 1, "features": 1}
    assert found.examples["syntax"].startswith("pump.jsonl/0 offset 12: ")
    assert found.streams == ("p",)


def test_an_id_in_two_partitions_is_two_streams_in_the_order_of_partitions(tmp_path: Path) -> None:
    """Otherwise windows would mix two sensors, or the seeded split would depend on which broker answered first."""
    path = tmp_path / "records.jsonl"
    lines = []
    for offset in range(4):
        for partition, stream in ((1, "x"), (0, "y"), (0, "x")):
            value = {"stream": stream, "time": START + offset * 1000, "values": {"a": partition, "b": offset}}
            at = {"topic": "t", "partition": partition, "offset": 2 * offset + (stream == "x"), "ts": START}
            lines.append(json.dumps({**at, "payload": json.dumps(value)}))
    path.write_text("\n".join(lines), encoding="utf-8")
    found = _read(path, WindowSettings(length=4, stride=1))
    assert found.streams == ("y", "x", "x")
    assert found.cells.stream.tolist() == [0] * 4 + [1] * 4 + [2] * 4
    assert found.cells.values[:, 0].tolist() == [0] * 8 + [1] * 4
    assert found.cells.starts.tolist() == [0, 4, 8]


def _csv(path: Path, minutes: Sequence[int], labelled: Sequence[int] = (), *, column: bool = True) -> Path:
    rows = [
        f"{to_iso(START + minute * 60_000)},p,{minute},1" + (f",{int(minute in labelled)}" if column else "")
        for minute in minutes
    ]
    header = "time,stream,a,b,label" if column else "time,stream,a,b"
    path.write_text("\n".join([header, *rows]) + "\n", encoding="utf-8")
    return path


def test_labels_of_the_recording_stay_with_their_rows(tmp_path: Path) -> None:
    """Otherwise anomalies would be trained on; late and repeated rows shift what comes after them."""
    path = _csv(tmp_path / "r.csv", [0, 1, 2, 2, 1, 3, 4, 5], [2, 4])
    found = _read(path, WindowSettings(length=2, stride=1))
    assert found.cells.values[:, 0].tolist() == [0, 1, 2, 3, 4, 5]
    assert np.flatnonzero(found.cells.label).tolist() == [2, 4]


def test_a_cell_is_labelled_if_one_of_its_records_is(tmp_path: Path) -> None:
    """Otherwise a short incident would vanish in a wide cell; a filled cell comes from the cells beside it."""
    path = _csv(tmp_path / "r.csv", [0, 1, 4, 5, 12, 13, 14, 15, 16], [5])
    window = WindowSettings.model_validate({"length": 2, "stride": 1, "interval": "2m", "max_gap": 3})
    found = _read(path, window)
    assert (found.cells.time - START).tolist() == [minute * 60_000 for minute in (2, 4, 6, 8, 10, 12, 14, 16)]
    assert np.flatnonzero(found.cells.label).tolist() == [1, 2, 3, 4, 5]


@pytest.mark.parametrize(
    ("settings", "labelled"),
    [({}, [3, 4, 5]), ({"interval": "2m"}, [1, 2]), ({"interval": "4m"}, [0, 1])],
    ids=["records", "cells", "wide cells"],
)
def test_ranges_label_what_they_reach_into(tmp_path: Path, settings: dict[str, Any], labelled: list[int]) -> None:
    """Otherwise `--labels` would leave part of an incident in the training windows."""
    path = _csv(tmp_path / "r.csv", range(12), column=False)
    window = WindowSettings.model_validate({"length": 2, "stride": 1} | settings)
    ranges = [Range("p", START + 180_000, START + 300_000), Range("q", 0, START * 2)]
    found = _read(path, window, ranges=ranges)
    assert np.flatnonzero(found.cells.label).tolist() == labelled
    assert found.strangers == ("q",)


def test_ranges_stand_in_for_the_column(tmp_path: Path) -> None:
    """Otherwise wrong labels in a recording could not be corrected, and `replay` would judge by others."""
    path = _csv(tmp_path / "r.csv", range(6), [1])
    found = _read(path, WindowSettings(length=2, stride=1), ranges=[Range("p", START + 180_000, START + 180_000)])
    assert np.flatnonzero(found.cells.label).tolist() == [3]


def test_windows_of_filled_cells_are_left_out(tmp_path: Path) -> None:
    """Serving does not score them: a model that learned from them would have learned straight lines."""
    path = _csv(tmp_path / "r.csv", [0, 1, 2, 3, 8, 9, 10, 11, 12], column=False)
    window = WindowSettings.model_validate({"length": 4, "stride": 1, "interval": "1m", "max_gap": 5})
    found = _read(path, window)
    assert len(found.cells.values) == 12
    assert found.cells.starts.tolist() == [0, 1, 2, 6, 7, 8]
    assert found.filled == 3


def test_a_stream_without_a_row_has_no_number(tmp_path: Path) -> None:
    """Otherwise the count of streams, and the split by whole streams, would be of streams that are not there."""
    path = tmp_path / "r.csv"
    moments = [(0, "gone"), (0, "p"), (1, "p"), (2, "p"), (3, "p")]
    rows = [f"{to_iso(START + minute * 60_000)},{stream},1,1" for minute, stream in moments]
    path.write_text("\n".join(["time,stream,a,b", *rows]), encoding="utf-8")
    found = _read(path, WindowSettings.model_validate({"length": 2, "stride": 1, "lateness": "1m"}))
    assert found.streams == ("p",)
    assert set(found.cells.stream.tolist()) == {0}
    assert found.pending == 2


def test_files_are_one_input(tmp_path: Path) -> None:
    """Otherwise a window that begins in one day's file and ends in the next would be lost."""
    paths = [_csv(tmp_path / f"{n}.csv", range(n * 3, n * 3 + 3), [4]) for n in range(2)]
    found = _read(paths, WindowSettings(length=6, stride=1))
    assert found.cells.starts.tolist() == [0]
    assert np.flatnonzero(found.cells.label).tolist() == [4]


def test_an_empty_recording_has_no_rows(tmp_path: Path) -> None:
    """Otherwise an empty topic would end in a traceback instead of the sentence that `models` has for it."""
    (tmp_path / "r.jsonl").write_text("")
    found = _read(tmp_path / "r.jsonl", WindowSettings())
    assert (len(found.cells.values), len(found.cells.starts), found.records) == (0, 0, 0)


def test_ranges_are_read_like_a_recording(tmp_path: Path) -> None:
    """Otherwise labels would need other times than the recording they are for."""
    path = tmp_path / "labels.csv.gz"
    path.write_bytes(gzip.compress(b"stream,start,end\np,2026-01-01T00:00:00+01:00,1767225600000\n\n"))
    assert read_ranges(str(path), RecordSettings()) == [Range("p", 1_767_222_000_000, 1_767_225_600_000)]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "no column 'stream'"),
        ("stream,start\np,1\n", "no column 'end'"),
        ("stream,start,end\np,1,2\np,yesterday,today\n", "label 2: 'yesterday' to 'today' is no range"),
        ("stream,start,end\np,5,3\n", "label 1: '5' to '3' is no range"),
        ("stream,start,end\np,1\n", "label 1: 2 cells where the header has 3"),
    ],
)
def test_wrong_labels_are_one_line(tmp_path: Path, text: str, said: str) -> None:
    """Otherwise a label that means nothing would be ignored, and its anomaly trained on."""
    path = tmp_path / "labels.csv"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(SourceError, match=said) as raised:
        read_ranges(str(path), RecordSettings())
    assert str(path) in str(raised.value)
    assert "\n" not in str(raised.value)
