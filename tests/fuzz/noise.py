"""Mutations: of bytes, which may break any rule, and of values, which keep the form and break the sense."""

from __future__ import annotations

from collections.abc import Callable
from random import Random
from typing import Any

NUMBERS = (0, -1, 1, 2, 63, 64, 255, 256, 1023, 1024, 65_535, 1 << 20, (1 << 31) - 1, -(1 << 31), 1 << 31, 1 << 32)
HUGE = (1 << 40, 1 << 53, (1 << 62) - 1, 1 << 62, (1 << 63) - 1, -(1 << 63), (1 << 64) - 1)
FLOATS = (0.0, -0.0, 0.5, 1e-320, 3.5e38, -1e39, 1.7e308, float("inf"), float("-inf"), float("nan"))
TEXTS = (
    "", " ", "a", "\0", "\n", "\x7f", "ä", "é", "日本", "\u2028", "\U0001f30a", "..", "../x", "a.b", "*", "%s", "{}",
    "null", "NaN", "true", "-1", "1e999", "x" * 300, "x" * 70_000,
)  # fmt: skip
BYTES = (
    b"",
    b"\0",
    b"\xff",
    b"\xc0\x80",
    b"\xed\xa0\x80",
    b"\r\n",
    b"\x1b[2J",
    b"[" * 5_000,
    b"{" * 5_000,
    bytes(5_000),
)


def number(random: Random) -> int:
    """Draw a whole number, rather one at which something ends."""
    draw = random.randrange(10)
    if draw < 5:
        return random.choice(NUMBERS)
    if draw < 7:
        return random.choice(HUGE)
    return random.randrange(-1_000, 1_000)


def damaged(random: Random, data: bytes) -> bytes:
    """Return bytes with a few places changed, cut, doubled or put in."""
    found = bytearray(data)
    for _ in range(random.choice((1, 1, 1, 2, 4, 16))):
        at = random.randrange(len(found) + 1)
        end = min(len(found), at + random.choice((1, 1, 2, 4, 8, 64)))
        match random.randrange(7):
            case 0 if found:
                found[at % len(found)] ^= 1 << random.randrange(8)
            case 1 if found:
                found[at % len(found)] = random.choice((0, 0x7F, 0x80, 0xC1, 0xDD, 0xDF, 0xFF, random.randrange(256)))
            case 2:
                del found[at:end]
            case 3:
                found[at:at] = found[at:end]
            case 4:
                found[at:at] = random.choice(BYTES)
            case 5:
                del found[at:]
            case _:
                found[at:end] = random.randbytes(end - at)
    return bytes(found)


def odd(random: Random, value: Any, other: Callable[[Random], Any] | None = None) -> Any:
    """Return a value with one place in it changed, however deep; `other` draws what is put there now and then."""
    if isinstance(value, dict) and value and random.randrange(5):
        key = random.choice(list(value))
        changed = {**value, key: odd(random, value[key], other)}
        if random.randrange(12) == 0:
            del changed[key]
        return changed
    if isinstance(value, list | tuple) and value and random.randrange(5):
        items = list(value)
        at = random.randrange(len(items))
        match random.randrange(8):
            case 0:
                del items[at]
            case 1:
                items.insert(at, items[at])
            case 2:
                items += items
            case _:
                items[at] = odd(random, items[at], other)
        return items
    return _another(random, value, other)


def _another(random: Random, value: Any, other: Callable[[Random], Any] | None) -> Any:
    """Return something else, mostly of the same type."""
    draw = random.randrange(8)
    if draw == 0:
        return other(random) if other is not None else random.choice((None, True, 0, 0.5, "", b"", [], {}))
    if isinstance(value, bytes):
        return damaged(random, value)
    if isinstance(value, str):
        return random.choice(TEXTS) if draw < 5 else value + random.choice(TEXTS)
    if isinstance(value, int):
        return number(random) if draw < 6 else value + random.choice((-1, 1))
    if isinstance(value, float):
        return random.choice(FLOATS)
    return random.choice((None, number(random), random.choice(FLOATS), random.choice(TEXTS), random.choice(BYTES)))
