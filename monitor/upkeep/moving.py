"""Streams given to the partitions of another count, as the partitioner of their producers gives their keys.

What moves as it is: windows, lines, firing alerts and their ids, counts of everything, times. What cannot:

* **Offsets** of rows in windows, of records that wait, and of a firing alert's last window are of the old partition,
  and mean nothing in the new one: they become the offset at which the new one goes on. So the first events after a move
  may say that their window begins there. `alert_id` stays that of the alert's opening.
* **Partition time** of a partition is the largest of those that gave it a stream, or its own. What streams have left
  until they expire stays: their `active` is moved by the difference.
* **Counts** of records by class stay with the partition of the same number; those of partitions that are no more go to
  partition 0.
* A stream that two partitions had becomes one: that which has seen the later time. The other is dropped, and if an
  alert of it was firing, nothing will resolve that one.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import msgspec
import numpy as np
from numpy.typing import NDArray

from monitor.alert import Alerter
from monitor.engine import Engine
from monitor.pipeline import Partition
from monitor.record import NEVER
from monitor.state import Meta
from monitor.state.stages import Generation
from monitor.state.whole import Whole
from monitor.table import Column, ObjectColumn
from monitor.upkeep.reading import Loaded

OFFSETS = ("first_offset", "held_offset", "mark_low", "mark_high")
"""Columns of offsets in the input, as far as the table has them; beside them: `last_window`, and what is `waiting`."""

Slots = NDArray[np.intp]


class Target(NamedTuple):
    """A partition after the move.

    Attributes:
        offset: next offset.
        same: whether it is the partition of this number that there was before, so that its own streams' offsets stay.
    """

    offset: int
    same: bool


@dataclass(slots=True)
class Moved:
    """What a move made.

    Attributes:
        wholes: the partitions.
        streams: streams in all.
        moved: streams that have another partition now.
        doubled: streams that were dropped because two partitions had them.
    """

    wholes: list[Whole] = field(default_factory=list)
    streams: int = 0
    moved: int = 0
    doubled: int = 0


def misplaced(loaded: Mapping[int, Loaded], place: Callable[[bytes], int]) -> int:
    """Return how many streams are not where a partitioner would have put them."""
    return sum(
        place(each.partition.table.raw_id(slot)) != number
        for number, each in loaded.items()
        for slot in each.partition.table.live().tolist()
    )


def move(
    engine: Engine,
    loaded: Mapping[int, Loaded],
    targets: Sequence[Target],
    place: Callable[[bytes], int],
    identity: str | None,
) -> Moved:
    """Give the streams of some partitions of one topic to others.

    Args:
        engine: what the streams mean.
        loaded: the partitions as they are, at least one.
        targets: the partitions as they are to be.
        place: the new partition of a stream.
        identity: the input topic's own id.
    """
    result = Moved()
    found: dict[bytes, tuple[int, int]] = {}  # partition and slot
    for number in sorted(loaded):
        table = loaded[number].partition.table
        for slot in table.live().tolist():
            stream = table.raw_id(slot)
            other = found.get(stream)
            if other is not None:
                result.doubled += 1
                if loaded[other[0]].partition.table["seen"][other[1]] >= table["seen"][slot]:
                    continue
            found[stream] = (number, slot)
    parts: list[dict[int, tuple[list[int], list[bytes]]]] = [{} for _ in targets]
    for stream, (number, slot) in found.items():
        to = place(stream)
        slots, streams = parts[to].setdefault(number, ([], []))
        slots.append(slot)
        streams.append(stream)
        result.moved += to != number
    result.streams = len(found)
    topic = next(iter(loaded.values())).partition.topic
    for number, (target, sources) in enumerate(zip(targets, parts, strict=True)):
        partition = engine.pipeline.partition(topic, number)
        own = loaded.get(number)
        _merge(partition, target, loaded, sources, engine.pipeline.alerters)
        partition.counts.update(own.partition.counts if own is not None else Counter())
        if number == 0:
            for gone in set(loaded) - set(range(len(targets))):
                partition.counts.update(loaded[gone].partition.counts)
        result.wholes.append(_whole(partition, target, loaded, number, identity))
    return result


def _merge(
    partition: Partition,
    target: Target,
    loaded: Mapping[int, Loaded],
    sources: Mapping[int, tuple[list[int], list[bytes]]],
    alerters: Sequence[Alerter],
) -> None:
    """Put streams of other partitions into one that has none."""
    table, number = partition.table, partition.number
    times = [loaded[source].partition.time.value for source in sources]
    if target.same and number in loaded:
        times.append(loaded[number].partition.time.value)
    partition.time.value = max(times, default=NEVER)
    begin = 0
    for source, (slots, streams) in sorted(sources.items()):
        here = np.arange(begin, begin + len(slots))
        begin += len(slots)
        table.place(here.tolist(), streams)
        old = loaded[source].partition
        _copy(old, partition, np.array(slots, np.intp), here)
        active = table["active"][here]
        table["active"][here] = np.where(active == NEVER, NEVER, active + (partition.time.value - old.time.value))
        if not (target.same and source == number):
            _renumber(partition, here, target.offset)
        for alerter in alerters:
            alerter.moved(table, here, source, number)
    table.reindex()
    partition.time.recount(table)


def _copy(old: Partition, new: Partition, slots: Slots, here: Slots) -> None:
    """Copy all columns of some streams."""
    for column in new.columns:
        if isinstance(column, Column):
            new.table[column.name][here] = old.table[column.name][slots]
        elif isinstance(column, ObjectColumn):
            theirs, ours = old.table.objects(column.name), new.table.objects(column.name)
            for slot, place in zip(slots.tolist(), here.tolist(), strict=True):
                ours[place] = theirs[slot]
        else:
            rows, counts = old.table.ragged(column.name).rows(slots)
            new.table.ragged(column.name).append(here, counts, rows)


def _renumber(partition: Partition, here: Slots, offset: int) -> None:
    """Let the offsets of some streams be those of their new partition."""
    table = partition.table
    names = {column.name for column in partition.columns}
    for name in OFFSETS:
        if name in names:
            table[name][here] = offset
    for name in names:
        if name.endswith("last_window"):  # of alerts of each kind
            table[name][here, 2:] = offset
    if "waiting" in names:
        waiting = table.ragged("waiting")
        rows, counts = waiting.rows(here)
        rows["offset"] = rows["due"] = offset
        waiting.clear(here)
        waiting.append(here, counts, rows)


def _whole(
    partition: Partition, target: Target, loaded: Mapping[int, Loaded], number: int, identity: str | None
) -> Whole:
    """Return what is needed to write a partition."""
    metas = [each.meta for _, each in sorted(loaded.items())]
    base: Meta = loaded[number].meta if number in loaded else metas[0]
    longest = max(metas, key=lambda meta: len(meta.bundles))
    meta = msgspec.structs.replace(base, next_offset=target.offset, input=identity, bundles=longest.bundles)
    stages = {
        name: Generation(
            base.stages[name].signature, max(each.stages[name].number for each in loaded.values()), target.offset
        )
        for name in base.stages
    }
    return Whole(partition, target.offset, meta, stages)
