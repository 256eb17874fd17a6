"""One log for the state of several fleets: what each of them writes, and one META for all.

Each fleet's streams have a table of their own, and so has the log: keys begin with the fleet's pattern, entries name
it. All fleets stand at the same input offset, since they are committed together.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping

import msgspec

from monitor.message import Message
from monitor.state.entry import FLEETS_FORMAT, Entry, FleetEntry, Meta, Metas
from monitor.state.log import StateLog
from monitor.state.store import META_KEY

_encode = msgspec.msgpack.Encoder().encode


class FleetLogs:
    """Writes the state of several fleets of one partition; it is used as a `StateLog` is."""

    def __init__(self, logs: Mapping[str, StateLog], topic: str, number: int) -> None:
        """Put logs together.

        Args:
            logs: of each fleet by its pattern, all at the same offset.
            topic: the topic of the log.
            number: its partition.
        """
        self._logs, self._topic, self._number = dict(logs), topic, number

    def write(self, next_offset: int) -> list[Message]:
        """Return the messages that bring the log to `next_offset`, META last; see `StateLog.write`."""
        entries: list[tuple[bytes, Entry]] = [
            (name.encode() + b"\0" + key, _of(name, entry))
            for name, log in self._logs.items()
            for key, entry in log.entries(next_offset)
        ]
        meta = together({name: log.meta() for name, log in self._logs.items()})
        entries.append((META_KEY, FleetEntry(meta=meta)))
        for log in self._logs.values():
            log.passed(len(entries) + 1)  # and the marker of the transaction
        return [Message(self._topic, key, _encode(entry), (), self._number) for key, entry in entries]

    def idle(self) -> bool:
        """Whether the sweep of one of them has something to write although no records came since."""
        return any(log.idle() for log in self._logs.values())

    @property
    def stands(self) -> int:
        """The input offset that the log was last brought to."""
        return next(iter(self._logs.values())).stands


def together(metas: Mapping[str, Meta]) -> Metas:
    """Return one META of those of all fleets."""
    first, every = next(iter(metas.values())), metas.values()
    plain = {name: getattr(first, name) for name in Meta.__struct_fields__}
    whole = {
        "format": FLEETS_FORMAT,
        "time": max(each.time for each in every),
        "counts": dict(sum((Counter(each.counts) for each in every), Counter())),
        "pending": sum(each.pending for each in every),
        "live": sum(each.live for each in every),
        "needed": min(each.needed for each in every),
        "log": min(each.log for each in every),
        "turn": min(each.turn for each in every),
        "barred": sorted({offset for each in every for offset in each.barred}),
    }
    return Metas(**plain | whole, fleets=dict(metas))


def _of(fleet: str, entry: Entry) -> FleetEntry:
    """Return an entry that says whose it is."""
    return FleetEntry(streams=entry.streams, rows=entry.rows, image=entry.image, rest=entry.rest, fleet=fleet)
