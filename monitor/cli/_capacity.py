"""`tidegauge check --capacity`: what a load would take, in lines."""

from __future__ import annotations

from collections.abc import Sequence

from monitor.capacity import HEADROOM, Load, capacity
from monitor.cli._size import size
from monitor.engine import Engine
from monitor.state import StateSettings


def lines(engine: Engine, load: Load, one: float, state: StateSettings) -> Sequence[str]:
    """Say what a load takes, if scoring a window takes `one` seconds."""
    found = capacity(engine, load, one, state)
    members = f"{found.members} member" + ("s" if found.members > 1 else "")
    each = load.records / found.members / found.most
    if found.enough:
        busy = f"{members}, each busy for {each:.0%} of its time at most ({HEADROOM:.0%} is planned for)"
    else:
        busy = (
            f"{members}, one a partition, are not enough (each {each:.0%} of what it can): more partitions are needed"
        )
    where = f"{load.streams:,} streams, {load.rate:g} records a second each, {load.partitions} partitions"
    most = f"one member, which is one core, takes about {found.most:,.0f} records/s"
    said = [
        f"{where}: {load.records:,.0f} records/s, {found.windows:,.0f} windows/s",
        most,
        busy,
        f"memory of a member about {size(found.memory)}",
    ]
    if state.type != "none":
        kept = f"state about {size(found.log_rate)}/s written, {size(found.log)} kept"
        said.append(f"{kept}; a member's restore about {found.restore:.1f} s")
    return [f"capacity: {line}" for line in said]
