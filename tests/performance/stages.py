"""What each stage costs, without Kafka: codec, core, memory."""

from __future__ import annotations

import os
import resource
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from monitor.alert import AlertSettings
from monitor.codec import Decoder
from monitor.pipeline import Pipeline
from monitor.record import Records, RecordSettings
from monitor.table import StreamTable
from monitor.threshold import Prior, Tracked
from monitor.window import WindowSettings
from tests.performance import job


@dataclass
class Flat:
    """Scores of a model that finds nothing."""

    score: Any
    errors: Any
    reconstruction: Any


class FlatModel:
    """Finds nothing, at no cost: what is left is the core."""

    def score(self, windows: Any) -> Flat:
        """Return low scores."""
        count = len(windows)
        return Flat(np.full(count, 0.01, np.float32), np.zeros((count, windows.shape[2]), np.float32), windows)


PRIOR = Prior(-3.0, 1.0, [(0.5, 0.05), (0.99, 0.5), (0.9999, 2.0)], 1_000, 10_800)


def _best(run: Callable[[], object], rounds: int) -> float:
    """Return the least seconds of several runs: the noise of a shared machine only ever adds."""
    found = []
    for _ in range(rounds):
        begin = time.perf_counter()
        run()
        found.append(time.perf_counter() - begin)
    return min(found)


def codec(count: int = 50_000) -> dict[str, float]:
    """µs a record from bytes to columns, beside msgspec's bare parse of the same bytes into the same struct."""
    decoder = Decoder(RecordSettings(), job.NAMES)
    table = StreamTable(())
    polls = [batch for poll in job.batches(count) for batch in poll]

    def decode() -> None:
        for batch in polls:
            decoder.decode(batch, table)

    decode()
    parse = decoder._layout.decode

    def floor() -> None:
        for batch in polls:
            for value in batch.values:
                parse(value or b"")

    loose = msgspec.json.Decoder().decode

    def plain() -> None:
        for batch in polls:
            for value in batch.values:
                loose(value or b"")

    rounds = 5
    return {
        "us_per_record": _best(decode, rounds) / count * 1e6,
        "parse_alone_us": _best(floor, rounds) / count * 1e6,
        "dict_parse_us": _best(plain, rounds) / count * 1e6,
    }


def _records(count: int, streams: int) -> list[list[tuple[int, Records]]]:
    """Return polls of 10,000 records as columns, by partition; slots are assigned in order."""
    random = np.random.default_rng(0)
    polls = []
    size = 10_000
    offsets = [0] * job.PARTITIONS
    for begin in range(0, count, size):
        at = np.arange(begin, min(begin + size, count))
        stream = at % streams
        poll = []
        for number in range(job.PARTITIONS):
            mine = at[stream % job.PARTITIONS == number]
            of = mine % streams // job.PARTITIONS
            poll.append(
                (
                    number,
                    Records(
                        of.astype(np.int32),
                        (job.BEGIN_MS + 1_000 * (mine // streams)).astype(np.int64),
                        random.normal(size=(len(mine), job.FEATURES)).astype(np.float32),
                        np.arange(offsets[number], offsets[number] + len(mine), dtype=np.int64),
                    ),
                )
            )
            offsets[number] += len(mine)
        polls.append(poll)
    return polls


def _pipeline() -> Pipeline:
    return Pipeline(
        RecordSettings(),
        WindowSettings(length=job.LENGTH, stride=job.STRIDE),
        Tracked.Settings(),
        AlertSettings(),
        FlatModel(),
        PRIOR,
        job.FEATURES,
    )


def core(count: int = 300_000, streams: int = job.STREAMS) -> dict[str, float]:
    """µs a record in windows, lines, partition time and alert machine, without alerts."""
    pipeline = _pipeline()
    partitions = [pipeline.partition("sensors", number) for number in range(job.PARTITIONS)]
    for partition in partitions:
        for slot in range(-(-streams // job.PARTITIONS)):
            partition.table.assign(b"stream-%d" % slot)
    polls = _records(count, streams)
    seconds = []
    for poll in polls:
        work = [(partitions[number], records) for number, records in poll]
        begin = time.perf_counter()
        pipeline.process(work)
        seconds.append(time.perf_counter() - begin)
    settled = seconds[len(seconds) // 3 :]  # rings full, tables grown
    per = count / len(polls)
    return {
        "us_per_record": float(np.median(settled)) / per * 1e6,
        "us_per_record_best": min(settled) / per * 1e6,
    }


def memory(streams: int = 100_000) -> dict[str, float]:
    """Bytes a stream resident, beyond the windows' values and the times and offsets at stride boundaries."""
    code = f"from tests.performance import stages; import json;print(json.dumps(stages.measure_memory({streams})))"
    environment = {**os.environ, "PYTHONPATH": str(Path.cwd())}
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True, env=environment)
    found: dict[str, float] = msgspec.json.decode(done.stdout.splitlines()[-1])
    return found


def measure_memory(streams: int) -> dict[str, float]:
    """Fill a table through the whole core, and look at this process's memory."""
    pipeline = _pipeline()
    partitions = [pipeline.partition("sensors", number) for number in range(job.PARTITIONS)]
    before = _resident()
    for number, partition in enumerate(partitions):
        for stream in range(streams // job.PARTITIONS):
            partition.table.assign(b"stream-%d-%d" % (number, stream))
    for poll in _records(streams, streams):
        pipeline.process([(partitions[number], records) for number, records in poll])
    for partition in partitions:  # all pages of all rings
        partition.table["ring"][:] = 1.0
    used = _resident() - before
    payload = job.LENGTH * job.FEATURES * 4 + 2 * 8 * (job.LENGTH // job.STRIDE)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 - before
    columns = sum(partitions[0].table.bytes_per_stream().values())
    return {
        "bytes_per_stream": used / streams,
        "bytes_per_stream_beyond_windows": used / streams - payload,
        "columns_bytes_per_stream": columns,
        "peak_over_resident": peak / used,
    }


def _resident() -> int:
    """Return the resident bytes of this process."""
    return int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1]) * os.sysconf("SC_PAGE_SIZE")
