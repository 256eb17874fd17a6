"""`tidegauge check`: what an operator runs before the daemon."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
from kafka import KafkaAdminClient, TopicPartition
from kafka.admin import ConfigResource, ConfigResourceType

from models import roster
from models.bundle import Bundle
from monitor.cli.check import _forbidden, _unfit
from monitor.kafka.topics import Cluster, Found, Topic
from monitor.state import META_KEY, Meta, ModelMark
from monitor.state.entry import Entry
from monitor.state.stages import NAMES, Generation
from tests.kafka.broker import Broker
from tests.kafka.topics import Record, produce
from tests.models.test_ensemble import cells, trained
from tests.monitor.cli.conftest import Run

Write = Callable[..., Path]


@pytest.fixture
def write(bundle: Bundle, tmp_path: Path) -> Write:
    """Writes a configuration: `write(threshold={"type": "p2"})`."""

    def make(bootstrap: str = "127.0.0.1:9", topics: tuple[str, str, str] = ("in", "out", "dead"), **more: Any) -> Path:
        source = {"type": "kafka", "bootstrap_servers": [bootstrap], "topics": [topics[0]], "group_id": topics[0]}
        config: dict[str, Any] = {
            "source": source,
            "model": {"bundle": str(bundle.path)},
            "sink": {"type": "kafka", "topic": topics[1]},
            "dead_letter": {"topic": topics[2]},
            **more,
        }
        path = tmp_path / "tidegauge.yaml"
        path.write_text(json.dumps({key: value for key, value in config.items() if value is not None}))
        return path

    return make


def test_it_says_what_would_happen(run: Run, write: Write) -> None:
    """If it failed, an operator would start a daemon without knowing what it reads, promises and takes."""
    path = write()
    done = run("check", path)
    assert (done.status, done.err) == (0, "")
    said = done.out.splitlines()
    assert said[-1] == f"{path}: ok"
    for part in (
        "input: in on 127.0.0.1:9, group in as in-",
        "alerts: kafka out",
        "dead letters: dead",
        "model: lstm, 2 features (pressure, flow)",
        "window: 12 records, one every 1",
        "threshold: tracked, 0.1 alerts a stream and day",
        "ready: a new stream is scored from record 12 on; from record 212 on its own past counts as",
        "memory: ",
    ):
        assert any(line.startswith(part) for line in said), part
    assert "Python object" not in done.out
    assert "keeps a Python object a stream" in run("check", path, "--set", "threshold.type=p2").out
    assert "threshold: static, 3" in run("check", path, "--set", "threshold={type: static, value: 3}").out
    static = run("check", path, "--set", "threshold={type: static, value: 3}").out
    assert "scored from record 12 on; nothing is learned of it (confidence null)" in static
    assert "0.001 crossings a scored window" in run("check", path, "--set", "threshold.q=0.999").out


def test_what_preset_quality_keeps_is_said(run: Run, write: Write, tmp_path: Path) -> None:
    """If it failed, nobody would know what the members of such a bundle are, or what they take of each stream."""
    made = trained(roster.FLEET, cells(3, 1), tmp_path / "quality")
    said = run("check", write(model={"bundle": str(made.path)})).out.splitlines()
    members = "fine (linear), coarse (linear), gauss (gaussian), gauss_coarse (gaussian), hour of the day, new extremes"
    assert f"detector: {members}; their line is unified" in said
    (memory,) = (line for line in said if line.startswith("memory: "))
    found = re.search(r"score and line ([\d.]+) KB, alerts ([\d.]+) B", memory)
    assert found, memory
    assert 1 < float(found[1]) + float(found[2]) / 1000 <= 4


def test_everything_that_is_wrong_at_once(run: Run, write: Write, tmp_path: Path) -> None:
    """If it failed, an operator would mend one mistake a deployment."""
    path = write(source=None, sink=None, dead_letter=None, model={"bundle": str(tmp_path / "none")})
    done = run("check", path)
    assert done.status == 78
    assert done.said == [
        f"tidegauge: {path}: source: missing",
        f"tidegauge: {path}: sink: missing",
        f"tidegauge: {path}: bundle {tmp_path / 'none'}: there is no such directory; `tidegauge train` makes one",
    ]


def test_files_that_are_missing(run: Run, write: Write, tmp_path: Path) -> None:
    """If it failed, `check` would call a configuration good whose daemon ends at its start."""
    path = write(
        source={"type": "jsonl", "path": f"{tmp_path}/none.jsonl"},
        sink=[
            {"type": "jsonl", "path": f"{tmp_path}/none/alerts.jsonl"},
            {"type": "alertmanager", "url": "http://localhost:9093", "bearer_token_file": f"{tmp_path}/token"},
        ],
        dead_letter=None,
    )
    done = run("check", path)
    assert done.status == 78
    assert done.err.splitlines() == [
        f"tidegauge: {path}: sink.bearer_token_file: there is no file {tmp_path}/token",
        f"tidegauge: {path}: source.path: there is no file {tmp_path}/none.jsonl",
        f"tidegauge: {path}: sink.path: there is no folder {tmp_path}/none: make it, or name another file",
    ]


def test_names_that_kafka_does_not_take(run: Run, write: Write) -> None:
    """If it failed, a slip in a name would be found by a broker, when the daemon runs."""
    path = write("localhost", ("in", "a b", "dead"), http={"host": "a:b:c"})
    done = run("check", path)
    assert (done.status, len(done.said)) == (78, 3)
    assert done.said[0].startswith(f"tidegauge: {path}: source.bootstrap_servers.0: found 'localhost', expected host:")
    assert done.said[1].startswith(f"tidegauge: {path}: sink.topic: found 'a b', expected the name of a topic: 1 to")
    assert done.said[2].startswith(f"tidegauge: {path}: http.host: found 'a:b:c', expected an IP address")


def test_a_model_that_does_not_fit(run: Run, write: Write) -> None:
    """If it failed, a configuration for another model would be found only when the daemon starts."""
    done = run("check", write(window={"length": 99}))
    assert (done.status, len(done.said)) == (78, 1)
    assert "window.length: found 99, but the model in" in done.err
    assert run("check", write(), "--set", "window.lenght=3").status == 78


def test_no_broker(run: Run, write: Write) -> None:
    """If it failed, an unreachable broker would end in a page of the client's log, or in an `ok`."""
    path = write()
    done = run("check", path, "--connect", "--set", "source.bootstrap_timeout_ms=1000")
    assert (done.status, done.said) == (
        1,
        ["tidegauge: no broker of source.bootstrap_servers 127.0.0.1:9 can be reached"],
    )
    assert "ok" not in done.out.splitlines()[-1]


def test_topics_of_the_cluster(run: Run, write: Write, kafka: Broker, topic: Callable[..., str]) -> None:
    """If it failed, a missing topic would be found only when the daemon starts, or by the first dead letter."""
    names = topic(partitions=3), topic(partitions=2), topic()
    done = run("check", write(kafka.bootstrap, names), "--connect")
    assert (done.status, len(done.said)) == (78, 1)
    assert f"state.topic: the topic '{names[0]}-state-{names[0]}' does not exist" in done.err
    topic(partitions=3, name=f"{names[0]}-state-{names[0]}", cleanup_policy="compact")
    done = run("check", write(kafka.bootstrap, names), "--connect")
    assert (done.status, done.err) == (0, "")
    assert f"topic {names[0]} (input): 3 partitions" in done.out
    assert f"topic {names[1]} (alerts): 2 partitions" in done.out
    path = write(kafka.bootstrap, (names[0], "no-alerts", "no-dead"))
    done = run("check", path, "--connect")
    assert done.status == 78
    make = f"make it with `tidegauge topics {path} --create`"
    assert done.said == [
        f"tidegauge: {path}: sink.topic: the topic 'no-alerts' does not exist: {make}",
        f"tidegauge: {path}: dead_letter.topic: the topic 'no-dead' does not exist: {make}",
    ]


def test_input_that_a_restore_needs(run: Run, write: Write, kafka: Broker, topic: Callable[..., str]) -> None:
    """If it failed, the input that a restore needs would be deleted without a word, and the restart end with 78."""
    names = topic(partitions=1, retention_ms="3600000"), topic(), topic()
    log = topic(name=f"{names[0]}-state-{names[0]}", cleanup_policy="compact")
    now = int(time.time() * 1_000)
    produce(kafka.bootstrap, names[0], [Record(b"{}", timestamp_ms=now - 2_000_000 + i) for i in range(100)])
    path = write(kafka.bootstrap, names)
    assert "warning" not in run("check", path, "--connect").out  # no state yet

    def stands(needed: int, next_offset: int) -> None:
        produce(kafka.bootstrap, log, [Record(_meta(needed, next_offset), key=META_KEY)])

    stands(80, 100)
    done = run("check", path, "--connect")
    assert (done.status, done.err) == (0, "")
    assert f"warning: source.topics: {names[0]}-0: a restore reads the input from 80 on, which is 0.6 h old" in done.out
    admin = KafkaAdminClient(bootstrap_servers=kafka.bootstrap)
    try:
        admin.alter_configs([ConfigResource(ConfigResourceType.TOPIC, names[0], {"retention.ms": "-1"})])
        assert "warning" not in run("check", path, "--connect").out
        admin.delete_records({TopicPartition(names[0], 0): 70})
        done = run("check", path, "--connect")
        assert "only 10 records before these are not deleted yet" in done.out
        assert done.status == 0
        admin.delete_records({TopicPartition(names[0], 0): 90})
        done = run("check", path, "--connect")
        assert (done.status, len(done.said)) == (78, 1)
        assert "lost offsets: a restore needs the input from 80 on, and it begins at 90" in done.err
    finally:
        admin.close()
    stands(100, 100)  # all images are of the last record: nothing is read again
    assert run("check", path, "--connect").status == 0


def _meta(needed: int, next_offset: int) -> bytes:
    """Return META of a state that stands there."""
    meta = Meta(
        next_offset=next_offset,
        input=None,
        time=0,
        leaders=[],
        counts={},
        pending=0,
        live=1,
        bucket=64,
        needed=needed,
        log=0,
        turn=0,
        cycle=0,
        swept=0,
        deltas=0,
        stages=dict.fromkeys(NAMES, Generation("s", 0, 0)),
        model=ModelMark(kind="k", sha256="b", length=4),
        bundles=[("b", 0)],
        configs=[],
        versions={},
    )
    return msgspec.msgpack.encode(Entry(meta=meta))


def test_no_running_member_is_disturbed(kafka: Broker) -> None:
    """If it failed, a check of a running daemon would fence it."""
    from kafka import KafkaProducer

    from monitor.kafka.connection import ConnectionSettings

    producer = KafkaProducer(bootstrap_servers=kafka.bootstrap, transactional_id="checked")
    cluster = Cluster(ConnectionSettings(bootstrap_servers=(kafka.bootstrap,)))
    try:
        producer.init_transactions()
        producer.begin_transaction()
        assert cluster.forbidden(["no-group"], ["checked", "never-used"]) == []
        producer.commit_transaction()  # raises if it was fenced
    finally:
        cluster.close()
        producer.close(timeout=5)


def test_a_wrong_password(run: Run, write: Write, kafka: Broker, tmp_path: Path) -> None:
    """If it failed, a wrong password would look like a broker that is down."""
    if not kafka.owned:
        pytest.skip("the listener with SASL belongs to brokers that are started here")
    (tmp_path / "password").write_text("wrong\n")
    done = run(
        "check",
        write(kafka.sasl_bootstrap),
        "--connect",
        *(
            argument
            for setting in (
                "security_protocol=SASL_PLAINTEXT",
                "sasl_mechanism=SCRAM-SHA-512",
                "sasl_plain_username=someone",
                f"sasl_plain_password_file={tmp_path / 'password'}",
                "bootstrap_timeout_ms=3000",
            )
            for argument in ("--set", f"source.{setting}")
        ),
    )
    assert (done.status, len(done.said)) == (78, 1)
    assert "refused the credentials" in done.err


def test_rights() -> None:
    """If it failed, a missing ACL would be found by the first alert that cannot be published."""
    topic = Topic("alerts", "alerts", 4, {}, "sink.topic", ("WRITE",))
    assert not _forbidden(topic, Found(4, 1))
    assert not _forbidden(topic, Found(4, 1, frozenset({"WRITE", "DESCRIBE"})))
    assert not _forbidden(topic, Found(4, 1, frozenset({"ALL"})))
    assert _forbidden(topic, Found(4, 1, frozenset({"DESCRIBE"}))) == [
        "sink.topic: this user has no right to WRITE the topic 'alerts' (ACL)",
    ]
    state = Topic("s-in", "state", 4, {}, "state.topic", ("READ", "WRITE"), like="in")
    assert _forbidden(state, Found(4, 1, frozenset({"WRITE"}))) == [
        "state.topic: this user has no right to READ the topic 's-in' (ACL)",
    ]


def test_a_state_topic_that_loses_state() -> None:
    """If it failed, retention would delete what is known of the streams, or a partition would have no place for it."""
    state = Topic("s-in", "state", 4, {}, "state.topic", ("READ", "WRITE"), like="in")
    compact = {"cleanup.policy": "compact"}
    assert not _unfit(state, Found(4, 1, None, compact))
    (line,) = _unfit(state, Found(3, 1, None, compact))
    assert "has 3 partitions, and its input has 4" in line
    for policy in ("delete", "compact,delete"):
        (line,) = _unfit(state, Found(4, 1, None, {"cleanup.policy": policy}))
        assert f"cleanup.policy={policy}" in line
    assert state.beside({"in": Found(7, 1)}).partitions == 7


def test_it_says_where_the_line_of_a_restless_fleet_begins(run: Run, write: Write, tmp_path: Path) -> None:
    """If it failed, nobody would know why a bundle alarms later than the score in the documentation."""
    found = cells(1, 3, scale=0.3, rows=1500)
    random = np.random.default_rng(3)
    for start in (300, 700, 1100):
        found.values[start : start + 40] += random.normal(0, 1.5, (40, 3))
    made = trained(replace(roster.TELEMETRY, members=roster.TELEMETRY.members[:1]), found, tmp_path / "quality")
    config = write(model={"bundle": str(made.path)})
    said = run("check", config, "--set", "threshold.alerts_per_stream_per_day=0.6").out
    assert "line: begins at " in said
    assert "events above 0.36 in 0.998 stream-days" in said
    for budget in (0.1, 50):  # too short to tell; room for all of them
        said = run("check", config, "--set", f"threshold.alerts_per_stream_per_day={budget}").out
        assert "line: begins at " not in said
