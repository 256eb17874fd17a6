"""When records come: streams whose sampling rate has changed, and streams whose clock is off; both lasting.

* `sampling_rate`: a stream's spacing now (a running median of the event time between its records) against what it has
  been (a slow one); `factor` times more or less, for `after` of the stream's own time, is a fault. What lasts for
  `accept` is the stream's rate by then. A single gap moves the median by an eighth.
* `clock_skew`: event time against Kafka's own timestamp, where a record has one; farther than `max`, in every record
  for `after` by Kafka's time, is a fault. Late records count, too: their clock may be why they are late.

Running medians step towards each spacing by a share of themselves (Robbins and Monro 1951, in the logarithm). A stream
that sent nothing for `alert.expire` begins to have another rate anew.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from monitor.quality.rounds import rounds
from monitor.quality.settings import ClockSkew, SamplingRate
from monitor.quality.silence import Turn
from monitor.record import NEVER, Records
from monitor.table import Column, StreamTable
from monitor.window.clock import Judged

_KNOWN = 64
"""Spacings after which a stream's rate is known; the first quarter of them moves the median in large steps."""

_LEARN, _NOW, _SLOW = 1.5, 1.125, 1 + 1 / 256


class Rates:
    """Finds streams whose sampling rate has changed."""

    COLUMNS = (
        Column("quality_rate_seen", np.int64, initial=NEVER),  # latest event time
        Column("quality_rate_known", np.uint8),  # spacings, up to `_KNOWN`
        Column("quality_rate_now", np.float64),  # ms
        Column("quality_rate_usual", np.float64),  # ms
        Column("quality_rate_since", np.int64, initial=NEVER),  # event time since when these differ
        Column("quality_rate_over", np.bool_),
    )

    def __init__(self, settings: SamplingRate | None, expire: int) -> None:
        """Set up; `expire` is `alert.expire` in ms; without settings no rate has changed."""
        self._settings, self._expire = settings, expire

    def process(self, table: StreamTable, judged: Judged) -> Sequence[Turn]:
        """Take the accepted records of a batch; places are those of `Judged.by_due`."""
        over = table["quality_rate_over"]
        arrivals, settings = judged.arrivals, self._settings
        if settings is None and not over.any():
            return []
        limit, after, accept = (settings.factor, settings.after.ms, settings.accept.ms) if settings else (1.0, 0, 0)
        place = np.empty(len(arrivals), np.intp)
        place[judged.by_due] = np.arange(len(arrivals))
        known, now, usual = (table[f"quality_rate_{name}"] for name in ("known", "now", "usual"))
        last, begun = table["quality_rate_seen"], table["quality_rate_since"]
        turns: list[Turn] = []
        for turn in rounds(arrivals.slot):
            slots, seen = arrivals.slot[turn], arrivals.seen[turn]
            before = last[slots]
            told = (before != NEVER) & ~arrivals.reset[turn] & (seen > before)
            gap = np.where(told, seen - np.where(told, before, 0), 0)
            first, learns = known[slots] == 0, known[slots] < _KNOWN
            step = np.where(known[slots] < _KNOWN // 4, _LEARN, _NOW)
            here = np.where(first, gap, _towards(now[slots], gap.astype(np.float64), step))
            slow = np.where(learns, here, _towards(usual[slots], here, np.full(len(turn), _SLOW)))
            ratio = np.maximum(here, usual[slots]) / np.maximum(np.minimum(here, usual[slots]), 1e-3)
            off = told & ~learns & (ratio > limit) & (settings is not None)
            since = np.where(off & (begun[slots] != NEVER) & (gap < self._expire), begun[slots], seen)
            usual[slots] = np.where(told, np.where(off & (seen - since < accept), usual[slots], slow), usual[slots])
            accepted = off & (seen - since >= accept)
            usual[slots] = np.where(accepted, here, usual[slots])
            found = off & ~accepted & (seen - since >= after)
            now[slots] = np.where(told, here, now[slots])
            known[slots] += (told & learns).astype(np.uint8)
            stays = ~told & (settings is not None)  # a record of the same time says nothing
            begun[slots] = np.where(stays, begun[slots], np.where(off & ~accepted, since, NEVER))
            found = np.where(stays, over[slots], found)
            last[slots] = seen
            rarer, line = here > usual[slots], np.full(len(turn), limit)
            turns += _turns(over, slots, found, place[turn], np.maximum(before, 0), ratio, line, rarer)
        return turns


class Skews:
    """Finds streams whose clock is off."""

    COLUMNS = (
        Column("quality_skew_since", np.int64, initial=NEVER),  # since when every record is off
        Column("quality_skew_over", np.bool_),
    )

    def __init__(self, settings: ClockSkew | None) -> None:
        """Set up; without settings no clock is off."""
        self._settings = settings

    def process(self, table: StreamTable, records: Records) -> Sequence[Turn]:
        """Take the records of a batch, whatever becomes of them; places are theirs."""
        over, settings, stamp = table["quality_skew_over"], self._settings, records.stamp
        if settings is None and not over.any():
            return []
        if stamp is None:
            stamp = np.full(len(records), -1)
        most, after = (settings.max.ms, settings.after.ms) if settings else (0, 0)
        stamped = np.flatnonzero((stamp >= 0) | (settings is None))
        order = stamped[np.argsort(records.slot[stamped], kind="stable")]
        begun = table["quality_skew_since"]
        turns: list[Turn] = []
        for turn in rounds(records.slot[order]):
            place = order[turn]
            slots, kafka = records.slot[place], stamp[place]
            skew = np.abs(records.time[place] - kafka)
            off = (skew > most) & (settings is not None)
            since = np.where(off & (begun[slots] != NEVER), begun[slots], kafka)
            begun[slots] = np.where(off, since, NEVER)
            score, line = skew / 1000, np.full(len(turn), most / 1000 or 1.0)
            found = off & (kafka - since >= after)
            turns += _turns(over, slots, found, place, records.time[place], score, line, np.zeros(len(turn), np.bool_))
        return turns


def _towards(value: NDArray[np.float64], goal: NDArray[np.float64], step: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return values a step nearer to their goals, and not beyond."""
    near: NDArray[np.float64] = np.where(goal > value, np.minimum(value * step, goal), np.maximum(value / step, goal))
    return near


def _turns(
    over: NDArray[np.bool_],
    slots: NDArray[np.int32],
    found: NDArray[np.bool_],
    place: NDArray[np.intp],
    since: NDArray[np.int64],
    score: NDArray[np.float64],
    line: NDArray[np.float64],
    rarer: NDArray[np.bool_],
) -> list[Turn]:
    """Return the changes of a round, and note them."""
    changed = np.flatnonzero(over[slots] != found)
    over[slots] = found
    return [
        Turn(
            int(slots[i]),
            int(place[i]),
            int(since[i]),
            float(score[i]),
            float(line[i]),
            firing=bool(found[i]),
            rarer=bool(rarer[i]),
        )
        for i in changed.tolist()
    ]
