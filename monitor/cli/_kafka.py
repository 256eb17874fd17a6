"""What the verbs about Kafka share: the cluster and the topics of a configuration."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from monitor.config import Config, ConfigError
from monitor.kafka.connection import ConnectionSettings
from monitor.kafka.errors import KafkaProblem
from monitor.kafka.topics import Topic
from monitor.sources.base import SourceError
from monitor.sources.kafka import Settings as KafkaSource

_DAY_MS = 86_400_000
_KEPT = {"alerts": 30, "dead letters": 14}
"""Days for which alerts and dead letters are kept, where the topic is made here."""
STATE = {
    "cleanup.policy": "compact",
    "delete.retention.ms": str(_DAY_MS),
    "max.compaction.lag.ms": "600000",
    "max.message.bytes": "8388608",
    "min.cleanable.dirty.ratio": "0.2",
    "segment.bytes": "67108864",
    "segment.ms": "600000",
}
"""Settings of a state topic: compaction comes soon, and a message may hold a large stream."""

_INPUT_HINT = "keep its records longer than the longest stop of the daemon; for old times, retention.ms=-1"


def connection(config: Config, path: Path) -> ConnectionSettings:
    """Return how the configuration reaches Kafka: the source's way, or the sink's where the source is another.

    Raises:
        ConfigError: if neither is Kafka.
    """
    for section in (config.source, *config.sink):
        if isinstance(section, ConnectionSettings):
            return section
    message = f"{path}: neither source nor sink is of type kafka: there is no cluster to ask"
    raise ConfigError(message)


def alerts_topic(config: Config) -> str | None:
    """Return the topic of the alerts, None if they do not go to Kafka."""
    return next((str(getattr(sink, "topic", "")) for sink in config.sink if sink.type == "kafka"), None)


def needed(config: Config) -> list[Topic]:
    """Return the topics that the configuration needs, in the order of the data."""
    source = config.source if isinstance(config.source, KafkaSource) else None
    partitions = KafkaSource.model_fields["partitions"].default if source is None else source.partitions
    inputs = () if source is None else source.topics
    found = [Topic(name, "input", partitions, {}, "source.topics", ("READ",), _INPUT_HINT) for name in inputs]
    outputs = [("alerts", alerts_topic(config), "sink.topic")]
    if source is not None and config.dead_letter is not None and config.dead_letter.type in {None, "kafka"}:
        outputs.append(("dead letters", config.dead_letter.topic, "dead_letter.topic"))
    for purpose, name, setting in outputs:
        if name is not None:
            configs = {"cleanup.policy": "delete", "retention.ms": str(_KEPT[purpose] * _DAY_MS)}
            found.append(Topic(name, purpose, partitions, configs, setting, ("WRITE",)))
    found += [
        Topic(name, "state", partitions, STATE, "state.topic", ("READ", "WRITE"), like=of)
        for of, name in config.state_topics().items()
    ]
    return found


@contextmanager
def readable() -> Iterator[None]:
    """Turn a problem with Kafka into an error that the command line prints as a line."""
    try:
        yield
    except KafkaProblem as error:
        raise SourceError(str(error), error.status) from None
