"""Every record ends in one class, at every commit."""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from pathlib import Path

from models.bundle import Bundle
from models.serving import Model
from monitor.config import load
from monitor.engine import Engine, Work
from monitor.http import Health
from monitor.metrics import Metrics
from monitor.service import Service
from tests.integration.conftest import Job
from tests.integration.streams import MINUTE, START
from tests.kafka.broker import Broker
from tests.kafka.topics import Record, produce


def mess(count: int) -> list[Record]:
    """Return records of every fate: in order, late, repeated, far ahead, not selected, not usable."""
    chance = random.Random(3)  # noqa: S311 - which fate
    row, records = 0, []
    for _ in range(count):
        fate = chance.random()
        row += fate > 0.3
        jump = 0 if fate > 0.15 or fate < 0.07 else -20 if fate > 0.08 else 5_000
        time = START + MINUTE * (row + jump)
        key = chance.choice([b"pump-1", b"pump-2", b"other-1"])
        text = {"time": time, "values": {"pressure": 50.0 if fate > 0.02 else "high", "flow": 1000.0}}
        records.append(Record(json.dumps(text).encode(), key=key, partition=chance.randrange(2)))
    return records


def test_the_books_balance_at_every_commit(
    kafka: Broker, job: Callable[..., Job], bundle: Bundle, folder: Path
) -> None:
    """If it failed, a record could vanish without a trace: neither used, nor refused, nor waiting."""
    work = job(partitions=2)
    total = 3_000
    produce(kafka.bootstrap, work.input, mess(total))
    path = folder / "config.yaml"
    extra = {"record": {"select": {"include": ["pump-*"]}}, "window": {"lateness": "2m"}}
    path.write_text(json.dumps({**work.member(max_poll_records=70), **extra}))
    config = load(path)
    assert config.source is not None
    engine = Engine(config, bundle, Model(bundle))
    commits: list[int] = []

    def check(done: Work) -> None:
        counted = sum(sum(partition.counts.values()) for partition in engine.partitions.values())
        commits.append((commits[-1] if commits else 0) + sum(done.consumed.values()))
        assert counted + engine.pending() == commits[-1]
        if commits[-1] == total:
            service.stop()

    source = config.source.build(config.record, engine.features)
    service = Service(config, engine, source, [], Metrics(config.topics()), Health(), observe=check)
    assert service.run() == 0
    assert len(commits) > 10
    counts = [partition.counts for partition in engine.partitions.values()]
    for name in ("processed", "late", "repeated", "filtered", "dead_lettered"):
        assert sum(each[name] for each in counts) > 0, name
