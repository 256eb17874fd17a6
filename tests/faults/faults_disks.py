"""Faults of the disks of members: F15."""

from __future__ import annotations

import json
import resource
from pathlib import Path
from typing import Any

from tests.faults import state
from tests.faults.catalogue import fault
from tests.faults.faults_side import aside_of
from tests.faults.world import PATIENCE, Verdict, World

_FULL = "/dev/full"
_FAILURES = "tidegauge_alert_publish_failures_total"
KINDS = ("no room for a sink", "no room at all", "no directory of its own")


@fault("F15", "the disk of another sink, of the log, or of the member's notes is full or cannot be written", weight=1)
def disks(world: World) -> list[str]:
    """Alerts go to Kafka all the same, and the sink that takes none is seen in the metrics."""
    if not world.disks:
        world.disks = list(KINDS)
        world.chance.shuffle(world.disks)
    kind = world.disks.pop()
    world.told.append(kind)
    path = world.folder / f"alerts-{world.asides}.jsonl"
    sinks = [{"type": "kafka", "topic": ""}, {"type": "jsonl", "path": _FULL if kind == KINDS[0] else str(path)}]
    config: dict[str, Any] = {"sink": sinks}
    if kind == KINDS[2]:  # a file stands where a directory is to be: what no right overcomes
        config |= {"state": {**state.SECTION["state"], "path": str(world.bundle.path / "bundle.json")}}
    with aside_of(world, config) as aside:
        broken = _without_room(aside) if kind == KINDS[1] else []
        verdict = aside.check(Verdict("F15"))
        broken += verdict.broken
        if not verdict.events:
            broken.append("no events")
        if kind == KINDS[0]:
            broken += _told(aside)
        else:
            broken += _written(aside, path)
        return [f"F15 {kind}: {each}" for each in broken]


def _without_room(aside: World) -> list[str]:
    """Let no file of the member grow for some seconds: not that of the sink, not its log, not its notes."""
    member = aside.fleet.members["m0"]
    limits = resource.prlimit(member.pid, resource.RLIMIT_FSIZE)
    resource.prlimit(member.pid, resource.RLIMIT_FSIZE, (0, limits[1]))
    pid = member.pid
    aside.fleet.rest(8)
    if not member.running or member.pid != pid:
        return ["it ended when its disk was full"]
    broken = _told(aside)
    resource.prlimit(pid, resource.RLIMIT_FSIZE, limits)
    return broken


def _told(aside: World) -> list[str]:
    """Wait until the metrics say that a sink fails."""
    daemon = aside.fleet.members["m0"].daemon
    assert daemon is not None
    try:
        aside.fleet.wait(
            lambda: sum(value for name, value in daemon.metrics().items() if name.startswith(_FAILURES)) > 0,
            "the metrics do not say that a sink fails",
            PATIENCE / 10,
        )
    except TimeoutError as error:
        return [str(error)]
    return []


def _written(aside: World, path: Path) -> list[str]:
    """Wait until every event that is in Kafka is in the file as well."""

    def missing() -> set[str]:
        lines = path.read_bytes().splitlines() if path.exists() else []
        return aside.seen - {str(json.loads(line)["id"]) for line in lines}

    try:
        aside.fleet.wait(lambda: not missing(), "events never come to the file", PATIENCE / 10)
    except TimeoutError as error:
        return [f"{error}: {len(missing())} of {len(aside.seen)}"]
    return []
