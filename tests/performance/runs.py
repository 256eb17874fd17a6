"""Runs of the service over a filled topic, and of a bare loop; figures from the first poll's end on.

A job runs in a process of its own, as a daemon does and as its peers do here: beside what trains and what feeds,
decoding took 1.3 µs a record in place of 1.0.

    python -m tests.performance.runs CONFIG RECORDS BUNDLE [--flat]
"""

from __future__ import annotations

import argparse
import gc
import json
import subprocess
import sys
import time
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from kafka import KafkaConsumer, TopicPartition

from models.bundle import Bundle, read
from models.serving import Model
from monitor import logs
from monitor.config import load
from monitor.engine import Engine, Work
from monitor.http import Health
from monitor.metrics import Metrics
from monitor.service import Service
from monitor.stopwatch import PARTS
from tests.kafka.topics import create_topic
from tests.performance import job
from tests.performance.stages import FlatModel

STAGES = ("poll", *PARTS, "commit")
"""Stages whose time is reported, in order; `process` has the parts."""

_GROUPS = iter(range(1_000_000))


@dataclass(frozen=True, slots=True)
class Moment:
    """Where a run stands after a poll's work.

    Attributes:
        time: the clock.
        cpu: processor time of this process.
        records: how many were done.
        stages: seconds by stage.
    """

    time: float
    cpu: float
    records: int
    stages: dict[str, float]

    @classmethod
    def now(cls, records: int, metrics: Metrics) -> Self:
        """Look at the clocks."""
        duration = metrics.processing_duration_seconds
        stages = {stage: float(duration.labels(stage)._sum.get()) for stage in STAGES}
        return cls(time.perf_counter(), time.process_time(), records, stages)


def source_line(bootstrap: str, topic: str, client: str = job.CLIENT) -> str:
    """Return a line of configuration: the topic, read by a new group, whose state topic is made."""
    group = f"p{next(_GROUPS)}"
    create_topic(bootstrap, f"{group}-state-{topic}", job.PARTITIONS, cleanup_policy="compact")
    where = f"bootstrap_servers: ['{bootstrap}'], topics: [{topic}], group_id: {group}"
    if client != job.CLIENT:
        where = f"{where}, client: {client}"
    return f"source: {{type: kafka, {where}}}\n"


def raw_poll(bootstrap: str, topic: str, count: int) -> float:
    """Records a second of a bare loop over kafka-python's `poll()`, from the first records on, unless they are all."""
    consumer = KafkaConsumer(  # as the daemon's, so that nothing but the work makes the difference
        bootstrap_servers=bootstrap,
        isolation_level="read_committed",
        enable_auto_commit=False,
        max_poll_records=30_000,
        fetch_max_bytes=8_388_608,
        max_partition_fetch_bytes=1_048_576,
        fetch_max_wait_ms=100,
    )
    partitions = [TopicPartition(topic, number) for number in range(job.PARTITIONS)]
    consumer.assign(partitions)
    consumer.seek_to_beginning(*partitions)
    read, begin, first = 0, time.perf_counter(), 0
    while read < count:
        found = consumer.poll(timeout_ms=500)
        size = sum(map(len, found.values()))
        if 0 < size < count and not read:
            begin, first = time.perf_counter(), size
        read += size
    seconds = time.perf_counter() - begin
    consumer.close()
    return (count - first) / seconds


def job_rate(
    bootstrap: str,
    topic: str,
    count: int,
    bundle: Bundle,
    folder: Path,
    *,
    model: bool,
    state: str = "kafka",
    client: str = job.CLIENT,
) -> dict[str, float]:
    """Run the job exactly once over a topic with `count` records, as a new group; see `consume`."""
    alerts = create_topic(bootstrap, partitions=job.PARTITIONS)
    path = job.config(
        f"{source_line(bootstrap, topic, client)}"
        f"model: {{bundle: {bundle.path}}}\nthreshold: {{q: 0.9999}}\nsink: {{type: kafka, topic: {alerts}}}\n"
        f"state: {{type: {state}}}\n",
        folder,
    )
    command = [sys.executable, "-m", "tests.performance.runs", str(path), str(count), str(bundle.path)]
    done = subprocess.run([*command, *([] if model else ["--flat"])], stdout=subprocess.PIPE, text=True, check=True)
    found: dict[str, float] = json.loads(done.stdout)
    return found


def consume(path: Path, count: int, bundle: Bundle, *, model: bool) -> dict[str, float]:
    """Run the service in this process until it has done so many records.

    Returns:
        Records a second, processor time and time by stage in µs a record, and how many windows were scored and alerts
        opened. `us_other` is what no stage has: counting, the turn of the loop.
    """
    config = load(path)
    served = Model(bundle, config.model.most_threads, config.model.engine) if model else FlatModel()
    engine = Engine(config, bundle, served)
    assert config.source is not None
    source = config.source.build(config.record, engine.features)
    metrics = Metrics(config.topics())
    found: Counter[str] = Counter()
    seen: list[Moment] = []

    def observe(work: Work) -> None:
        found["records"] += sum(work.consumed.values())
        found["windows"] += work.output.scored
        found["opened"] += sum(alert.status == "firing" for alert in work.alerts)
        seen.append(Moment.now(found["records"], metrics))
        if found["records"] >= count:
            service.stop()

    service = Service(config, engine, source, [], metrics, Health(), observe=observe)
    began = Moment.now(0, metrics)
    gc.collect()
    gc.freeze()  # as `tidegauge run` does; here there is much besides that the collector would look through
    try:
        service.run()
    finally:
        gc.unfreeze()
    # Few records come in one poll; then the start and the group's joining are part of it.
    return _figures(seen[0] if len(seen) > 1 else began, seen[-1], found)


def _figures(first: Moment, last: Moment, found: Counter[Any]) -> dict[str, float]:
    """Return what happened between two moments, by record."""
    records, seconds = last.records - first.records, last.time - first.time
    stages = {f"us_{name}": (last.stages[name] - first.stages[name]) / records * 1e6 for name in STAGES}
    return {
        "records_per_second": records / seconds,
        "cpu_us_per_record": (last.cpu - first.cpu) / records * 1e6,
        **stages,
        "us_other": seconds / records * 1e6 - sum(stages.values()),
        "windows": float(found["windows"]),
        "alerts_opened": float(found["opened"]),
    }


def main() -> None:
    """Run a job and print its figures as JSON."""
    parser = argparse.ArgumentParser(description="One job over what a topic holds.")
    parser.add_argument("config", type=Path)
    parser.add_argument("records", type=int)
    parser.add_argument("bundle", type=Path)
    parser.add_argument("--flat", action="store_true", help="with a model that finds nothing, at no cost")
    args = parser.parse_args()
    logs.configure(logs.LogSettings(level="warning"))
    found = consume(args.config, args.records, read(args.bundle), model=not args.flat)
    print(json.dumps(found))  # noqa: T201 - its output


if __name__ == "__main__":
    main()
