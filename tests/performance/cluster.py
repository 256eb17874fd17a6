"""What the job costs on a real Kafka, beside a raw `poll()` loop; latency; start."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
from kafka import KafkaConsumer, TopicPartition

from models.bundle import Bundle
from models.serving import Model
from monitor.config import load
from monitor.engine import Engine
from monitor.http import Health
from monitor.metrics import Metrics
from monitor.service import Service
from tests.kafka.topics import create_topic, produce
from tests.performance import job, probe
from tests.performance.stages import FlatModel

_GROUPS = iter(range(1_000_000))
_WARM_SECONDS = 5.0  # of the latency case; the first transactions of a fresh broker are slow


CLIENTS = ("kafka-python", "confluent")


def _source(bootstrap: str, topic: str, client: str = CLIENTS[0]) -> str:
    """Return a line of configuration: the topic, read by a new group, whose state topic is made."""
    group = f"p{next(_GROUPS)}"
    create_topic(bootstrap, f"{group}-state-{topic}", job.PARTITIONS, cleanup_policy="compact")
    where = f"client: {client}, bootstrap_servers: ['{bootstrap}'], topics: [{topic}], group_id: {group}"
    return f"source: {{type: kafka, {where}}}\n"


def fill(bootstrap: str, count: int) -> str:
    """Make the input topic with the job's records, and return its name."""
    topic = create_topic(bootstrap, partitions=job.PARTITIONS)
    produce(bootstrap, topic, job.records(count))
    return topic


def raw_poll(bootstrap: str, topic: str, count: int) -> float:
    """Records a second of a bare loop over kafka-python's `poll()`, from the first record on."""
    consumer = KafkaConsumer(  # as the daemon's, so that nothing but the work makes the difference
        bootstrap_servers=bootstrap,
        isolation_level="read_committed",
        enable_auto_commit=False,
        max_poll_records=10_000,
        fetch_max_bytes=8_388_608,
        max_partition_fetch_bytes=1_048_576,
        fetch_max_wait_ms=100,
    )
    partitions = [TopicPartition(topic, number) for number in range(job.PARTITIONS)]
    consumer.assign(partitions)
    consumer.seek_to_beginning(*partitions)
    read, begin, first = 0, 0.0, 0
    while read < count:
        found = consumer.poll(timeout_ms=500)
        size = sum(map(len, found.values()))
        if size and not begin:
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
    client: str = CLIENTS[0],
) -> dict[str, float]:
    """Records a second of the service in this process, exactly once, from the first record on."""
    alerts = create_topic(bootstrap, partitions=job.PARTITIONS)
    path = job.config(
        f"{_source(bootstrap, topic, client)}"
        f"model: {{bundle: {bundle.path}}}\nthreshold: {{q: 0.9999}}\nsink: {{type: kafka, topic: {alerts}}}\n"
        f"state: {{type: {state}}}\n",
        folder,
    )
    return consume(path, count, bundle, model=model)


def consume(path: Path, count: int, bundle: Bundle, *, model: bool) -> dict[str, float]:
    """Run the service in this process until it has done so many records; records a second from the first one on."""
    config = load(path)
    engine = Engine(config, bundle, Model(bundle) if model else FlatModel())
    assert config.source is not None
    source = config.source.build(config.record, engine.features)
    seen: list[tuple[float, int]] = []
    done = 0

    def observe(work: Any) -> None:
        nonlocal done
        done += sum(work.consumed.values())
        seen.append((time.perf_counter(), done))
        if done >= count:
            service.stop()

    service = Service(config, engine, source, [], Metrics(config.topics()), Health(), observe=observe)
    began, cpu_began = time.perf_counter(), time.process_time()
    service.run()
    cpu = time.process_time() - cpu_began
    # Few records come in one poll; then the start and the group's joining are part of it.
    (start, first), (end, last) = seen[0] if len(seen) > 1 else (began, 0), seen[-1]
    return {"records_per_second": (last - first) / (end - start), "cpu_us_per_record": cpu / last * 1e6}


def throughput(
    bootstrap: str, bundle: Bundle, folder: Path, count: int, rounds: int, client: str = CLIENTS[0]
) -> dict[str, Any]:
    """Interleave raw loop (of kafka-python), pipeline without a model, and the whole job; medians and ratios."""
    topic = fill(bootstrap, count)
    raw: list[float] = []
    bare: list[float] = []
    whole: list[float] = []
    for _ in range(rounds):
        raw.append(raw_poll(bootstrap, topic, count))
        for rates, model in ((bare, False), (whole, True)):
            found = job_rate(bootstrap, topic, count, bundle, folder, model=model, client=client)
            rates.append(found["records_per_second"])
    return {
        "raw_poll_records_per_second": median(raw),
        "without_model_records_per_second": median(bare),
        "job_records_per_second": median(whole),
        "without_model_to_raw": median(b / r for b, r in zip(bare, raw, strict=True)),
        "job_to_raw": median(w / r for w, r in zip(whole, raw, strict=True)),
        "rounds": {"raw": raw, "without_model": bare, "job": whole},
    }


def latency(
    bootstrap: str, bundle: Bundle, folder: Path, seconds: float, warm: float, client: str = CLIENTS[0]
) -> dict[str, float]:
    """From a record's `send()` to its alert's arrival at a read_committed reader, at 1,000 records a second.

    The floor is the same producer and reader with nothing between them, before the daemon starts. Before both, as much
    goes through another daemon and is not looked at: a JVM takes a minute of this to compile what it needs, and brokers
    that people use have had it. Commits take twice as long on one that has just started.
    """
    if warm:
        _alerts(bootstrap, bundle, folder, warm, client)
    bare = create_topic(bootstrap, partitions=job.PARTITIONS)
    floor = probe.delays(bootstrap, bare, bare, seconds / 2, events=False)
    found = _alerts(bootstrap, bundle, folder, seconds, client)
    return {"events": float(len(found)), **_figures("", found, seconds), **_figures("floor_", floor, seconds / 2)}


def _alerts(bootstrap: str, bundle: Bundle, folder: Path, seconds: float, client: str) -> list[tuple[float, float]]:
    """Let a daemon make alerts for so long; return when each record that caused one was sent, and the delays in ms."""
    topic, alerts = (create_topic(bootstrap, partitions=job.PARTITIONS) for _ in range(2))
    path = job.config(
        f"{_source(bootstrap, topic, client)}"
        f"model: {{bundle: {bundle.path}}}\nthreshold: {{type: static, value: 50.0}}\n"
        "alert: {open_after: 1, resolve_after: 1, rest: 0}\n"
        f"sink: {{type: kafka, topic: {alerts}}}\n",
        folder,
    )
    daemon, _ = start(path)
    try:
        return probe.delays(bootstrap, topic, alerts, seconds, events=True)
    finally:
        daemon.send_signal(signal.SIGTERM)
        daemon.wait(20)


def _figures(name: str, found: Sequence[tuple[float, float]], seconds: float) -> dict[str, float]:
    """Return percentiles of delays in ms: without the first seconds, and of all."""
    warm = min(_WARM_SECONDS, seconds / 3)
    steady = [delay for at, delay in found if at >= warm]
    return {
        f"{name}p50_ms": float(np.percentile(steady, 50)),
        f"{name}p99_ms": float(np.percentile(steady, 99)),
        f"{name}p99_from_the_first_record_ms": float(np.percentile([delay for _, delay in found], 99)),
    }


def start(path: Path) -> tuple[subprocess.Popen[bytes], float]:
    """Start the daemon; return it, and the seconds from exec to READY."""
    with tempfile.TemporaryDirectory() as folder, socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as notify:
        address = f"{folder}/notify"
        notify.bind(address)
        notify.settimeout(60)
        environment = {**os.environ, "NOTIFY_SOCKET": address}
        begin = time.perf_counter()
        daemon = subprocess.Popen(
            [sys.executable, "-m", "monitor", "run", "--config", str(path)],
            env=environment,
            stderr=subprocess.DEVNULL,
        )
        while not re.search(rb"READY=1", notify.recv(4_096)):
            pass
        return daemon, time.perf_counter() - begin


def ready(bootstrap: str, bundle: Bundle, folder: Path, rounds: int) -> dict[str, float]:
    """Seconds from exec to READY, with an empty topic."""
    topic, alerts = (create_topic(bootstrap, partitions=job.PARTITIONS) for _ in range(2))
    found = []
    for _ in range(rounds):
        path = job.config(
            f"{_source(bootstrap, topic)}model: {{bundle: {bundle.path}}}\nsink: {{type: kafka, topic: {alerts}}}\n",
            folder,
        )
        daemon, seconds = start(path)
        daemon.send_signal(signal.SIGTERM)
        daemon.wait(20)
        found.append(seconds)
    return {"exec_to_ready_seconds": median(found)}
