"""Bytes that are no record, each for another reason: every one of them must become a dead letter, and end nothing."""

from __future__ import annotations

GARBAGE: tuple[bytes | None, ...] = (
    None,
    b"",
    b"{broken",
    b"\xff\xfe",
    b"7",
    b'{"values": {"pressure": NaN}}',
    b'{"values": {"pressure": 1e39}}',
    b'{"values": {"pressure": true}}',
    b'{"values": {"colour": 1}}',
    b'{"time": "yesterday", "values": {"pressure": 1}}',
    b'{"note": ' + b"[" * 5_000,
)
