"""A bundle and a configuration for the daemon, and topics of its own for each test."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from kafka import KafkaConsumer, TopicPartition

from models.bundle import Bundle
from tests.kafka.broker import Broker


@dataclass
class Job:
    """Topics, group and configuration of one test."""

    bootstrap: str
    input: str
    alerts: str
    dead: str
    group: str
    config: dict[str, Any]

    def member(self, name: str | None = "one", **source: Any) -> dict[str, Any]:
        """Return the configuration of a member of the group; None = a dynamic one."""
        static = {"group_instance_id": None if name is None else f"{self.group}-{name}"}
        return {**self.config, "source": {**self.config["source"], **static, **source}}


def committed(work: Job) -> int:
    """Return the sum of the group's offsets."""
    consumer = KafkaConsumer(bootstrap_servers=work.bootstrap.split(","), group_id=work.group, enable_auto_commit=False)
    try:
        numbers = consumer.partitions_for_topic(work.input)
        return sum(consumer.committed(TopicPartition(work.input, number)) or 0 for number in numbers)
    finally:
        consumer.close(autocommit=False)


def settings(bundle: Bundle) -> dict[str, Any]:
    """Return what all configurations share: a line that only bumps cross, alerts that end soon."""
    return {
        "model": {"bundle": str(bundle.path)},
        "threshold": {"type": "static", "value": 1.0},
        "alert": {"open_after": 1, "resolve_after": 2, "rest": 0},
    }


CLIENTS = ("kafka-python", "confluent")
both_clients = pytest.mark.parametrize("client", CLIENTS, indirect=True)
"""For a test whose daemons are to run with each client of Kafka; the others run with the first one."""


def make_job(
    bundle: Bundle, bootstrap: str, topic: Callable[..., str], partitions: int = 1, client: str = CLIENTS[0]
) -> Job:
    """Make topics, and a configuration for them."""
    names = topic(partitions=partitions), topic(), topic()
    group = f"group-{uuid.uuid4().hex[:8]}"
    topic(name=f"{group}-state-{names[0]}", partitions=partitions, cleanup_policy="compact")
    config = {
        **settings(bundle),
        "source": {
            "type": "kafka",
            "client": client,
            "bootstrap_servers": bootstrap.split(","),
            "topics": [names[0]],
            "group_id": group,
            "session_timeout_ms": 6_000,
        },
        "sink": {"type": "kafka", "topic": names[1]},
        "dead_letter": {"topic": names[2]},
    }
    return Job(bootstrap, *names, group, config)


@pytest.fixture
def client(request: pytest.FixtureRequest) -> str:
    """The client of Kafka that the daemons of a test use; see `both_clients`."""
    return str(getattr(request, "param", CLIENTS[0]))


@pytest.fixture
def job(kafka: Broker, topic: Callable[..., str], bundle: Bundle, client: str) -> Callable[..., Job]:
    """Makes jobs: `job(partitions=2)`."""

    def make(partitions: int = 1) -> Job:
        return make_job(bundle, kafka.bootstrap, topic, partitions, client)

    return make


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder for the daemons of a test."""
    return tmp_path
