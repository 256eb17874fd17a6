"""Relays, on a real Kafka: what a sink beside the alerts topic hears after a restart and a rebalance."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest

from monitor.config import load
from monitor.metrics import Metrics
from monitor.relay import Relay
from tests.integration.daemon import until
from tests.kafka.broker import Broker
from tests.kafka.topics import Record, produce
from tests.monitor.sinks.events import event
from tests.monitor.sinks.receiver import Receiver


@contextmanager
def relay(kafka: Broker, alerts: str, group: str, receiver: Receiver, resend: str = "1h") -> Iterator[Relay]:
    """Run a relay from an alerts topic to a receiver."""
    source = f"{{type: kafka, bootstrap_servers: ['{kafka.bootstrap}'], topics: [in], group_id: g}}"
    sink = f"{{type: alertmanager, url: '{receiver.url}', resend_interval: {resend}}}"
    config = load(None, [f"source={source}", f"sink=[{{type: kafka, topic: {alerts}}}, {sink}]"])
    found = Relay(config, config.sink[1], group)
    try:
        yield found
    finally:
        found.close(timeout=30)


def streams(receiver: Receiver) -> list[str]:
    """Return the streams whose alerts have come, those that have ended in brackets."""
    return [f"({a['labels']['stream']})" if "endsAt" in a else a["labels"]["stream"] for a in receiver.alerts]


def put(kafka: Broker, topic: str, *alerts: tuple[str, int, int]) -> None:
    """Publish events: stream, revision, partition."""
    records = [
        Record(event(stream, revision, alert_id=stream.ljust(32, "0")).value, key=stream.encode(), partition=partition)
        for stream, revision, partition in alerts
    ]
    produce(kafka.bootstrap, topic, records)


@pytest.fixture
def group() -> str:
    """A consumer group of its own."""
    return f"group-{uuid.uuid4().hex[:8]}.alertmanager"


def test_what_fired_before_a_restart_is_sent_again(kafka: Broker, topic: Callable[..., str], group: str) -> None:
    """If it failed, Alertmanager would say `resolved` five minutes after each restart, while a pump still burns."""
    alerts = topic(partitions=2)
    put(kafka, alerts, ("over", 0, 0), ("over", 1, 0), ("old", 0, 0), ("brief", 0, 0), ("brief", 1, 0), ("other", 0, 1))
    with Receiver() as first, relay(kafka, alerts, group, first):
        until(lambda: len(first.alerts) == 6, "the relay does not deliver")
        put(kafka, alerts, ("late", 0, 1), ("other", 1, 1))
        until(lambda: len(first.alerts) == 8, "the relay does not go on")
    with Receiver() as second, relay(kafka, alerts, group, second):
        until(lambda: len(second.alerts) >= 2, "what fires is not sent again")
        put(kafka, alerts, ("old", 1, 0))
        until(lambda: len(second.alerts) >= 3, "the relay does not go on")
    assert sorted(streams(second)[:2]) == ["late", "old"]
    assert streams(second)[2:] == ["(old)"]
    with Receiver() as third, relay(kafka, alerts, group, third):
        until(lambda: len(third.alerts) >= 1, "what fires is not sent again")
    assert streams(third) == ["late"]


def test_a_sink_that_takes_nothing_is_counted(kafka: Broker, topic: Callable[..., str], group: str) -> None:
    """If it failed, nothing but the log would say that alerts do not arrive where somebody looks."""
    alerts = topic()
    put(kafka, alerts, ("pump", 0, 0))
    source = f"{{type: kafka, bootstrap_servers: ['{kafka.bootstrap}'], topics: [in], group_id: g}}"
    sinks = f"[{{type: kafka, topic: {alerts}}}, {{type: jsonl, path: /dev/full}}]"
    config = load(None, [f"source={source}", f"sink={sinks}"])
    metrics = Metrics()
    found = Relay(config, config.sink[1], group, metrics.refused)
    try:
        until(lambda: _failures(metrics) > 0, "a full disk is not counted")
    finally:
        found.close(timeout=30)


def _failures(metrics: Metrics) -> float:
    """Return how many attempts to publish have failed."""
    return sum(each.value for family in metrics.alert_publish_failures.collect() for each in family.samples)


def test_an_alert_has_one_teller(kafka: Broker, topic: Callable[..., str], group: str) -> None:
    """If it failed, a member that lost a partition would go on saying `firing` of what another has resolved."""
    alerts = topic(partitions=2)
    put(kafka, alerts, ("zero", 0, 0), ("one", 0, 1))
    with Receiver() as first, Receiver() as second, relay(kafka, alerts, group, first, "100ms"):
        until(lambda: set(streams(first)) == {"zero", "one"}, "the relay does not deliver")
        with relay(kafka, alerts, group, second, "100ms"):
            until(lambda: len(second.alerts) > 1, "the second relay gets no partition, or does not learn what fires")
            mine = set(streams(second))
            assert len(mine) == 1

            def apart() -> bool:
                """Return whether the first one has told of its own alerts alone for a while."""
                return len(streams(first)) > 5 and not mine & set(streams(first)[-5:])

            until(apart, "both tell of the same alert")
        first.requests.clear()
        until(lambda: set(streams(first)) == {"zero", "one"}, "what a member left is told of by nobody")
