"""Records for the daemon: waves like those that the bundle was trained on, with bumps that must fire."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Sequence

from tests.kafka.topics import Record

START = 1_700_000_000_000
MINUTE = 60_000
PERIOD = 40
"""Rows from one bump to the next."""

BUMP = 5
"""Rows of a bump."""


def value(row: int, *, bump: bool = True) -> bytes:
    """Return the JSON of a stream's row, without its id; rows of a bump lie far outside of what is normal."""
    phase = row * 2 * math.pi / 12
    high = 40.0 if bump and row % PERIOD >= PERIOD - BUMP else 0.0
    pressure, flow = 50 + 5 * math.sin(phase) + high, 1000 + 40 * math.cos(phase)
    values = {"pressure": round(pressure, 3), "flow": round(flow, 3)}
    return json.dumps({"time": START + row * MINUTE, "values": values}).encode()


def rows(streams: Sequence[str], begin: int, end: int, partitions: int = 1) -> Iterator[Record]:
    """Return the rows of all streams, row by row; a stream's number decides its partition."""
    for row in range(begin, end):
        for number, stream in enumerate(streams):
            yield Record(value(row), key=stream.encode(), partition=number % partitions)
