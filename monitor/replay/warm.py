"""A replay that begins where production stood: with the state of a snapshot.

Records that the snapshot has seen are left out; what it does with another bundle than its own is what a daemon would
do (`state.on_new_bundle`).
"""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from monitor.engine import Work
from monitor.fleets import AnyEngine
from monitor.replay.report import WarmStart
from monitor.sources.base import Batch, Key, Rows, SourceError
from monitor.state import StateError
from monitor.state.settings import Policy
from monitor.state.snapshot import Snapshot
from monitor.upkeep.reading import EXIT_OPERATOR, LoadedFleets, Reader, refused


@dataclass(frozen=True, slots=True)
class Begun:
    """A partition that has a state.

    Attributes:
        start: where it stands.
        counts: its records by class until then.
    """

    start: WarmStart
    counts: Counter[str]


class Warm:
    """The partitions of a snapshot, in an engine.

    Attributes:
        begun: them, as they begin.
        works: what taking them on publishes: the ends of alerts of another model.
    """

    def __init__(self, engine: AnyEngine, folder: Path | None, policy: Policy) -> None:
        """Restore them; without a folder there are none.

        Raises:
            SourceError: if the snapshot cannot be read, or does not go with the engine's model.
        """
        self.begun: dict[Key, Begun] = {}
        self.works: list[Work] = []
        if folder is None:
            return
        try:
            snapshot = Snapshot(folder)
        except StateError as error:
            raise SourceError(str(error), EXIT_OPERATOR) from None
        reader = Reader(engine, snapshot, None)
        for key in sorted(snapshot.parts):
            loaded = reader.load(key)
            if loaded is not None:
                self._take(engine, key, loaded, policy)

    def cut(self, batch: Batch | Rows) -> Batch | Rows:
        """Return what of a batch the state has not seen."""
        known = self.begun.get((batch.topic, batch.partition))
        if known is None:
            return batch
        first = known.start.offset
        if isinstance(batch, Rows):
            kept = batch.offset >= first
            if kept.all() and all(row.offset >= first for row in batch.refused):
                return batch
            at = np.flatnonzero(kept)
            columns = {name: getattr(batch, name)[at] for name in ("stream", "time", "values", "offset")}
            label = None if batch.label is None else batch.label[at]
            return replace(batch, **columns, label=label, refused=[r for r in batch.refused if r.offset >= first])
        begin = bisect_left(batch.offsets, first)
        parts: dict[str, Sequence[object]] = {
            name: getattr(batch, name)[begin:] for name in ("offsets", "timestamps", "keys", "values")
        }
        return replace(batch, **parts) if begin else batch  # type: ignore[arg-type]  # each part is of its column's type

    def _take(self, engine: AnyEngine, key: Key, loaded: LoadedFleets, policy: Policy) -> None:
        """Hand a partition to the engine."""
        meta, restoring = loaded.meta, loaded.restoring
        try:
            restoring.check(policy)
            taken = restoring.taken(policy)
        except StateError as error:
            raise refused(key, error) from None
        counts: Counter[str] = Counter()
        for name, share in taken.shares.items():
            engine.fleets[name].partitions[key] = share.partition
            counts += share.partition.counts
        if taken.work is not None:
            self.works.append(taken.work)
        self.begun[key] = Begun(WarmStart(*key, meta.next_offset, taken.streams, meta.pending), counts)
