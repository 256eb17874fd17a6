"""Transactions that are opened before their messages are known: on the real Kafka."""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest
from kafka import TopicPartition
from structlog.testing import capture_logs

from monitor.kafka.connection import ConnectionSettings
from monitor.kafka.port import Identity
from monitor.kafka.python.producer import PythonProducer
from monitor.kafka.transactions import Transactions
from monitor.message import Message
from tests.kafka.broker import Broker
from tests.kafka.topics import consume_all, create_topic


@pytest.fixture
def transactions(kafka: Broker) -> Iterator[Transactions]:
    """Transactions under a name of their own."""
    connection = ConnectionSettings(bootstrap_servers=(kafka.bootstrap,))
    found = Transactions(connection, Identity(f"t-{time.time_ns()}", 10_000, None))
    try:
        yield found
    finally:
        found.close()


def _read(kafka: Broker, topic: str) -> list[bytes | None]:
    return [record.value for record in consume_all(kafka.bootstrap, topic)]


def _added(transactions: Transactions, topic: str) -> bool:
    """Return whether the coordinator has the topic's partition in the open transaction."""
    producer = transactions._producer
    assert isinstance(producer, PythonProducer)
    places = producer._producer._transaction_manager._partitions_in_transaction
    return TopicPartition(topic, 0) in places


def test_the_partitions_of_the_last_commits_are_asked_for_ahead(kafka: Broker, transactions: Transactions) -> None:
    """If it failed, each alert would wait for one more round trip to the coordinator."""
    topic = create_topic(kafka.bootstrap)
    transactions.prepare()
    transactions.commit([Message(topic, b"k", b"1", [], 0)], {}, None)
    assert not _added(transactions, topic)
    transactions.prepare()
    transactions.prepare()
    until = time.monotonic() + 10
    while not _added(transactions, topic) and time.monotonic() < until:
        time.sleep(0.01)
    assert _added(transactions, topic)
    transactions.commit([Message(topic, b"k", b"2", [], 0)], {}, None)
    transactions.prepare()
    transactions.commit([], {}, None)  # one that was opened and has nothing in it ends as well
    assert _read(kafka, topic) == [b"1", b"2"]


def test_a_transaction_that_has_been_open_for_long_is_opened_anew(
    kafka: Broker, transactions: Transactions, monkeypatch: pytest.MonkeyPatch
) -> None:
    """If it failed, a process that stood still would meet a transaction that the broker has aborted, and end."""
    topic = create_topic(kafka.bootstrap)
    transactions.commit([Message(topic, b"k", b"1", [], 0)], {}, None)
    transactions.prepare()
    before = transactions._producer
    monkeypatch.setattr(transactions, "_oldest", 0.05)
    time.sleep(0.1)
    with capture_logs() as logs:
        transactions.commit([Message(topic, b"k", b"2", [], 0)], {}, None)
    assert transactions._producer is not before
    assert [each["event"] for each in logs] == ["transaction_reopened"]
    assert _read(kafka, topic) == [b"1", b"2"]
