"""What a daemon takes of a core while nothing comes, beside the bare client that waits in a group."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path

from kafka import KafkaConsumer

from models.bundle import Bundle
from tests.integration.daemon import Daemon, environment
from tests.performance import job
from tests.performance.durability import input_of, setting
from tests.performance.feed import fill

_SETTLE_SECONDS = 3.0
_RECORDS = 20_000  # come before the silence, so that there is state
_TICK = os.sysconf("SC_CLK_TCK")


def idle(bootstrap: str, bundle: Bundle, folder: Path, seconds: float, client: str = job.CLIENT) -> dict[str, float]:
    """Compare processor time, in percent of a core, of the daemon and of the bare client; one after the other."""
    config = setting(bootstrap, bundle)
    if client != job.CLIENT:
        config["source"]["client"] = client
    fill(bootstrap, input_of(config), job.STREAMS, _RECORDS)
    with Daemon(folder / "idle", config) as daemon:
        daemon.ready()
        while daemon.consumed() < _RECORDS:
            time.sleep(0.1)
        ours = _percent(daemon.process.pid, seconds)
        assert daemon.stop()[0] == 0
    orders = json.dumps({"bootstrap": bootstrap, "topic": input_of(config)})
    command = [sys.executable, "-m", "tests.performance.idle", orders]
    with subprocess.Popen(command, env=environment(), stdout=subprocess.PIPE) as bare:
        assert bare.stdout is not None
        try:
            assert bare.stdout.readline() == b"ready\n"
            theirs = _percent(bare.pid, seconds)
        finally:
            bare.kill()
    return {"cpu_percent": ours, "bare_client_cpu_percent": theirs, "beyond_the_client_percent": ours - theirs}


def _percent(process: int, seconds: float) -> float:
    """Return the processor time of a process over some seconds, when it has settled."""
    time.sleep(min(_SETTLE_SECONDS, seconds))
    begin, before = time.perf_counter(), _cpu(process)
    time.sleep(seconds)
    return 100 * (_cpu(process) - before) / (time.perf_counter() - begin)


def _cpu(process: int) -> float:
    """Return the seconds of processor time that a process has used."""
    fields = Path(f"/proc/{process}/stat").read_text(encoding="ascii").rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / _TICK


def main() -> None:
    """Wait in a group as the daemon's client does, with nothing around it."""
    orders = json.loads(sys.argv[1])
    consumer = KafkaConsumer(
        orders["topic"],
        bootstrap_servers=orders["bootstrap"],
        group_id="bare",
        auto_offset_reset="latest",
        isolation_level="read_committed",
        enable_auto_commit=False,
        max_poll_records=30_000,
        fetch_max_wait_ms=500,  # as the daemon when it is quiet
    )
    while not consumer.assignment():
        consumer.poll(timeout_ms=200)
    sys.stdout.write("ready\n")
    sys.stdout.flush()
    while True:
        consumer.poll(timeout_ms=200)


if __name__ == "__main__":
    main()
