"""What is wrong with the data of a batch's windows, and the alerts that it makes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from monitor.alert import Alert, Alerter, Expiry
from monitor.pipeline.partition import Partition
from monitor.quality import Measured
from monitor.score import Scored
from monitor.window import Windows


@dataclass(frozen=True, slots=True)
class Faults:
    """What is wrong with the data of one partition's windows, which are as they came."""

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
