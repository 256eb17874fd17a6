"""The broker that every other Kafka test stands on."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

import pytest
from kafka import KafkaConsumer, KafkaProducer
from kafka.errors import KafkaError, KafkaTimeoutError

from tests.kafka import place, topics
from tests.kafka.broker import PASSWORD, USER, Broker
from tests.kafka.topics import Record

ROOT = Path(__file__).parents[2]


def test_what_is_produced_is_consumed(kafka: Broker, topic: Callable[..., str]) -> None:
    """If it failed, no other Kafka test would mean anything: keys, times, headers and nulls come back as sent."""
    name = topic(partitions=2)
    sent = [
        Record(b"1", key=b"a", partition=0, timestamp_ms=1_000, headers=[("reason", b"none")]),
        Record(None, key=b"b", partition=1, timestamp_ms=2_000),
    ]
    assert topics.produce(kafka.bootstrap, name, sent) == [(0, 0), (1, 0)]
    found = topics.consume_all(kafka.bootstrap, name)
    assert [(each.value, each.key, each.partition, each.timestamp) for each in found] == [each[:4] for each in sent]
    assert list(found[0].headers) == [("reason", b"none")]


def test_an_aborted_transaction_is_invisible(kafka: Broker, topic: Callable[..., str]) -> None:
    """If it failed, a test of exactly-once could pass on alerts that no reader sees."""
    name = topic()
    producer = KafkaProducer(bootstrap_servers=kafka.bootstrap, transactional_id=name)
    try:
        producer.init_transactions()
        for value, end in ((b"kept", producer.commit_transaction), (b"dropped", producer.abort_transaction)):
            producer.begin_transaction()
            producer.send(name, value).get(timeout=10)
            end()
    finally:
        producer.close(timeout=5)
    assert [each.value for each in topics.consume_all(kafka.bootstrap, name)] == [b"kept"]
    both = topics.consume_all(kafka.bootstrap, name, isolation="read_uncommitted")
    assert [each.value for each in both] == [b"kept", b"dropped"]


def test_kcat_reads_the_same(kafka: Broker, topic: Callable[..., str], kcat: str) -> None:
    """If it failed, the independent client would not be independent evidence."""
    assert kcat
    name = topic()
    topics.produce(kafka.bootstrap, name, [Record(b"1", key=b"a"), Record(b"2")])
    found = topics.kcat_consume(kafka.bootstrap, name)
    assert [(each["offset"], each["key"], each["payload"]) for each in found] == [(0, "a", "1"), (1, None, "2")]


def test_history_is_not_deleted(kafka: Broker, topic: Callable[..., str]) -> None:
    """If it failed, replayed recordings would vanish from their topics while tests read them."""
    name = topic()
    topics.produce(kafka.bootstrap, name, [Record(b"old", timestamp_ms=1)])
    assert [each.timestamp for each in topics.consume_all(kafka.bootstrap, name)] == [1]


@pytest.mark.parametrize("mechanism", ["PLAIN", "SCRAM-SHA-512"])
def test_a_wrong_password_is_refused(kafka: Broker, mechanism: str) -> None:
    """If it failed, tests of authentication would be tests of an open door."""
    if not kafka.owned:
        pytest.skip("the listener with SASL belongs to brokers that are started here")
    settings = {
        "bootstrap_servers": kafka.sasl_bootstrap,
        "security_protocol": "SASL_PLAINTEXT",
        "sasl_mechanism": mechanism,
        "sasl_plain_username": USER,
    }
    consumer = KafkaConsumer(**settings, sasl_plain_password=PASSWORD)
    assert isinstance(consumer.topics(), set)
    consumer.close()
    with pytest.raises(KafkaError):
        KafkaConsumer(**settings, sasl_plain_password="wrong", bootstrap_timeout_ms=2_000)  # noqa: S106 - wrong on purpose


def test_no_kafka_says_how_to_get_one(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """If it failed, a contributor without Java would see a traceback instead of three ways out."""
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("KAFKA_BOOTSTRAP", raising=False)
    monkeypatch.delenv("JAVA_HOME", raising=False)
    with pytest.raises(place.NoKafkaError, match=r"KAFKA_BOOTSTRAP.*Docker.*Java 17 and Maven") as caught:
        place.find()
    assert "\n" not in str(caught.value)


def test_kept_classes_that_are_damaged_do_no_harm(tmp_path: Path) -> None:
    """If it failed, a file of another JVM, or a damaged one, would keep every broker from starting."""
    here = _our_own()
    where = place.Java(here.program, tmp_path / "jars")
    assert where.with_classes().options == ()
    where.archive.write_bytes(b"no archive")
    options = where.with_classes().options
    assert str(where.archive) in options[0]
    done = subprocess.run(
        [where.program, *options, "-version"], capture_output=True, check=False, text=True, timeout=60
    )
    assert (done.returncode, "version" in done.stderr) == (0, True)


@pytest.mark.slow
def test_kill_and_freeze() -> None:
    """If it failed, fault tests would test no faults: what was acknowledged survives SIGKILL, a frozen node is mute."""
    with Broker(where=_our_own()) as broker:
        name = topics.create_topic(broker.bootstrap)
        topics.produce(broker.bootstrap, name, [b"1"])
        (before,) = broker.pids
        broker.kill()
        assert not _alive(before)
        broker.restart()
        assert broker.pids != [before]
        assert [each.value for each in topics.consume_all(broker.bootstrap, name)] == [b"1"]
        producer = KafkaProducer(bootstrap_servers=broker.bootstrap)
        producer.partitions_for(name)  # `send` itself would wait for this
        broker.pause()
        future = producer.send(name, b"2")
        with pytest.raises(KafkaTimeoutError):
            future.get(timeout=1)
        broker.resume()
        assert future.get(timeout=30).offset == 1
        producer.close(timeout=5)
        (last,) = broker.pids
    assert not _alive(last)


@pytest.mark.slow
def test_three_nodes_outlive_one() -> None:
    """If it failed, nothing could be said of a real cluster's fail-over."""
    with Broker(3, where=_our_own()) as broker:
        name = topics.create_topic(broker.bootstrap)
        topics.produce(broker.bootstrap, name, [b"1"])
        broker.kill(2)
        topics.produce(broker.bootstrap, name, [b"2"])
        broker.restart(2)
        assert [each.value for each in topics.consume_all(broker.bootstrap, name)] == [b"1", b"2"]


@pytest.mark.slow
def test_nothing_is_left_behind() -> None:
    """If it failed, every interrupted test run would leave a JVM of 200 MB and its folder on the machine."""
    _our_own()
    script = (
        "import signal\nfrom tests.kafka.broker import Broker\n"
        "with Broker() as broker:\n    print(*broker.pids, broker._keeper.args[-1], flush=True)\n    signal.pause()\n"
    )
    environment = {key: value for key, value in os.environ.items() if key != "KAFKA_BOOTSTRAP"}
    command = [sys.executable, "-c", script]
    numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGKILL)
    with ExitStack() as stack:
        runs = [
            stack.enter_context(
                subprocess.Popen(
                    command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, cwd=ROOT, env=environment
                )
            )
            for _ in numbers
        ]
        left = []
        for number, run in zip(numbers, runs, strict=True):
            assert run.stdout is not None
            pid, folder = run.stdout.readline().split()
            assert _alive(int(pid))
            run.send_signal(number)
            left.append((number.name, int(pid), Path(folder)))
        for run in runs:
            run.wait(30)
    deadline = time.monotonic() + 20
    while any(_alive(pid) or folder.exists() for _, pid, folder in left) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not [name for name, pid, folder in left if _alive(pid) or folder.exists()]


def _our_own() -> place.Java:
    """Return Java as the place, or skip: processes are looked at here, and a container's are not ours to see."""
    try:
        return place.java()
    except place.NoKafkaError as error:
        if os.environ.get("CI"):
            raise
        pytest.skip(str(error))


def _alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return "Z" not in Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
