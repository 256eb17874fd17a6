"""The job's records in any number: written at once, or at a steady rate while something is measured.

librdkafka writes them: what a producer in Python takes of two cores would be missing in what is measured.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from types import TracebackType
from typing import Self

import msgspec
from confluent_kafka import Producer

from tests.performance import job

_ROWS, _VARIANTS = 63, 16  # two periods of the job's sines, nearly; and so much noise
_SPIKE_EVERY = 2 * job.LENGTH  # rows of a stream: an alert ends before the next one

Spikes = Callable[[int, int], bool]
"""Of a stream and a row of it: whether there is a spike, far above every line."""


def never(_stream: int, _row: int) -> bool:
    """No spikes."""
    return False


def often(stream: int, row: int) -> bool:
    """Each stream has one now and then."""
    return (row + 6 * stream) % _SPIKE_EVERY == 0


def _producer(bootstrap: str) -> Producer:
    return Producer(
        {
            "bootstrap.servers": bootstrap,
            "linger.ms": 5,
            "batch.size": 500_000,
            "queue.buffering.max.messages": 500_000,
        }
    )


def _values() -> list[bytes]:
    """Return values for `_ROWS` rows, `_VARIANTS` of each."""
    return job.values(_ROWS * _VARIANTS, _VARIANTS)


class _Writer:
    """Writes records of some streams in turn, a second of event time between two of a stream."""

    def __init__(self, bootstrap: str, topic: str, streams: int, begin: int, spikes: Spikes) -> None:
        self._producer, self._topic, self._streams, self._spikes = _producer(bootstrap), topic, streams, spikes
        self._values = _values()
        self._spike = msgspec.json.encode({"values": dict.fromkeys(job.NAMES, 500.0)})
        self.written = begin

    def write(self, count: int) -> None:
        """Write the next records."""
        produce, streams, values, spikes = self._producer.produce, self._streams, self._values, self._spikes
        for i in range(self.written, self.written + count):
            row, stream = divmod(i, streams)
            value = values[row % _ROWS * _VARIANTS + i % _VARIANTS]
            if spikes(stream, row):
                value = self._spike
            while True:
                try:
                    produce(
                        self._topic,
                        value,
                        key=b"stream-%06d" % stream,
                        partition=stream % job.PARTITIONS,
                        timestamp=job.BEGIN_MS + 1_000 * row,
                    )
                    break
                except BufferError:
                    self._producer.poll(0.05)
        self.written += count
        self._producer.poll(0)

    def end(self) -> None:
        """Wait until all is written."""
        left = self._producer.flush(120)
        assert left == 0, f"{left} records could not be written"


def fill(bootstrap: str, topic: str, streams: int, count: int, begin: int = 0, spikes: Spikes = never) -> None:
    """Write `count` records, from the `begin`-th on."""
    writer = _Writer(bootstrap, topic, streams, begin, spikes)
    writer.write(count)
    writer.end()


class Feed:
    """Writes records at a steady rate for the time of a block.

    Attributes:
        written: number of the next record.
    """

    def __init__(
        self, bootstrap: str, topic: str, streams: int, rate: int, begin: int = 0, *, spikes: bool = False
    ) -> None:
        """Set up: `rate` records a second from the `begin`-th on, some of them spikes if that is wanted."""
        self._writer = _Writer(bootstrap, topic, streams, begin, often if spikes else never)
        self._rate = rate
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run)

    @property
    def written(self) -> int:
        """Number of the next record."""
        return self._writer.written

    def __enter__(self) -> Self:
        """Begin."""
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """End."""
        self._ended.set()
        self._thread.join()
        self._writer.end()

    def _run(self) -> None:
        start, first = time.perf_counter(), self._writer.written
        while not self._ended.is_set():
            due = first + int((time.perf_counter() - start) * self._rate)
            self._writer.write(due - self._writer.written)
            self._ended.wait(0.01)
