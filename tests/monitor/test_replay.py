"""Replay: the rule by which it judges, the files that it writes, and that batches do not matter."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from models.bundle import Bundle
from models.serving import Model
from monitor.config import load
from monitor.dataset import Range
from monitor.pipeline import ScoreRows
from monitor.record import RecordSettings
from monitor.replay import EventFile, Report, ScoreFile, replay
from monitor.replay.judge import LabelColumn, Raised, days_of, figures
from monitor.sinks.base import SinkError
from monitor.sources import for_recording
from monitor.sources.base import Batch, Rows, Source
from tests.recordings import ROWS, write_csv, write_kcat

RECORD = RecordSettings()
SECOND = 1_000
DAY = 86_400_000
SPANS = {"a": (0, DAY), "b": (0, DAY)}


class Cut(Source):
    """Hands on the batches of another source in pieces of one size."""

    def __init__(self, source: Source, size: int) -> None:
        """Cut the batches of `source` into pieces of at most `size`."""
        self._source, self._size = source, size
        self._pieces: list[Batch | Rows] = []

    def poll(self, timeout: float) -> list[Batch | Rows]:
        """Return one piece."""
        if not self._pieces and not self._source.exhausted:
            for batch in self._source.poll(timeout):
                assert isinstance(batch, Batch)
                for start in range(0, len(batch), self._size):
                    part = slice(start, start + self._size)
                    offsets, times = batch.offsets[part], batch.timestamps[part]
                    piece = Batch(batch.topic, batch.partition, offsets, times, batch.keys[part], batch.values[part])
                    self._pieces.append(piece)
        return [self._pieces.pop(0)] if self._pieces else []

    @property
    def exhausted(self) -> bool:
        """Whether nothing is left."""
        return not self._pieces and self._source.exhausted


def again(bundle: Bundle, model: Model, source: Source, folder: Path) -> tuple[Report, list[bytes]]:
    """Replay a source into files; return the report and what is in the files."""
    folder.mkdir()
    paths = [folder / name for name in ("alerts.jsonl", "scores.csv")]
    config = load(None, ["alert.resolve_after=2"])
    with EventFile(str(paths[0])) as out, ScoreFile.open(paths[1]) as scores:
        report = replay(config, bundle, model, source, out=out, scores=scores)
    assert sorted(folder.iterdir()) == paths
    return report, [path.read_bytes() for path in paths]


# ── the rule ──


def test_an_alert_that_overlaps_an_event_is_right() -> None:
    """If it failed, the figures would mean something else than what is written of them."""
    events = [Range("a", 1_000_000, 2_000_000), Range("a", 5_000_000, 6_000_000), Range("b", 1, 2)]
    raised = [
        Raised("a", 1_500_000, 1_540_000, 1_700_000),  # inside
        Raised("a", 2_000_000, 2_100_000, 2_200_000),  # begins where the event ends
        Raised("a", 3_000_000, 3_000_000, 4_999_999),  # ends just before the next one
        Raised("b", 1_500_000, 1_500_000),  # of another stream, never resolved
    ]
    found = figures(events, raised, SPANS, 2.0)
    assert found == {
        "precision": 0.5,
        "recall": pytest.approx(1 / 3),
        "f1": pytest.approx(0.4),
        "detection_delay_seconds": 540.0,
        "false_alarms_per_stream_day": 1.0,
        "labelled_events": 3,
        "labelled_events_found": 1,
        "labelled_events_outside": 0,
        "false_alarms": 2,
        "stream_days": 2.0,
    }


def test_an_alert_that_fired_before_has_no_delay() -> None:
    """If it failed, an early alert would make the mean delay look better than it is."""
    found = figures([Range("a", 10 * SECOND, 20 * SECOND)], [Raised("a", 0, SECOND, 15 * SECOND)], SPANS, 1.0)
    assert found["detection_delay_seconds"] == 0


def test_an_alert_that_never_resolved_lasts_to_the_end() -> None:
    """If it failed, an alert that is still firing would miss the very event that it is about."""
    found = figures([Range("a", 10 * SECOND, 20 * SECOND)], [Raised("a", 0, SECOND)], SPANS, 1.0)
    assert (found["recall"], found["precision"]) == (1.0, 1.0)


def test_nothing_to_divide_by() -> None:
    """If it failed, a quiet recording would end in a traceback, or in a precision of something."""
    names = ("precision", "recall", "f1", "detection_delay_seconds", "false_alarms_per_stream_day")
    assert [figures([], [], {}, 0.0)[name] for name in names] == [None] * 5
    missed = figures([Range("a", 1, 2)], [Raised("a", 5, 5, 6)], SPANS, 1.0)
    assert [missed[name] for name in names] == [0.0, 0.0, 0.0, None, 1.0]


def test_events_outside_of_the_recording_do_not_count() -> None:
    """If it failed, a replay of one day would be blamed for the incidents of the whole year."""
    events = [Range("a", DAY + 1, DAY + 2), Range("c", 1, 2), Range("a", DAY, DAY + 2)]
    found = figures(events, [], SPANS, 2.0)
    assert (found["labelled_events"], found["labelled_events_outside"], found["recall"]) == (1, 2, 0.0)


def test_days_of_streams() -> None:
    """If it failed, false alarms a day would be those of another number of days."""
    assert days_of([(0, DAY), (DAY, DAY), (DAY // 2, DAY)]) == 1.5


def labelled(streams: Sequence[str], codes: list[int], labels: list[int], start: int = 0) -> Rows:
    """Return rows, one a ms, of these streams with these labels."""
    n = len(codes)
    time = np.arange(start, start + n, dtype=np.int64)
    values = np.zeros((n, 1), np.float32)
    return Rows("t", 0, streams, np.array(codes, np.int32), time, values, time, np.array(labels, np.bool_))


def test_runs_of_labelled_rows_are_events() -> None:
    """If it failed, an incident that reaches over a batch's end would be two, or two streams' would be one."""
    column = LabelColumn()
    assert not column.present
    column.take(labelled(["a", "b"], [0, 1, 0, 1, 0, 0], [0, 1, 1, 0, 0, 1]))
    column.take(labelled(["b", "a"], [1, 0, 1], [1, 0, 0], start=6))
    column.take(labelled(["a"], [0, 0], [0, 1], start=9))
    assert column.present
    assert sorted(column.events(), key=lambda event: event.start) == [
        Range("b", 1, 1),
        Range("a", 2, 2),
        Range("a", 5, 6),
        Range("a", 10, 10),
    ]


# ── the files ──


def score_rows(due: int, count: int, names: Sequence[str] = ("a", "b")) -> ScoreRows:
    """Return rows by stream, as the pipeline does: each record makes a window of its stream due."""
    at = np.arange(due, due + count, dtype=np.int64)
    stream = [names[number % len(names)] for number in at.tolist()]
    order = np.argsort(np.array(stream), kind="stable")
    at = at[order]
    score = np.where(at % 5 == 0, np.nan, at / 7)
    status = np.where(at % 5 == 0, 0, 1 + (at % 2)).astype(np.int8)
    threshold = np.where(at % 5 == 0, np.nan, 0.5)
    reason = np.where(at % 5 == 0, 1 + (at % 2), 0).astype(np.int8)
    columns = (at * 60_000, at, at, score, threshold, status, np.zeros((count, 1), np.float32), reason)
    return ScoreRows(sorted(stream), *columns)


@pytest.mark.parametrize("suffix", [".csv", ".parquet"])
def test_scores_do_not_depend_on_batches(tmp_path: Path, suffix: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """If it failed, two replays of one recording could not be compared file by file."""
    monkeypatch.setattr("monitor.replay.scores._GROUP", 2_000)  # more than one group of rows, soon
    total = 3_000
    found = []
    for turn, size in enumerate((total, 700)):
        path = tmp_path / f"{turn}{suffix}"
        with ScoreFile.open(path) as scores:
            for start in range(0, total, size):
                rows = score_rows(start, min(size, total - start))
                keys = [("t", 1), ("t", 0)] if turn else [("t", 0), ("t", 1)]
                scores.add({key: [rows] for key in keys})
        found.append(path.read_bytes())
    assert found[0] == found[1]


def test_csv_and_parquet_say_the_same(tmp_path: Path) -> None:
    """If it failed, a notebook and a spreadsheet would disagree, or a window without a score would have one."""
    paths = [tmp_path / "scores.csv", tmp_path / "scores.parquet"]
    for path in paths:
        with ScoreFile.open(path) as scores:
            scores.add({("t", 0): [score_rows(3, 5, ['pump "1", left', "b"]), score_rows(8, 1)]})
    assert paths[0].read_text().splitlines()[:4] == [
        "stream,time,offset,score,threshold,anomaly_score,status,reason",
        "b,1970-01-01T00:03:00.000Z,3,0.42857143,0.5,0.85714287,anomalous,",
        '"pump ""1"", left",1970-01-01T00:04:00.000Z,4,0.5714286,0.5,1.1428572,normal,',
        "b,1970-01-01T00:05:00.000Z,5,,,,unscored,not_finite",
    ]
    table = pq.read_table(paths[1])
    assert [str(kind) for kind in table.schema.types] == [
        "string", "timestamp[ms, tz=UTC]", "int64", "float", "float", "float", "string", "string",
    ]  # fmt: skip
    assert table.column("score").to_pylist()[2] is None
    assert table.column("reason").to_pylist()[:3] == [None, None, "not_finite"]
    assert [str(np.float32(v)) for v in table.column("anomaly_score").to_pylist()[:2]] == ["0.85714287", "1.1428572"]


def test_a_recording_without_windows_gives_an_empty_table(tmp_path: Path) -> None:
    """If it failed, a short recording would leave no file, or one that no reader opens."""
    for name in ("scores.csv", "scores.parquet"):
        with ScoreFile.open(tmp_path / name):
            pass
    assert (tmp_path / "scores.csv").read_text() == "stream,time,offset,score,threshold,anomaly_score,status,reason\n"
    assert pq.read_table(tmp_path / "scores.parquet").num_rows == 0


def test_what_fails_leaves_the_old_file(tmp_path: Path) -> None:
    """If it failed, a replay that broke off would leave half a file in the place of the last good one."""
    for path in (tmp_path / "alerts.jsonl", tmp_path / "scores.parquet"):
        path.write_text("old")

    def broken() -> None:
        with EventFile(str(tmp_path / "alerts.jsonl")), ScoreFile.open(tmp_path / "scores.parquet") as scores:
            scores.add({("t", 0): [score_rows(0, 10)]})
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        broken()
    assert {path.name: path.read_text() for path in tmp_path.iterdir()} == {
        "alerts.jsonl": "old",
        "scores.parquet": "old",
    }


def test_outputs_that_cannot_be(tmp_path: Path) -> None:
    """If it failed, an hour of replay would end in a traceback because of a misspelt folder."""
    with pytest.raises(SinkError, match=r"none/alerts.jsonl: cannot be written: No such file or directory"):
        EventFile(str(tmp_path / "none" / "alerts.jsonl"))
    with pytest.raises(SinkError, match="is a directory: name a file"):
        EventFile(str(tmp_path))
    with pytest.raises(SinkError, match=r"must end in \.csv or \.parquet"):
        ScoreFile.open(tmp_path / "scores.txt")


# ── the loop ──


def test_batches_do_not_matter(bundle: Bundle, model: Model, tmp_path: Path) -> None:
    """If it failed, a backtest would depend on how its recording is read, and not be what production does."""
    path = str(write_kcat(tmp_path / "sensors.jsonl"))

    def source() -> Source:
        return for_recording([path]).build(RECORD, bundle.manifest.features)

    whole, files = again(bundle, model, source(), tmp_path / "whole")
    assert whole.alerts >= 2
    for size in (1, 37):
        report, others = again(bundle, model, Cut(source(), size), tmp_path / str(size))
        assert report == whole
        assert others == files
    partitions = [json.loads(line)["data"]["position"]["partition"] for line in files[0].splitlines()]
    assert partitions == sorted(partitions)
    assert len(files[1].splitlines()) == whole.windows + 1


def test_every_record_is_in_one_class(bundle: Bundle, model: Model, tmp_path: Path) -> None:
    """If it failed, records would vanish between what a recording has and what a replay reports."""
    path = tmp_path / "bad.jsonl"
    good = '{{"stream": "{}", "time": {}, "values": {{"pressure": 1, "flow": {}}}}}'
    lines = [good.format("a", 60_000 * row, row) for row in range(20)]
    lines += ["{", '{"values": {}}', good.format("a", 60_000, 1), good.format("a", 30_000, 1), "[1]"]
    lines += [good.format("a", 10 * DAY, 1), good.format("filtered", 5, 5)]
    path.write_text("\n".join(lines))
    config = load(None, ["record.select.exclude=[filtered]", "dead_letter.late=true", "source.type=jsonl",
                         f"source.path={path}", "dead_letter.path=/nowhere/dead.jsonl"])  # fmt: skip
    source = for_recording([str(path)]).build(RECORD, bundle.manifest.features)
    report = replay(config, bundle, model, source)
    assert report.classes == {"processed": 20, "late": 1, "repeated": 1, "filtered": 1, "dead_lettered": 3}
    assert report.records == sum(report.classes.values()) + report.pending == len(lines)
    assert report.pending == 1
    assert report.reasons["late"] == report.reasons["repeated"] == 1
    assert report.fields()["dead_letters"] == 3


def test_alerts_on_the_data_are_counted_by_kind(bundle: Bundle, model: Model, tmp_path: Path) -> None:
    """If it failed, a backtest would not say what `alert.quality` would page for; or say it where nobody asked."""
    path = write_csv(tmp_path / "plain.csv")
    reports = [
        replay(load(None, settings), bundle, model, for_recording([str(path)]).build(RECORD, bundle.manifest.features))
        for settings in ([], ["alert.quality={out_of_range: {pressure: [1e6, 2e6]}}"])
    ]
    off, on = reports
    assert "alerts_by_kind" not in off.fields()
    assert not any("on the data themselves" in line for line in off.lines())
    found = on.fields()["alerts_by_kind"]
    assert found["out_of_range"] >= 1
    assert (found["anomaly"], found["silence"]) == (on.alerts, 0)
    assert f"alerts on the data themselves: {found['out_of_range']} out of range" in on.lines()


def test_cold_starts(bundle: Bundle, model: Model, tmp_path: Path) -> None:
    """If it failed, somebody would take a replay that began in the middle for what production has published."""
    whole, middle = write_kcat(tmp_path / "whole.jsonl"), write_kcat(tmp_path / "middle.jsonl", first=7)
    plain = write_csv(tmp_path / "plain.csv")
    kafka = ["source.type=kafka", "source.group_id=g"]
    for path, overrides, said in [
        (whole, [*kafka, "source.topics=[sensors]"], []),
        (whole, [*kafka, "source.topics=[other]"], [f"cold start at sensors-{number} offset 0" for number in range(3)]),
        (middle, [*kafka, "source.topics=[sensors]"], [f"cold start at sensors-{n} offset 7" for n in range(3)]),
        (plain, [*kafka, "source.topics=[sensors]"], ["cold start at plain.csv-0 offset 0"]),
        (plain, ["source.type=csv", f"source.path={plain}"], []),
        (plain, [], ["cold start at plain.csv-0 offset 0"]),
    ]:
        source = for_recording([str(path)]).build(RECORD, bundle.manifest.features)
        report = replay(load(None, overrides), bundle, model, source)
        assert [str(cold) for cold in report.cold] == said
        assert report.records == 3 * ROWS
