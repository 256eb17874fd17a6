"""What is wrong with the data of a batch's windows, and the alerts that it makes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from monitor.alert import Alert, Alerter, Expiry
from monitor.pipeline.partition import Partition
from monitor.quality import SAMPLING_RATE, Heard, Measured, Turn
from monitor.record import Records
from monitor.score import Scored
from monitor.window import Windows
from monitor.window.rows import Arrivals


@dataclass(frozen=True, slots=True)
class Faults:
    """What is wrong with the data of one partition's batch.

    Attributes:
        records: its records, whatever became of them.
        arrivals: those that were accepted.
        by_due: their order, as `Judged.by_due`.
        windows: its windows as they came.
        measured: what is wrong with these, by kind.
        rates: where sampling rates begin and end to be off; places are those of `by_due`.
        skews: where clocks begin and end to be off; places are those of `records`.
    """

    records: Records
    arrivals: Arrivals
    by_due: NDArray[np.intp]
    windows: Windows
    measured: Mapping[str, Measured]
    rates: Sequence[Turn]
    skews: Sequence[Turn]

    @property
    def seen(self) -> Heard:
        """The accepted records, at their streams' own time."""
        arrivals = self.arrivals
        return Heard(arrivals.slot[self.by_due], arrivals.due[self.by_due], arrivals.seen[self.by_due])

    @property
    def came(self) -> Heard:
        """All records, at their own time."""
        return Heard(self.records.slot, self.records.offset, self.records.time)

    def opened(self, over: NDArray[np.bool_]) -> NDArray[np.int32]:
        """Return the streams of which an alert may open that silence resolves; `over`: windows over their line."""
        wrong: NDArray[np.bool_] = np.logical_or.reduce([over, *(each.over for each in self.measured.values())])
        return np.concatenate([self.windows.slot[wrong], np.array([turn.slot for turn in self.rates], np.int32)])

    def alerts(self, alerter: Alerter, partition: Partition, expiries: Sequence[Expiry]) -> list[Alert]:
        """Return the events of one kind."""
        kind = self.measured[alerter.kind]
        scored = Scored(np.ones(len(self.windows), np.bool_), kind.score, kind.ratio, kind.expected)
        return alerter.process(partition.table, partition.key, self.windows, scored, kind.line, kind.over, expiries)


def told(
    turns: Sequence[Turn],
    heard: Heard,
    alerter: Alerter,
    partition: Partition,
    features: int,
    expiries: Sequence[Expiry] = (),
) -> list[Alert]:
    """Return the events of streams that fall silent, speak again, or are forgotten; or whose times are off.

    Each turn is a window without values: from when the stream was last heard of to the record that caused the turn.
    """
    if not turns and not expiries:
        return []
    ended = [
        Expiry(turn.slot, int(heard.due[turn.place]), int(heard.time[turn.place])) for turn in turns if turn.expired
    ]
    seen = sorted((turn for turn in turns if not turn.expired), key=lambda turn: (turn.slot, turn.place))
    place = np.array([turn.place for turn in seen], np.intp)
    due, time = heard.due[place], heard.time[place]
    firing = np.array([turn.firing for turn in seen], np.bool_)
    count = len(seen)
    none = np.zeros((count, 1, features), np.float32)
    windows = Windows(
        np.array([turn.slot for turn in seen], np.int32),
        none,
        np.array([turn.since for turn in seen], np.int64),
        time,
        due,
        due,
        due,
        np.zeros(count),
        np.zeros(count, np.bool_),
    )
    score = np.array([turn.score for turn in seen], np.float64)
    line = np.array([turn.line for turn in seen], np.float64)
    rarer = np.array([turn.rarer for turn in seen], np.bool_)
    ways = np.stack([np.where(rarer, 0, score), np.where(rarer, score, 0)], axis=1).astype(np.float32)
    said = ways if alerter.kind == SAMPLING_RATE else None
    scored = Scored(np.ones(count, np.bool_), score, none[:, 0], none, said=said)
    return alerter.process(partition.table, partition.key, windows, scored, line, firing, [*expiries, *ended])
