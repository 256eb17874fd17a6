"""The keeper of state: restores what is known of a partition when it comes, and says what a commit must write.

A restore is done in slices, so that the loop that drives it goes on turning: the member stays in its group, and its
health can be asked for. One partition after another; those that are done are consumed while the others wait, but for
the first second: what came meanwhile for the first of them would take longer than what is left of a short restore.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field

import structlog

from monitor.config import Config
from monitor.engine import Work
from monitor.fleets import AnyEngine
from monitor.message import Message
from monitor.shares import Log, Restoring, Shares, Taken
from monitor.sources.base import Gained, Key, Source, SourceError
from monitor.state import StateError, read_meta

log = structlog.get_logger(__name__)

EXIT_RETRY, EXIT_OPERATOR = 1, 78
PATIENCE_SECONDS = 600.0
"""How long a restore is tried again that fails for want of an answer."""

_PAUSE_SECONDS = 1.0
_TOGETHER_SECONDS = 1.0  # partitions that are done sooner wait for the others so long
_DOUBT_SECONDS = 10.0  # polls in between tell a member that stood still what it has missed
_PROGRESS_SECONDS = 5.0


class DoubtfulError(StateError):
    """The log and the group's offset do not agree.

    Either may be from before something that is not known yet: a member that stood still has lost its partitions, and
    goes on with what it had read.
    """


@dataclass(frozen=True, slots=True)
class Begun:
    """A partition whose state is there, and whose records may come.

    Attributes:
        key: topic and number.
        offset: where it stands.
        commit: whether that must be committed first, with what `write` says.
        work: events that go out with it.
        seconds: how long the restore took; 0 for a partition that began without state.
        records: records that were read again for it.
    """

    key: Key
    offset: int
    commit: bool
    work: Work | None = None
    seconds: float = 0.0
    records: int = 0


@dataclass(slots=True)
class Progress:
    """How far a restore is."""

    key: Key
    began: float = field(default_factory=time.monotonic)
    entries: int = 0
    records: int = 0
    said: float = field(default_factory=time.monotonic)

    def tell(self) -> None:
        """Log it, now and then."""
        now = time.monotonic()
        if now - self.said >= _PROGRESS_SECONDS:
            self.said = now
            log.info("restoring", partition=name(self.key), entries=self.entries, records=self.records)


def name(key: Key) -> str:
    """Return a partition as people write it."""
    return f"{key[0]}-{key[1]}"


def _skip(key: Key, offset: int) -> str:
    """Return the command that lets a partition go on at an offset."""
    return f"tidegauge skip CONFIG --topic {key[0]} --partition {key[1]} --offset {offset - 1}"


class Keeper:
    """Keeps the state of the partitions of one engine, or of several fleets'."""

    def __init__(self, config: Config, engine: AnyEngine, source: Source) -> None:
        """Set up.

        Raises:
            SourceError: if there is no place for the state.
        """
        self._engine, self._source = engine, source
        self._store = source.store(config.state)
        self._shares, self._policy = Shares(config, engine), config.state.on_new_bundle
        self._logs: dict[Key, Log] = {}
        self._gained: dict[Key, Gained] = {}
        self._ends: dict[Key, int] = {}  # of the logs of gained partitions, looked up together
        self._current: tuple[Key, Iterator[Begun | None]] | None = None
        self._done: list[Begun] = []  # what waits for the others
        self._began = 0.0  # when the first of those came that are being restored
        self._failing: float | None = None
        self._retry_at = 0.0

    @property
    def busy(self) -> int:
        """How many partitions wait for their state, or for that of others."""
        return len(self._gained) + len(self._done)

    def take(self, gained: Mapping[Key, Gained]) -> None:
        """Take partitions that came."""
        if gained and not self.busy:
            self._began = time.monotonic()
        self._gained.update(gained)

    def drop(self, keys: Iterable[Key]) -> None:
        """Forget partitions that went."""
        for key in keys:
            self._logs.pop(key, None)
            self._gained.pop(key, None)
            self._ends.pop(key, None)
            self._done = [each for each in self._done if each.key != key]
            if self._current is not None and self._current[0] == key:
                self._current = None

    def step(self, seconds: float) -> list[Begun]:
        """Go on with what is to be restored for about so long; return the partitions whose records may come.

        Raises:
            SourceError: if a state cannot be taken on; status 78 where an operator must act.
        """
        until = time.monotonic() + seconds
        while self._gained and self._retry_at <= time.monotonic() < until:
            try:
                found = self._slice()
            except SourceError as error:
                self._failed(error)
                break
            if found is not None:
                self._gained.pop(found.key)
                self._ends.pop(found.key, None)
                self._failing = None
                self._done.append(found)
        if self._gained and time.monotonic() - self._began < _TOGETHER_SECONDS:
            return []
        done, self._done = self._done, []
        if done and not self._gained and self._store is not None:
            self._store.rest()
        return done

    def write(self, positions: Mapping[Key, int]) -> list[Message]:
        """Return what the logs of these partitions need to stand at these positions."""
        return [
            message
            for key, offset in positions.items()
            if key in self._logs
            for message in self._logs[key].write(offset)
        ]

    def idle(self) -> dict[Key, int]:
        """Return the partitions without records whose sweep goes on, with where they stand."""
        return {key: each.stands for key, each in self._logs.items() if each.idle()}

    def _slice(self) -> Begun | None:
        """Do one slice of the restore in hand, or begin the next one."""
        if self._store is None:
            key, place = next(iter(self._gained.items()))
            return Begun(key, place.offset, commit=not place.recorded)
        if missing := [key for key in self._gained if key not in self._ends]:
            self._ends.update(self._store.ends(missing))
            return None
        if self._current is None:
            key = min(self._gained)
            self._current = (key, self._restore(key, self._gained[key], self._ends[key]))
        key, steps = self._current
        try:
            found = next(steps)
        except StateError as error:
            message = f"{name(key)}: {error}"
            since = self._failing or time.monotonic()
            young = isinstance(error, DoubtfulError) and time.monotonic() - since < _DOUBT_SECONDS
            raise SourceError(message, EXIT_RETRY if young else EXIT_OPERATOR) from None
        if found is not None:
            self._current = None
        return found

    def _failed(self, error: SourceError) -> None:
        """Begin again later, if that may help."""
        self._current = None
        self._ends.clear()
        now = time.monotonic()
        self._failing = self._failing or now
        if error.status != EXIT_RETRY or now - self._failing > PATIENCE_SECONDS:
            raise error
        self._retry_at = now + _PAUSE_SECONDS
        log.warning("restore_failed", error=str(error))

    def _restore(self, key: Key, place: Gained, end: int) -> Iterator[Begun | None]:
        """Yield None after each slice, and the partition at last."""
        store = self._store
        if store is None:
            return
        progress = Progress(key)
        newest = store.newest(key, end) if end else None
        yield None
        if newest is None:
            yield self._fresh(key, place, end)
            return
        meta = read_meta(newest)
        if not place.recorded:
            message = (
                f"the group has no offset, but the state in {store.topic(key[0])!r} stands at {meta.next_offset}:"
                f" `{_skip(key, meta.next_offset)}` sets the group's offset to that"
            )
            raise DoubtfulError(message)
        if None not in {meta.input, place.identity} and meta.input != place.identity:
            message = (
                f"the topic was made anew: `tidegauge state migrate CONFIG --topic {key[0]} --partitions N`, with N as"
                " many as it has now, moves the state to it; to begin anew, set another source.group_id"
            )
            raise StateError(message)
        if meta.next_offset != place.offset:
            message = (
                f"the state stands at {meta.next_offset}, but the group's offset is {place.offset}:"
                f" `{_skip(key, meta.next_offset)}` sets the group's offset to where the state stands"
            )
            raise DoubtfulError(message)
        restoring = Restoring(self._shares, key, meta)
        restoring.check(self._policy)
        for values in store.read(key, meta.log, end):
            for value in values:
                restoring.apply(value)
            progress.entries += len(values)
            progress.tell()
            yield None
        begin = restoring.finish(place.offset)
        for batches in self._source.again(key, begin, place.offset):
            for batch in batches:
                restoring.rewind(batch)
                progress.records += len(batch)
            progress.tell()
            yield None
        yield self._taken_on(restoring, place, end, progress)

    def _fresh(self, key: Key, place: Gained, end: int) -> Begun:
        """Begin a partition without state."""
        if place.recorded:
            topic = "" if self._store is None else self._store.topic(key[0])
            message = (
                f"the group's offset is {place.offset}, but its state in {topic!r} is gone: bring a snapshot back with"
                " `tidegauge state import CONFIG --from DIR --force`, or delete the group's offset of this partition to"
                " begin anew at source.start"
            )
            raise DoubtfulError(message)
        self._keep(key, self._shares.fresh(key, place.offset), place, end)
        return Begun(key, place.offset, commit=True)

    def _taken_on(self, restoring: Restoring, place: Gained, end: int, progress: Progress) -> Begun:
        """Begin a partition with the state that was restored."""
        taken = restoring.taken(self._policy)
        self._keep(progress.key, taken, place, end)
        seconds = time.monotonic() - progress.began
        log.info(
            "restored",
            partition=name(progress.key),
            streams=taken.streams,
            entries=progress.entries,
            records=progress.records,
            seconds=round(seconds, 3),
        )
        return Begun(progress.key, place.offset, taken.changed, taken.work, seconds, progress.records)

    def _keep(self, key: Key, taken: Taken, place: Gained, end: int) -> None:
        """Hand a partition to the engine, and write its log from here on."""
        for fleet, share in taken.shares.items():
            share.partition.changes.kept = True
            self._engine.fleets[fleet].partitions[key] = share.partition
        topic = "" if self._store is None else self._store.topic(key[0])
        self._logs[key] = self._shares.log(taken, place, topic, end)
