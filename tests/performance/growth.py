"""How the cost of a record grows with the number of streams: the engine over raw records, without Kafka or a model."""

from __future__ import annotations

import time
from statistics import median
from typing import Any

import numpy as np

from models.bundle import Bundle
from monitor.config import load
from monitor.engine import Engine
from monitor.sources.base import Batch
from tests.performance import job
from tests.performance.stages import FlatModel

_POLL = 10_000
_FEW = 1_000


class Herd:
    """An engine with so many streams, whose windows are full."""

    def __init__(self, bundle: Bundle, streams: int, values: list[bytes]) -> None:
        """Fill the windows."""
        self.streams, self._values = streams, values
        self._engine = Engine(load(None), bundle, FlatModel())
        self._keys = [b"stream-%06d" % stream for stream in range(streams)]
        self._offsets = [0] * job.PARTITIONS
        self._written = 0
        self.go(job.LENGTH * streams)

    def go(self, count: int) -> float:
        """Process the next records, streams in turn; return µs a record, the making of the batches not counted."""
        seconds, end = 0.0, self._written + count
        while self._written < end:
            polled = self._poll(min(_POLL, end - self._written))
            begin = time.perf_counter()
            self._engine.process(polled)
            seconds += time.perf_counter() - begin
        return seconds / count * 1e6

    def _poll(self, size: int) -> list[Batch]:
        """Return the next records as a poll returns them."""
        at = np.arange(self._written, self._written + size)
        row, stream = np.divmod(at, self.streams)
        self._written += size
        batches = []
        for number in range(job.PARTITIONS):
            mine = np.flatnonzero(stream % job.PARTITIONS == number)
            begin = self._offsets[number]
            self._offsets[number] += len(mine)
            which = (at[mine] % len(self._values)).tolist()
            batches.append(
                Batch(
                    "sensors",
                    number,
                    range(begin, begin + len(mine)),
                    (job.BEGIN_MS + 1_000 * row[mine]).tolist(),
                    [self._keys[each] for each in stream[mine].tolist()],
                    [self._values[each] for each in which],
                )
            )
        return batches


def growth(bundle: Bundle, streams: int, rounds: int) -> dict[str, Any]:
    """Compare µs a record at many streams with those at `_FEW`, over the same number of records in turn.

    Their number makes a window of each of the many streams due, so that both do the same work.
    """
    few = min(_FEW, streams // 2)
    values = job.values(4_001)  # no divisor of the numbers of streams: a stream sees all of them
    herds = {"few": Herd(bundle, few, values), "many": Herd(bundle, streams, values)}
    found: dict[str, list[float]] = {name: [] for name in herds}
    for turn in range(rounds):
        for name in sorted(herds, reverse=bool(turn % 2)):
            found[name].append(herds[name].go(job.STRIDE * streams))
    return {
        "few": float(few),
        "many": float(streams),
        "us_per_record_with_few": median(found["few"]),
        "us_per_record_with_many": median(found["many"]),
        "many_to_few": median(m / f for m, f in zip(found["many"], found["few"], strict=True)),
        "rounds": found,
    }
