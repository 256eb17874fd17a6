"""Which alerts fire, as far as somebody has read the alerts topic, and from where on to read it to know that again.

A receiver such as Alertmanager must be told of a firing alert again and again. Who begins to tell it, after a restart
or a rebalance, must learn what fires from the topic, without reading all of it: a partition of alerts holds a month. So
beside each committed offset stands a note: the offset of the oldest event whose alert fires still. From there to the
committed offset is all that has to be read, and in most cases that is nothing.

An alert's events lie in one partition, in order, since the topic's key is the stream. What has left the topic by its
retention (30 d if `tidegauge topics` made it) cannot be learned: such an alert is told of again with its next event.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Literal

import msgspec

from monitor.message import Message

MOST = 100_000
"""So many events of a partition are read again at most; an alert that fires for longer than that is left out."""

UNKNOWN = 10_000
"""So many are read again where there is no note: an older version, or an operator, has set the offset."""

_NOTHING = "nothing fires"
_FROM = re.compile(r"firing from (\d+)")


class _Data(msgspec.Struct):
    status: Literal["firing", "resolved"]
    alert_id: str


class _Event(msgspec.Struct):
    data: _Data


class Firing:
    """The newest event of each alert that fires, by partition."""

    def __init__(self) -> None:
        """Begin without any."""
        self._events: dict[int, dict[str, Message]] = {}

    def take(self, events: Iterable[Message]) -> None:
        """Take events that were read from the topic, in order; what is no alert is left alone."""
        for event in events:
            try:
                data = msgspec.json.decode(event.value or b"", type=_Event).data
            except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
                continue
            known = self._events.setdefault(event.partition or 0, {})
            known.pop(data.alert_id, None)
            if data.status == "firing":
                known[data.alert_id] = event

    def events(self) -> list[Message]:
        """Return the events of the alerts that fire."""
        return [event for known in self._events.values() for event in known.values()]

    def note(self, partition: int) -> str:
        """Return what is to stand beside the committed offset of a partition."""
        known = self._events.get(partition)
        return f"firing from {min(event.offset or 0 for event in known.values())}" if known else _NOTHING


def begin(committed: int, note: str) -> int:
    """Return the offset from which on a partition must be read, up to the committed one, to know what fires."""
    if note == _NOTHING:
        return committed
    found = _FROM.fullmatch(note)
    return max(0, committed - MOST, int(found[1])) if found else max(0, committed - UNKNOWN)
