"""The envelope that `kcat -J` writes around a record: one line with its topic, partition, offset, time and key."""

from __future__ import annotations

import json
from typing import Annotated, Any, NamedTuple

import msgspec

_LARGEST = 2**63 - 2  # the offset behind it is an int64, too


class _Line(msgspec.Struct):
    """One line as it mostly is: payload and key are text."""

    topic: Annotated[str, msgspec.Meta(min_length=1)]
    partition: Annotated[int, msgspec.Meta(ge=0, le=2**31 - 1)]
    offset: Annotated[int, msgspec.Meta(ge=0, le=_LARGEST)]
    payload: str | None
    key: str | None = None
    ts: Annotated[int, msgspec.Meta(ge=-1, le=_LARGEST)] | None = None
    tstype: str = "create"


class Envelope(NamedTuple):
    """A record as it lay in Kafka; `time` is Kafka's timestamp in ms, -1 = none."""

    topic: str
    partition: int
    offset: int
    time: int
    key: bytes | None
    value: bytes | None


_lines = msgspec.json.Decoder(_Line)


def read(line: bytes) -> Envelope | None:
    """Return what is in the envelope; None if the line is none."""
    try:
        found = _lines.decode(line)
        key = None if found.key is None else found.key.encode()
        value = None if found.payload is None else found.payload.encode()
    except (msgspec.MsgspecError, ValueError, RecursionError):
        return _read_unusual(line)
    return _envelope(found, key, value)


def _envelope(found: _Line, key: bytes | None, value: bytes | None) -> Envelope:
    time = -1 if found.ts is None or found.tstype == "unknown" else found.ts
    return Envelope(found.topic, found.partition, found.offset, time, key, value)


def _read_unusual(line: bytes) -> Envelope | None:
    """Read a line that is not UTF-8, or whose payload or key is not text.

    kcat writes the bytes of a payload as they are, whatever they mean, so that MessagePack comes through; and with
    `-s` it embeds what it has decoded as JSON.
    """
    try:
        fields = json.loads(line.decode("utf-8", "surrogateescape"))
        key, value = _bytes(fields.pop("key", None)), _bytes(fields.pop("payload"))
        found = msgspec.convert({**fields, "payload": None}, _Line)
    except (msgspec.MsgspecError, ValueError, RecursionError):
        return None
    except (AttributeError, KeyError, TypeError):  # JSON, but no object, or one without a payload
        return None
    return _envelope(found, key, value)


def _bytes(content: Any) -> bytes | None:  # noqa: ANN401 - any JSON
    """Return the bytes that a payload or key had in Kafka, or embedded JSON as text."""
    if content is None:
        return None
    text = content if isinstance(content, str) else json.dumps(content, ensure_ascii=False)
    return text.encode("utf-8", "surrogateescape")
