"""Logs of state in a topic that somebody else has written to, or that a broker has damaged."""

from __future__ import annotations

from contextlib import suppress
from itertools import product
from random import Random
from typing import Any

import msgspec
import numpy as np

from monitor import threshold
from monitor.alert import AlertSettings
from monitor.duration import Duration
from monitor.pipeline import Partition, Pipeline
from monitor.record import Records, RecordSettings
from monitor.state import (
    ModelMark,
    Restore,
    StateError,
    StateLog,
    Writer,
    begun,
    read_meta,
    stages_of,
)
from monitor.window import WindowSettings
from tests.fuzz.noise import damaged, number, odd
from tests.properties.models import PRIOR, LevelModel

FEATURES = ("pressure", "flow")
LONG = 200  # records behind each log
_encode = msgspec.msgpack.Encoder().encode


class Log:
    """A good log: its pipeline, its entries, and the last META."""

    def __init__(self, number: int, pipeline: Pipeline) -> None:
        """Run records through the pipeline, and write its state as a daemon does."""
        random = Random(number)  # noqa: S311 - to be the same again
        partition = pipeline.partition("t", 0)
        partition.changes.kept = True
        self.pipeline = pipeline
        self.stages = stages_of(pipeline, FEATURES)
        self.entries: list[bytes] = []
        log = StateLog(
            partition,
            "state",
            0,
            writer=Writer(ModelMark(kind="k", sha256="b", length=1), "c"),
            stages=begun(self.stages, 0),
            pending=pipeline.pending,
            sweep_records=60,
            sweep_seconds=1e9,
            position=0,
            before=None,
            images=None,
            clock=lambda: 0.0,
        )
        for offset in range(0, LONG, 20):
            pipeline.process([(partition, records_of(random, partition, offset, 20))])
            self.entries += [message.value or b"" for message in log.write(offset + 20)]
        self.trees = [msgspec.msgpack.decode(entry) for entry in self.entries]


def records_of(random: Random, partition: Partition, offset: int, count: int) -> Records:
    """Draw records of a few streams."""
    table = partition.table
    slots = [table.assign(b"s%d" % random.randrange(6)) for _ in range(count)]
    values = [[random.choice((0.1, 1.0, 9.0)), 1.0] for _ in range(count)]
    clock = [10_000 + 5 * (offset + n) for n in range(count)]
    offsets = np.arange(offset, offset + count)
    return Records(np.array(slots, np.int32), np.array(clock, np.int64), np.array(values, np.float32), offsets)


def pipelines() -> list[Pipeline]:
    """Return pipelines of every kind of threshold, with and without a grid."""
    kinds = (
        threshold.Tracked.Settings(q=0.9, half_life=10, prior_weight=3),
        threshold.P2.Settings(q=0.9, prior_weight=2),
        threshold.RollingQuantile.Settings(q=0.9, size=5, prior_weight=2),
    )
    return [
        Pipeline(
            RecordSettings(max_streams=100, max_step=Duration("1s")),
            WindowSettings(length=3, stride=1, interval=interval, lateness=lateness),
            kind,
            AlertSettings(open_after=1, resolve_after=2, rest=0),
            LevelModel(),
            PRIOR,
            len(FEATURES),
        )
        for kind, interval, lateness in product(kinds, (None, Duration("10ms")), (Duration("0s"), Duration("20ms")))
    ]


class Changelog:
    """Good logs, of which something is changed."""

    name = "changelog"

    def __init__(self) -> None:
        """Write the good logs."""
        self._logs = [Log(number, pipeline) for number, pipeline in enumerate(pipelines())]
        for log in self._logs:  # they are good
            assert self._restore(log, log.entries) == "taken"

    def one(self, random: Random) -> str:
        """Restore from a log that is not as it was; return whether it was taken."""
        log = random.choice(self._logs)
        entries = list(log.entries)
        for _ in range(random.choice((1, 1, 2, 5))):
            at = random.choice((random.randrange(len(entries)), len(entries) - 1))
            match random.randrange(8):
                case 0:
                    entries[at] = damaged(random, entries[at])
                case 1:
                    del entries[at]
                case 2:
                    entries.insert(random.randrange(len(entries)), entries[at])
                case 3:
                    other = random.choice(self._logs)
                    entries[at] = random.choice(other.entries)
                case _:
                    entries[at] = _tampered(random, entries[at])
            if not entries:
                return "refused"
        try:
            return self._restore(log, entries)
        except StateError as error:
            text = str(error)
            assert text
            assert len(text) < 10_000
            return "refused"

    def _restore(self, log: Log, entries: list[bytes]) -> str:
        """Do what a daemon does with a log."""
        newest = read_meta(entries[-1])
        restore = Restore(log.pipeline.partition("t", 0), newest, log.stages)
        for value in entries:
            restore.apply(value)
        begin = restore.finish(LONG)
        partition = restore.partition
        known = sorted(partition.table.slots.values())
        if known and begin < LONG:
            slots = np.array([known[n % len(known)] for n in range(10)], np.int32)
            clock = np.arange(10_000, 10_010, dtype=np.int64) + 5 * LONG
            offsets = np.arange(max(begin, 0), max(begin, 0) + 10)
            restore.rewind(log.pipeline.windower, Records(slots, clock, np.ones((10, 2), np.float32), offsets))
        return "taken"


def _tampered(random: Random, entry: bytes) -> bytes:
    """Return an entry of the right form whose numbers nobody has written."""
    try:
        tree = msgspec.msgpack.decode(entry)
        if random.randrange(6) == 0:
            _elsewhere(random, tree)
        return _encode(odd(random, tree, _junk) if random.randrange(3) else tree)
    except (msgspec.MsgspecError, OverflowError, UnicodeError):
        return damaged(random, entry)


def _elsewhere(random: Random, tree: Any) -> None:
    """Put a stream where no table has a place, in all that the entry says of it."""
    with suppress(AttributeError, LookupError, TypeError, ValueError):  # it may have been tampered with before
        image = tree.get("image") or []
        streams = image[3] if image else tree.get("streams")
        streams[0][-1] = number(random)
        if image:
            image[4][0] = np.array(streams[0], np.int64).astype("<i4").tobytes()


def _junk(random: Random) -> Any:
    return random.choice((None, -1, 1 << 40, "x", b"\xff" * 9, [], {}, [[1]], 1.5, True))
