"""Faults of the wall clock: F16."""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable

from tests.faults.catalogue import fault
from tests.faults.clock import VARIABLE
from tests.faults.world import World

HOUR = 3_600.0


def _jump(world: World, turn: Callable[[float], None]) -> None:
    """An hour, to and fro, and once more the other way round."""
    sign = world.chance.choice([-1, 1])
    for hours in (sign, -sign, 0):
        turn(hours * HOUR)
        world.fleet.rest(world.chance.uniform(1.5, 3))


def _far(world: World, turn: Callable[[float], None]) -> None:
    """Two hours ahead: brokers refuse messages whose time is more than an hour ahead of theirs."""
    turn(2 * HOUR)
    world.fleet.rest(world.chance.uniform(3, 6))
    turn(0)


def _step(world: World, turn: Callable[[float], None]) -> None:
    """What NTP does to a clock that is a little off: steps of up to some seconds, backwards more often than not."""
    for _ in range(8):
        turn(world.chance.uniform(-5, 2))
        world.fleet.rest(world.chance.uniform(0.2, 1))
    turn(0)


KINDS: dict[str, Callable[[World, Callable[[float], None]], None]] = {
    "an hour": _jump,
    "two hours ahead": _far,
    "steps of seconds": _step,
}
_SUMMER = "summer time begins and ends"


@fault("F16", "the wall clock jumps by hours or seconds, to and fro; summer time begins and ends", weight=2)
def clock(world: World) -> list[str]:
    """Let a member, or all of them, believe another time; some are killed meanwhile, and start with the wrong one."""
    if not world.clocks:
        world.clocks = [*itertools.product((*KINDS, _SUMMER), (True, False))]
        world.chance.shuffle(world.clocks)
    kind, everybody = world.clocks.pop()
    world.told.append(f"{kind}, {'all members' if everybody else 'one member'}")
    names = list(world.fleet.members) if everybody else [world.pick()]
    if kind == _SUMMER:
        _summer(world, names)
    else:
        _wrong(world, names, KINDS[kind])
    for name in names:
        world.fleet.members[name].env.clear()
        world.kill(name)
    return []


def _wrong(world: World, names: list[str], kind: Callable[[World, Callable[[float], None]], None]) -> None:
    """Let a file tell how far the clock is off, and one of the members start while it is."""
    offset = world.folder / "clock"

    def turn(seconds: float) -> None:
        part = offset.with_suffix(".part")
        part.write_text(f"{seconds:.1f}")
        part.rename(offset)

    turn(0)
    _again(world, names, **{VARIABLE: str(offset)})
    world.fleet.ready(world.patience)
    kind(world, turn)
    turn(world.chance.choice([-HOUR, HOUR]))
    world.kill(world.chance.choice(names))
    world.fleet.rest(4)
    turn(0)
    world.fleet.rest(1)


def _summer(world: World, names: list[str]) -> None:
    """Local time goes an hour ahead in some seconds, and back again some seconds later: UTC stays what it is."""
    now = time.time()
    begins, ends = _rule(now + 5), _rule(now + HOUR + 12)  # the end is told in summer time
    _again(world, names, TZ=f"WIN0SUM,{begins},{ends}")
    world.fleet.rest(14)


def _rule(at: float) -> str:
    """Return a moment as POSIX writes it in a time zone: the day of the year from 0 on, and the time of that day."""
    moment = time.gmtime(at)
    return f"{moment.tm_yday - 1}/{time.strftime('%H:%M:%S', moment)}"


def _again(world: World, names: list[str], **env: str) -> None:
    """Start members again with more of an environment."""
    for name in names:
        world.fleet.members[name].env.update(env)
        world.kill(name)
    world.fleet.tend()
