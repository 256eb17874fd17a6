"""Streams that send nothing: who is silent, by the partition's time, and whether it is the whole partition's trouble.

A stream is *silent* once partition time has advanced by `factor` times the stream's usual spacing, at least by `min`,
since its last used record. Its usual spacing is the longest that it lately had, in partition time: it falls by 1/256
with each spacing, and no spacing counts for more than the limit that it broke. Before `_KNOWN` spacings nothing is said
of a stream. It speaks again with its next used record; forgotten after `record.expire`, its alert ends, too.

Where a stream falls silent while more than a fifth of the live ones (two at least) are half-way to it or further, it is
the partition that is silent: one event, and who falls silent while it lasts is taken into it. It is over as soon as so
few of these are left; whoever is left then begins to be silent anew, and is told of by itself a whole limit later.

All this is a function of the records in their order: deadlines are looked for at each record, wherever a batch ends.
"""

from __future__ import annotations

import heapq
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from monitor.quality.rounds import rounds
from monitor.quality.settings import Silence
from monitor.record import NEVER
from monitor.table import Column, StreamTable

SHARE = 0.2
"""More than this share of a partition's live streams, and it is the partition."""

_KNOWN = 8
_DECAY = 1 - 1 / 256
_SPEAKS, _EXPIRES, _FALLS = range(3)


@dataclass(frozen=True, slots=True)
class Heard:
    """The accepted records of a batch, in the order of `Judged.by_due`.

    Attributes:
        slot: `(n,)` int32.
        due: `(n,)` int64, offset of the record that made it accepted.
        time: `(n,)` int64 ms, the partition's time after it.
    """

    slot: NDArray[np.int32]
    due: NDArray[np.int64]
    time: NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Turn:
    """Something that happened to one stream, or to the partition in the name of one of its streams.

    Attributes:
        slot: the stream.
        place: the record that caused it, an index into `Heard`.
        since: ms, the partition's time when the stream was last heard of.
        score: seconds of silence, or the share of silent streams; 0 when the stream speaks.
        line: the limit of that.
        firing: whether it falls silent.
        expired: whether the stream is forgotten.
        rarer: of a sampling rate, whether records come more rarely than they did.
    """

    slot: int
    place: int
    since: int
    score: float
    line: float
    firing: bool
    expired: bool = False
    rarer: bool = False


@dataclass(frozen=True, slots=True)
class Turns:
    """What happened in a batch: to streams, to the partition; and whose state changed though they sent nothing."""

    streams: Sequence[Turn]
    partition: Sequence[Turn]
    changed: Sequence[int]


@dataclass(frozen=True, slots=True)
class _Spans:
    """From each record of a stream to its next: one row each, those that began before the batch first.

    Attributes:
        slot: `(m,)`.
        begin: `(m,)` the record's place, -1 = before the batch.
        end: `(m,)` the place of the stream's next record, `n` = not in the batch.
        since: `(m,)` ms, the partition's time at the record.
        quiet: `(m,)` ms, from when on silence counts; changed where it begins anew.
        limit: `(m,)` float64 ms, infinite while too little is known.
    """

    slot: NDArray[np.intp]
    begin: NDArray[np.intp]
    end: NDArray[np.intp]
    since: NDArray[np.int64]
    quiet: NDArray[np.int64]
    limit: NDArray[np.float64]


class Silences:
    """Finds silent streams; its columns change with each record, as the one of `Liveness` does."""

    COLUMNS = (
        Column("quality_spacing", np.float64),  # ms, the longest usual one
        Column("quality_spacings", np.uint8),  # how many are known, up to `_KNOWN`
        Column("quality_grace", np.int64),  # ms after its last record from which its silence counts
        Column("quality_absorbed", np.bool_),  # silent, and part of the partition's silence
    )

    def __init__(self, settings: Silence | None, expire: int) -> None:
        """Set up; `expire` is `record.expire` in ms; without settings nobody is ever silent."""
        self._settings = settings
        self._expire = expire

    def process(
        self, table: StreamTable, heard: Heard, firing: NDArray[np.bool_], carriers: NDArray[np.bool_]
    ) -> Turns:
        """Take the records of a batch; to be called before `Liveness.touch`.

        Args:
            table: the partition's table; `active` is as before the batch.
            heard: the records.
            firing: for each slot, whether an alert for its silence is firing.
            carriers: for each slot, whether the partition's silence is firing in its name.
        """
        if len(heard.slot) == 0 or (self._settings is None and not firing.any() and not carriers.any()):
            return Turns([], [], [])
        spans = self._learn(table, heard)
        last = heard.time[np.maximum(spans.end - 1, 0)]
        near = spans.quiet + spans.limit <= last
        mine = firing[spans.slot] | carriers[spans.slot] | table["quality_absorbed"][spans.slot]
        if not (near | mine).any():
            return Turns([], [], [])
        return _Course(table, heard, spans, self._expire, firing, carriers).run(near | mine)

    def _limits(self, spacing: NDArray[np.float64], known: NDArray[np.uint8]) -> NDArray[np.float64]:
        """Return the limits of streams in ms."""
        if self._settings is None:
            return np.full(len(spacing), np.inf)
        limit = np.maximum(self._settings.factor * spacing, self._settings.min.ms)
        return np.where(known < _KNOWN, np.inf, limit)

    def _learn(self, table: StreamTable, heard: Heard) -> _Spans:
        """Learn the spacings of a batch, and return its spans."""
        n = len(heard.slot)
        order = np.argsort(heard.slot, kind="stable")
        latest = np.where(table["live"], table["active"], NEVER)
        before = np.flatnonzero(latest != NEVER)
        begin, end = np.full(table.capacity, -1, np.intp), np.full(n, n, np.intp)
        spacing, known = table["quality_spacing"], table["quality_spacings"]
        limit = np.empty(n)
        first = _Spans(
            before,
            np.full(len(before), -1, np.intp),
            np.full(len(before), n, np.intp),
            latest[before],
            latest[before] + table["quality_grace"][before],
            self._limits(spacing[before], known[before]),
        )
        where = np.full(table.capacity, -1, np.intp)
        where[before] = np.arange(len(before))
        for turn in rounds(heard.slot[order]):
            place = order[turn]
            slots, time = heard.slot[place], heard.time[place]
            told, came = latest[slots] != NEVER, begin[slots] >= 0
            end[begin[slots][came]] = place[came]
            first.end[where[slots][told & ~came]] = place[told & ~came]
            gap = np.where(told, time - np.where(told, latest[slots], 0), 0)
            counts = gap > 0
            least = np.minimum(gap, self._limits(spacing[slots], known[slots]))
            spacing[slots] = np.where(counts, np.maximum(least, spacing[slots] * _DECAY), spacing[slots])
            known[slots] += (counts & (known[slots] < _KNOWN)).astype(np.uint8)
            limit[place] = self._limits(spacing[slots], known[slots])
            latest[slots], begin[slots] = time, place
        table["quality_grace"][heard.slot] = 0
        return _Spans(
            np.concatenate([first.slot, heard.slot]),
            np.concatenate([first.begin, np.arange(n)]),
            np.concatenate([first.end, end]),
            np.concatenate([first.since, heard.time]),
            np.concatenate([first.quiet, heard.time]),
            np.concatenate([first.limit, limit]),
        )


class _Course:
    """The course of a batch in which somebody is, or falls, silent: what happens, one thing after another."""

    def __init__(
        self,
        table: StreamTable,
        heard: Heard,
        spans: _Spans,
        expire: int,
        firing: NDArray[np.bool_],
        carriers: NDArray[np.bool_],
    ) -> None:
        """Set up; arguments as those of `Silences.process`."""
        self._table, self._heard, self._spans, self._expire = table, heard, spans, expire
        self._n = len(heard.slot)
        self._firing = firing.copy()
        self._absorbed = table["quality_absorbed"]
        self._inside = set(np.flatnonzero(self._absorbed).tolist())
        self._carriers = set(np.flatnonzero(carriers).tolist())
        self._streams: list[Turn] = []
        self._partition: list[Turn] = []
        self._changed: set[int] = set()
        # How many streams are live after each record: those that were heard of, and not for longer than `expire`.
        until = np.minimum(spans.end, np.searchsorted(heard.time, spans.since + expire))
        steps = np.bincount(np.minimum(np.maximum(spans.begin, 0), until), minlength=self._n + 1)
        self._live = np.cumsum(steps - np.bincount(until, minlength=self._n + 1))

    def run(self, wanted: NDArray[np.bool_]) -> Turns:
        """Go through what happens in these spans."""
        spans, time = self._spans, self._heard.time
        self._events: list[tuple[int, int, int]] = []
        for span in np.flatnonzero(wanted).tolist():
            end = int(spans.end[span])
            expires = int(np.searchsorted(time, spans.since[span] + self._expire))
            if expires < end:
                self._events.append((expires, _EXPIRES, span))
            elif end < self._n:
                self._events.append((end, _SPEAKS, span))
            self._watch(span, 0)
        heapq.heapify(self._events)
        if self._inside and not self._carriers:  # who came from another partition, whose silence is not this one's
            self._release(0)
        while self._events:
            place = self._events[0][0]
            ending: list[int] = []
            falling: list[int] = []
            while self._events and self._events[0][0] == place:
                _, kind, span = heapq.heappop(self._events)
                (falling if kind == _FALLS else ending).append(span)
            self._end(ending, place)
            self._fall([span for span in falling if self._due(span, place)], place)
        return Turns(self._streams, self._partition, sorted(self._changed))

    def _watch(self, span: int, least: int) -> None:
        """Wait for the record at which a stream is silent, `least` or a later one."""
        spans = self._spans
        if spans.limit[span] < np.inf:
            deadline = spans.quiet[span] + spans.limit[span]
            place = max(least, int(np.searchsorted(self._heard.time, deadline)))
            if place < spans.end[span]:
                heapq.heappush(self._events, (place, _FALLS, span))

    def _due(self, span: int, place: int) -> bool:
        """Return whether a stream falls silent now, and is not silent already, or forgotten."""
        spans, now = self._spans, self._heard.time[place]
        slot = int(spans.slot[span])
        silent = self._firing[slot] or slot in self._inside
        gone = now >= spans.since[span] + self._expire
        return not silent and not gone and bool(now >= spans.quiet[span] + spans.limit[span])

    def _end(self, ending: Sequence[int], place: int) -> None:
        """Streams speak, or are forgotten."""
        spans, lasted = self._spans, len(self._inside)
        for span in ending:
            slot, since, expired = int(spans.slot[span]), int(spans.since[span]), int(spans.end[span]) != place
            if self._firing[slot]:
                self._firing[slot] = False
                line = float(spans.limit[span]) / 1000 if np.isfinite(spans.limit[span]) else 1.0  # not asked for now
                self._streams.append(Turn(slot, place, since, 0.0, line, firing=False, expired=expired))
            if expired and slot in self._carriers:
                self._carriers.discard(slot)
                self._partition.append(Turn(slot, place, since, 0.0, SHARE, firing=False, expired=True))
            if slot in self._inside:
                self._inside.discard(slot)
                self._absorbed[slot] = False
                self._changed.add(slot)
        live = int(self._live[place])
        if len(self._inside) < lasted and len(self._inside) <= SHARE * live:
            for carrier in self._carriers:
                share = len(self._inside) / live if live else 0.0
                self._partition.append(Turn(carrier, place, int(self._heard.time[place]), share, SHARE, firing=False))
            self._carriers.clear()
        if self._inside and not self._carriers:
            self._release(place)

    def _release(self, place: int) -> None:
        """Let the silence of those that are left begin anew."""
        now, spans = int(self._heard.time[place]), self._spans
        left = np.array(sorted(self._inside), np.intp)
        here = np.flatnonzero(np.isin(spans.slot, left) & (spans.begin <= place) & (spans.end > place))
        spans.quiet[here] = now
        self._absorbed[left] = False
        self._inside.clear()
        self._changed.update(left.tolist())
        for span in here.tolist():
            if spans.end[span] == self._n:  # no record of it in this batch will begin a new span
                self._table["quality_grace"][spans.slot[span]] = now - spans.since[span]
            self._watch(span, place)

    def _fall(self, falling: Sequence[int], place: int) -> None:
        """Streams fall silent: each by itself, or the partition."""
        if not falling:
            return
        spans, now = self._spans, int(self._heard.time[place])
        if not self._carriers:
            here = (spans.begin <= place) & (spans.end > place) & (now < spans.since + self._expire)
            here &= ~self._firing[spans.slot] & (spans.quiet + spans.limit / 2 <= now)
            quiet, live = int(np.count_nonzero(here)), int(self._live[place])
            if quiet > max(1, SHARE * live):
                first = min(falling, key=lambda span: self._table.raw_id(int(spans.slot[span])))
                slot = int(spans.slot[first])
                self._carriers.add(slot)
                self._changed.add(slot)
                self._partition.append(Turn(slot, place, int(spans.since[first]), quiet / live, SHARE, firing=True))
        for span in falling:
            slot, since = int(spans.slot[span]), int(spans.since[span])
            self._changed.add(slot)
            if self._carriers:
                self._inside.add(slot)
                self._absorbed[slot] = True
            else:
                self._firing[slot] = True
                score, line = (now - spans.quiet[span]) / 1000, spans.limit[span] / 1000
                self._streams.append(Turn(slot, place, since, float(score), float(line), firing=True))
