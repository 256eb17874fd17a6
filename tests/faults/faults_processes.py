"""Faults of processes: F1, F2, F3, F5, F7, F8, F18."""

from __future__ import annotations

import signal
import time

from tests.faults.catalogue import fault
from tests.faults.points import PLACES, Step
from tests.faults.world import PARTITIONS, World

_LONGEST = 180.0  # seconds for what a process must come to by itself
_STILL = 90.0  # seconds that a partition may stand still while members come and go
CRASHES = 5
"""Crash points of one episode of F1."""


def crash_plan(world: World, place: str) -> list[Step]:
    """Return the steps that end in a crash at a place."""
    chance = world.chance
    if place == "in_init":
        return [Step(place, late=chance.choice([0.0, 0.05]))]
    if place == "in_rebuild":
        return [
            Step("after_flush", chance.randrange(1, 6), "error", "KafkaTimeoutError"),
            Step("in_init", late=chance.choice([0.0, 0.05])),
        ]
    if place in {"in_restore", "in_rewind"}:
        return [Step(place, chance.randrange(1, 4))]
    return [Step(place, chance.randrange(1, 12), late=0.004 if place == "in_commit" else 0.0)]


ALL_PLACES = (*PLACES, "in_rebuild")


@fault("F1", "kill -9 at points in and around the transaction", weight=8)
def crash_points(world: World) -> list[str]:
    """Crash members where it hurts; all places are used up before one comes again."""
    missed = []
    for _ in range(CRASHES):
        if not world.places:
            world.places = list(ALL_PLACES)
            world.chance.shuffle(world.places)
        place = world.places.pop()
        if not world.fleet.crash(world.pick(), place, crash_plan(world, place)):
            missed.append(place)
        world.advanced.append(sum(world.committed().values()))
    world.missed += missed
    return []


@fault("F2", "kill -9 at random times", weight=8)
def kills(world: World) -> list[str]:
    """Kill one member, or all, again and again."""
    for _ in range(8):
        world.fleet.rest(world.chance.uniform(0.3, 3))
        for name in list(world.fleet.members) if world.chance.random() < 0.15 else [world.pick()]:
            world.kill(name)
    return []


@fault("F3", "SIGTERM every 2 s", weight=2)
def terms(world: World) -> list[str]:
    """Stop members as a deployment would."""
    for _ in range(4):
        world.fleet.rest(world.chance.uniform(0.5, 2))
        world.fleet.stop(world.pick())
    return []


@fault("F5", "a member is stopped in the middle of a transaction for longer than its session, and goes on", weight=2)
def zombie(world: World) -> list[str]:
    """SIGSTOP before the offsets, the flush or the commit; another owner takes over; SIGCONT."""
    name = world.chance.choice(list(world.fleet.members))
    place = world.chance.choice(["after_poll", "after_begin", "after_flush", "after_offsets"])
    world.fleet.kill(name)
    member = world.fleet.members[name]
    world.fleet.tend(but=name)
    daemon = member.start([Step(place, world.chance.randrange(2, 8), "stop")])
    deadline = time.monotonic() + _LONGEST
    while time.monotonic() < deadline and not _stopped(daemon.process.pid):
        world.fleet.tend()
        time.sleep(0.05)
    world.fleet.rest(world.chance.uniform(8, 12))
    member.signal(signal.SIGCONT)
    world.fleet.rest(2)
    return []


def _stopped(pid: int) -> bool:
    try:
        with open(f"/proc/{pid}/stat", encoding="ascii") as file:  # noqa: PTH123 - one line
            return file.read().rpartition(")")[2].split()[0] == "T"
    except OSError:
        return False


@fault("F7", "two processes with the same identity", weight=1)
def twins(world: World) -> list[str]:
    """Start a second process with a member's configuration: exactly one survives, the other ends with 75."""
    name = world.pick(static=True)
    member = world.fleet.members[name]
    one = member.daemon
    world.fleet.tend()
    one = member.daemon
    assert one is not None
    two = member.start()
    begun = time.monotonic()
    while time.monotonic() - begun < _LONGEST and one.process.poll() is None and two.process.poll() is None:
        world.fleet.tend(but=name)
        time.sleep(0.05)
    ended = [each for each in (one, two) if each.process.poll() is not None]
    if len(ended) != 1:
        for each in (one, two):
            each.kill()
        return [f"F7: {2 - len(ended)} of two with one identity survive"]
    if ended[0] is two:
        member.daemon = one
    return [] if ended[0].process.returncode == 75 else [f"F7: the other ended with {ended[0].process.returncode}"]


@fault("F8", "members join and leave every 1 to 3 s, static and dynamic ones, in an orderly way or not", weight=2)
def storm(world: World) -> list[str]:
    """Rebalances one after the other; no partition may stand still all the time."""
    begun = time.monotonic()
    moved = dict.fromkeys(range(PARTITIONS), begun)
    before: dict[int, int] = {}
    idle = turn = 0
    while time.monotonic() - begun < world.storm:
        name = f"guest{len(world.advanced)}-{turn}"
        turn += 1
        world.fleet.add(name, world.member_config(name, dynamic=world.chance.random() < 0.7))
        world.fleet.rest(world.chance.uniform(1, 3))
        if world.chance.random() < 0.3:
            world.kill(name)
            world.fleet.members.pop(name)
        else:
            world.fleet.remove(name)
        world.fleet.rest(world.chance.uniform(0, 2))
        found, now = world.committed(), time.monotonic()
        moved.update({number: now for number, offset in found.items() if offset > before.get(number, -1)})
        before.update(found)
        idle = max(idle, round(now - min(moved.values())))
    world.told.append(f"a partition stood still for up to {10 * -(-idle // 10)} s")
    return [f"F8: a partition stood still for {idle} s"] if idle > _STILL else []


@fault("F18", "a slow model, and a lag to catch up with", weight=1)
def slow(world: World) -> list[str]:
    """Let a member take a second for each pass of its model, while the input comes ten times as fast."""
    name = world.pick()
    world.kill(name)
    world.fleet.members[name].start([Step("in_score", 1, "sleep", "1", times=8)])
    world.feed.rate = 2_000
    world.fleet.rest(8)
    return []
