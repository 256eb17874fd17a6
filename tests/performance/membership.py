"""What a member's death costs, and what a rebalance does that changes no owner."""

from __future__ import annotations

import threading
import time
from pathlib import Path
from typing import Any

from confluent_kafka import Consumer, TopicPartition
from kafka import KafkaConsumer

from models.bundle import Bundle
from tests.integration.daemon import Daemon, until
from tests.kafka.topics import create_topic
from tests.performance import job
from tests.performance.durability import input_of, setting
from tests.performance.feed import Feed

RATE = 1_000
STREAMS = 20
_SEEN_SECONDS = 0.5


class _Alerts:
    """Notes when committed alerts become visible, from where the topic ends on."""

    def __init__(self, bootstrap: str, topic: str) -> None:
        self._consumer = Consumer(
            {
                "bootstrap.servers": bootstrap,
                "group.id": "failover",
                "isolation.level": "read_committed",
                "enable.auto.commit": False,
            }
        )
        self._consumer.assign([TopicPartition(topic, number, 0) for number in range(job.PARTITIONS)])
        self.seen: list[float] = []
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def close(self) -> None:
        self._ended.set()
        self._thread.join()
        self._consumer.close()

    def _run(self) -> None:
        while not self._ended.is_set():
            for message in self._consumer.consume(100, timeout=0.02):
                if not message.error():
                    self.seen.append(time.perf_counter())


def failover(bootstrap: str, bundle: Bundle, folder: Path) -> dict[str, float]:
    """Kill a static member and start it again at once; seconds until its first new alert.

    Records come at 1,000 a second all the time, some of them spikes that cross the line.
    """
    config = {
        **setting(bootstrap, bundle),
        "threshold": {"type": "static", "value": 50.0},
        "alert": {"open_after": 1, "resolve_after": 1, "rest": 0},
    }
    with Feed(bootstrap, input_of(config), STREAMS, RATE, spikes=True):
        begin = time.perf_counter()
        with Daemon(folder / "failover-1", config) as first:
            first.wait_for("ready")
            start_up = time.perf_counter() - begin
            alerts = _Alerts(bootstrap, config["sink"]["topic"])
            try:
                until(lambda: alerts.seen, "no alert comes")
                killed = time.perf_counter()
                first.kill()
                with Daemon(folder / "failover-2", config) as second:
                    second.wait_for("ready")
                    ready = time.perf_counter() - killed
                    # What the dead one had in hand is aborted; what it had committed is seen within half a second.
                    new = until(
                        lambda: [at for at in alerts.seen if at > killed + _SEEN_SECONDS], "no new alert comes"
                    )[0]
                    restored = [each["seconds"] for each in second.log if each["event"] == "restored"]
                    assert second.stop()[0] == 0
            finally:
                alerts.close()
    return {
        "kill_to_first_alert_seconds": new - killed,
        "start_up_seconds": start_up,
        "beyond_start_up_seconds": new - killed - start_up,
        "kill_to_ready_seconds": ready,
        "restore_seconds": sum(restored),
    }


def rebalance(bootstrap: str, bundle: Bundle, folder: Path) -> dict[str, float]:
    """Let another member join and leave that wants none of the daemon's partitions; count what is restored."""
    config = setting(bootstrap, bundle)
    config["source"]["session_timeout_ms"] = 6_000  # heartbeats every 2 s tell of the rebalance
    with Feed(bootstrap, input_of(config), STREAMS, RATE), Daemon(folder / "rebalance", config) as daemon:
        daemon.ready()
        until(lambda: daemon.consumed() > RATE // 2, "nothing is consumed")
        before = _assigned(daemon)
        begin = time.perf_counter()
        other = KafkaConsumer(
            create_topic(bootstrap),
            bootstrap_servers=bootstrap,
            group_id=config["source"]["group_id"],
            enable_auto_commit=False,
        )
        try:
            until(lambda: other.poll(timeout_ms=100) or other.assignment(), "the other member does not join")
        finally:
            other.close()
        until(lambda: _assigned(daemon) >= before + 1, "there was no rebalance")
        seconds = time.perf_counter() - begin
        seen = daemon.consumed()
        until(lambda: daemon.consumed() > seen + RATE // 2, "it does not go on")
        metrics = daemon.metrics()
        return {
            "rebalances": float(_assigned(daemon) - before),
            "restored_partitions": metrics["tidegauge_restore_duration_seconds_count"],
            "dropped_partitions": float(sum(len(e["partitions"]) for e in _events(daemon, "state_dropped"))),
            "seconds": seconds,
        }


def _events(daemon: Daemon, name: str) -> list[dict[str, Any]]:
    return [each for each in daemon.log if each["event"] == name]


def _assigned(daemon: Daemon) -> int:
    """Return how often the member was told which partitions are its."""
    return len(_events(daemon, "partitions_assigned"))
