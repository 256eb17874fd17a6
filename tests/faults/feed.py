"""What flows into the daemon while it is being hurt: waves with bumps, and, when asked, garbage and aborted records.

What is written need not be known here: the oracle reads the input topic, as the daemon does.
"""

from __future__ import annotations

import json
import math
import random
import threading
import time
from collections.abc import Iterator
from contextlib import suppress

from kafka import KafkaProducer
from kafka.errors import KafkaError

from tests.garbage import GARBAGE
from tests.kafka.topics import Record

START = 1_700_000_000_000
MINUTE = 60_000
_GARBAGE: tuple[bytes | None, ...] = (
    *GARBAGE,
    b'{"values": {"pressure": 1e999}}',
    b'{"note": ' + b"[" * 30_000,
    b'{"values": {"pressure": ' + b"9" * 5_000 + b"}}",
    b"z" * 200_000,
    b'{"time": "1969-12-31T23:59:59Z", "values": {"pressure": 50, "flow": 1000}}',
    b'{"time": "2101-01-01T00:00:00Z", "values": {"pressure": 50, "flow": 1000}}',
    b'{"time": "1971-01-01T00:00:00Z", "values": {"pressure": 50, "flow": 1000}}',  # long ago, but a time
    b'{"time": "2099-01-01T00:00:00Z", "values": {"pressure": 50, "flow": 1000}}',  # a jump ahead, which waits
)
_KEYS: tuple[bytes | None, ...] = (None, b"", b"x" * 257, b"a\nb", b"\xff")
"""No names of streams."""

_FLIGHT = 2_000  # messages that are on their way at once


class Stream:
    """One stream: noisy waves around 50 and 1000, now and then a bump, a repeated, a late or a missing record."""

    def __init__(self, name: str, chance: random.Random) -> None:
        """Begin at `START`."""
        self.key = name.encode()
        self._chance = chance
        self._row = 0
        self._bump = 0
        self._phase = chance.uniform(0, 6)

    def next(self) -> bytes:
        """Return the next record's value."""
        chance = self._chance
        self._row += 1
        self._bump = max(0, self._bump - 1)
        if chance.random() < 0.025:
            self._bump = chance.randrange(3, 8)
        row = self._row
        kind = chance.random()
        if kind < 0.01:
            row -= chance.randrange(0, 3)  # the same time again, or an earlier one
        elif kind < 0.015:
            self._row += chance.randrange(1, 4)
        phase = row * 2 * math.pi / 12 + self._phase
        high = 40.0 if self._bump else 0.0
        values: dict[str, float | None] = {
            "pressure": round(50 + 5 * math.sin(phase) + chance.gauss(0, 0.2) + high, 3),
            "flow": None if kind > 0.99 else round(1000 + 40 * math.cos(phase) + chance.gauss(0, 1.6), 3),
        }
        return json.dumps({"time": START + row * MINUTE, "values": values}).encode()


class Feed:
    """Writes records to the input topic, `rate` a second, on a thread of its own, until it is stopped.

    It rides out brokers that are away: what it could not write is written never, or twice, which costs nothing.

    Attributes:
        sent: records that were handed to the client.
        garbage: share of records that nobody can use.
        aborted: share of the turns whose records are written in a transaction that is aborted.
    """

    def __init__(self, bootstrap: str, topic: str, partitions: int, chance: random.Random, streams: int) -> None:
        """Set up; `start` begins."""
        self._bootstrap, self._topic, self._partitions, self._chance = bootstrap, topic, partitions, chance
        self._streams = [Stream(f"pump-{n}", random.Random(chance.random())) for n in range(streams)]  # noqa: S311 - data
        self.rate = 300.0
        self.sent = 0
        self.garbage = 0.0
        self.aborted = 0.0
        self._going = threading.Event()
        self._ended = False
        self._idle = threading.Event()
        self._thread = threading.Thread(target=self._run, name="feed", daemon=True)
        self._thread.start()

    def start(self, rate: float = 300.0) -> None:
        """Write on."""
        self.rate = rate
        self._idle.clear()
        self._going.set()

    def stop(self) -> None:
        """Stop writing, and wait until all is written that will be."""
        self._going.clear()
        self._idle.wait(60)

    def close(self) -> None:
        """End the thread."""
        self._ended = True
        self._going.set()
        self._thread.join(30)

    def records(self, count: int) -> Iterator[Record]:
        """Make records: round and round the streams, in order within each."""
        for _ in range(count):
            number = self.sent % len(self._streams)
            self.sent += 1
            stream = self._streams[number]
            partition = number % self._partitions
            if self._chance.random() < self.garbage:
                if self._chance.random() < 0.2:
                    yield Record(stream.next(), key=self._chance.choice(_KEYS), partition=partition)
                else:
                    yield Record(self._chance.choice(_GARBAGE), key=stream.key, partition=partition)
            yield Record(stream.next(), key=stream.key, partition=partition)

    def _run(self) -> None:
        producer = None
        while not self._ended:
            if not self._going.is_set():
                if producer is not None:
                    _close(producer)
                    producer = None
                self._idle.set()
                self._going.wait(0.1)
                continue
            try:
                if producer is None:
                    producer = KafkaProducer(
                        bootstrap_servers=self._bootstrap.split(","),
                        linger_ms=5,
                        max_block_ms=10_000,
                        bootstrap_timeout_ms=10_000,
                    )
                self._write(producer)
            except (KafkaError, OSError):
                if producer is not None:
                    _close(producer, 1)
                producer = None
                time.sleep(0.2)
        if producer is not None:
            _close(producer)
        self._idle.set()

    def _write(self, producer: KafkaProducer) -> None:
        """Write what is due, in steps of 50 ms."""
        begin, written = time.monotonic(), 0
        futures = []
        while self._going.is_set() and not self._ended:
            if self.aborted and self._chance.random() < self.aborted:
                self._write_in_vain()
            due = int((time.monotonic() - begin) * self.rate) - written
            for record in self.records(min(due, _FLIGHT)):
                written += 1
                futures.append(
                    producer.send(self._topic, value=record.value, key=record.key, partition=record.partition)
                )
            if len(futures) >= _FLIGHT:
                producer.flush(30)
                futures.clear()
            time.sleep(0.05)

    def _write_in_vain(self) -> None:
        """Write records that no reader of committed records may ever use."""
        producer = KafkaProducer(
            bootstrap_servers=self._bootstrap.split(","), transactional_id=f"{self._topic}-in-vain"
        )
        try:
            producer.init_transactions()
            producer.begin_transaction()
            for number in range(3 * self._partitions):
                value = json.dumps({"time": START + 10**9, "values": {"pressure": 900.0, "flow": 0.0}}).encode()
                producer.send(self._topic, value=value, key=b"never", partition=number % self._partitions)
            producer.flush(10)
            producer.abort_transaction()
        finally:
            _close(producer)


def _close(producer: KafkaProducer, seconds: float = 20) -> None:
    with suppress(KafkaError, AssertionError):
        producer.close(timeout=seconds)
