"""Latency of alerts on a real Kafka, and the start of the daemon."""

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

import numpy as np

from models.bundle import Bundle
from tests.kafka.topics import create_topic
from tests.performance import job, probe
from tests.performance.runs import source_line

_WARM_SECONDS = 5.0  # of the latency case; the first transactions of a fresh broker are slow


def latency(
    bootstrap: str, bundle: Bundle, folder: Path, seconds: float, warm: float, client: str = job.CLIENT
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
    figures = {**_figures("", found, seconds), **_figures("floor_", floor, seconds / 2)}
    above = {
        f"{name}_above_the_floor_ms": figures[f"{name}_ms"] - figures[f"floor_{name}_ms"] for name in ("p50", "p99")
    }
    return {"events": float(len(found)), **figures, **above}


def _alerts(bootstrap: str, bundle: Bundle, folder: Path, seconds: float, client: str) -> list[tuple[float, float]]:
    """Let a daemon make alerts for so long; return when each record that caused one was sent, and the delays in ms."""
    topic, alerts = (create_topic(bootstrap, partitions=job.PARTITIONS) for _ in range(2))
    path = job.config(
        f"{source_line(bootstrap, topic, client)}"
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
            f"{source_line(bootstrap, topic)}"
            f"model: {{bundle: {bundle.path}}}\nsink: {{type: kafka, topic: {alerts}}}\n",
            folder,
        )
        daemon, seconds = start(path)
        daemon.send_signal(signal.SIGTERM)
        daemon.wait(20)
        found.append(seconds)
    return {"exec_to_ready_seconds": median(found)}
