"""The daemon's own loop, group member and transactions over a `ScriptedBroker`: several processes, turn by turn."""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from kafka import KafkaConsumer

from models.bundle import Bundle
from models.serving import Model
from monitor import keeper, service
from monitor.config import Config, load
from monitor.engine import Engine
from monitor.http import Health
from monitor.kafka import changelog, consumer, transactions
from monitor.kafka.python import group, producer
from monitor.metrics import Metrics
from monitor.service import Service
from monitor.sources import kafka as kafka_source
from monitor.sources.base import Batch, SourceError
from monitor.state import Restore, read_entry, stages_of
from tests.faults.scripted_broker import ScriptedBroker
from tests.faults.scripted_client import Clock, Crash, Script, World
from tests.faults.state import difference, known
from tests.integration.streams import MINUTE, START

INPUT, ALERTS, DEAD, STATE = "in", "alerts", "dead", "g-state-in"
PARTITIONS = 2
_configs: dict[tuple[Path, str | None], Config] = {}  # reading one takes longer than most of what is done with it
RETRIED = (1, 75)
"""Exit statuses after which a supervisor starts a daemon again; others wait for an operator."""


class _NoDeadline:
    """The last guard, without its thread: by the scripted clock, that thread would end the process that tests."""

    def __init__(self, seconds: float) -> None:
        pass

    def __enter__(self) -> None:
        pass

    def __exit__(self, *_: object) -> None:
        pass

    def close(self) -> None:
        pass


class Process:
    """One daemon: down, or with a service that is turned by hand.

    Attributes:
        script: what is to go wrong in it.
        statuses: how it ended, each time.
    """

    def __init__(self, name: str, cluster: Cluster, *, static: bool) -> None:
        """Begin down."""
        self.name, self._cluster, self._static = name, cluster, static
        self.script = Script()
        self.service: Service | None = None
        self.statuses: list[int | str] = []

    def turn(self) -> None:
        """Start it, or let it go once round its loop; it may end."""
        cluster = self._cluster
        cluster.here = World(cluster.broker, self.script, self.name, cluster.clock)
        try:
            if self.service is None:
                self.service = cluster.daemon(self.name if self._static else None)
            else:
                self.service._turn()
        except Crash:
            self.statuses.append("crash")
            self.service = None
        except SourceError as error:
            if error.status not in RETRIED:
                raise
            self.statuses.append(error.status)
            self.service = None

    def kill(self) -> None:
        """End it between two calls."""
        self.service = None


class Cluster:
    """Broker, processes, and what must come out.

    Attributes:
        broker: the broker.
        here: the process whose turn it is.
    """

    def __init__(self, bundle: Bundle, model: Model, folder: Path, *, static: bool) -> None:
        """Begin with an empty input and two processes that are down."""
        self._bundle, self._model = bundle, model
        self._path = folder / "scripted.yaml"
        self._path.write_text(json.dumps(_sections(bundle)))
        self.broker = ScriptedBroker({INPUT: PARTITIONS, STATE: PARTITIONS, ALERTS: 1, DEAD: 1})
        self.processes = [Process(name, self, static=static) for name in ("a", "b")]
        self.clock = Clock()
        self.here = World(self.broker, Script(), "nobody", self.clock)
        self._rows: Counter[int] = Counter()
        self._oracle = Engine(self._config("oracle"), bundle, model)
        self._done = [0] * PARTITIONS
        self._wanted: Counter[bytes] = Counter()

    @contextmanager
    def patched(self) -> Iterator[None]:
        """Let the daemon's modules use the scripted client and clock."""
        with pytest.MonkeyPatch.context() as patch:
            for module in (consumer, changelog, transactions, producer, kafka_source, keeper, service):
                patch.setattr(module, "time", self.clock)
            for module in (group, changelog, producer):
                patch.setattr(module, "connect", self._connect)
            patch.setattr(kafka_source, "require_right", lambda *_: None)  # there are no rights here
            patch.setattr(transactions, "Deadline", _NoDeadline)
            yield

    def daemon(self, name: str | None) -> Service:
        """Return a daemon as `tidegauge run` puts it together."""
        config = self._config(name)
        engine = Engine(config, self._bundle, self._model)
        assert config.source is not None
        source = config.source.build(config.record, engine.features)
        return Service(config, engine, source, [], Metrics(config.topics()), Health())

    def produce(self, stream: int, rows: int) -> None:
        """Write the next rows of a stream."""
        for _ in range(rows):
            row = self._rows[stream]
            self._rows[stream] += 1
            phase = (row + stream) * 2 * math.pi / 12
            high = 40.0 if (row + 5 * stream) % 16 == 0 else 0.0  # for as long as it stays in the window
            values = {
                "pressure": round(50 + 5 * math.sin(phase) + high, 3),
                "flow": round(1_000 + 40 * math.cos(phase), 3),
            }
            raw = json.dumps({"time": START + row * MINUTE, "values": values}).encode()
            self.broker.append((INPUT, stream % PARTITIONS), b"s%d" % stream, raw)

    def wanted(self) -> Counter[bytes]:
        """Return the events that the input must become."""
        batches = []
        for number in range(PARTITIONS):
            batch = self._batch(number, self._done[number])
            if len(batch):
                self._done[number] = batch.offsets[-1] + 1
                batches.append(batch)
        if batches:
            self._wanted.update(event.value or b"" for event in self._oracle.process(batches).events)
        return self._wanted

    def found(self) -> Counter[bytes]:
        """Return the events that a reader of committed messages sees."""
        return Counter(entry.value or b"" for entry in self.broker.read((ALERTS, 0), 0))

    def state_problem(self) -> str:
        """Return what is wrong with the state that a new owner would find."""
        for number in range(PARTITIONS):
            key = (INPUT, number)
            partition = self._oracle.pipeline.partition(*key)
            entries = [entry.value or b"" for entry in self.broker.read((STATE, number), 0)]
            metas = [entry.meta for entry in map(read_entry, entries) if entry.meta is not None]
            restore = Restore(partition, metas[-1], stages_of(self._oracle.pipeline, self._oracle.features))
            for value in entries:
                restore.apply(value)
            begin = restore.finish(self._done[number])
            batch = self._batch(number, begin)
            if len(batch):
                restore.rewind(self._oracle.pipeline.windower, self._oracle.again(batch, partition))
            mine = self._oracle.partitions[key]
            problem = difference(known(partition, self._oracle.pipeline), known(mine, self._oracle.pipeline))
            if problem:
                return f"{key}: {problem}"
        return ""

    def drained(self) -> bool:
        """Whether the group has committed all of the input."""
        ends = {(INPUT, number): self.broker.end((INPUT, number), stable=True) for number in range(PARTITIONS)}
        return all(self.broker.offsets.get(place, (0, ""))[0] == end for place, end in ends.items())

    def _batch(self, number: int, begin: int) -> Batch:
        """Return the input of a partition from an offset on."""
        entries = self.broker.read((INPUT, number), begin)
        offsets = [entry.offset for entry in entries]
        keys, values = [entry.key for entry in entries], [entry.value for entry in entries]
        return Batch(INPUT, number, offsets, [START] * len(entries), keys, values)

    def _connect(self, make: Any, connection: object, **settings: Any) -> Any:
        """Return a client of the process whose turn it is; see `monitor.kafka.connection.connect`."""
        del connection
        return self.here.consumer(**settings) if make is KafkaConsumer else self.here.producer(**settings)

    def _config(self, name: str | None) -> Config:
        found = _configs.get((self._path, name))
        if found is None:
            instance = "source.group_instance_id=null" if name is None else f"source.group_instance_id={name}"
            found = _configs[self._path, name] = load(self._path, [instance])
        return found


def _sections(bundle: Bundle) -> dict[str, Any]:
    return {
        "source": {
            "type": "kafka",
            "bootstrap_servers": ["scripted:1"],
            "topics": [INPUT],
            "group_id": "g",
            "max_poll_records": 5,
            "commit_interval_ms": 0,
        },
        "model": {"bundle": str(bundle.path)},
        "threshold": {"type": "tracked", "q": 0.99, "half_life": 1_000, "prior_weight": 2_000},
        "alert": {"open_after": 1, "resolve_after": 1, "rest": 0},
        "sink": {"type": "kafka", "topic": ALERTS},
        "dead_letter": {"topic": DEAD},
        "state": {"sweep_records": 40, "sweep_interval": "2s"},
    }
