"""`tidegauge replay`, as an analyst types it."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from models.bundle import Bundle
from tests.integration.daemon import Daemon, until
from tests.kafka.broker import Broker
from tests.kafka.topics import Record, consume_all, kcat, kcat_consume, produce
from tests.monitor.cli.conftest import Run
from tests.recordings import ROWS, messages, write_csv, write_labels

ROOT = Path(__file__).parents[3]
_STRANGER = "1 labelled event outside of the recording, which count for nothing; no record of 1 labelled stream: pump-9"


def test_a_program_reads_one_object(run: Run, bundle: Bundle, recording: Path, tmp_path: Path) -> None:
    """If it failed, a script could not compare two configurations."""
    out, scores = tmp_path / "alerts.jsonl", tmp_path / "scores.csv"
    done = run("replay", recording, "--bundle", bundle.path, "--out", out, "--scores", scores, "--json")
    assert (done.status, done.said) == (0, ["cold start at pumps.csv-0 offset 0"])
    report = json.loads(done.out)
    assert list(report)[:10] == [
        "records", "windows", "alerts", "dead_letters", "pending",
        "precision", "recall", "f1", "detection_delay_seconds", "false_alarms_per_stream_day",
    ]  # fmt: skip
    assert (report["records"], report["windows"]) == (3 * ROWS, 3 * (ROWS - 11))
    assert (report["recall"], report["labelled_events"], report["labelled_events_outside"]) == (1.0, 2, 0)
    assert report["records"] == sum(report["classes"].values()) + report["pending"]
    assert set(report["classes"]) == {"processed", "late", "repeated", "filtered", "dead_lettered"}
    assert set(report["versions"]) == {"tidegauge", "python", "onnxruntime", "numpy", "cpu"}
    assert report["cold_start"] == [{"topic": "pumps.csv", "partition": 0, "offset": 0}]
    events = [json.loads(line) for line in out.read_text().splitlines()]
    assert len(events) == report["events"]
    assert len({event["data"]["alert_id"] for event in events}) == report["alerts"]
    assert {event["source"] for event in events} == {"/tidegauge/local"}
    assert len(scores.read_text().splitlines()) == report["windows"] + 1


def test_labels_from_a_file_replace_the_column(run: Run, bundle: Bundle, recording: Path, tmp_path: Path) -> None:
    """If it failed, a recording could only be judged by labels that somebody has woven into it."""
    column = json.loads(run("replay", recording, "--bundle", bundle.path, "--json").out)
    plain = write_csv(tmp_path / "pumps-plain.csv", labels=False)
    without = json.loads(run("replay", plain, "--bundle", bundle.path, "--json").out)
    assert "precision" not in without
    labels = write_labels(tmp_path / "labels.csv")
    judged = json.loads(run("replay", plain, "--bundle", bundle.path, "--labels", labels, "--json").out)
    names = ("precision", "recall", "f1", "detection_delay_seconds", "false_alarms_per_stream_day", "labelled_events")
    assert [judged[name] for name in names] == [column[name] for name in names]
    labels.write_text("stream,start,end\npump-9,2023-11-14T00:00:00Z,2023-11-14T01:00:00Z\n")
    done = run("replay", recording, "--bundle", bundle.path, "--labels", labels, "--json")
    other = json.loads(done.out)
    assert (other["labelled_events"], other["labelled_events_outside"], other["recall"]) == (0, 1, None)
    assert other["labelled_streams_unknown"] == ["pump-9"]
    assert done.said[1:] == [f"labels: {_STRANGER}"]


def test_labels_that_count_for_nothing_are_said(run: Run, bundle: Bundle, recording: Path, tmp_path: Path) -> None:
    """If it failed, "0 of 0 found" would be taken for a detector that finds nothing, and a misspelt id for a figure."""
    labels = tmp_path / "labels.csv"
    labels.write_text("stream,start,end\npump-9,2023-11-14T00:00:00Z,2023-11-14T01:00:00Z\n")
    done = run("replay", recording, "--bundle", bundle.path, "--labels", labels)
    assert _STRANGER in done.out.splitlines()
    assert f"labels: {_STRANGER}" in done.said
    done = run("replay", recording, "--bundle", bundle.path, "--labels", labels, "--out", "-")
    assert done.said.count(_STRANGER) == 1
    assert _STRANGER not in done.out
    labels.write_text("stream,start,end\npump-1,1999-11-14T00:00:00Z,1999-11-14T01:00:00Z\n")
    done = run("replay", recording, "--bundle", bundle.path, "--labels", labels)
    assert "labels: 1 labelled event outside of the recording, which count for nothing" in done.said


@pytest.mark.slow
def test_a_full_standard_output_is_one_line(bundle: Bundle, recording: Path) -> None:
    """If it failed, `replay > report` on a full disk would end in a traceback, or in status 0."""
    arguments = [sys.executable, "-m", "monitor", "replay", str(recording), "--bundle", str(bundle.path)]
    for more in ((), ("--out", "-")):
        with Path("/dev/full").open("wb") as full:
            done = subprocess.run(
                [*arguments, *more], stdout=full, stderr=subprocess.PIPE, check=False, text=True, cwd=ROOT
            )
        assert done.returncode == 1
        assert done.stderr.splitlines()[-1] == (
            "tidegauge: standard output cannot be written: No space left on device"
            if not more
            else "tidegauge: standard output: cannot be written: No space left on device"
        )
        assert all(line.startswith(("cold start at", "tidegauge: ")) for line in done.stderr.splitlines())


def test_people_read_a_summary(run: Run, bundle: Bundle, recording: Path) -> None:
    """If it failed, `replay --out - | jq` would choke on words, or people would see nothing."""
    words = run("replay", recording, "--bundle", bundle.path)
    assert words.status == 0
    assert words.out.startswith(f"{3 * ROWS:,} records of 3 streams: {3 * (ROWS - 11):,} windows, ")
    assert "2 of 2 labelled events found" in words.out
    piped = run("replay", recording, "--bundle", bundle.path, "--out", "-")
    assert all(json.loads(line)["type"] == "tidegauge.alert.v1" for line in piped.out.splitlines())
    assert piped.out
    assert f"{3 * ROWS:,} records of 3 streams" in piped.err


def test_nothing_that_the_configuration_names_is_touched(
    run: Run, bundle: Bundle, recording: Path, tmp_path: Path
) -> None:
    """If it failed, a backtest would page somebody, or write into production's files."""
    config = tmp_path / "tidegauge.yaml"
    config.write_text(
        json.dumps(
            {
                "source": {"type": "jsonl", "path": str(tmp_path / "none.jsonl")},
                "model": {"bundle": str(bundle.path)},
                "sink": [
                    {"type": "jsonl", "path": str(tmp_path / "sink.jsonl")},
                    {"type": "alertmanager", "url": "http://127.0.0.1:9"},
                ],
                "dead_letter": {"path": str(tmp_path / "dead.jsonl")},
            }
        )
    )
    recording.write_text(recording.read_text() + "yesterday,pump-0,1,1,0\n")
    before = sorted(tmp_path.iterdir())
    done = run("replay", recording, "--config", config, "--json")
    assert done.status == 0
    assert json.loads(done.out)["dead_letters"] == 1
    assert sorted(tmp_path.iterdir()) == before


def test_set_reaches_the_replay(run: Run, bundle: Bundle, recording: Path) -> None:
    """If it failed, two configurations could only be compared by editing files."""
    quiet = ("--set", "threshold.type=static", "--set", "threshold.value=1000000")
    assert json.loads(run("replay", recording, "--bundle", bundle.path, "--json", *quiet).out)["alerts"] == 0


def test_usage(run: Run, bundle: Bundle, recording: Path, tmp_path: Path) -> None:
    """If it failed, a slip on the command line would end in a traceback, or in hours of work for nothing."""
    given = ("--bundle", bundle.path)
    other = write_csv(tmp_path / "other.csv")
    other.write_text("time,stream,humidity\n1,a,2\n")
    for arguments, status, said in [
        ((recording,), 2, "--config FILE"),
        ((), 2, "RECORDING"),
        ((recording, *given, "--json", "--out", "-"), 2, "both want standard output"),
        ((recording, *given, "--scores", tmp_path / "scores.txt"), 1, "must end in .csv or .parquet"),
        ((recording, *given, "--out", tmp_path / "none" / "out"), 1, "No such file or directory"),
        ((recording, *given, "--labels", tmp_path / "none.csv"), 1, "none.csv"),
        ((recording, "--bundle", tmp_path / "none"), 78, "there is no such directory"),
        ((recording, "--config", tmp_path / "none.yaml"), 78, "none.yaml: cannot be read"),
        ((recording, *given, "--set", "window.length=3"), 78, "window.length: found 3, but the model"),
        ((tmp_path / "none.csv", *given), 1, "none.csv: cannot be read: No such file"),
        ((tmp_path / "none.xls", *given), 1, "no known kind of recording"),
        ((other, *given), 1, "none of the features pressure, flow is a column"),
    ]:
        done = run("replay", *arguments)
        assert done.status == status, arguments
        assert said in done.err
        assert "Traceback" not in done.err
        assert not (tmp_path / "scores.txt").exists()


def test_parquet_without_pyarrow(
    run: Run, bundle: Bundle, recording: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """If it failed, an install without the extra would end in a traceback after the whole replay."""
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    done = run("replay", recording, "--bundle", bundle.path, "--scores", tmp_path / "scores.parquet")
    assert done.status == 1
    assert done.said[-1].endswith("Parquet needs pyarrow: pip install 'tidegauge[parquet]', or name a .csv file")


def test_the_same_bytes_as_production(
    run: Run, kafka: Broker, topic: Callable[..., str], bundle: Bundle, tmp_path: Path
) -> None:
    """If it failed, a backtest would show other alerts than the daemon published, and would be worth nothing."""
    names = topic(partitions=3), topic(partitions=3), topic()
    topic(name=f"{names[0]}-state-{names[0]}", partitions=3, cleanup_policy="compact")
    source = {"type": "kafka", "bootstrap_servers": [kafka.bootstrap], "topics": [names[0]], "group_id": names[0]}
    config = {
        "source": source,
        "model": {"bundle": str(bundle.path)},
        "alert": {"resolve_after": 2},
        "sink": {"type": "kafka", "topic": names[1]},
        "dead_letter": {"topic": names[2]},
    }
    sent = [Record(value, key=key, partition=partition) for key, value, partition in messages()]
    sent.insert(100, Record(b"{", key=b"pump-0", partition=0))
    with Daemon(tmp_path / "daemon", config) as daemon:
        daemon.ready()
        for begin in range(0, len(sent), 211):
            produce(kafka.bootstrap, names[0], sent[begin : begin + 211])
        until(lambda: daemon.consumed() == len(sent), "the daemon does not consume everything")
        assert daemon.stop()[0] == 0
    published = [each.value for each in consume_all(kafka.bootstrap, names[1])]
    assert len(published) >= 4
    dead = consume_all(kafka.bootstrap, names[2])
    assert len(dead) == 1
    out = tmp_path / "alerts.jsonl"
    done = run("replay", f"kafka://{names[0]}", "--config", tmp_path / "daemon" / "config.yaml", "--out", out, "--json")
    assert (done.status, done.said) == (0, [])
    again = out.read_bytes().splitlines()

    def of(partition: int, events: list[bytes]) -> list[bytes]:
        return [event for event in events if json.loads(event)["data"]["position"]["partition"] == partition]

    for partition in range(3):
        assert of(partition, again) == of(partition, published)
    assert len(again) == len(published)
    assert len(consume_all(kafka.bootstrap, names[1])) == len(published)
    assert len(consume_all(kafka.bootstrap, names[2])) == len(dead)

    if kcat() is not None:  # a recording that another client made
        recording = tmp_path / "sensors.jsonl"
        recording.write_text("\n".join(map(json.dumps, kcat_consume(kafka.bootstrap, names[0]))))
        config_path = tmp_path / "daemon" / "config.yaml"
        assert run("replay", recording, "--config", config_path, "--out", out, "--json").said == []
        assert out.read_bytes().splitlines() == again
    part = run("replay", f"kafka://{names[0]}?from=1:5", "--config", tmp_path / "daemon" / "config.yaml", "--json")
    assert part.said == [f"cold start at {names[0]}-1 offset 5"]


def test_a_topic_that_is_not_there(run: Run, kafka: Broker, bundle: Bundle) -> None:
    """If it failed, a misspelt topic would end in a traceback, or be made."""
    connection = ("--set", "source.type=kafka", "--set", f"source.bootstrap_servers=['{kafka.bootstrap}']")
    more = ("--set", "source.topics=[a]", "--set", "source.group_id=g")
    done = run("replay", "kafka://no-such-topic", "--bundle", bundle.path, *connection, *more)
    assert done.status == 78
    assert len(done.said) == 1
    assert "the topic 'no-such-topic' does not exist" in done.err
