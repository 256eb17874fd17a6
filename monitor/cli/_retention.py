"""Whether the input keeps what a restore would read of it: its retention must not come near what META calls needed."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from monitor.config import Config
from monitor.kafka.changelog import PartitionReader
from monitor.kafka.connection import ConnectionSettings
from monitor.kafka.errors import KafkaProblem
from monitor.kafka.topics import Found
from monitor.sources._kafka_state import KafkaState
from monitor.sources.base import Key, SourceError
from monitor.sources.kafka import Settings as KafkaSource
from monitor.state import Meta, StateError, read_meta

NEAR = 0.5
"""A record that a restore needs may have lived so much of its topic's `retention.ms` before that is worth a warning."""

_LOOKED_AT = 100  # offsets from the needed one on: some are markers of transactions, or were compacted away
_HOUR_MS = 3_600_000
_KEEP = (
    "keep the input longer (retention.ms, retention.bytes) than state.sweep_interval and the longest stop of the daemon"
)


def retention(
    config: Config, connection: ConnectionSettings, found: Mapping[str, Found]
) -> tuple[list[str], list[str]]:
    """Return warnings, and what is wrong, of the input behind the state of each partition.

    Nothing is joined; what members write meanwhile is read as far as it is committed.

    Args:
        config: the configuration.
        connection: how to reach the cluster.
        found: its topics, as far as they exist; an input without its state is left out.

    Raises:
        KafkaProblem: if the cluster cannot be asked.
    """
    if not isinstance(config.source, KafkaSource):
        return [], []
    reader, state = PartitionReader(connection), KafkaState(connection, config.state.prefix(config.source.group_id))
    near: list[str] = []
    wrong: list[str] = []
    try:
        for topic, name in config.state_topics().items():
            if topic not in found or name not in found or found[topic].partitions != found[name].partitions:
                continue
            keys = [(topic, number) for number in range(found[topic].partitions)]
            kept_ms = int(found[topic].configs.get("retention.ms", "-1"))
            bounds = reader.bounds(keys)
            for key, meta, problem in _metas(state, keys):
                first = bounds[key][0]
                if meta is None:
                    wrong += [f"state.topic: {key[0]}-{key[1]}: {problem}"] if problem else []
                elif first > meta.needed and meta.needed < meta.next_offset:
                    wrong.append(
                        f"source.topics: {key[0]}-{key[1]}: lost offsets: a restore needs the input from {meta.needed}"
                        f" on, and it begins at {first}: a restart would end with status 78; {_KEEP}"
                    )
                elif said := _near(reader, key, meta, first, kept_ms):
                    near.append(f"warning: source.topics: {key[0]}-{key[1]}: {said}; {_KEEP}")
    finally:
        reader.close()
        state.rest()
    return near, wrong


def _metas(state: KafkaState, keys: list[Key]) -> Iterator[tuple[Key, Meta | None, str]]:
    """Yield the newest META of each partition, or why there is none: nothing where no state was written yet."""
    with _asking():
        ends = state.ends(keys)
    for key in keys:
        with _asking():
            newest = state.newest(key, ends[key]) if ends[key] else None
        try:
            yield key, None if newest is None else read_meta(newest), ""
        except StateError as error:
            yield key, None, str(error)


def _near(reader: PartitionReader, key: Key, meta: Meta, first: int, kept_ms: int) -> str:
    """Say how near the retention is to what a restore needs; nothing where it is far."""
    behind = meta.next_offset - meta.needed
    if not behind:
        return ""
    if first and meta.needed - first < behind:
        return (
            f"a restore reads the input from {meta.needed} to {meta.next_offset}, and only"
            f" {meta.needed - first} records before these are not deleted yet"
        )
    if kept_ms < 0:
        return ""
    age = _age_ms(reader, key, meta)
    if age > NEAR * kept_ms:
        hours = f"{age / _HOUR_MS:.1f} h old, and retention.ms keeps {kept_ms / _HOUR_MS:.1f} h"
        return f"a restore reads the input from {meta.needed} on, which is {hours}"
    return ""


def _age_ms(reader: PartitionReader, key: Key, meta: Meta) -> float:
    """Return the age of the oldest record that a restore needs, 0 where it cannot be told."""
    for records in reader.read(key, meta.needed, min(meta.needed + _LOOKED_AT, meta.next_offset)):
        if records is not None:
            return time.time() * 1_000 - records.timestamps[0]
    return 0.0


@contextmanager
def _asking() -> Iterator[None]:
    try:
        yield
    except SourceError as error:
        raise KafkaProblem(str(error), error.status) from None
