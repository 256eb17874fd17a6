"""Stream ids: what is one, and what is none; and the pattern of all of them."""

from __future__ import annotations

import unicodedata

ALL = "*"
"""The pattern that every stream matches, and the name of the only fleet where one bundle is for all."""

LONGEST = 256
"""Longest stream id, in bytes of UTF-8."""


def wrong_id(name: str) -> str:
    """Say what is wrong with a stream id; nothing if it is a good one."""
    if not name:
        return "the stream id is empty"
    if len(name.encode("utf-8", "surrogatepass")) > LONGEST:
        return f"the stream id is longer than {LONGEST} bytes"
    if any(unicodedata.category(character) in {"Cc", "Cs"} for character in name):
        return "the stream id has control characters, or is not UTF-8"
    return ""
