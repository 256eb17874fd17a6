"""Two fleets in one daemon over real Kafka: killed again and again, and each fleet's alerts as if it were alone."""

from __future__ import annotations

import json
import random
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from kafka import KafkaAdminClient

from models.bundle import Bundle
from tests.integration.conftest import Job, committed
from tests.integration.daemon import Daemon, environment, until
from tests.integration.streams import value
from tests.integration.verbs import verb
from tests.kafka.broker import Broker
from tests.kafka.topics import Record, consume_all, produce
from tests.monitor.test_shares import fan

STREAMS = ("pump-1", "pump-2", "fan-1", "fan-2", "door", "pump-3")
ROWS = 240
BROKEN = 10
"""Records that are none."""

LEARNING: dict[str, Any] = {
    "threshold": {"q": 0.95, "half_life": 50, "prior_weight": 10},
    "alert": {"open_after": 2, "resolve_after": 6, "rest": 30},
    "state": {"sweep_records": 150},
}


def records() -> list[Record]:
    """Return the rows of pumps, fans and a door in two partitions; now and then bytes that are no record."""
    found = []
    for row in range(ROWS):
        for number, name in enumerate(STREAMS):
            text = fan(row) if name.startswith("fan") else value(row)
            found.append(Record(text, key=name.encode(), partition=number % 2))
        if row % (ROWS // BROKEN) == 7:
            found.append(Record(b"{broken", key=b"fan-1", partition=row % 2))
    return found


def replayed(work: Job, folder: Path, config: Mapping[str, Any]) -> dict[int, list[dict[str, Any]]]:
    """Return the events of one uninterrupted pass over the input, by partition."""
    folder.mkdir()
    (folder / "config.yaml").write_text(json.dumps(config))
    command = [sys.executable, "-m", "monitor", "replay", f"kafka://{work.input}", "--config", "config.yaml"]
    done = subprocess.run(
        [*command, "--out", "alerts.jsonl"],
        check=False,
        env=environment(),
        cwd=folder,
        timeout=120,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    return by_partition((folder / "alerts.jsonl").read_bytes().splitlines())


def by_partition(events: list[bytes]) -> dict[int, list[dict[str, Any]]]:
    """Return events by the partition of their input, in order."""
    found: dict[int, list[dict[str, Any]]] = {0: [], 1: []}
    for event in map(json.loads, events):
        found[event["data"]["position"]["partition"]].append(event)
    return found


def two_fleets(bundle: Bundle, fans: Bundle) -> dict[str, Any]:
    """Return section `model`."""
    globs = {"pump-*": bundle, "fan-*": fans}
    return {"bundles": [{"streams": glob, "bundle": str(own.path)} for glob, own in globs.items()]}


def test_kills_change_no_alert_of_any_fleet(
    kafka: Broker, job: Callable[..., Job], folder: Path, bundle: Bundle, fans: Bundle
) -> None:
    """If it failed, a crash would lose, double or change alerts where several models are served."""
    work = job(partitions=2)
    produce(kafka.bootstrap, work.input, records())
    total = ROWS * len(STREAMS) + BROKEN
    globs = {"pump-*": bundle, "fan-*": fans}
    model = two_fleets(bundle, fans)
    config = {**work.member(max_poll_records=10, commit_interval_ms=100), **LEARNING, "model": model}
    chance = random.Random(5)  # noqa: S311 - when to kill
    places = [0]
    for turn in range(3):
        with Daemon(folder / str(turn), config) as daemon:
            until(lambda: committed(work) > places[-1], "nothing is committed")
            time.sleep(chance.uniform(0, 0.2))
            daemon.kill()
        places.append(committed(work))
    assert places == sorted(set(places))
    assert places[-1] < total  # the last one still has something to do
    whole = {**work.member(max_poll_records=500), **LEARNING, "model": model}
    with Daemon(folder / "last", whole) as daemon:
        until(lambda: committed(work) == total, "the committed offset does not reach the end")
        models = [name for name in daemon.metrics() if name.startswith("tidegauge_model_info")]
        assert len(models) == 2
        assert any('fleet="fan-*"' in name and fans.sha256 in name for name in models)
        assert daemon.stop()[0] == 0
    published = [each.value or b"" for each in consume_all(work.bootstrap, work.alerts)]
    ids = [json.loads(event)["id"] for event in published]
    assert len(set(ids)) == len(ids) > 10
    assert by_partition(published) == replayed(work, folder / "replay", whole)
    assert len(consume_all(work.bootstrap, work.dead)) == BROKEN
    alone: dict[int, list[dict[str, Any]]] = {0: [], 1: []}
    for number, (glob, own) in enumerate(globs.items()):
        single = {**whole, "model": {"bundle": str(own.path)}, "record": {"select": {"include": [glob]}}}
        for partition, events in replayed(work, folder / f"alone-{number}", single).items():
            assert events
            assert {each["data"]["model"]["sha256"] for each in events} == {own.sha256}
            alone[partition] += events
    for events in (*alone.values(), *(found := by_partition(published)).values()):
        for event in events:
            del event["data"]["config_sha256"]  # it covers record.select
        events.sort(key=lambda event: (str(event["subject"]), str(event["id"])))
    assert found == alone


def keyed(begin: int, end: int) -> list[Record]:
    """Return rows of all streams; their keys decide their partition, as with Kafka's own clients."""
    return [
        Record(fan(row) if name.startswith("fan") else value(row), key=name.encode())
        for row in range(begin, end)
        for name in STREAMS
    ]


def test_an_operators_verbs_take_all_fleets_along(
    kafka: Broker, job: Callable[..., Job], folder: Path, bundle: Bundle, fans: Bundle
) -> None:
    """If it failed, a snapshot, a skipped record or more partitions would cost a fleet what it knows."""
    work = job(partitions=2)
    settings = {**work.member(None), "model": two_fleets(bundle, fans)}
    settings["alert"] = {**settings["alert"], "resolve_after": 4}
    config = folder / "config.yaml"
    config.write_text(json.dumps(settings))
    produce(kafka.bootstrap, work.input, keyed(0, 78))  # within a bump of pumps and fans
    done = 78 * len(STREAMS)
    with Daemon(folder / "one", settings) as daemon:
        until(lambda: committed(work) == done, "the records are not processed")
        assert daemon.stop()[0] == 0
    known = verb("state", "inspect", config, "--json").json["partitions"]
    assert verb("state", "export", config, "--out", folder / "saved").status == 0
    assert verb("state", "import", config, "--from", folder / "saved", "--force").status == 0
    produce(kafka.bootstrap, work.input, [Record(b"{broken", key=b"fan-1", partition=1)])
    place = str(next(each["group_offset"] for each in known if each["partition"] == 1))
    assert verb("skip", config, "--topic", work.input, "--partition", "1", "--offset", place).status == 0
    brought = verb("state", "inspect", config, "--json").json["partitions"]
    for before, after in zip(known, brought, strict=True):
        skipped = after["partition"] == 1
        assert after["group_offset"] == after["state"]["offset"] == before["group_offset"] + skipped
        for name, fleet in before["state"]["fleets"].items():
            assert after["state"]["fleets"][name]["streams"] == fleet["streams"]
    assert sum(each["state"]["counts"].get("dead_lettered", 0) for each in brought) == 1
    admin = KafkaAdminClient(bootstrap_servers=kafka.bootstrap)
    try:
        admin.create_partitions({work.input: 5})
    finally:
        admin.close()
    moved = verb("state", "migrate", config, "--partitions", "5", "--json").json
    assert (moved["streams"], moved["doubled"], len(moved["partitions"])) == (len(STREAMS) - 1, 0, 5)
    produce(kafka.bootstrap, work.input, keyed(78, 170))
    with Daemon(folder / "two", settings) as daemon:
        until(lambda: committed(work) == done + 1 + 92 * len(STREAMS), "the records are not processed")
        restored = [each["streams"] for each in daemon.log if each["event"] == "restored"]
        assert (len(restored), sum(restored)) == (5, len(STREAMS) - 1)
        assert daemon.stop()[0] == 0
    whole = folder / "whole.jsonl"
    lines = [{"stream": (r.key or b"").decode(), **json.loads(r.value or b"")} for r in keyed(0, 170)]
    whole.write_text("".join(f"{json.dumps(line)}\n" for line in lines))
    assert verb("replay", whole, "--config", config, "--out", folder / "replayed").status == 0
    published = [each.value or b"" for each in consume_all(work.bootstrap, work.alerts)]
    facts = sorted(map(fact, published))
    assert {each[0] for each in facts} == set(STREAMS) - {"door"}
    assert facts == sorted(map(fact, (folder / "replayed").read_bytes().splitlines()))


def fact(event: bytes) -> tuple[str, ...]:
    """Return what an event says that no move between partitions changes."""
    read = json.loads(event)
    data = read["data"]
    names = ("status", "startsAt", "endsAt", "anomaly_score", "model")
    return (read["subject"], *(str(data[name]) for name in names))
