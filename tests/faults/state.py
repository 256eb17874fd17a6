"""The daemons' durable state, read from its log as a new owner would, and held against the oracle's (I7)."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from models.bundle import read
from models.serving import Model
from monitor.config import load
from monitor.engine import Engine
from monitor.pipeline import Partition, Pipeline
from monitor.sources._kafka_state import KafkaState
from monitor.sources.base import Key, SourceError
from monitor.state import Restore, StateError, read_meta, stages_of
from tests.faults.oracle import Oracle
from tests.kafka.topics import create_topic

SECTION: dict[str, Any] = {"state": {"sweep_records": 4_000, "sweep_interval": "30s"}}
_LEFT_OVER = {"mark_time", "mark_low", "mark_high", "held_offset", "held_values"}
"""Columns in which values stay that nothing reads any more."""


class Log:
    """The changelog of a job's input topic."""

    def __init__(self, config: Mapping[str, Any], bootstrap: str, topic: str, folder: Path) -> None:
        """Read with a daemon's configuration, past the proxies."""
        path = folder / "state.yaml"
        source = {**config["source"], "bootstrap_servers": bootstrap.split(",")}
        path.write_text(json.dumps({**config, "source": source}))
        self._config = load(path)
        bundle = read(self._config.model.bundle)
        self._engine = Engine(self._config, bundle, Model(bundle))
        self._topic = topic

    def create(self, bootstrap: str, partitions: int) -> None:
        """Make the topic."""
        for name in self._config.state_topics().values():
            create_topic(bootstrap, name, partitions, cleanup_policy="compact", min_cleanable_dirty_ratio="0.1")

    def compare(self, oracle: Oracle) -> list[str]:
        """Return what is wrong with the state, partition by partition."""
        source: Any = self._config.source
        store = KafkaState(source, self._config.state.prefix(source.group_id))
        try:
            keys = sorted(oracle.engine.partitions)
            ends = store.ends(keys)
            found = []
            for key in keys:
                try:
                    problem = self._compare(store, key, ends[key], oracle)
                except (StateError, SourceError) as error:
                    problem = str(error)
                if problem:
                    found.append(f"I7 state of {key[0]}-{key[1]}: {problem}")
            return found
        finally:
            store.rest()

    def _compare(self, store: KafkaState, key: Key, end: int, oracle: Oracle) -> str:
        offset = oracle.next[key]
        newest = store.newest(key, end)
        if newest is None:
            return "there is none"
        meta = read_meta(newest)
        if meta.next_offset != offset:
            return f"META stands at {meta.next_offset}, the input ends at {offset}"
        partition = self._engine.pipeline.partition(*key)
        restore = Restore(partition, meta, stages_of(self._engine.pipeline, self._engine.features))
        for values in store.read(key, meta.log, end):
            for value in values:
                restore.apply(value)
        begin = restore.finish(offset)
        for batches in store.input(key, begin, offset):
            for batch in batches:
                restore.rewind(self._engine.pipeline.windower, self._engine.again(batch, partition))
        return difference(
            known(partition, self._engine.pipeline), known(oracle.engine.partitions[key], oracle.engine.pipeline)
        )


def known(partition: Partition, pipeline: Pipeline) -> dict[str, Any]:
    """Return all that is known of a partition, in bytes."""
    table = partition.table
    found: dict[str, Any] = {
        "time": partition.time.value,
        "leaders": [time for time, _ in partition.time.leaders],
        "counts": {name: count for name, count in partition.counts.items() if count},
        "pending": pipeline.pending(partition),
    }
    for slot in table.live().tolist():
        columns = table._arrays.items()
        found[table.id_of(slot)] = {name: each[slot].tobytes() for name, each in columns if name not in _LEFT_OVER}
    return found


def difference(found: Mapping[str, Any], wanted: Mapping[str, Any]) -> str:
    """Return the first thing that differs."""
    for name in [*wanted, *found]:
        mine, theirs = found.get(name), wanted.get(name)
        if mine != theirs:
            if isinstance(mine, dict) and isinstance(theirs, dict):
                columns = [each for each in {**theirs, **mine} if mine.get(each) != theirs.get(each)]
                return f"{name} differs in {', '.join(map(str, columns))}"
            return f"{name} is {mine!r:.80}, and must be {theirs!r:.80}"
    return ""
