"""What systemd, Kubernetes and Prometheus see of the daemon."""

from __future__ import annotations

import socket
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.integration.conftest import Job
from tests.integration.daemon import Daemon, until
from tests.integration.streams import rows
from tests.kafka.broker import Broker
from tests.kafka.topics import produce


def test_systemd_is_told(kafka: Broker, job: Callable[..., Job], folder: Path) -> None:
    """If it failed, systemd would kill a daemon that works, or keep one that hangs."""
    work = job()
    produce(kafka.bootstrap, work.input, rows(("a",), 0, 20))
    address = folder / "notify"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as ear:
        ear.bind(str(address))
        ear.settimeout(60)
        env = {"NOTIFY_SOCKET": str(address), "WATCHDOG_USEC": "600000"}
        with Daemon(folder / "one", work.member(), env=env) as daemon:
            told: list[str] = []
            while told.count("WATCHDOG=1") < 4 or not any(text.startswith("STATUS=20 records") for text in told):
                told += ear.recv(4_096).decode().splitlines()
            assert daemon.stop()[0] == 0
            while "STOPPING=1" not in told:
                told += ear.recv(4_096).decode().splitlines()
    assert told.count("READY=1") == 1
    assert told.index("READY=1") < told.index("STOPPING=1")
    assert "STATUS=consuming" in told


def test_probes_and_metrics(kafka: Broker, job: Callable[..., Job], folder: Path) -> None:
    """If it failed, a probe would restart a daemon that works, or a dashboard would show what is not."""
    work = job(partitions=2)
    produce(kafka.bootstrap, work.input, rows(("a", "b"), 0, 100, partitions=2))
    with Daemon(folder / "one", work.member()) as daemon:
        daemon.wait_for("starting")
        assert daemon.get("/livez") == (200, "ok\n")
        daemon.ready()
        assert daemon.get("/readyz") == (200, "ok\n")
        until(lambda: daemon.identity() == (200, 200), "records are not accounted for")

        def settled() -> bool:
            """Whether the gauges, which are set every few seconds, have caught up."""
            found = daemon.metrics()
            lag = [found.get(f'tidegauge_consumer_lag_records{{partition="{n}",topic="{work.input}"}}') for n in (0, 1)]
            return lag == [0, 0] and found["tidegauge_streams_active"] == 2

        until(settled, "the gauges do not follow")
        found = daemon.metrics()
        assert found["tidegauge_windows_scored_total"] == 2 * (100 - 11)
        assert found['tidegauge_alerts_published_total{status="firing"}'] == 4
        assert found['tidegauge_alerts_opened_total{kind="anomaly"}'] == 4
        assert found["tidegauge_stream_seconds_total"] == pytest.approx(2 * (100 - 11) * 60)  # a minute each
        assert found['tidegauge_transactions_total{outcome="unknown"}'] == 0
        assert daemon.get("/other")[0] == 404
        assert daemon.stop()[0] == 0
