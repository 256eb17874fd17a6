"""From records in Kafka to alerts in Kafka, with the real daemon and an independent client."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

from models.bundle import Bundle
from models.serving import Model
from monitor.config import load
from monitor.engine import Engine
from monitor.kafka.connection import ConnectionSettings
from monitor.kafka.range import Range
from monitor.sources.base import Batch
from tests.integration.conftest import CLIENTS, Job
from tests.integration.daemon import Daemon, environment, until
from tests.integration.streams import BUMP, PERIOD, rows
from tests.kafka.broker import Broker
from tests.kafka.topics import Record, consume_all, kcat_consume, produce

STREAMS = ("pump-1", "pump-2", "pump-3", "pump-4")


def test_alerts_for_any_client(kafka: Broker, job: Callable[..., Job], folder: Path, kcat: str) -> None:
    """If it failed, somebody with another client than ours could not read the alerts, or would take them for others."""
    assert kcat
    work = job(partitions=2)
    produce(kafka.bootstrap, work.input, rows(STREAMS, 0, 2 * PERIOD, partitions=2))
    produce(kafka.bootstrap, work.input, [Record(b"{broken", key=b"pump-1", partition=1)])
    total = len(STREAMS) * 2 * PERIOD + 1
    with Daemon(folder / "one", work.member()) as daemon:
        until(lambda: daemon.consumed() == total, "the daemon does not consume everything")
        until(lambda: len(set(daemon.identity())) == 1, "records are not accounted for")
        assert daemon.stop()[0] == 0
    found = kcat_consume(kafka.bootstrap, work.alerts)
    assert len(found) == 3 * len(STREAMS)  # fires twice, resolves once
    for each in found:
        event = json.loads(each["payload"])
        assert {name: event[name] for name in ("specversion", "type", "source", "datacontenttype")} == {
            "specversion": "1.0",
            "type": "tidegauge.alert.v1",
            "source": f"/tidegauge/{work.group}",
            "datacontenttype": "application/json",
        }
        data = event["data"]
        assert each["key"] == event["subject"] == event["partitionkey"] == data["labels"]["stream"]
        assert each["headers"] == ["content-type", "application/cloudevents+json; charset=utf-8"]
        assert event["id"] == f"{data['alert_id']}-{data['revision']}"
        assert data["position"]["topic"] == work.input
        assert sum(part["share"] for part in data["attribution"]) > 0.999
        assert abs(each["ts"] / 1000 - folder.stat().st_mtime) < 600  # published now, whatever the event's time is
    firing = [json.loads(each["payload"]) for each in found if '"firing"' in each["payload"]]
    assert {(event["subject"], event["time"]) for event in firing} == {
        (stream, f"2023-11-14T{time}.000Z") for stream in STREAMS for time in ("22:48:20", "23:28:20")
    }
    (letter,) = kcat_consume(kafka.bootstrap, work.dead)
    assert (letter["key"], letter["payload"]) == ("pump-1", "{broken")
    headers = dict(zip(letter["headers"][::2], letter["headers"][1::2], strict=True))
    assert headers.pop("detail")
    assert headers == {
        "source-topic": work.input,
        "source-partition": "1",
        "source-offset": str(len(STREAMS) * PERIOD),
        "reason": "syntax",
    }


def test_run_and_replay_agree_byte_for_byte(
    kafka: Broker, job: Callable[..., Job], folder: Path, bundle: Bundle
) -> None:
    """If it failed, a backtest of what Kafka holds would show other alerts than production had."""
    work = job(partitions=2)
    with Daemon(folder / "one", work.member()) as daemon:
        daemon.ready()
        for begin in range(0, 3 * PERIOD, 30):  # polls of many sizes
            produce(kafka.bootstrap, work.input, rows(STREAMS, begin, begin + 30, partitions=2))
        until(lambda: daemon.consumed() == len(STREAMS) * 3 * PERIOD, "the daemon does not consume everything")
        assert daemon.stop()[0] == 0
    published = [(each.key, each.value) for each in consume_all(kafka.bootstrap, work.alerts)]
    engine = Engine(load(folder / "one" / "config.yaml"), bundle, Model(bundle))
    again = []
    ranged = Range(
        ConnectionSettings(bootstrap_servers=(kafka.bootstrap,)), work.input, "beginning", "end", max_poll_records=77
    )
    while not ranged.exhausted:
        batches = [
            Batch(
                topic,
                number,
                [record.offset for record in found],
                [record.timestamp for record in found],
                [record.key for record in found],
                [record.value for record in found],
            )
            for (topic, number), found in ranged.poll(1.0).items()
        ]
        again += [(event.key, event.value) for event in engine.process(batches).events]
    ranged.close()
    assert len(published) == 5 * len(STREAMS)
    command = [sys.executable, "-m", "monitor", "replay", f"kafka://{work.input}"]
    command += ["--config", str(folder / "one" / "config.yaml"), "--out", str(folder / "alerts.jsonl")]
    subprocess.run(command, check=True, env=environment(), cwd=folder, timeout=120, capture_output=True)
    replayed = [(None, line) for line in (folder / "alerts.jsonl").read_bytes().splitlines()]
    for partition in (0, 1):
        mine = [
            [value for _, value in events if json.loads(value or b"")["data"]["position"]["partition"] == partition]
            for events in (published, again, replayed)
        ]
        assert mine[0]
        assert mine[0] == mine[1] == mine[2]


def test_sigterm_loses_nothing(kafka: Broker, job: Callable[..., Job], folder: Path) -> None:
    """If it failed, every deployment would lose alerts, double them, or be killed for taking too long."""
    work = job()
    streams = [f"s{number}" for number in range(10)]
    produce(kafka.bootstrap, work.input, rows(streams, 0, 2_000))
    total = 0
    for turn in range(3):
        with Daemon(folder / str(turn), work.member(max_poll_records=500)) as daemon:
            daemon.ready()
            until(lambda: daemon.consumed() > 0, "nothing is consumed")
            status, seconds = daemon.stop()
            assert (status, daemon.said) == (0, [])
            assert seconds < 10
            total += daemon.log[-1]["records"]
    with Daemon(folder / "last", work.member()) as daemon:
        until(lambda: daemon.consumed() + total == len(streams) * 2_000, "records are lost, or consumed twice")
        daemon.stop()
    ids = [json.loads(each.value)["id"] for each in consume_all(kafka.bootstrap, work.alerts)]
    assert ids
    assert len(ids) == len(set(ids))


def test_two_members_share(kafka: Broker, job: Callable[..., Job], folder: Path) -> None:
    """If it failed, a second machine would not help, or one with another client of Kafka, in a rolling change of it."""
    work = job(partitions=2)
    streams = ("a", "b")
    configs = [work.member(None, client=client) for client in CLIENTS]
    with Daemon(folder / "one", configs[0]) as one, Daemon(folder / "two", configs[1]) as two:

        def shared() -> bool:
            """Whether each has one partition, as its last assignment says."""
            ends = [[e["partitions"] for e in each.log if e["event"] == "partitions_assigned"] for each in (one, two)]
            return all(ends) and sorted(len(end[-1]) for end in ends) == [1, 1]

        until(shared, "the members do not share the partitions")
        produce(kafka.bootstrap, work.input, rows(streams, 0, PERIOD, partitions=2))
        until(lambda: (one.consumed(), two.consumed()) == (PERIOD, PERIOD), "the members do not both consume")
        assert one.stop()[0] == 0
        produce(kafka.bootstrap, work.input, rows(streams, PERIOD, 3 * PERIOD, partitions=2))
        until(lambda: two.consumed() == 5 * PERIOD, "nobody takes the partition over")
        assert two.stop()[0] == 0
    events = [json.loads(each.value) for each in consume_all(kafka.bootstrap, work.alerts)]
    ids = [event["id"] for event in events]
    assert len(ids) == len(set(ids))
    fired = {(e["subject"], e["data"]["window"]["end"]) for e in events if e["data"]["status"] == "firing"}
    assert len(fired) == 6  # three bumps of each stream, also of the one that changed hands


def test_sinks_beside_kafka(kafka: Broker, job: Callable[..., Job], folder: Path) -> None:
    """If it failed, a file beside the topic would miss alerts, or two files would share them out."""
    work = job()
    config = work.member()
    names = ("a.jsonl", "b.jsonl")
    config["sink"] = [config["sink"], *({"type": "jsonl", "path": str(folder / name)} for name in names)]
    produce(kafka.bootstrap, work.input, rows(STREAMS, 0, 2 * PERIOD))
    with Daemon(folder / "one", config) as daemon:
        want = 3 * len(STREAMS)

        def lines(name: str) -> list[bytes]:
            """Return the lines of a file, none if it is not there yet."""
            return (folder / name).read_bytes().splitlines() if (folder / name).exists() else []

        until(lambda: all(len(lines(name)) >= want for name in names), "the files do not get the alerts")
        assert daemon.stop()[0] == 0
    published = [each.value for each in consume_all(kafka.bootstrap, work.alerts)]
    assert lines("a.jsonl") == lines("b.jsonl") == published
    assert len(published) == want


def test_stdin_to_stdout(bundle: Bundle, folder: Path) -> None:
    """If it failed, nobody could try the daemon without a Kafka."""
    from tests.integration.conftest import settings

    records = folder / "records.jsonl"
    lines = [{"stream": each.key.decode(), **json.loads(each.value)} for each in rows(("a",), 0, 2 * PERIOD)]  # type: ignore[union-attr, arg-type]  # rows have both
    records.write_text("".join(json.dumps(line) + "\n" for line in lines) + "{broken\n")
    config = {
        **settings(bundle),
        "source": {"type": "jsonl", "path": "-"},
        "sink": {"type": "jsonl", "path": "-"},
        "dead_letter": {"path": str(folder / "dead.jsonl")},
    }
    with Daemon(folder / "one", config, stdin=records) as daemon:
        assert daemon.ended() == 0
        assert daemon.said == []
    events = [json.loads(line) for line in (folder / "one" / "out").read_text().splitlines()]
    assert [event["data"]["status"] for event in events] == ["firing", "resolved", "firing"]
    assert events[0]["data"]["position"]["last_offset"] == PERIOD - BUMP
    (letter,) = [json.loads(line) for line in (folder / "dead.jsonl").read_text().splitlines()]
    assert (letter["reason"], letter["value"]) == ("syntax", "{broken")
