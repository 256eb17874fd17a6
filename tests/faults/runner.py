"""Faults one after the other, for as long as one likes, and what came of them."""

from __future__ import annotations

import random
import shutil
import sys
import time
import traceback
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from kafka.errors import KafkaError

from models.bundle import Bundle, read
from tests.faults import (
    faults_brokers,
    faults_clock,
    faults_data,
    faults_disks,
    faults_network,
    faults_processes,
    faults_side,
)
from tests.faults.catalogue import FAULTS, Fault
from tests.faults.proxy import Proxies
from tests.faults.world import Verdict, World
from tests.kafka.broker import BrokerError
from tests.kafka.cluster import Cluster

CATALOGUE = (faults_brokers, faults_clock, faults_data, faults_disks, faults_network, faults_processes, faults_side)
"""Importing them has entered their faults."""

_ENOUGH, _MANY = 6, 60
"""So many kills must have come between commits, and so many must have hit a transaction and all crash points."""

_EPISODES = 15
"""So many of them happen to one world, before a new one begins with nothing."""


@dataclass
class Outcome:
    """What a run came to.

    Attributes:
        verdicts: of each episode.
        kills: from outside (`external`), at each crash point, and `term`.
        statuses: exit statuses of daemons that were not killed.
        places: distinct committed offsets at kills from outside, and how many of these kills there were.
        missed: crash points that were not reached in time.
        told: which kind of fault, where there are several.
    """

    verdicts: list[Verdict] = field(default_factory=list)
    kills: Counter[str] = field(default_factory=Counter)
    statuses: Counter[int] = field(default_factory=Counter)
    advanced: int = 0
    looked: int = 0
    missed: Counter[str] = field(default_factory=Counter)
    told: Counter[str] = field(default_factory=Counter)
    seconds: float = 0.0

    @property
    def killed(self) -> int:
        """All SIGKILLs."""
        return sum(count for name, count in self.kills.items() if name != "term")

    @property
    def broken(self) -> list[str]:
        """Everything that does not hold."""
        found = [f"{verdict.fault}: {each}" for verdict in self.verdicts for each in verdict.broken]
        return found + self.vacuous

    @property
    def vacuous(self) -> list[str]:
        """What makes a run prove less than it seems to (I11)."""
        found = []
        if self.looked >= _ENOUGH and self.advanced * 3 < self.looked:
            found.append(f"I11: only {self.advanced} of {self.looked} kills came between two commits")
        if self.killed >= _MANY:
            if not sum(verdict.aborted for verdict in self.verdicts):
                found.append("I11: no transaction died with events in it")
            missing = set(faults_processes.ALL_PLACES) - set(self.kills)
            if missing and self.missed.total() + sum(self.kills.values()) - self.kills["external"] >= _MANY:
                found.append(f"I11: no crash came at {', '.join(sorted(missing))}")
        return found


class Runner:
    """Runs faults."""

    def __init__(
        self,
        bundle: Bundle,
        folder: Path,
        seed: int,
        *,
        rate: float = 300.0,
        keep: Path | None = None,
        **how: Any,
    ) -> None:
        """Set up.

        Args:
            bundle: what the daemons serve; it is copied.
            folder: scratch.
            seed: decides which faults come, and what happens in them.
            rate: records a second.
            keep: where the logs of an episode go that broke something.
            how: what each world is to be like.
        """
        self._how = how
        self._bundle, self._folder, self._rate, self._keep = bundle, folder, rate, keep
        self._chance = random.Random(seed)  # noqa: S311 - which fault comes next
        self._cluster: Cluster | None = None
        self._proxies: Proxies | None = None
        self._world: World | None = None
        self._worlds = self._age = 0
        self.outcome = Outcome()

    def run(self, faults: Sequence[str], seconds: float = 0, kills: int = 0) -> Outcome:
        """Run each of these faults once, and then, until time and kills are reached, faults as chance will have it."""
        begun = time.monotonic()
        try:
            names = list(faults)
            self._chance.shuffle(names)
            for name in names:
                self._episode(FAULTS[name])
            while time.monotonic() - begun < seconds or self._killed() < kills:
                self._episode(self._draw(faults))
        finally:
            self.close()
            self.outcome.seconds = time.monotonic() - begun
        return self.outcome

    def seek_harm(self, faults: Sequence[str], most: int) -> Outcome:
        """Run these faults in turn until something is broken, but not more than so many."""
        begun = time.monotonic()
        try:
            for turn in range(most):
                self._episode(FAULTS[faults[turn % len(faults)]])
                if self.outcome.verdicts[-1].broken:
                    break
        finally:
            self.close()
            self.outcome.seconds = time.monotonic() - begun
        return self.outcome

    def close(self) -> None:
        """End world and cluster."""
        self._end_world()
        if self._proxies is not None:
            self._proxies.close()
        if self._cluster is not None:
            self._cluster.stop()
        self._proxies = self._cluster = None

    def _killed(self) -> int:
        world = Counter[str]() if self._world is None else self._world.fleet.kills
        return self.outcome.killed + world.total() - world["term"]

    def _draw(self, faults: Sequence[str]) -> Fault:
        kinds = [FAULTS[name] for name in faults]
        return self._chance.choices(kinds, [kind.weight for kind in kinds])[0]

    def _episode(self, fault: Fault) -> None:
        verdict = Verdict(fault.name)
        begun = time.monotonic()
        whole = True
        try:
            world = self._ready()
            world.fleet.ready(world.patience)
            world.feed.start(self._rate)
            world.fleet.rest(0.5)
            verdict.broken += fault.run(world)
            world.check(verdict)
        except (BrokerError, TimeoutError, KafkaError, AssertionError) as error:
            where = traceback.extract_tb(error.__traceback__)[-1]
            verdict.broken.append(
                f"the fault could not be carried through: {type(error).__name__}: {error}"
                f" ({Path(where.filename).name}:{where.lineno}: {where.line})"
            )
            whole = False
        verdict.seconds = time.monotonic() - begun
        self.outcome.verdicts.append(verdict)
        told = f" ({self._world.told[-1]})" if self._world is not None and self._world.told else ""
        if self._world is not None and self._world.told:
            self.outcome.told[f"{fault.name} {self._world.told.pop()}"] += 1
        say(
            f"{len(self.outcome.verdicts):4} {fault.name:4}{told} {verdict.seconds:5.0f} s"
            f" {verdict.records:6} records {verdict.events:4} events, {verdict.lost} lost, {verdict.doubled} doubled"
            f" {'; '.join(verdict.broken)[:1500]}"
        )
        if verdict.broken:
            self._save(verdict)
        if not whole:
            self.close()

    def _ready(self) -> World:
        """Return a world that is whole."""
        if self._cluster is None:
            self._cluster = Cluster().start()
            self._proxies = Proxies(self._cluster.proxy_ports, self._cluster.inner_ports)
        if self._world is not None and (self._age >= _EPISODES or self.outcome.verdicts[-1].broken):
            self._end_world()
        if self._world is None:
            assert self._proxies is not None
            self._worlds += 1
            folder = self._folder / f"world-{self._worlds}"
            folder.mkdir()
            copy = Path(shutil.copytree(self._bundle.path, folder / "bundle"))
            chance = random.Random(self._chance.random())  # noqa: S311 - what happens in a fault
            self._world = World(self._cluster, self._proxies, read(copy), folder, chance, **self._how)
            self._age = 0
        self._age += 1
        return self._world

    def _end_world(self) -> None:
        """Close the world, and add up what happened in it."""
        world, self._world = self._world, None
        if world is None:
            return
        world.close()
        outcome = self.outcome
        outcome.kills += world.fleet.kills
        outcome.statuses += world.fleet.statuses
        outcome.looked += len(world.advanced)
        outcome.advanced += len(set(world.advanced))
        outcome.missed.update(world.missed)

    def _save(self, verdict: Verdict) -> None:
        """Keep the logs of what went wrong."""
        if self._keep is None or self._world is None:
            return
        target = self._keep / f"{len(self.outcome.verdicts)}-{verdict.fault}"
        shutil.copytree(self._world.folder, target, ignore=shutil.ignore_patterns("bundle"), dirs_exist_ok=True)
        (target / "broken.txt").write_text("\n".join(verdict.broken))


def say(line: str) -> None:
    """Tell how it goes."""
    sys.stderr.write(line.rstrip() + "\n")
    sys.stderr.flush()
