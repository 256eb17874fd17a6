"""What is wrong with the data of a batch's windows, and the alerts that it makes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from monitor.alert import Alert, Alerter, Expiry
from monitor.pipeline.partition import Partition
from monitor.quality import Heard, Measured, Turn
from monitor.record import Records
from monitor.score import Scored
from monitor.window import Windows


@dataclass(frozen=True, slots=True)
class Faults:
    """What is wrong with the data of one partition's windows, which are as they came; and the records of its batch."""

    records: Records
    windows: Windows
    measured: Mapping[str, Measured]

    @property
    def over(self) -> NDArray[np.bool_]:
        """`(n,)`, whether anything is wrong."""
        found: NDArray[np.bool_] = np.logical_or.reduce([each.over for each in self.measured.values()])
        return found

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
    scored = Scored(np.ones(count, np.bool_), score, none[:, 0], none)
    return alerter.process(partition.table, partition.key, windows, scored, line, firing, [*expiries, *ended])
