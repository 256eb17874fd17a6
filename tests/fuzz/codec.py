"""Records of a topic that anybody may write to: the codec in all its layouts, and what stands around it."""

from __future__ import annotations

import itertools
import json
from random import Random
from typing import Any

import msgspec
import numpy as np

from monitor import times
from monitor.alert import AlertSettings
from monitor.codec import Decoder, features_of
from monitor.duration import Duration
from monitor.pipeline import Pipeline
from monitor.record import RecordSettings, Select
from monitor.sources import envelope
from monitor.sources.base import Batch
from monitor.table import StreamTable
from monitor.threshold import Tracked
from monitor.window import WindowSettings
from tests.fuzz.noise import BYTES, FLOATS, HUGE, TEXTS, damaged, number, odd
from tests.properties.models import PRIOR, LevelModel

FEATURES = ("pressure", "flow", "über all")
TOKENS = ("NaN", "Infinity", "-Infinity", "1e999", "-1e-999", "01", "+1", "0x10", "1.", ".5", "-", "tru", "9" * 5_000)


class Codec:
    """One layout after another."""

    name = "codec"

    def __init__(self) -> None:
        """Make a decoder for every layout; they live as long as a daemon's."""
        forms = itertools.product(("json", "msgpack"), ("wide", "long"), ("values", "", "a.b.values"), ("ms", "ns"))
        self._forms = [self._form(*form) for form in forms]

    def _form(self, codec: Any, layout: Any, values: str, unit: Any) -> tuple[RecordSettings, Decoder, Pipeline]:
        record = RecordSettings(
            codec=codec,
            layout=layout,
            values=values,
            time_unit=unit,
            select=Select(exclude=("ignored*",)),
            max_skew=Duration("30d") if unit == "ns" else None,
            max_streams=50,
        )
        window = WindowSettings(length=2, stride=1, interval=Duration("1s") if layout == "long" else None)
        kind = Tracked.Settings(q=0.9, half_life=10, prior_weight=3)
        pipeline = Pipeline(record, window, kind, AlertSettings(open_after=1), LevelModel(), PRIOR, len(FEATURES))
        return record, Decoder(record, FEATURES), pipeline

    def one(self, random: Random) -> str:
        """Decode a batch, and hold the books against it; return what became of most of it."""
        record, decoder, pipeline = random.choice(self._forms)
        count = random.choice((1, 1, 2, 5))
        values = [self._value(random, record) for _ in range(count)]
        keys = [random.choice((None, b"a", b"ignored", _bytes(random))) for _ in range(count)]
        stamps = [random.choice((-1, 0, 1_700_000_000_000, number(random))) for _ in range(count)]
        stamps = [min(max(stamp, -(1 << 63)), (1 << 63) - 1) for stamp in stamps]
        batch = Batch("t", 0, range(7, 7 + count), stamps, keys, values)
        through = random.randrange(8) == 0  # the whole pipeline, now and then
        partition = pipeline.partition("t", 0) if through else None
        table = StreamTable(()) if partition is None else partition.table
        found = decoder.decode(batch, table)
        records = found.records
        assert len(records) + len(found.rejects) + found.filtered == count
        assert len({each.index for each in found.rejects}) == len(found.rejects)
        assert (np.diff(records.offset) > 0).all()
        assert not np.isinf(records.values).any()
        assert not np.isnan(records.values).all(axis=1).any()
        assert ((records.time >= times.FIRST) & (records.time <= times.LAST)).all()
        assert all(len(each.detail) < 100_000 and each.reason for each in found.rejects)
        if partition is not None:
            pipeline.process([(partition, records)])
        table.settle()
        assert len(table.slots) <= count
        features_of(record, values)
        for value in values:
            envelope.read(value or b"")
        return "taken" if len(records) else "refused"

    def _value(self, random: Random, record: RecordSettings) -> bytes | None:
        """Draw the value of a record."""
        draw = random.randrange(20)
        if draw == 0:
            return random.choice((None, *BYTES, b"{}", b"[]", b"1", b'"a"', b"null"))
        if draw == 1:
            return random.randbytes(random.randrange(60))
        tree = self._tree(random, record)
        while random.randrange(3) == 0:
            tree = odd(random, tree, self._leaf)
        data = _json(random, tree) if record.codec == "json" else _msgpack(tree)
        return damaged(random, data) if random.randrange(3) == 0 else data

    def _tree(self, random: Random, record: RecordSettings) -> Any:
        """Draw a record, whole or nearly."""
        tree: dict[str, Any] = {}
        if random.randrange(4):
            tree["stream"] = random.choice(("pump-17", "ignored-1", 7, None, random.choice(TEXTS)))
        if random.randrange(4):
            good = (1_700_000_000_000, 1_700_000_000, 1.7e9, "2026-11-21T12:00:00.250Z", "2026-11-21T12:00:00+01:00")
            tree["time"] = random.choice((*good, None, number(random), random.choice(FLOATS), random.choice(TEXTS)))
        if record.layout == "long":
            tree["sensor"] = random.choice((*FEATURES, None, random.choice(TEXTS)))
            tree["value"] = self._leaf(random)
            return tree
        values = {name: self._leaf(random) for name in FEATURES if random.randrange(5)}
        if random.randrange(3) == 0:
            values[random.choice((*TEXTS, "`x`", 'a"b', "stream"))] = self._leaf(random)
        if not record.values:
            return {**values, **tree}
        for part in reversed(record.values.split(".")):
            values = {part: values}
        return {**tree, **values}

    def _leaf(self, random: Random) -> Any:
        draw = random.randrange(12)
        if draw < 6:
            return round(random.uniform(-100, 100), 3)
        others: tuple[Any, ...] = (None, True, number(random), random.choice(FLOATS), random.choice(TEXTS))
        return random.choice((*others, [1], {"a": [None]}, [[[[[[]]]]]], b"x"))


def _bytes(random: Random) -> bytes:
    return random.choice((*BYTES, b"pump-17", "ä".encode(), b"x" * 300, random.randbytes(4)))


def _json(random: Random, tree: Any) -> bytes:
    """Return JSON with keys that stand twice and numbers that are none, now and then."""
    text = json.dumps(tree, ensure_ascii=random.randrange(2) == 0, default=lambda raw: raw.decode("latin-1"))
    if random.randrange(6) == 0:
        text = text.replace("{", '{"values": {"flow": 1, "flow": 2}, "time": 1, ', 1)
    if random.randrange(6) == 0:
        text = text.replace(": ", f": {random.choice(TOKENS)}, ", 1) if random.randrange(2) else random.choice(TOKENS)
    return text.encode("utf-8", "surrogatepass")


def _msgpack(tree: Any) -> bytes:
    try:
        return msgspec.msgpack.encode(tree)
    except (OverflowError, UnicodeEncodeError):
        return msgspec.msgpack.encode({"values": {"flow": float(HUGE[0])}})
