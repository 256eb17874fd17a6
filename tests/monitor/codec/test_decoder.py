"""Raw records become columns; what cannot be used becomes a reject that costs no other record."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from typing import Any, Literal

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from monitor.codec import Decoded, Decoder, features_of
from monitor.duration import Duration
from monitor.record import DEAD_LETTER_REASONS, RecordSettings, Select
from monitor.sources.base import Batch
from monitor.table import StreamTable

FEATURES = ("pressure", "flow")
STAMP = 1_700_000_000_000
GOOD = b'{"values":{"pressure":1.5,"flow":2}}'


def batch(values: Sequence[bytes | None], keys: Sequence[bytes | None] | None = None, stamp: int = STAMP) -> Batch:
    """Return a batch with offsets from 100."""
    n = len(values)
    return Batch("t", 0, list(range(100, 100 + n)), [stamp] * n, keys or [b"pump"] * n, values)


def decode(
    raw: Sequence[bytes | None], keys: Sequence[bytes | None] | None = None, **settings: Any
) -> tuple[Decoded, StreamTable]:
    """Decode values, return also the table."""
    table = StreamTable(())
    return Decoder(RecordSettings(**settings), FEATURES).decode(batch(raw, keys), table), table


def test_a_record_becomes_a_row() -> None:
    """If it failed, no reading would reach the model as it was sent."""
    values = [
        GOOD,
        b'{"stream":"fan","time":"2026-11-21T12:00:00.250Z","values":{"flow":null,"pressure":-1e3}}',
        b'{"stream":17,"time":5000,"values":{"flow":0.1}}',
        b'{"time":"2026-11-21T13:00:00.2509+01:00","values":{"flow":3,"flow":4}}',
    ]
    found, table = decode(values)
    assert found.rejects == []
    assert [table.id_of(slot) for slot in found.records.slot] == ["pump", "fan", "17", "pump"]
    assert found.records.time.tolist() == [STAMP, 1_795_262_400_250, 5_000, 1_795_262_400_250]
    expected = [[1.5, 2], [-1_000, math.nan], [math.nan, 0.1], [math.nan, 4]]
    np.testing.assert_array_equal(found.records.values, np.array(expected, np.float32))
    assert found.records.offset.tolist() == [100, 101, 102, 103]


BAD: list[tuple[str, bytes | None, bytes | None]] = [
    ("encoding", b"\xff\xfe", b"k"),
    ("encoding", b'{"note":"\xff","values":{"flow":1}}', b"k"),
    ("syntax", b"not json", b"k"),
    ("syntax", b"", b"k"),
    ("syntax", b'{"values":{"flow":1}} {}', b"k"),
    ("syntax", b'{"values":{"flow":NaN}}', b"k"),
    ("syntax", b'{"values":{"flow":Infinity}}', b"k"),
    ("syntax", b'{"x":' + b"[" * 30_000 + b"]" * 30_000 + b"}", b"k"),
    ("range", b'{"values":{"flow":1e999}}', b"k"),
    ("range", b'{"values":{"flow":1e39}}', b"k"),
    ("range", b'{"values":{"flow":' + b"9" * 5_000 + b"}}", b"k"),
    ("shape", b'{"values":{"flow":true}}', b"k"),
    ("shape", b'{"values":{"flow":"1"}}', b"k"),
    ("shape", b'{"values":[1,2]}', b"k"),
    ("shape", b"[1]", b"k"),
    ("shape", b"[" * 30_000, b"k"),
    ("features", b'{"values":{}}', b"k"),
    ("features", b'{"values":{"flow":null}}', b"k"),
    ("features", b'{"values":{"torque":1}}', b"k"),
    ("features", b"{}", b"k"),
    ("null", None, b"k"),
    ("stream", b'{"values":{"flow":1}}', None),
    ("stream", b'{"values":{"flow":1}}', b""),
    ("stream", b'{"stream":"","values":{"flow":1}}', b"k"),
    ("stream", b'{"values":{"flow":1}}', b"x" * 257),
    ("stream", b'{"values":{"flow":1}}', b"a\x00b"),
    ("stream", b'{"values":{"flow":1}}', b"\xff"),
    ("stream", b'{"stream":"a\\u0007","values":{"flow":1}}', b"k"),
    ("size", b'{"values":{"flow":1},"x":"' + b"x" * 65_536 + b'"}', b"k"),
    ("time", b'{"time":"yesterday","values":{"flow":1}}', b"k"),
    ("time", b'{"time":-1,"values":{"flow":1}}', b"k"),
    ("time", b'{"time":4102444800000,"values":{"flow":1}}', b"k"),
    ("time", b'{"time":1e300,"values":{"flow":1}}', b"k"),
    ("time", b'{"time":99999999999999999999999,"values":{"flow":1}}', b"k"),
    ("time", b'{"time":"2101-01-01T00:00:00Z","values":{"flow":1}}', b"k"),
]


@pytest.mark.parametrize(("reason", "value", "key"), BAD)
def test_a_bad_record_is_a_reject_and_costs_no_other(reason: str, value: bytes | None, key: bytes | None) -> None:
    """If it failed, one producer's rubbish would cost another's records, or be lost without a word."""
    found, table = decode([GOOD, value, GOOD], [b"a", key, b"b"])
    assert [(reject.index, reject.reason) for reject in found.rejects] == [(1, reason)]
    assert found.rejects[0].detail
    assert reason in DEAD_LETTER_REASONS
    assert found.records.offset.tolist() == [100, 102]
    assert [table.id_of(slot) for slot in found.records.slot] == ["a", "b"]


def test_all_bad_records_at_once() -> None:
    """If it failed, bad records in one batch would be mixed up with each other."""
    found, _ = decode([bad[1] for bad in BAD], [bad[2] for bad in BAD])
    assert [(reject.index, reject.reason) for reject in found.rejects] == [(i, bad[0]) for i, bad in enumerate(BAD)]
    assert len(found.records) == 0


@given(st.lists(st.one_of(st.binary(max_size=60), st.just(GOOD), st.none()), max_size=12), st.data())
def test_no_bytes_break_the_decoder(values: list[bytes | None], data: st.DataObject) -> None:
    """If it failed, some record would stop the daemon, or end in no class or in two."""
    keys = data.draw(st.lists(st.one_of(st.none(), st.binary(max_size=8)), min_size=len(values), max_size=len(values)))
    found, _ = decode(values, keys)
    assert len(found.records) + len(found.rejects) + found.filtered == len(values)
    assert not {100 + reject.index for reject in found.rejects} & set(found.records.offset.tolist())
    assert np.isfinite(found.records.values[~np.isnan(found.records.values)]).all()


ODD_NAMES = (
    "a\nb",
    "\x00",
    'quo"te',
    "back\\slash",
    "`",
    "x` - at `$",
    "pressure` - at `$",
    "",
    "$.values",
    "\u2028",
    "a.b",
)
"""Names that a field of a msgspec type cannot have, or that read wrongly off its error."""


@pytest.mark.parametrize("codec", ["json", "msgpack"])
@pytest.mark.parametrize("values", ["values", ""])
@pytest.mark.parametrize("name", ODD_NAMES)
def test_an_unknown_feature_may_have_any_name(name: str, values: str, codec: Literal["json", "msgpack"]) -> None:
    """If it failed, one record with an odd field would end the daemon, and each restart of it."""
    encode = msgspec.json.encode if codec == "json" else msgspec.msgpack.encode
    odd, good = {name: 1, "flow": 2.0}, {"flow": 3.0}
    raw = [encode({values: each} if values else each) for each in (odd, good, odd)]
    table = StreamTable(())
    found = Decoder(RecordSettings(codec=codec, values=values), FEATURES).decode(batch(raw), table)
    assert (found.rejects, found.records.values[:, 1].tolist()) == ([], [2, 3, 2])


def test_an_odd_name_is_no_feature() -> None:
    """If it failed, one record with an odd field would keep `train` from training, with a message about our insides."""
    raw = [json.dumps({"values": {name: 1, "flow": 2}}).encode() for name in ("a\nb", 'quo"te', "a.b")]
    assert features_of(RecordSettings(), raw) == ("flow", "a.b")
    with pytest.raises(ValueError, match=r"no feature can be called 'a\\nb'"):
        Decoder(RecordSettings(), ("a\nb",))


@pytest.mark.parametrize("values", ["values", ""])
def test_a_refused_record_may_have_brought_an_unknown_name(values: str) -> None:
    """If it failed, one record with a new field and a wrong value would end the daemon, and each one after it."""
    bad = b'{"colour":1,"pressure":true}' if not values else b'{"values":{"colour":1,"pressure":true}}'
    good = b'{"pressure":1.5,"flow":2}' if not values else GOOD
    for order in ([good, bad], [bad, good], [good, bad, good]):
        found, _ = decode(order, values=values)
        assert (len(found.records), [each.reason for each in found.rejects]) == (order.count(good), ["shape"])


def test_unknown_features_are_counted_and_ignored() -> None:
    """If it failed, a misspelt feature would go unnoticed, or a new sensor would stop the records that carry it."""
    decoder, table = Decoder(RecordSettings(), FEATURES), StreamTable(())
    odd = b'{"values":{"flow":1,"torque":[1,{"a":true}],"x`y":null}}'
    for values, unknown in (([GOOD, odd, GOOD], 2), ([odd, odd], 4), ([GOOD], 0)):
        found = decoder.decode(batch(values), table)
        assert found.unknown == unknown
        assert len(found.records) == len(values)
    many = json.dumps({"values": {f"f{i}": i for i in range(200)} | {"flow": 7}}).encode()
    found = decoder.decode(batch([many, GOOD]), table)
    assert found.records.values[:, 1].tolist() == [7, 2]


def test_streams_are_selected_by_glob() -> None:
    """If it failed, streams that nobody wants watched would be watched, or the other way round."""
    select = Select(include=("pump-*", "fan"), exclude=("pump-9*",))
    found, table = decode([GOOD] * 4, [b"pump-1", b"pump-91", b"fan", b"valve"], select=select)
    assert found.filtered == 2
    assert [table.id_of(slot) for slot in found.records.slot] == ["pump-1", "fan"]
    assert found.rejects == []


def test_fields_lie_where_the_settings_say() -> None:
    """If it failed, only topics in our own layout could be read."""
    value = b'{"meta":{"id":"p1","at":1700000000},"pressure":1,"flow":2,"unit":"bar"}'
    found, table = decode([value], stream="meta.id", time="meta.at", values="", time_unit="s")
    assert found.rejects == []
    assert (table.id_of(0), found.records.time.tolist()) == ("p1", [STAMP])
    assert found.records.values.tolist() == [[1, 2]]
    nested = b'{"a":{"b":{"pressure":1,"flow":2,"other":3}}}'
    found, _ = decode([nested], values="a.b")
    assert (found.records.values.tolist(), found.unknown) == ([[1, 2]], 1)
    with pytest.raises(ValueError, match="same field"):
        Decoder(RecordSettings(stream="x", time="x"), FEATURES)


def test_the_long_layout_fills_one_feature() -> None:
    """If it failed, topics with one message a sensor could not be read."""
    values = [
        b'{"stream":"p","sensor":"flow","value":2.5,"time":7}',
        b'{"stream":"p","sensor":"torque","value":1,"time":7}',
        b'{"stream":"p","sensor":"flow","value":null,"time":7}',
    ]
    found, _ = decode(values, layout="long")
    np.testing.assert_array_equal(found.records.values, np.array([[math.nan, 2.5]], np.float32))
    assert [reject.reason for reject in found.rejects] == ["features", "features"]


def test_messagepack_is_the_same_with_its_own_nan() -> None:
    """If it failed, MessagePack topics could not be read, or their NaNs would reach the model as missing values."""
    pack = msgspec.msgpack.encode
    values = [
        pack({"values": {"flow": 1.5, "pressure": None}}),
        pack({"values": {"flow": math.nan, "pressure": 1.0}}),
        pack({"values": {"flow": math.inf}}),
        b"\xc1",
    ]
    found, _ = decode(values, codec="msgpack")
    np.testing.assert_array_equal(found.records.values, np.array([[math.nan, 1.5]], np.float32))
    assert [(reject.index, reject.reason) for reject in found.rejects] == [(1, "range"), (2, "range"), (3, "syntax")]


def test_times_far_from_kafkas_are_refused_only_if_asked() -> None:
    """If it failed, history could not be replayed, or a wrong clock could not be kept out."""
    value = b'{"time":1700000060001,"values":{"flow":1}}'
    assert len(decode([value])[0].records) == 1
    assert [reject.reason for reject in decode([value], max_skew=Duration("1m"))[0].rejects] == ["skew"]
    assert len(decode([value], max_skew=Duration("2m"))[0].records) == 1
