"""`tidegauge alerts`: what has been published."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from kafka import KafkaProducer

from tests.integration.daemon import environment
from tests.kafka.broker import Broker
from tests.kafka.topics import produce
from tests.monitor.cli.conftest import Run
from tests.monitor.sinks.events import event

LINE = "2024-05-01T10:00:00.000Z  {}  {:<8}      1.83  warning   pressure"


@pytest.fixture
def config(kafka: Broker, topic: Callable[..., str], tmp_path: Path) -> tuple[Path, str]:
    """A configuration with an alerts topic of its own."""
    name = topic(partitions=1)
    path = tmp_path / "tidegauge.yaml"
    source = {"type": "kafka", "bootstrap_servers": [kafka.bootstrap], "topics": ["in"], "group_id": "g"}
    path.write_text(json.dumps({"source": source, "sink": {"type": "kafka", "topic": name}}))
    return path, name


def test_committed_events_one_a_line(run: Run, kafka: Broker, config: tuple[Path, str]) -> None:
    """If it failed, somebody would be shown alerts that the daemon took back, or see none of those that it made."""
    path, topic = config
    assert run("alerts", path).out == ""
    producer = KafkaProducer(bootstrap_servers=kafka.bootstrap, transactional_id=topic)
    try:
        producer.init_transactions()
        for events, end in (
            ([event("pump-1"), event("pump-1", 1)], producer.commit_transaction),
            ([event("taken-back")], producer.abort_transaction),
            ([event("pump-2")], producer.commit_transaction),
        ):
            producer.begin_transaction()
            for each in events:
                producer.send(topic, each.value, key=each.key)
            producer.flush()
            end()
    finally:
        producer.close(timeout=5)
    done = run("alerts", path)
    assert (done.status, done.err) == (0, "")
    assert done.out.splitlines() == [
        LINE.format("pump-1", "firing"),
        LINE.format("pump-1", "resolved"),
        LINE.format("pump-2", "firing"),
    ]
    raw = run("alerts", path, "--json").out
    assert raw.encode().splitlines() == [e.value for e in (event("pump-1"), event("pump-1", 1), event("pump-2"))]
    assert run("alerts", path, "--from", "end").out == ""
    assert len(run("alerts", path, "--from", "2020-01-01T00:00:00Z").out.splitlines()) == 3
    assert run("alerts", path, "--from", "2090-01-01T00:00:00Z").out == ""


def test_what_is_no_alert(run: Run, kafka: Broker, config: tuple[Path, str]) -> None:
    """If it failed, one strange message would hide all alerts behind it, or play with somebody's terminal."""
    path, topic = config
    produce(kafka.bootstrap, topic, [b"{", b"\xff", event("\x1b[31mred").value or b"", event("pump-3").value or b""])
    done = run("alerts", path)
    assert done.status == 0
    assert done.out.splitlines() == [
        "no alert: partition 0 offset 0",
        "no alert: partition 0 offset 1",
        LINE.format("�[31mred", "firing"),
        LINE.format("pump-3", "firing"),
    ]


def test_follow_waits_for_more(kafka: Broker, config: tuple[Path, str]) -> None:
    """If it failed, nobody could watch alerts come in."""
    path, topic = config
    produce(kafka.bootstrap, topic, [event("pump-1").value or b""])
    command = [sys.executable, "-m", "monitor", "alerts", str(path), "--follow"]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environment(), text=True
    ) as reader:
        assert reader.stdout is not None
        try:
            assert "pump-1" in reader.stdout.readline()
            produce(kafka.bootstrap, topic, [event("pump-2").value or b""])
            assert "pump-2" in reader.stdout.readline()
            reader.send_signal(2)
            assert reader.wait(20) == 130
            assert reader.stderr is not None
            assert reader.stderr.read().strip() == ""
        finally:
            reader.kill()


def test_what_cannot_be_read(run: Run, kafka: Broker, config: tuple[Path, str], tmp_path: Path) -> None:
    """If it failed, a misspelt topic or time would end in a traceback."""
    path, _ = config
    done = run("alerts", path, "--set", "sink.topic=no-such-alerts")
    assert (done.status, len(done.said)) == (78, 1)
    assert "the topic 'no-such-alerts' does not exist" in done.err
    done = run("alerts", path, "--from", "yesterday")
    assert (done.status, len(done.said)) == (78, 1)
    assert "'yesterday' is no place in a topic" in done.err
    path = tmp_path / "files.yaml"
    path.write_text('{"sink": {"type": "jsonl", "path": "-"}}')
    done = run("alerts", path)
    assert (done.status, len(done.said)) == (78, 1)
    assert "there is no alerts topic" in done.err
    assert kafka.bootstrap
