"""Whose a record is, read before anything else of it."""

from __future__ import annotations

import msgspec
import pytest

from monitor.codec import Decoder, StreamIds
from monitor.record import RecordSettings
from monitor.sources.base import Batch
from monitor.table import StreamTable
from tests.garbage import GARBAGE

ID = "ventilateur-é"


@pytest.mark.parametrize("codec", ["json", "msgpack"])
def test_the_field_comes_before_the_key(codec: str) -> None:
    """If it failed, a record would be scored by another fleet's model than the stream it is counted for."""
    encode = msgspec.json.encode if codec == "json" else msgspec.msgpack.encode
    ids = StreamIds(RecordSettings.model_validate({"codec": codec, "stream": "meta.id"}))
    values = [
        encode({"meta": {"id": ID}, "values": {"a": 1}}),
        encode({"meta": {"id": 17}}),
        encode({"meta": {"id": None}}),
        encode({"values": {"a": [1, {"b": 2}]}}),
    ]
    keys = [b"k0", b"k1", b"k2", b"k3"]
    assert ids.of(values, keys) == [ID.encode(), b"17", b"k2", b"k3"]
    assert ids.of(values[2:], keys[2:]) == keys[2:]
    assert ids.of([encode({"meta": 7}), *values[:1]], keys[:2]) == [None, ID.encode()]  # not where an id can lie
    assert ids.of([], []) == []


def test_what_is_no_record_has_no_id() -> None:
    """If it failed, bytes that are no record would end the daemon, or take those beside them along."""
    ids, good = StreamIds(RecordSettings()), b'{"stream": "a", "values": {"pressure": 1}}'
    values = [value for bad in GARBAGE for value in (bad, good)]
    found = ids.of(values, [b"k"] * len(values))
    assert found[1::2] == [b"a"] * len(GARBAGE)
    readable = [value for value in GARBAGE if value is not None and value.startswith(b'{"') and b"NaN" not in value]
    wanted = [b"k" if value in readable and b"[" not in (value or b"") else None for value in GARBAGE]
    assert found[::2] == wanted


def test_a_record_without_an_id_is_refused_by_any_decoder() -> None:
    """If it failed, bytes that belong to no fleet could be taken for a record by the first one."""
    settings = RecordSettings()
    ids, decoder = StreamIds(settings), Decoder(settings, ["pressure"])
    values = [*GARBAGE, b'{"stream": true, "values": {"pressure": 1}}', b'{"stream": ["a"], "values": {"pressure": 1}}']
    values = [value for value, name in zip(values, ids.of(values, [b"k"] * len(values)), strict=True) if name is None]
    assert len(values) >= 7
    batch = Batch("t", 0, range(len(values)), [1_700_000_000_000] * len(values), [b"k"] * len(values), values)
    decoded = decoder.decode(batch, StreamTable(()))
    assert len(decoded.records) == 0
    assert [reject.index for reject in decoded.rejects] == list(range(len(values)))
