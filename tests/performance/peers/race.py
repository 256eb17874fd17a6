"""One run of one peer: its program started in its venv, and what it says it did compared with what was to be done."""

from __future__ import annotations

import json
import os
import subprocess
import tempfile
import uuid
from collections import Counter
from pathlib import Path
from typing import NamedTuple

import msgspec

from models.bundle import ONNX, Bundle
from tests.kafka.topics import consume_all, create_topic
from tests.performance import job
from tests.performance.peers import venvs
from tests.performance.peers.venvs import PeerError

LINE = 50.0
"""Score above which a window is an alert: far above every one without a spike, far below every one with one."""

PATIENCE = 240.0
"""Seconds that a peer may take."""

_SPIKED_STREAMS, _SPIKED_ROW = 50, 100


class Peer(NamedTuple):
    """Who does the job, how: `program` is a file beside this one and its pins, `mode` one of its ways."""

    name: str
    program: str
    mode: str = ""


PEERS = (
    Peer("quix_exactly_once", "quix", "exactly-once"),
    Peer("quix_in_memory", "quix", "in-memory"),
    Peer("bytewax", "bytewax"),
    Peer("faust", "faust"),
    Peer("tutorial", "tutorial"),
)


def spiked(stream: int, row: int) -> bool:
    """Return whether there is a spike: one in each fiftieth stream."""
    return stream % _SPIKED_STREAMS == 0 and row == _SPIKED_ROW


class Task(NamedTuple):
    """What the job's first `count` records come to: windows, those with a spike, and streams that have one."""

    windows: int
    alerts: int
    streams: int

    @classmethod
    def of(cls, count: int) -> Task:
        """Count."""
        windows = alerts = streams = 0
        for stream in range(job.STREAMS):
            rows = (count - stream + job.STREAMS - 1) // job.STREAMS
            last = range(job.LENGTH - 1, rows, job.STRIDE)
            with_spike = range(_SPIKED_ROW, _SPIKED_ROW + job.LENGTH) if spiked(stream, _SPIKED_ROW) else range(0)
            found = sum(row in with_spike for row in last)
            windows, alerts, streams = windows + len(last), alerts + found, streams + (found > 0)
        return cls(windows, alerts, streams)


def run(peer: Peer, python: Path, bootstrap: str, topic: str, count: int, bundle: Bundle) -> dict[str, float]:
    """Let a peer do the job once; return records a second and processor time in µs a record.

    Raises:
        PeerError: if it fails, or did not score all windows, or not all alerts are there.
    """
    alerts = create_topic(bootstrap, partitions=job.PARTITIONS)
    with tempfile.TemporaryDirectory() as folder:
        orders = {
            "bootstrap": bootstrap,
            "topic": topic,
            "alerts": alerts,
            "group": f"peer-{uuid.uuid4().hex[:8]}",
            "onnx": str((bundle.path / ONNX).resolve()),
            "count": count,
            "length": job.LENGTH,
            "stride": job.STRIDE,
            "features": job.NAMES,
            "line": LINE,
            "folder": folder,
            "mode": peer.mode,
        }
        try:
            done = subprocess.run(
                [str(python), "-m", f"tests.performance.peers.{peer.program}", json.dumps(orders)],
                cwd=folder,
                env={**os.environ, "PYTHONPATH": str(venvs.ROOT)},
                capture_output=True,
                text=True,
                check=False,
                timeout=PATIENCE,
            )
        except subprocess.TimeoutExpired:
            message = f"{peer.name}: not done after {PATIENCE:.0f} s"
            raise PeerError(message) from None
    report = next((json.loads(line) for line in done.stdout.splitlines() if line.startswith('{"records"')), None)
    if report is None:
        said = [line for line in done.stderr.splitlines() if line.strip()]
        message = f"{peer.name}: ended with status {done.returncode}: {said[-1] if said else 'it said nothing'}"
        raise PeerError(message)
    _check(peer, report, Task.of(count), _sent(bootstrap, alerts))
    return {"records_per_second": report["rate"], "cpu_us_per_record": report["cpu"]}


def _sent(bootstrap: str, alerts: str) -> Counter[tuple[str, int]]:
    """Return how often there is an alert for each stream and time, as a reader of committed messages sees them."""
    values = (msgspec.json.decode(record.value) for record in consume_all(bootstrap, alerts))
    return Counter((value["stream"], value["time"]) for value in values)


def _check(peer: Peer, report: dict[str, float], task: Task, sent: Counter[tuple[str, int]]) -> None:
    """Raise `PeerError` unless all of the job was done, once."""
    for what, found, wanted in (
        ("windows scored", report["windows"], task.windows),
        ("windows above the line", report["alerts"], task.alerts),
        ("alerts in its topic", sent.total(), task.alerts),
        ("windows that they are of", len(sent), task.alerts),
    ):
        if found != wanted:
            message = f"{peer.name}: {found:,} {what}, {wanted:,} are due: its figures do not count"
            raise PeerError(message)
