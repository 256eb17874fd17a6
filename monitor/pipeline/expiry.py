"""When a stream's silence ends its alerts: moments on the way of a partition's time over a batch."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from monitor.alert import Expiry
from monitor.quality import Heard
from monitor.record import NEVER
from monitor.table import StreamTable


def expiries(table: StreamTable, heard: Heard, candidates: NDArray[np.integer], expire: int) -> list[Expiry]:
    """Return the moments at which some streams have been silent for `expire` ms of partition time.

    Args:
        table: the partition's table; `active` is as before the batch.
        heard: the accepted records of the batch.
        candidates: distinct slots.
        expire: ms.
    """
    if len(candidates) == 0 or len(heard.slot) == 0:
        return []
    times = heard.time
    active = table["active"][candidates]
    earliest = np.minimum(np.where(active == NEVER, times[0], active), times[-1])
    found: list[Expiry] = []
    for slot in candidates[earliest + expire <= times[-1]].tolist():
        found += _of_stream(int(table["active"][slot]), slot, heard, expire)
    return found


def _of_stream(active: int, slot: int, heard: Heard, expire: int) -> list[Expiry]:
    """Return the moments at which one stream, last active at `active`, had been silent for `expire` ms."""
    times = heard.time
    places = np.flatnonzero(heard.slot == slot).tolist()
    found: list[Expiry] = []
    for since, until in zip([active, *times[places].tolist()], [*places, len(times)], strict=True):
        if since != NEVER:
            place = int(np.searchsorted(times, since + expire))
            if place < until:
                found.append(Expiry(slot, int(heard.due[place]), int(times[place])))
    return found
