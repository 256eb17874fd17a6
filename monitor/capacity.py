"""What a load takes: processes, memory, bytes of the state's log, seconds of a restore.

An estimate from the sizes of this configuration's own columns, the time of this bundle's own model on this machine, and
a few constants that were measured (tests/monitor/cli/test_capacity.py has the points that it is held against, within
30 %). It knows nothing of the network, of slower brokers, or of how many alerts there will be.
"""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from dataclasses import dataclass

import msgspec
import numpy as np

from monitor.detector import Detector
from monitor.engine import Engine
from monitor.fleets import Loaded
from monitor.state import StateSettings
from monitor.state.log import LEAST_SWEEP, SWEEP_STREAMS
from monitor.state.rows import pack, row_bytes
from monitor.table import AnyColumn, StreamTable
from monitor.window import Windows

HEADROOM = 0.6
"""A member is planned to be busy for this share of its time: what is left works off a lag."""

_RECORD, _FEATURE, _WINDOW = 2.8e-6, 0.15e-6, 5e-6  # seconds, of consuming to columns and rows; of line and alert
_PROCESS = 180e6  # bytes of a process without a stream, with the batches on their way
_STREAM = 200  # bytes of a stream's name and slot
_NAME = 30  # bytes of them in the log
_COMMITS = 50.0  # a second, of one member at most: one and its poll take 20 ms
_META = 700  # bytes
_CONNECT, _PARTITION = 0.15, 0.03  # seconds of a restore, whatever is in the log
_LOG_RATE, _AGAIN = 78e6, 2.5e-6  # bytes a second; seconds a record
_WINDOWS, _ROUNDS = 256, 3
_POLL_SECONDS, _POLL_BYTES = 2.0, 512e6
_COPIES, _DETECTOR_COPIES = 3, 9  # of a window's values while it is scored (measured: 2.5; 8.4)


@dataclass(frozen=True, slots=True)
class Load:
    """What comes in.

    Attributes:
        streams: live streams.
        rate: records a second of one stream.
        partitions: of all input topics together.
    """

    streams: int
    rate: float
    partitions: int

    @property
    def records(self) -> float:
        """Records a second."""
        return self.streams * self.rate


def most_records(engine: Engine, loaded: Loaded) -> int:
    """Return how many records a poll may bring, were each of them to end a window.

    Streams that begin together fill their windows together: polls that were fast while there were none would bring as
    many windows at once. So many keep the model busy for two seconds, and take half a gigabyte.
    """
    window = engine.window
    copies = _COPIES if loaded.bundle.manifest.detector is None else _DETECTOR_COPIES
    most = _POLL_BYTES / (4 * window.length * len(engine.features) * copies)
    rate = float(getattr(loaded.model, "rate", 0.0))  # as it was while loading; 0 where there was nothing to try with
    if rate > 0:
        most = min(most, rate * _POLL_SECONDS)
    return max(1, int(most * window.stride))


@dataclass(frozen=True, slots=True)
class Capacity:
    """What a load takes.

    Attributes:
        windows: windows a second.
        most: records a second that one member, which is one core, can take.
        members: members that the load wants, no more than there are partitions.
        enough: whether these are enough.
        memory: bytes of one member.
        log_rate: bytes a second that are written to the state's log.
        log: bytes that the log comes down to by compaction.
        restore: seconds that a member's restore takes.
    """

    windows: float
    most: float
    members: int
    enough: bool
    memory: float
    log_rate: float
    log: float
    restore: float


def scoring_seconds(engine: Engine) -> float:
    """Return the seconds of scoring one window, the least of a few looks: the model, and what a detector adds to it."""
    pipeline, window = engine.pipeline, engine.window
    table = pipeline.partition("", 0).table
    slot = np.array([table.assign(str(number).encode()) for number in range(_WINDOWS)], np.int32)
    table.admit(slot.astype(np.intp))
    values = np.random.default_rng(0).normal(size=(_WINDOWS, window.length, len(engine.features))).astype(np.float32)
    row = np.arange(_WINDOWS, dtype=np.int64)
    windows = Windows(slot, values, row, row, row, row, row, np.zeros(_WINDOWS), np.zeros(_WINDOWS, np.bool_))
    found = []
    for _ in range(_ROUNDS):
        begin = time.perf_counter()
        if isinstance(pipeline.model, Detector):
            pipeline.model.judge(table, windows, 1.0)
        else:
            pipeline.model.score(values)
        found.append(time.perf_counter() - begin)
    return min(found) / _WINDOWS


def capacity(engine: Engine, load: Load, window_seconds: float, state: StateSettings) -> Capacity:
    """Return what a load takes with this configuration and bundle.

    Args:
        engine: as the daemon would have it.
        load: what comes in.
        window_seconds: of scoring one window.
        state: section `state`.
    """
    window = engine.window
    rows = load.rate if window.interval is None else min(load.rate, 1000 / window.interval.ms)
    windows = load.streams * rows / window.stride
    record = _RECORD + _FEATURE * len(engine.features)
    busy = record + windows / load.records * (window_seconds + _WINDOW)
    wanted = math.ceil(load.records * busy / HEADROOM)
    members = max(1, min(wanted, load.partitions))
    table = engine.pipeline.partition("", 0).table
    streams = load.streams / members
    kept = state.type != "none"
    log_rate, log, restore = _state(engine, load, windows, members, state) if kept else (0.0, 0.0, 0.0)
    memory = _PROCESS + streams * (sum(table.bytes_per_stream().values()) + _STREAM)
    return Capacity(windows, 1 / busy, members, wanted <= load.partitions, memory, log_rate, log, restore)


def _state(
    engine: Engine, load: Load, windows: float, members: int, state: StateSettings
) -> tuple[float, float, float]:
    """Return bytes a second that are written to all logs, bytes that stay there, and seconds of a member's restore."""
    partition = engine.pipeline.partition("", 0)
    image, decided, active = (
        _sizes(partition.table, columns)
        for columns in (partition.columns, partition.quick_columns, partition.activity_columns)
    )
    slow = sum(row_bytes(column) / column.every for column in partition.slow_columns)
    streams, records, due = (number / load.partitions for number in (load.streams, load.records, windows))
    # Only what windows decide is committed at once, and a commit writes the partitions that had records since the last.
    commits = min(windows, _COMMITS * members, records)
    changed = _distinct(due, commits, streams)
    others = max(0.0, _distinct(records, commits, streams) - changed)
    deltas = changed * decided[1] + due * slow + others * active[1]
    deltas += min(due, commits) * decided[0] + commits * active[0]
    sweep = min(state.sweep_records, max(LEAST_SWEEP, SWEEP_STREAMS * streams))
    seconds = 1 / (records / sweep + 1000 / state.sweep_interval.ms)
    images = streams * (image[1] + _NAME)
    rate = deltas + commits * _META + images / seconds
    log = images + 2 * deltas * seconds  # those of the sweep before are written over in the next one
    again = records * seconds
    mine = load.partitions / members
    read = images + deltas * seconds
    restore = _CONNECT + mine * (_PARTITION + read / _LOG_RATE + again * _AGAIN)
    return load.partitions * rate, load.partitions * log, restore


def _sizes(table: StreamTable, columns: Sequence[AnyColumn]) -> tuple[float, float]:
    """Return the bytes of a message with rows of these columns: of itself, and of each row."""
    table.place([0, 1], [b"0", b"1"])
    one, two = (len(msgspec.msgpack.encode(pack(table, np.arange(count), columns))) for count in (1, 2))
    return 2.0 * one - two, float(two - one)


def _distinct(events: float, commits: float, streams: float) -> float:
    """Return how many streams a second have an event, each counted once a commit; events fall where they like."""
    room = commits * streams
    return -room * math.expm1(-events / room) if room else 0.0
