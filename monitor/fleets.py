"""Several fleets in one daemon: an engine for each, over the same batches and in the same commit.

A fleet is a glob of stream ids with a bundle (`model.bundles`). Each has a pipeline and tables of its own, and is to
itself as if it were alone: features, windows, lines, alerts and the partition's time are those of a daemon with its
streams alone, and another fleet's new bundle changes nothing of it. What they share is the poll: one `Work` comes of
it, with the events of all fleets in the order of the records that caused them.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from models.bundle import Bundle
from monitor.config import Config, ConfigError
from monitor.engine import Engine, Work, end_of
from monitor.identity import ALL
from monitor.pipeline import Output, Partition
from monitor.record import Records
from monitor.routing import Router
from monitor.score import Model
from monitor.sources.base import Batch, Key, Rows
from monitor.sources.batches import without
from monitor.stopwatch import PARTS


@dataclass(frozen=True, slots=True)
class Loaded:
    """A bundle that was read, and its model."""

    bundle: Bundle
    model: Model


class Fleets:
    """Runs the pipelines of several fleets over raw batches; it is used as an `Engine` is.

    Attributes:
        config: the configuration.
        fleets: the engine of each fleet by its glob, in the order in which globs are tried.
        features: all features, those of the first fleet first: the columns of `Rows.values` that it takes.
        router: gives records to fleets.
    """

    def __init__(self, config: Config, loaded: Mapping[str, Loaded], *, keep_scores: bool = False) -> None:
        """Set up.

        Args:
            config: the configuration.
            loaded: what each fleet scores with, by its glob.
            keep_scores: whether `Work.output` has a row a window.

        Raises:
            ConfigError: if the configuration contradicts a bundle, or itself.
        """
        self.config = config
        features = {name: tuple(each.bundle.manifest.features) for name, each in loaded.items()}
        try:
            self.router = Router(config.record, features)
        except ValueError as error:
            message = f"record: {error}"
            raise ConfigError(message) from None
        self.features = self.router.features
        self.fleets: Mapping[str, Engine] = {
            name: Engine(config, each.bundle, each.model, keep_scores=keep_scores, others=self.features)
            for name, each in loaded.items()
        }
        self._first = next(iter(self.fleets.values()))

    @property
    def partitions(self) -> dict[Key, list[Partition]]:
        """What is known of each partition, fleet by fleet."""
        found: dict[Key, list[Partition]] = {}
        for engine in self.fleets.values():
            for key, partition in engine.partitions.items():
                found.setdefault(key, []).append(partition)
        return found

    def process(self, batches: Sequence[Batch | Rows], due: Callable[[], None] | None = None) -> Work:
        """Take what one poll returned; see `Engine.process`. A record is counted by one fleet, or filtered."""
        begin = time.perf_counter()
        shares: dict[str, list[Batch | Rows]] = {}
        positions: dict[Key, int] = {}
        consumed, strangers = Counter[str](), Counter[Key]()
        for batch in batches:
            if len(batch) == 0:
                continue
            key = (batch.topic, batch.partition)
            routed = self.router.split(batch)
            for name, part in routed.parts.items():
                shares.setdefault(name, []).append(part)
            positions[key] = end_of(batch)
            consumed[batch.topic] += len(batch)
            strangers[key] += routed.filtered
        routing = time.perf_counter() - begin
        once = None if due is None else _once(due)
        works = [engine.process(shares[name], once) for name, engine in self.fleets.items() if name in shares]
        work = joined(works, positions)
        work.consumed = consumed
        if filtered := strangers.total():
            for key, number in strangers.items():
                self._first.partition(key).counts["filtered"] += number
            work.classes["filtered"] += filtered
        work.seconds = {part: work.seconds.get(part, 0.0) for part in PARTS}
        work.seconds[PARTS[0]] += routing
        return work

    def bar(self, batch: Batch | Rows, detail: str) -> Work:
        """Return the one record of a batch as a dead letter, undecoded; none of the fleets will decode it again."""
        engine, one = self._first, batch
        if isinstance(batch, Rows):  # decoded already; the columns are the fleet's
            name, one = next(iter(self.router.split(batch).parts.items()), ("", self.router.cut(batch)))
            engine = self.fleets.get(name, engine)
        work = engine.bar(one, detail)
        (letter,) = work.dead_letters
        for other in self.fleets.values():
            if other is not engine:
                other.partition((letter.topic, letter.partition)).barred.append(letter.offset)
        return work

    def drop(self, keys: Iterable[Key]) -> None:
        """Forget partitions."""
        gone = list(keys)
        for engine in self.fleets.values():
            engine.drop(gone)

    def pending(self) -> int:
        """Return how many records wait."""
        return sum(engine.pending() for engine in self.fleets.values())

    def streams(self) -> int:
        """Return how many streams are live."""
        return sum(engine.streams() for engine in self.fleets.values())

    def firing(self) -> int:
        """Return how many alerts are firing."""
        return sum(engine.firing() for engine in self.fleets.values())

    def warming(self) -> int:
        """Return how many live streams have no scored window yet."""
        return sum(engine.warming() for engine in self.fleets.values())

    def streams_in_two_partitions(self) -> int:
        """Return how many stream ids are live in more than one partition of a topic."""
        return sum(engine.streams_in_two_partitions() for engine in self.fleets.values())


AnyEngine = Engine | Fleets
"""What turns batches into work: an engine for all streams, or one for each fleet."""


def engine_for(config: Config, loaded: Mapping[str, Loaded], *, keep_scores: bool = False) -> AnyEngine:
    """Return the engine of one bundle for all streams, or the engines of several fleets.

    Raises:
        ConfigError: if the configuration contradicts a bundle, or itself.
    """
    if list(loaded) == [ALL]:
        only = loaded[ALL]
        return Engine(config, only.bundle, only.model, keep_scores=keep_scores)
    return Fleets(config, loaded, keep_scores=keep_scores)


def again(
    engines: Mapping[str, Engine], router: Router | None, batch: Batch | Rows, partitions: Mapping[str, Partition]
) -> Iterator[tuple[str, Records]]:
    """Yield the records of a batch that was processed before, fleet by fleet; for a restore.

    Args:
        engines: what decodes each fleet's records; what a fleet that is not among them had is left out.
        router: gives records to fleets; None = all are of the only one.
        batch: the batch.
        partitions: what is restored.
    """
    if router is None:
        ((name, partition),) = partitions.items()
        yield name, engines[name].again(batch, partition)
        return
    barred = sorted({offset for partition in partitions.values() for offset in partition.barred})
    for piece in without(batch, barred) if barred else [batch]:
        for name, part in router.split(piece).parts.items():
            if name in engines:
                yield name, engines[name].again(part, partitions[name])


def joined(works: Sequence[Work], positions: Mapping[Key, int]) -> Work:
    """Return the works of several engines as one: events and dead letters in the order of their records."""
    work = Work(dict(positions), Output.joined([each.output for each in works]))
    pairs = sorted(
        ((alert, event) for each in works for alert, event in zip(each.alerts, each.events, strict=True)),
        key=lambda pair: pair[0].order,
    )
    work.alerts, work.events = [alert for alert, _ in pairs], [event for _, event in pairs]
    work.dead_letters = [letter for each in works for letter in each.dead_letters]
    work.dead_letters.sort(key=lambda letter: (letter.topic, letter.partition, letter.offset))
    work.urgent = any(each.urgent for each in works)
    for each in works:
        work.classes += each.classes
        work.reasons += each.reasons
        work.unknown += each.unknown
        work.times += each.times
        work.scoring_seconds += each.scoring_seconds
        for part, seconds in each.seconds.items():
            work.seconds[part] = work.seconds.get(part, 0.0) + seconds
    return work


def _once(call: Callable[[], None]) -> Callable[[], None]:
    """Return what does something at its first call alone."""
    left = [call]

    def once() -> None:
        if left:
            left.pop()()

    return once
