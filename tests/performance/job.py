"""The job that everything is measured on: 4 partitions, 2,000 streams, records of 8 features, window 64, stride 8."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from models.bundle import Bundle, read
from models.settings import TrainSettings
from models.training import Cells, WindowShape, train
from monitor.sources.base import Batch
from tests.kafka.topics import Record

PARTITIONS, STREAMS, FEATURES, LENGTH, STRIDE = 4, 2_000, 8, 64, 8
CLIENT = "kafka-python"
"""The client of Kafka that `source.client` names unless somebody sets it."""
BEGIN_MS = 1_760_000_000_000
NAMES = tuple(f"s{i}" for i in range(FEATURES))


def bundle(folder: Path, settings: TrainSettings | None = None) -> Bundle:
    """Return a bundle with the job's network (64 units), or one of other settings, trained for a moment on sines."""
    path = folder / "bundle"
    if path.exists():
        return read(path)
    random = np.random.default_rng(0)
    streams, rows = 10, 200
    time = np.arange(rows)
    phase = random.uniform(0, 6, (streams, 1, FEATURES))
    values = np.sin(time[None, :, None] / 5 + phase) + 0.1 * random.normal(size=(streams, rows, FEATURES))
    starts = [stream * rows + row for stream in range(streams) for row in range(0, rows - LENGTH + 1, STRIDE)]
    cells = Cells(
        values.reshape(-1, FEATURES).astype(np.float32),
        np.repeat(np.arange(streams, dtype=np.int32), rows),
        np.tile(BEGIN_MS + 1_000 * time, streams).astype(np.int64),
        np.array(starts, np.int64),
        np.zeros(streams * rows, np.bool_),
    )
    settings = settings or TrainSettings(epochs=2, nodes=64)
    return train(cells, WindowShape(length=LENGTH, stride=STRIDE), NAMES, settings, path)


def values(count: int, streams: int = STREAMS) -> list[bytes]:
    """Return `count` raw values of about 144 bytes, without alerts in them, of so many streams in turn."""
    random = np.random.default_rng(1)
    at = np.arange(count)[:, None] // streams
    numbers = np.round(np.sin(at / 5 + np.arange(FEATURES)) + 0.1 * random.normal(size=(count, FEATURES)), 6)
    return [json.dumps({"values": dict(zip(NAMES, row, strict=True))}).encode() for row in numbers.tolist()]


def records(count: int) -> list[Record]:
    """Return the job's records, streams interleaved, one a second for each stream."""
    return [
        Record(
            value=value,
            key=b"stream-%04d" % (i % STREAMS),
            partition=i % STREAMS % PARTITIONS,
            timestamp_ms=BEGIN_MS + 1_000 * (i // STREAMS),
        )
        for i, value in enumerate(values(count))
    ]


def batches(count: int, size: int = 10_000) -> Iterator[list[Batch]]:
    """Yield the job's records as polls of `size` records."""
    found = records(count)
    offsets = [0] * PARTITIONS
    for begin in range(0, count, size):
        poll = []
        for number in range(PARTITIONS):
            mine = [record for record in found[begin : begin + size] if record.partition == number]
            poll.append(
                Batch(
                    "sensors",
                    number,
                    range(offsets[number], offsets[number] + len(mine)),
                    [record.timestamp_ms or 0 for record in mine],
                    [record.key for record in mine],
                    [record.value for record in mine],
                )
            )
            offsets[number] += len(mine)
        yield poll


def config(text: str, folder: Path) -> Path:
    """Write a configuration and return its path."""
    path = folder / "config.yaml"
    path.write_text(text, encoding="utf-8")
    return path
