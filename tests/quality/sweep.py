"""Alerts at another level than the default, from scores that a replay has written down: the line and rest alone again.

The line's own class runs over the recorded scores with another `level`, and beside it the rule of `alert` with its
defaults: `open_after` windows over the line in a row open, `resolve_after` under it resolve, none opens in the rest.
At the default level this gives the openings that the replay gave; the harness checks that it does.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from monitor.alert import Alerter, AlertSettings
from monitor.table import StreamTable
from monitor.threshold import Prior, Unified
from tests.quality.product import Found
from tests.quality.recordings import Series


def openings(found: Found, part: Series, prior: Prior, levels: Sequence[float]) -> NDArray[np.bool_]:
    """Return the rows `(levels, rows)` at which an alert would have opened with a line that begins at each level.

    Args:
        found: recorded scores of the series.
        part: the series.
        prior: of the bundle that it was scored with.
        levels: where the line begins.
    """
    alert, count = AlertSettings(), len(levels)
    line = Unified(Unified.Settings(), prior, alert.open_after)
    line.begins = np.array(levels)  # type: ignore[assignment]  # one stream a level: slots are places in it
    rest = Alerter(alert, part.values.shape[1], prior.windows_per_stream)._rules.rest._windows
    table = StreamTable(line.columns)
    slots = np.array([table.assign(str(number).encode()) for number in range(count)], np.int32)
    table.admit(slots.astype(np.intp))
    opened = np.zeros((count, len(part.time)), np.bool_)
    firing = np.zeros(count, np.bool_)
    over_run, under_run = np.zeros(count, np.int64), np.zeros(count, np.int64)
    last = np.full(count, -(2**62), np.int64)
    never = np.zeros(count, np.bool_)
    for index, row in enumerate(np.flatnonzero(found.status > 0).tolist(), start=1):
        score = np.full(count, found.score[row])
        over = score > line.step(table, slots, score, np.full(count, part.time[row]), never)
        under_run = np.where(over, 0, under_run + 1)
        recovered = firing & (under_run >= alert.resolve_after)
        over_run = np.where(over & ~firing & (index - last > rest), over_run + 1, 0)
        opening = over_run == alert.open_after
        opened[:, row] = opening
        last = np.where(opening, index, last)
        firing = (firing & ~recovered) | opening
    return opened
