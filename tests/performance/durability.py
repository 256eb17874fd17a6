"""What durable state costs: throughput, restore, size of its log, memory over a lag."""

from __future__ import annotations

import json
import time
import uuid
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from statistics import median
from typing import Any

from kafka import KafkaAdminClient

from models.bundle import Bundle
from models.serving import Model
from monitor.cli._kafka import STATE
from monitor.config import load
from monitor.engine import Engine
from monitor.state.log import SWEEP_STREAMS
from tests.integration.daemon import Daemon, until
from tests.kafka.topics import create_topic
from tests.performance import job, memory, runs
from tests.performance.feed import Feed, fill

INPUT_RATE = 10_000
"""Records a second that come in while a restore is measured."""

_STEADY_SECONDS = 5.0
_MB = 1_000_000
_CLEANED_SECONDS = 20.0  # a log that has not shrunk for so long is taken to be compacted; the cleaner looks every 15 s


def setting(bootstrap: str, bundle: Bundle, **state_topic: str) -> dict[str, Any]:
    """Return the configuration of a job with topics and a group of its own; its state topic has these settings."""
    topic, alerts = (create_topic(bootstrap, partitions=job.PARTITIONS) for _ in range(2))
    group = f"p-{uuid.uuid4().hex[:8]}"
    create_topic(bootstrap, f"{group}-state-{topic}", job.PARTITIONS, **{"cleanup_policy": "compact", **state_topic})
    return {
        "source": {"type": "kafka", "bootstrap_servers": [bootstrap], "topics": [topic], "group_id": group},
        "model": {"bundle": str(bundle.path)},
        "threshold": {"q": 0.9999},
        "sink": {"type": "kafka", "topic": alerts},
    }


def input_of(config: Mapping[str, Any]) -> str:
    """Return the input topic of a configuration."""
    return str(config["source"]["topics"][0])


def written(config: Mapping[str, Any], folder: Path) -> Path:
    """Write a configuration and return its path."""
    return job.config(json.dumps(config), folder)  # JSON is YAML


def state(bootstrap: str, bundle: Bundle, folder: Path, count: int, rounds: int) -> dict[str, Any]:
    """Interleave the job with state and without; medians, and the median of the rounds' ratios."""
    topic = create_topic(bootstrap, partitions=job.PARTITIONS)
    fill(bootstrap, topic, job.STREAMS, count)
    found: dict[str, list[dict[str, float]]] = {"kafka": [], "none": []}
    for turn in range(rounds):
        order = ("none", "kafka") if turn % 2 else ("kafka", "none")
        for kind in order:
            rate = runs.job_rate(bootstrap, topic, count, bundle, folder, model=True, state=kind)
            found[kind].append(rate)
    rates = {kind: [each["records_per_second"] for each in runs] for kind, runs in found.items()}
    cpu = {kind: median(each["cpu_us_per_record"] for each in runs) for kind, runs in found.items()}
    ratio = median(w / o for w, o in zip(rates["kafka"], rates["none"], strict=True))
    return {
        "with_state_records_per_second": median(rates["kafka"]),
        "without_state_records_per_second": median(rates["none"]),
        "with_to_without": ratio,
        "loss_percent": 100 * (1 - ratio),
        "with_state_cpu_us_per_record": cpu["kafka"],
        "without_state_cpu_us_per_record": cpu["none"],
        "rounds": rates,
    }


def restore(
    bootstrap: str, bundle: Bundle, folder: Path, streams: int, rows: int, steady: float | None = None
) -> dict[str, float]:
    """Seconds from exec to READY of a member that takes on `streams` streams after a kill -9, under the usual input.

    First `rows` rows of each stream are taken in as fast as the service can, with a model that costs nothing; what a
    restore right behind that takes is a figure of its own (`after_the_rush_…`): the sweep of images was left behind.
    Then the input comes at `INPUT_RATE` for longer than a sweep takes (or `steady` seconds), the member is killed, and
    another one starts.
    """
    config = setting(bootstrap, bundle)
    count = streams * rows
    fill(bootstrap, input_of(config), streams, count)
    runs.consume(written(config, folder), count, bundle, model=False)
    with Feed(bootstrap, input_of(config), streams, INPUT_RATE, count):
        with Daemon(folder / f"restore-{streams}", config) as daemon:
            rushed = _restored(daemon, streams)
            longer = max(_STEADY_SECONDS, SWEEP_STREAMS * 1.5 * streams / INPUT_RATE)
            time.sleep(longer if steady is None else steady)
            daemon.kill()
        with Daemon(folder / f"restore-{streams}-again", config) as daemon:
            found = _restored(daemon, streams)
    return {"streams": float(streams), **found, **{f"after_the_rush_{name}": each for name, each in rushed.items()}}


def _restored(daemon: Daemon, streams: int) -> dict[str, float]:
    """Return what the restore of a daemon that was just started took."""
    begin = time.perf_counter()
    daemon.wait_for("ready", 300)
    seconds = time.perf_counter() - begin
    done = [each for each in daemon.log if each["event"] == "restored"]
    known = sum(each["streams"] for each in done)
    assert known == streams, f"{known} streams were restored, of {streams}"
    moments = {each["event"]: datetime.fromisoformat(each["timestamp"]) for each in daemon.log}
    return {
        "exec_to_restored_seconds": seconds,
        "assigned_to_restored_seconds": (moments["ready"] - moments["partitions_assigned"]).total_seconds(),
        "restore_seconds": sum(each["seconds"] for each in done),
        "log_entries": float(sum(each["entries"] for each in done)),
        "records_read_again": float(sum(each["records"] for each in done)),
    }


def changelog(bootstrap: str, bundle: Bundle, folder: Path, count: int, patience: float) -> dict[str, float]:
    """Size of the state's log after so many records of the job, before and after compaction, beside the tables'.

    The topic is as `tidegauge topics --create` makes it, but with small segments: only closed ones are compacted.
    """
    quick = {"segment.bytes": "4194304", "segment.ms": "2000", "max.compaction.lag.ms": "1000"}
    settings = {key.replace(".", "_"): value for key, value in {**STATE, **quick}.items()}
    config = setting(bootstrap, bundle, **settings)
    topic = f"{config['source']['group_id']}-state-{input_of(config)}"
    fill(bootstrap, input_of(config), job.STREAMS, count)
    path = written(config, folder)
    rate = runs.consume(path, count, bundle, model=False)["records_per_second"]
    before = least = _size(bootstrap, topic)
    end = time.monotonic() + patience
    since = time.monotonic()
    while time.monotonic() < min(end, since + _CLEANED_SECONDS):
        time.sleep(0.5)
        size = _size(bootstrap, topic)
        if size < least:
            least, since = size, time.monotonic()
    table = Engine(load(path), bundle, Model(bundle)).pipeline.partition("", 0).table
    tables = job.STREAMS * sum(table.bytes_per_stream().values())
    return {
        "records": float(count),
        "records_per_second": rate,
        "mb_before_compaction": before / _MB,
        "mb_after_compaction": least / _MB,
        "mb_of_tables": tables / _MB,
        "after_to_tables": least / tables,
    }


def lag(bootstrap: str, bundle: Bundle, folder: Path, count: int) -> dict[str, float]:
    """Largest resident memory of a daemon that works off `count` records, beyond its tables."""
    config = setting(bootstrap, bundle)
    fill(bootstrap, input_of(config), job.STREAMS, count)
    with Daemon(folder / "lag", config) as daemon:
        daemon.ready()
        begin = time.perf_counter()
        until(lambda: daemon.consumed() >= count, "the lag is not worked off", 300)
        seconds = time.perf_counter() - begin
        peak = memory.peak_mb(daemon.process.pid) * _MB
        assert daemon.stop()[0] == 0
    table = Engine(load(daemon.folder / "config.yaml"), bundle, Model(bundle)).pipeline.partition("", 0).table
    tables = job.STREAMS * sum(table.bytes_per_stream().values())
    return {
        "records": float(count),
        "peak_mb": peak / _MB,
        "tables_mb": tables / _MB,
        "beyond_tables_mb": (peak - tables) / _MB,
        "worked_off_seconds": seconds,
    }


def _size(bootstrap: str, topic: str) -> int:
    """Return the bytes of a topic on the disk of its broker."""
    admin = KafkaAdminClient(bootstrap_servers=bootstrap)
    try:
        answer = admin.describe_log_dirs()
    finally:
        admin.close()
    return sum(
        int(partition["partition_size"])
        for broker in answer
        for place in broker["log_dirs"]
        for each in place["topics"]
        if each["name"] == topic
        for partition in each["partitions"]
    )
