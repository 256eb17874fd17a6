"""Partitions built from a log of state, outside of any group."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from monitor.engine import Engine
from monitor.fleets import AnyEngine
from monitor.identity import ALL
from monitor.message import Message
from monitor.pipeline import Partition
from monitor.shares import Restoring, Shares
from monitor.sources.base import Batch, Key, Rows, SourceError
from monitor.state import FleetLogs, Meta, Restore, StateError, StateStore, read_meta
from monitor.state.stages import Generation, Stage, restart
from monitor.state.whole import Whole

EXIT_OPERATOR = 78

Again = Callable[[Key, int, int], Iterator[Sequence[Batch | Rows]]]
"""Yields the input of a partition from one offset to another."""


@dataclass(frozen=True, slots=True)
class Stands:
    """Where a partition of the input stands.

    Attributes:
        committed: the offset that was committed, None where there is none.
        held: offsets of the first record that there is, and behind the last; None where that is not known.
    """

    committed: int | None
    held: tuple[int, int] | None


@dataclass(slots=True)
class Loaded:
    """A partition as its log says it is.

    Attributes:
        restore: the partition, the META that was read, and which stages could not be read.
        stages: generations of the stages.
        gone: why windows could not be brought up to date and begin anew; None if they were.
    """

    restore: Restore
    stages: dict[str, Generation]
    gone: str | None = None

    @property
    def partition(self) -> Partition:
        """The partition."""
        return self.restore.partition

    @property
    def meta(self) -> Meta:
        """The META that was read."""
        return self.restore.meta

    def whole(self, offset: int | None = None) -> Whole:
        """Return what is needed to write it anew, at another offset if one is named."""
        return Whole(self.partition, self.meta.next_offset if offset is None else offset, self.meta, self.stages)


@dataclass(frozen=True, slots=True)
class LoadedFleets:
    """A partition as its log says it is, fleet by fleet.

    Attributes:
        restoring: what was read.
        fleets: of each fleet that there is, by its glob; one fleet has all streams where there is one bundle for all.
    """

    restoring: Restoring
    fleets: dict[str, Loaded]

    @property
    def meta(self) -> Meta:
        """The META that was read, of all fleets together."""
        return self.restoring.meta

    @property
    def gone(self) -> str | None:
        """Why windows could not be brought up to date and begin anew; None if they were."""
        return next((each.gone for each in self.fleets.values() if each.gone is not None), None)

    @property
    def streams(self) -> int:
        """How many streams are live."""
        return sum(each.partition.table.live_count for each in self.fleets.values())

    def dead_lettered(self, number: int) -> None:
        """Count records that are dead letters of no fleet in particular."""
        next(iter(self.fleets.values())).partition.counts["dead_lettered"] += number

    def messages(self, topic: str, offset: int | None = None, position: int = 0) -> list[Message]:
        """Return the log of the partition as one that needs nothing before it; see `Whole.messages`.

        Args:
            topic: the topic that the messages carry.
            offset: where the partition stands; None = where it was read.
            position: where in the log the first of them comes, or before.
        """
        wholes = {name: each.whole(offset) for name, each in self.fleets.items()}
        return messages_of(wholes, self.restoring.engines, topic, position)


class Reader:
    """Reads logs with the model and the settings of an engine; the engine itself takes no notice."""

    def __init__(
        self,
        engine: AnyEngine,
        store: StateStore,
        again: Again | None,
        identities: Mapping[str, str | None] | None = None,
    ) -> None:
        """Set up.

        Args:
            engine: what the streams mean.
            store: where the logs are.
            again: reads input that was processed before; None where no log needs that.
            identities: the input topics' own ids as they are now: a log of another one has no input any more.
        """
        self._store, self._again, self._identities = store, again, identities or {}
        self._shares = Shares(engine.config, engine)

    def meta(self, key: Key) -> Meta | None:
        """Return what the newest META of a log says, None if there is none.

        Raises:
            SourceError: if it cannot be read.
        """
        end = self._store.ends([key])[key]
        try:
            newest = self._store.newest(key, end) if end else None
            return None if newest is None else read_meta(newest)
        except StateError as error:
            raise refused(key, error) from None

    def load(self, key: Key) -> LoadedFleets | None:
        """Return a partition as it stands, None if nothing is known of it.

        What fleets wrote that there are not any more is left out.

        Raises:
            SourceError: if its log cannot be read.
        """
        meta = self.meta(key)
        if meta is None:
            return None
        end = self._store.ends([key])[key]
        try:
            restoring = Restoring(self._shares, key, meta)
            for values in self._store.read(key, meta.log, end):
                for value in values:
                    restoring.apply(value)
            begin = restoring.finish(meta.next_offset)
        except StateError as error:
            raise refused(key, error) from None
        known = {name: each for name, each in restoring.restores.items() if name in self._shares.fleets}
        loaded = LoadedFleets(restoring, {name: Loaded(each, dict(each.meta.stages)) for name, each in known.items()})
        if begin < meta.next_offset:
            gone = self._rewind(key, restoring, begin)
            for name, each in loaded.fleets.items():
                each.gone = gone
                if gone is not None:
                    _forget_windows(each, self._shares.fleets[name].stages[0])
        return loaded

    def fitting(self, key: Key) -> LoadedFleets | None:
        """Return a partition as it stands, if the engine's models and settings are those that wrote it.

        Raises:
            SourceError: if they are others.
        """
        loaded = self.load(key)
        if loaded is None:
            return None
        try:
            loaded.restoring.check("refuse")
        except StateError as error:
            raise refused(key, error) from None
        if not loaded.restoring.same:
            message = (
                f"{_name(key)}: the state is of the fleets {', '.join(loaded.restoring.restores)} (model.bundles): use"
                " the configuration that wrote it"
            )
            raise SourceError(message, EXIT_OPERATOR)
        restarted = {stage for each in loaded.fleets.values() for stage in each.restore.restarted}
        if restarted:
            stages = ", ".join(sorted(restarted))
            message = (
                f"{_name(key)}: the state of {stages} was written with other settings: use the configuration that did"
            )
            raise SourceError(message, EXIT_OPERATOR)
        return loaded

    def _rewind(self, key: Key, restoring: Restoring, begin: int) -> str | None:
        """Bring windows up to date; return why that is not possible."""
        topic, meta = key[0], restoring.meta
        now = self._identities.get(topic)
        if None not in {now, meta.input} and now != meta.input:
            return f"the topic {topic!r} was made anew"
        if self._again is None:
            return f"the input from {begin} on is not at hand"
        try:
            for batches in self._again(key, begin, meta.next_offset):
                for batch in batches:
                    restoring.rewind(batch)
        except SourceError as error:
            if error.status != EXIT_OPERATOR:
                raise
            return str(error)
        return None


def messages_of(
    wholes: Mapping[str, Whole], engines: Mapping[str, Engine], topic: str, position: int = 0
) -> list[Message]:
    """Return the log of a partition that stands still, which is made of what each fleet knows of it.

    Args:
        wholes: of each fleet, by its glob; all at the same offset.
        engines: of the same fleets.
        topic: the topic that the messages carry.
        position: where in the log the first of them comes, or before.
    """
    pending = {name: engines[name].pipeline.pending for name in wholes}
    if list(wholes) == [ALL]:
        return wholes[ALL].messages(topic, pending[ALL], position)
    logs = {name: whole.log(topic, pending[name], position) for name, whole in wholes.items()}
    first = next(iter(wholes.values()))
    return FleetLogs(logs, topic, first.partition.number).write(first.offset)


def _forget_windows(loaded: Loaded, stage: Stage) -> None:
    """Let windows begin anew."""
    partition = loaded.partition
    restart(partition.table, stage.columns, np.arange(partition.table.capacity))
    partition.table.settle()
    number = loaded.stages[stage.name].number + 1
    loaded.stages[stage.name] = Generation(stage.signature, number, loaded.meta.next_offset)
    partition.counts["late"] += loaded.meta.pending  # they waited in windows that are gone


def refused(key: Key, error: StateError) -> SourceError:
    """Return a problem with the state of a partition as an error that ends a command."""
    return SourceError(f"{_name(key)}: {error}", EXIT_OPERATOR)


def _name(key: Key) -> str:
    return f"{key[0]}-{key[1]}"
