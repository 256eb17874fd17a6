"""Partitions built from a log of state, outside of any group."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from monitor.engine import Engine
from monitor.pipeline import Partition
from monitor.sources.base import Batch, Key, Rows, SourceError
from monitor.state import Meta, Restore, StateError, StateStore, read_meta, stages_of
from monitor.state.adoption import check_bundle
from monitor.state.stages import Generation, restart
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


class Reader:
    """Reads logs with the model and the settings of an engine; the engine itself takes no notice."""

    def __init__(
        self, engine: Engine, store: StateStore, again: Again | None, identities: Mapping[str, str | None] | None = None
    ) -> None:
        """Set up.

        Args:
            engine: what the streams mean.
            store: where the logs are.
            again: reads input that was processed before; None where no log needs that.
            identities: the input topics' own ids as they are now: a log of another one has no input any more.
        """
        self._engine, self._store, self._again, self._identities = engine, store, again, identities or {}
        self.stages = stages_of(engine.pipeline, engine.features)

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

    def load(self, key: Key) -> Loaded | None:
        """Return a partition as it stands, None if nothing is known of it.

        Raises:
            SourceError: if its log cannot be read.
        """
        meta = self.meta(key)
        if meta is None:
            return None
        end = self._store.ends([key])[key]
        try:
            restore = Restore(self._engine.pipeline.partition(*key), meta, self.stages)
            for values in self._store.read(key, meta.log, end):
                for value in values:
                    restore.apply(value)
            begin = restore.finish(meta.next_offset)
        except StateError as error:
            raise refused(key, error) from None
        loaded = Loaded(restore, dict(meta.stages))
        if begin < meta.next_offset:
            loaded.gone = self._rewind(restore, begin)
            if loaded.gone is not None:
                self._forget_windows(loaded)
        return loaded

    def fitting(self, key: Key) -> Loaded | None:
        """Return a partition as it stands, if the engine's model and settings are those that wrote it.

        Raises:
            SourceError: if they are others.
        """
        loaded = self.load(key)
        if loaded is None:
            return None
        try:
            check_bundle(loaded.meta, self._engine.model, "refuse")
        except StateError as error:
            raise refused(key, error) from None
        if loaded.restore.restarted:
            stages = ", ".join(sorted(loaded.restore.restarted))
            message = (
                f"{_name(key)}: the state of {stages} was written with other settings: use the configuration that did"
            )
            raise SourceError(message, EXIT_OPERATOR)
        return loaded

    def _rewind(self, restore: Restore, begin: int) -> str | None:
        """Bring windows up to date; return why that is not possible."""
        partition, meta, engine = restore.partition, restore.meta, self._engine
        topic = partition.topic
        now = self._identities.get(topic)
        if None not in {now, meta.input} and now != meta.input:
            return f"the topic {topic!r} was made anew"
        if self._again is None:
            return f"the input from {begin} on is not at hand"
        try:
            for batches in self._again(partition.key, begin, meta.next_offset):
                for batch in batches:
                    restore.rewind(engine.pipeline.windower, engine.again(batch, partition))
        except SourceError as error:
            if error.status != EXIT_OPERATOR:
                raise
            return str(error)
        return None

    def _forget_windows(self, loaded: Loaded) -> None:
        """Let windows begin anew."""
        stage, partition = self.stages[0], loaded.partition
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
