"""What each fleet knows of a partition: restored from one log, taken on by the fleets that there are now.

Mostly they are the same as those that wrote the log. Where they are not, a stream may have become another fleet's: then
it begins anew there, its old alert is resolved (`model_changed`), and the log is written anew, as nothing of what it
said before may be read with it. The operator must have allowed that (`state.on_new_bundle`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from importlib.metadata import version

import numpy as np
import structlog
from numpy.typing import NDArray

from monitor.alert import Alert
from monitor.config import Config
from monitor.engine import Engine, Work
from monitor.fleets import AnyEngine, Fleets, again, joined
from monitor.identity import ALL
from monitor.pipeline import Partition
from monitor.routing import Router
from monitor.sources.base import Batch, Gained, Key, Rows
from monitor.state import FleetLogs, Meta, Restore, StateError, StateLog, Writer, begun, fleets_of, stages_of
from monitor.state.adoption import adopt, check_bundle, leave
from monitor.state.entry import FleetEntry, read_entry
from monitor.state.settings import Policy
from monitor.state.stages import Generation, Stage

log = structlog.get_logger(__name__)

Log = StateLog | FleetLogs


@dataclass(frozen=True, slots=True)
class Share:
    """What one fleet begins a partition with."""

    partition: Partition
    stages: Mapping[str, Generation]
    restore: Restore | None = None


@dataclass(frozen=True, slots=True)
class Fleet:
    """A fleet, as state knows it."""

    engine: Engine
    stages: tuple[Stage, Stage, Stage]
    writer: Writer
    setting: str

    def share(self, key: Key, offset: int) -> Share:
        """Return what it begins a partition with of which it knows nothing."""
        return Share(self.engine.pipeline.partition(*key), begun(self.stages, offset))


@dataclass(frozen=True, slots=True)
class Taken:
    """A partition as the fleets go on with it.

    Attributes:
        shares: what each fleet has of it.
        changed: whether something must be committed before its first record.
        anew: whether its log must be written anew.
        work: the ends of alerts that nobody goes on with; None where there are none.
    """

    shares: Mapping[str, Share]
    changed: bool = False
    anew: bool = False
    work: Work | None = None

    @property
    def streams(self) -> int:
        """How many streams it has."""
        return sum(share.partition.table.live_count for share in self.shares.values())


class Shares:
    """The fleets of one engine, and how a partition comes to them.

    Attributes:
        fleets: them, by their glob.
    """

    def __init__(self, config: Config, engine: AnyEngine) -> None:
        """Set up."""
        self.config, self.engine = config, engine
        versions = {library: version(library) for library in config.model.libraries}
        self.fleets = {
            name: Fleet(
                each,
                stages_of(each.pipeline, each.features),
                Writer(each.model, config.sha256(each.window), versions),
                config.model.setting(name),
            )
            for name, each in engine.fleets.items()
        }

    def fresh(self, key: Key, offset: int) -> Taken:
        """Return a partition of which nothing is known."""
        return Taken({name: fleet.share(key, offset) for name, fleet in self.fleets.items()}, changed=True)

    def log(self, taken: Taken, place: Gained, topic: str, position: int) -> Log:
        """Return what writes the log of a partition from here on.

        Args:
            taken: the partition.
            place: where it stands.
            topic: the topic of the log.
            position: where in the log the next message comes, or later.
        """
        settings = self.config.state
        logs = {
            name: StateLog(
                share.partition,
                topic,
                place.offset,
                writer=replace(self.fleets[name].writer, input=place.identity),
                stages=share.stages,
                pending=self.fleets[name].engine.pipeline.pending,
                sweep_records=settings.sweep_records,
                sweep_seconds=settings.sweep_interval.ms / 1000,
                position=position,
                before=None if share.restore is None else share.restore.meta,
                images=None if share.restore is None else share.restore.images,
                anew=taken.anew,
            )
            for name, share in taken.shares.items()
        }
        number = next(iter(taken.shares.values())).partition.number
        return logs[ALL] if list(logs) == [ALL] else FleetLogs(logs, topic, number)


class Restoring:
    """A partition that is being restored from its log, fleet by fleet, as they wrote it.

    Attributes:
        meta: the newest META.
        restores: of each of those fleets, by its glob.
        same: whether the fleets that there are now are those that wrote the log.
    """

    def __init__(self, shares: Shares, key: Key, meta: Meta) -> None:
        """Begin; `meta` is the newest one."""
        self.meta, self._shares, self._key = meta, shares, key
        fleets, known = shares.fleets, fleets_of(meta)
        self._first = next(iter(fleets.values()))
        self.restores = {
            name: Restore(fleet.engine.pipeline.partition(*key), each, fleet.stages)
            for name, each in known.items()
            for fleet in [fleets.get(name, self._first)]
        }
        self.same = list(known) == list(fleets)
        self._router = self._routed(list(known))

    @property
    def engines(self) -> dict[str, Engine]:
        """The engine of each fleet that there is now, by its glob."""
        return {name: fleet.engine for name, fleet in self._shares.fleets.items()}

    def check(self, policy: Policy) -> None:
        """Make sure that each fleet may go on with its bundle.

        Raises:
            StateError: if one is not the one that the state had, and may not be another one.
        """
        for name, fleet in self._shares.fleets.items():
            if name in self.restores:
                check_bundle(self.restores[name].meta, fleet.writer.model, policy, fleet.setting)

    def _routed(self, known: list[str]) -> Router | None:
        """Return what gives records to the fleets that wrote the log; None where all were one fleet's."""
        engine = self._shares.engine
        if self.same and isinstance(engine, Fleets):
            return engine.router
        if known == [ALL] and not isinstance(engine, Fleets):
            return None
        fleets, record = self._shares.fleets, self._shares.config.record
        features = {name: fleets[name].engine.features if name in fleets else () for name in known}
        return Router(record, features, engine.features)

    def apply(self, value: bytes) -> None:
        """Apply the next entry of the log.

        Raises:
            StateError: if it is damaged, or of another format.
        """
        entry = read_entry(value)
        if entry.meta is not None:
            for restore in self.restores.values():
                restore.take(entry)
            return
        fleet = entry.fleet if isinstance(entry, FleetEntry) else ALL
        if fleet in self.restores:
            self.restores[fleet].take(entry)

    def finish(self, committed: int) -> int:
        """Check that the log stands where the offsets do, and return the input offset to rewind to.

        Raises:
            StateError: if it does not.
        """
        return min(restore.finish(committed) for restore in self.restores.values())

    def rewind(self, batch: Batch | Rows) -> None:
        """Bring windows up to date with records that were processed before."""
        engines = self.engines
        partitions = {name: restore.partition for name, restore in self.restores.items()}
        for name, records in again(engines, self._router, batch, partitions):
            self.restores[name].rewind(engines[name].pipeline.windower, records)

    def taken(self, policy: Policy) -> Taken:
        """Return the partition as the fleets that there are now go on with it.

        Raises:
            StateError: if streams have come to another fleet, and may not.
        """
        shares, offset = self._shares, self.meta.next_offset
        moved = {} if self.same else self._moved()
        if policy == "refuse":
            self._refuse(moved)
        found: dict[str, Share] = {}
        works: list[Work] = []
        changed = not self.same
        for name, fleet in shares.fleets.items():
            restore = self.restores.get(name)
            if restore is None:
                found[name] = fleet.share(self._key, offset)
                continue
            adopted = adopt(restore, fleet.engine.pipeline, fleet.stages, fleet.writer.model, policy)
            found[name] = Share(restore.partition, adopted.stages, restore)
            changed = changed or adopted.changed
            figures = "alert" not in adopted.restarted
            alerts = adopted.alerts + self._leave(name, moved)
            if alerts:
                works.append(fleet.engine.resolved(alerts, self._at, restore.meta.model, figures=figures))
            if adopted.changed:
                self._tell(name, restore, adopted.restarted, len(adopted.alerts))
        for name, restore in self.restores.items():
            if name not in found:
                works += self._end(name, restore, moved, found)
        work = joined(works, self._at) if works else None
        if not self.same:
            log.warning(
                "fleets_changed",
                partition=f"{self._key[0]}-{self._key[1]}",
                before=list(self.restores),
                now=list(found),
                streams=sum(map(len, moved.values())),
                resolved=0 if work is None else len(work.alerts),
            )
        return Taken(found, changed, not self.same, work)

    @property
    def _at(self) -> dict[Key, int]:
        return {self._key: self.meta.next_offset}

    def _moved(self) -> dict[str, NDArray[np.intp]]:
        """Return the streams of each fleet of the log that are not its own any more."""
        names = list(self._shares.fleets)
        router = Router(self._shares.config.record, dict.fromkeys(names, ()))
        found = {}
        for name, restore in self.restores.items():
            table = restore.partition.table
            live = table.live().tolist()
            gone = [slot for slot in live if name not in names or router.fleet(table.id_of(slot)) != name]
            found[name] = np.array(gone, np.intp)
        return found

    def _refuse(self, moved: Mapping[str, NDArray[np.intp]]) -> None:
        """Refuse to let streams begin anew where nobody has said that they may."""
        number = sum(map(len, moved.values()))
        if not number:
            return
        name, slots = next((name, slots) for name, slots in moved.items() if len(slots))
        example = self.restores[name].partition.table.id_of(int(slots[0]))
        message = (
            f"model.bundles: {number} streams of the state are of another fleet now (such as {example!r}, which was of"
            f" {name!r}): set state.on_new_bundle to restart_lines to let them begin anew (their alerts are resolved)"
        )
        raise StateError(message)

    def _leave(self, name: str, moved: Mapping[str, NDArray[np.intp]]) -> list[Alert]:
        """Forget the streams of a fleet that are not its own any more."""
        slots = moved.get(name, np.zeros(0, np.intp))
        pipeline = self._shares.fleets.get(name, self._first).engine.pipeline
        return leave(self.restores[name], pipeline, slots) if len(slots) else []

    def _end(
        self, name: str, restore: Restore, moved: Mapping[str, NDArray[np.intp]], found: Mapping[str, Share]
    ) -> list[Work]:
        """End a fleet that is no more; what it has counted goes to the first one."""
        alerts = self._leave(name, moved)
        # What waited is late, as META counts it: the windows of this fleet were not brought up to date.
        restore.partition.counts["late"] = restore.meta.counts.get("late", 0) + restore.meta.pending
        next(iter(found.values())).partition.counts.update(restore.partition.counts)
        figures = "alert" not in restore.restarted
        return [self._first.engine.resolved(alerts, self._at, restore.meta.model, figures=figures)] if alerts else []

    def _tell(self, name: str, restore: Restore, restarted: list[str], resolved: int) -> None:
        """Log that another bundle, or other settings, have taken a state on."""
        log.warning(
            "state_adopted",
            partition=f"{self._key[0]}-{self._key[1]}",
            **({} if list(self._shares.fleets) == [ALL] else {"fleet": name}),
            bundle_before=restore.meta.model.sha256[:12],
            restarted=restarted,
            resolved=resolved,
        )
