"""Sends records at a steady rate and notes when each, or the event that it caused, becomes visible to a reader.

Both ends are librdkafka, in a process of its own: a probe in Python takes half of one of two cores, and what it then
measures is itself. `python -m tests.performance.probe` takes its orders as JSON on standard input and answers with the
delays in ms as JSON.
"""

from __future__ import annotations

import json
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from typing import Any

import msgspec
from confluent_kafka import Consumer, Message, Producer, TopicPartition

from tests.performance import job

RATE = 1_000
STREAMS = 20
SPIKE_EVERY = 128
"""Rows of a stream from one spike to the next."""

_LINGER_MS = 1
_SETTLE_SECONDS = 2.0


def delays(bootstrap: str, topic: str, read: str, seconds: float, *, events: bool) -> list[tuple[float, float]]:
    """Return for each record of `read`: seconds since the first was sent, and the ms from its sending to its arrival.

    Args:
        bootstrap: the broker.
        topic: where records go.
        read: what is read; the same topic for the floor, the topic of the alerts for a daemon.
        seconds: how long records are sent.
        events: whether what is read are events, each standing for the record that made it due.
    """
    orders = {"bootstrap": bootstrap, "topic": topic, "read": read, "seconds": seconds, "events": events}
    done = subprocess.run(
        [sys.executable, "-m", "tests.performance.probe"],
        input=json.dumps(orders),
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    return [(at, delay) for at, delay in json.loads(done.stdout)]


def _send(bootstrap: str, topic: str, seconds: float) -> dict[tuple[int, int], float]:
    """Send records of a few streams, each with a spike now and then; return when each position was sent."""
    sent: dict[tuple[int, int], float] = {}
    producer = Producer({"bootstrap.servers": bootstrap, "linger.ms": _LINGER_MS})
    normal = msgspec.json.encode({"values": dict.fromkeys(job.NAMES, 0.1)})
    spike = msgspec.json.encode({"values": dict.fromkeys(job.NAMES, 500.0)})

    def noted(at: float) -> Callable[[object, Message], None]:
        def note(error: object, message: Message) -> None:
            if error is None:
                sent[message.partition() or 0, message.offset() or 0] = at

        return note

    begin = time.perf_counter()
    for number in range(int(seconds * RATE)):
        wait = begin + number / RATE - time.perf_counter()
        if wait > 0:
            time.sleep(wait)
        stream, row = number % STREAMS, number // STREAMS
        value = spike if (row + 6 * stream) % SPIKE_EVERY == 0 else normal
        producer.produce(
            topic,
            value,
            key=b"stream-%d" % stream,
            partition=stream % job.PARTITIONS,
            timestamp=job.BEGIN_MS + 1_000 * row,
            on_delivery=noted(time.perf_counter()),
        )
        producer.poll(0)
    producer.flush(30)
    return sent


def _read(
    orders: dict[str, Any], found: dict[tuple[int, int], float], started: threading.Event, ended: threading.Event
) -> None:
    """Note when each record (or, for events, the record that caused it) became visible."""
    consumer = Consumer(
        {
            "bootstrap.servers": orders["bootstrap"],
            "group.id": "probe",
            "isolation.level": "read_committed",
            "enable.auto.commit": False,
        }
    )
    consumer.assign([TopicPartition(orders["read"], number, 0) for number in range(job.PARTITIONS)])
    started.set()
    while not ended.is_set():
        for message in consumer.consume(1, timeout=0.1):
            at = time.perf_counter()
            if message is None or message.error():
                continue
            if orders["events"]:
                position = msgspec.json.decode(message.value() or b"")["data"]["position"]
                found.setdefault((position["partition"], position["last_offset"]), at)
            else:
                found[message.partition() or 0, message.offset() or 0] = at
    consumer.close()


def main() -> None:
    """Do what standard input says."""
    orders = json.load(sys.stdin)
    seen: dict[tuple[int, int], float] = {}
    started, ended = threading.Event(), threading.Event()
    reader = threading.Thread(target=_read, args=(orders, seen, started, ended))
    reader.start()
    started.wait()
    time.sleep(_SETTLE_SECONDS)
    sent = _send(orders["bootstrap"], orders["topic"], orders["seconds"])
    time.sleep(_SETTLE_SECONDS)
    ended.set()
    reader.join()
    first = min(sent.values())
    found = [(sent[key] - first, (at - sent[key]) * 1_000) for key, at in seen.items() if key in sent]
    json.dump(sorted(found), sys.stdout)


if __name__ == "__main__":
    main()
