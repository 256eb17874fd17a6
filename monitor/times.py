"""Times of records in columns: ISO 8601 or numbers, into ms since 1970.

A time without an offset is UTC. What is finer than a millisecond is cut off, never rounded up into the next one; only
numbers with a fraction are rounded, since 0.001 s has no exact binary form. What cannot be read is `NEVER`.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

import numpy as np
from numpy.typing import NDArray

from monitor.record import NEVER

FIRST = 0
"""The first time that is believed, 1970-01-01, in ms."""

LAST = 4_102_444_800_000 - 1
"""The last one: the millisecond before the year 2100."""

_PER_MS = {"ms": 1, "us": 1_000, "ns": 1_000_000}
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def from_integers(numbers: NDArray[np.int64], unit: str) -> NDArray[np.int64]:
    """Return ms of `(n,)` whole numbers in `unit` (s, ms, us or ns); far outside the believed times it is `NEVER`."""
    if unit != "s":
        return numbers // _PER_MS[unit]
    near = np.abs(numbers // 2) < LAST  # halved first: the smallest int64 has no absolute value
    return np.where(near, np.where(near, numbers, 0) * 1_000, NEVER)


def from_floats(numbers: NDArray[np.float64], unit: str) -> NDArray[np.int64]:
    """Return ms of `(n,)` numbers in `unit`, rounded; NaN, infinity and what is far outside are `NEVER`."""
    with np.errstate(over="ignore", invalid="ignore"):
        ms = np.rint(numbers * 1_000 if unit == "s" else numbers / _PER_MS[unit])
        near = np.abs(ms) <= 2.0 * LAST
    return np.where(near, np.where(near, ms, 0).astype(np.int64), NEVER)


def from_text(cells: Sequence[str], unit: str) -> NDArray[np.int64]:
    """Return ms of `(n,)` texts, each a number in `unit` or ISO 8601.

    A column has one form, mostly: all cells are read at once in each form, and one by one only if none fits all.
    """
    try:
        if "_" not in "".join(cells):  # Python would take 1_000
            return from_integers(np.fromiter(map(int, cells), np.int64, len(cells)), unit)
    except (ValueError, OverflowError):
        pass
    try:
        return np.fromiter(map(_iso, cells), np.int64, len(cells))
    except ValueError:
        return np.fromiter((_one(cell.strip(), unit) for cell in cells), np.int64, len(cells))


def _iso(text: str) -> int:
    moment = datetime.fromisoformat(text)
    since = (moment if moment.tzinfo else moment.replace(tzinfo=UTC)) - _EPOCH
    return since.days * 86_400_000 + since.seconds * 1_000 + since.microseconds // 1_000


def _one(text: str, unit: str) -> int:
    if "_" in text:
        return NEVER
    try:
        return int(from_integers(np.array([int(text)], np.int64), unit)[0])
    except (ValueError, OverflowError):
        pass
    try:
        return int(from_floats(np.array([float(text)]), unit)[0])
    except ValueError:
        pass
    try:
        return _iso(text.upper())  # RFC 3339 allows t and z
    except (ValueError, OverflowError):
        return NEVER


def from_iso(text: str) -> int:
    """Return ms of one ISO 8601 text; without an offset it is UTC.

    Raises:
        ValueError: if it cannot be read.
    """
    try:
        return _iso(text)
    except ValueError:
        return _iso(text.upper())  # RFC 3339 allows t and z


def to_iso(ms: int) -> str:
    """Return `YYYY-MM-DDTHH:MM:SS.mmmZ`."""
    moment = _EPOCH + timedelta(milliseconds=ms)
    return f"{moment:%Y-%m-%dT%H:%M:%S}.{ms % 1000:03d}Z"
