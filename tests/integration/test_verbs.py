"""What an operator does with a group's state: look at it, save it, bring it back, move it, go past a bad record."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from kafka import KafkaAdminClient

from tests.integration.conftest import Job, committed
from tests.integration.daemon import Daemon, until
from tests.integration.streams import PERIOD, value
from tests.integration.test_state import LEARNING, by_partition
from tests.integration.verbs import told, verb
from tests.kafka.broker import Broker
from tests.kafka.topics import Record, consume_all, create_topic, delete_before, delete_topics, produce

STREAMS = tuple(f"s{number}" for number in range(6))
FIRING = PERIOD - 2
"""A row within a bump: alerts are firing."""


def keyed(begin: int, end: int) -> Iterator[Record]:
    """Yield rows of all streams; their keys decide their partition, as with Kafka's own clients."""
    for row in range(begin, end):
        for stream in STREAMS:
            yield Record(value(row), key=stream.encode())


def learning(work: Job, **more: Any) -> dict[str, Any]:
    """Return the configuration of a member whose alerts depend on all that came before."""
    return {**work.member(None), **LEARNING, **more}


def written(folder: Path, config: dict[str, Any]) -> Path:
    """Write a configuration."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "config.yaml"
    path.write_text(json.dumps(config))
    return path


def published(work: Job) -> list[bytes]:
    """Return all events."""
    return [record.value or b"" for record in consume_all(work.bootstrap, work.alerts)]


def process(folder: Path, config: dict[str, Any], work: Job, count: int) -> None:
    """Run a daemon until the group has come so far."""
    with Daemon(folder, config) as daemon:
        until(lambda: committed(work) == count, "the records are not processed")
        assert daemon.stop()[0] == 0


def stopped(folder: Path, config: dict[str, Any]) -> str:
    """Start a daemon that must end with status 78; return the one line that it says."""
    with Daemon(folder, config) as daemon:
        assert daemon.ended() == 78
    (line,) = daemon.said
    return line


def test_a_snapshot_goes_on_as_production_does(kafka: Broker, job: Callable[..., Job], folder: Path) -> None:
    """If it failed, nobody could tell from a snapshot what production did, or bring a group back to where it stood."""
    work = job(partitions=2)
    config = written(folder, learning(work))
    produce(kafka.bootstrap, work.input, keyed(0, FIRING))
    with Daemon(folder / "one", learning(work)) as daemon:
        until(lambda: committed(work) == FIRING * len(STREAMS), "the records are not processed")
        before = published(work)
        saved = verb("state", "export", config, "--out", folder / "saved", "--json").json  # the group runs
        assert sum(part["offset"] for part in saved["partitions"]) == FIRING * len(STREAMS)
        row = verb("state", "inspect", config, "--stream", "s0", "--json").json["rows"][0]
        (event,) = [e for e in map(json.loads, before) if e["data"]["alert_id"] == row["alert"].get("alert_id")]
        assert event["data"]["startsAt"] == row["alert"]["since"]
        assert event["subject"] == "s0"
        assert row["window"] == {**row["window"], "rows": FIRING, "fill": 1.0, "waiting": 0}
        assert row["line"] > 0
        taken = verb("state", "import", config, "--from", folder / "saved", "--force")
        assert (taken.status, "has members" in taken.err) == (1, True), taken.err  # and goes on as if nothing were
        produce(kafka.bootstrap, work.input, keyed(FIRING, 7 * PERIOD))
        until(lambda: committed(work) == 7 * PERIOD * len(STREAMS), "the records are not processed")
        assert daemon.stop()[0] == 0
    after = published(work)[len(before) :]
    assert any(event["data"]["revision"] == 1 for event in map(json.loads, after))
    source = f"kafka://{work.input}"
    warm = verb("replay", source, "--config", config, "--state", folder / "saved", "--out", folder / "warm", "--json")
    assert [start["streams"] for start in warm.json["warm_start"]] == [part["streams"] for part in saved["partitions"]]
    assert warm.json["records"] == (7 * PERIOD - FIRING) * len(STREAMS)
    assert "cold" not in warm.err
    assert by_partition((folder / "warm").read_bytes().splitlines()) == by_partition(after)
    places = ",".join(f"{part['partition']}:{part['offset']}" for part in saved["partitions"])
    cold = verb("replay", f"{source}?from={places}", "--config", config, "--out", folder / "cold")
    assert f"cold start at {work.input}-0" in cold.err
    assert by_partition((folder / "cold").read_bytes().splitlines()) != by_partition(after)
    refused = verb("state", "import", config, "--from", folder / "saved")
    assert (refused.status, refused.err.count("\n")) == (78, 1)
    assert "--force" in refused.err
    assert verb("state", "import", config, "--from", folder / "saved", "--force").status == 0
    assert committed(work) == FIRING * len(STREAMS)
    (_, second) = verb("state", "inspect", config, "--json").json["partitions"]
    assert second["group_offset"] == second["state"]["offset"] == second["state"]["needs_input_from"]
    process(folder / "two", learning(work), work, 7 * PERIOD * len(STREAMS))
    assert by_partition(published(work)[len(before) + len(after) :]) == by_partition(after)


def test_streams_move_to_the_partitions_that_there_are(kafka: Broker, job: Callable[..., Job], folder: Path) -> None:
    """If it failed, a topic that grows would cost every stream its line, and leave alerts that never resolve."""
    work = job(partitions=2)
    alike = {"threshold": {"type": "static", "value": 1.0}, "alert": LEARNING["alert"]}
    config = written(folder, learning(work, **alike))
    produce(kafka.bootstrap, work.input, keyed(0, FIRING))
    process(folder / "one", learning(work, **alike), work, FIRING * len(STREAMS))
    firing = {json.loads(event)["subject"]: json.loads(event)["data"]["alert_id"] for event in published(work)}
    admin = KafkaAdminClient(bootstrap_servers=kafka.bootstrap)
    try:
        admin.create_partitions({work.input: 5})
    finally:
        admin.close()
    line = stopped(folder / "two", learning(work, **alike))
    wrong = verb("state", "migrate", config, "--partitions", "5", "--partitioner", "crc32")
    assert (wrong.status, "--partitioner" in wrong.err) == (78, True)
    moved = verb(*told(line, config), "--json").json
    assert (moved["streams"], moved["doubled"]) == (len(STREAMS), 0)
    assert 0 < moved["moved"] <= len(STREAMS)
    assert "nothing to move" in verb(*told(line, config)).err
    produce(kafka.bootstrap, work.input, keyed(FIRING, 6 * PERIOD))
    with Daemon(folder / "three", learning(work, **alike)) as daemon:
        until(lambda: committed(work) == 6 * PERIOD * len(STREAMS), "the records are not processed")
        assert daemon.metrics()["tidegauge_windows_scored_total"] == (6 * PERIOD - FIRING) * len(STREAMS)
        restored = [each["streams"] for each in daemon.log if each["event"] == "restored"]
        assert (len(restored), sum(restored)) == (5, len(STREAMS))
        assert daemon.stop()[0] == 0
    whole = folder / "whole.jsonl"
    whole.write_bytes(b"".join(map(_line, keyed(0, 6 * PERIOD))))
    assert verb("replay", whole, "--config", config, "--out", folder / "replayed").status == 0
    events = [json.loads(event) for event in published(work)]
    wanted = [json.loads(event) for event in (folder / "replayed").read_bytes().splitlines()]
    assert sorted(map(_fact, events)) == sorted(map(_fact, wanted))
    ended = {event["data"]["alert_id"] for event in events if event["data"]["status"] == "resolved"}
    assert set(firing) == set(STREAMS)
    assert set(firing.values()) <= ended  # under the id under which they were opened
    _to_a_new_topic(work, config, folder / "saved")


def _to_a_new_topic(work: Job, config: Path, saved: Path) -> None:
    """Make the input anew, with fewer partitions, and let the state go there."""
    state = f"{work.group}-state-{work.input}"
    delete_topics(work.bootstrap, [work.input])
    create_topic(work.bootstrap, work.input, partitions=3)
    assert len(verb("state", "export", config, "--out", saved, "--json").json["partitions"]) == 5
    refused = verb("state", "migrate", config, "--partitions", "3")
    assert (refused.status, "--from DIR" in refused.err) == (78, True)
    delete_topics(work.bootstrap, [state])
    assert verb("topics", config, "--create").status == 0
    moved = verb("state", "migrate", config, "--partitions", "3", "--from", saved, "--json").json
    assert (moved["streams"], len(moved["partitions"])) == (len(STREAMS), 3)
    found = verb("state", "inspect", config, "--json").json["partitions"]
    assert [each["state"]["offset"] for each in found] == [each["group_offset"] for each in found] == [0, 0, 0]
    assert sum(each["state"]["streams"] for each in found) == len(STREAMS)


def _line(record: Record) -> bytes:
    return json.dumps({**json.loads(record.value or b""), "stream": (record.key or b"").decode()}).encode() + b"\n"


def _fact(event: dict[str, Any]) -> tuple[Any, ...]:
    """Return what of an event does not depend on where its stream lies."""
    data = event["data"]
    return (event["subject"], event["time"], data["status"], data["startsAt"], data["anomaly_score"], data["threshold"])


def test_a_batch_that_cannot_be_read_is_passed(kafka: Broker, job: Callable[..., Job], folder: Path) -> None:
    """If it failed, one damaged batch would end the daemon for ever, or cost a partition all that is known of it."""
    work = job()
    settings = learning(work, state={"sweep_records": 1_000_000})  # windows are rebuilt from the input
    config = written(folder, settings)
    produce(kafka.bootstrap, work.input, keyed(0, 50))
    size = 48 << 20
    bomb = {"compression_type": "zstd", "max_request_size": 1 << 30, "linger_ms": 0, "batch_size": 1}
    ((_, offset),) = produce(kafka.bootstrap, work.input, [bytes(size)], **bomb)
    line = stopped(folder / "one", settings)
    assert committed(work) == offset  # what came before it is done
    passed = verb(*told(line, config), "--json").json
    assert passed == {
        **passed, "from": offset, "offset": offset + 1, "dead_letters": 0, "windows_restarted": False,
        "unreadable": [{"first": offset, "last": offset}],
    }  # fmt: skip
    produce(kafka.bootstrap, work.input, keyed(50, 60))
    bad = verb("skip", config, "--topic", work.input, "--partition", "0", "--offset", str(offset + 3))
    assert (bad.status, "--all" in bad.err) == (78, True)
    one = verb("skip", config, "--topic", work.input, "--partition", "0", "--offset", str(offset + 1), "--json").json
    assert (one["dead_letters"], one["offset"]) == (1, offset + 2)
    (letter,) = consume_all(kafka.bootstrap, work.dead)
    assert letter.value == value(50)
    assert dict(letter.headers)["reason"] == b"skipped"
    assert dict(letter.headers)["source-offset"] == str(offset + 1).encode()
    end = offset + 1 + 10 * len(STREAMS)
    with Daemon(folder / "two", settings) as daemon:
        until(lambda: committed(work) == end, "the records are not processed")
        assert daemon.metrics()["tidegauge_windows_scored_total"] == 10 * len(STREAMS) - 1  # no window began anew
        assert daemon.stop()[0] == 0
    produce(kafka.bootstrap, work.input, keyed(60, 70))
    delete_before(kafka.bootstrap, work.input, end + 10)
    line = stopped(folder / "three", settings)
    gone = verb(*told(line, config), "--json").json
    assert (gone["gone"], gone["windows_restarted"]) == (10, True)
    process(folder / "four", settings, work, end + 10 * len(STREAMS))
