"""Batches that unpack to far more than they are on the wire, in a topic that others may write to."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

from tests.integration.conftest import Job, both_clients
from tests.integration.daemon import Daemon, until
from tests.integration.streams import rows
from tests.kafka.broker import Broker
from tests.kafka.topics import Record, consume_all, produce

MIB = 1 << 20
PRODUCER = {"compression_type": "zstd", "max_request_size": 1 << 30, "linger_ms": 0, "batch_size": 1}
"""A batch for each record, as large as its producer likes."""


def peak(daemon: Daemon) -> int:
    """Return the most memory that the daemon has had, in bytes."""
    found = re.search(r"VmHWM:\s+(\d+) kB", Path(f"/proc/{daemon.process.pid}/status").read_text())
    assert found is not None
    return int(found[1]) * 1024


def test_many_bombs_are_dead_letters(kafka: Broker, job: Callable[..., Job], folder: Path) -> None:
    """If it failed, a megabyte of a fetch could become gigabytes, and end each member that takes the partition over."""
    work, count, size = job(), 30, 16 * MIB
    with Daemon(folder / "one", work.member()) as daemon:
        produce(kafka.bootstrap, work.input, rows(("a",), 0, 10))
        until(lambda: daemon.consumed() == 10, "nothing is consumed")
        before = peak(daemon)
        produce(kafka.bootstrap, work.input, (Record(bytes(size), b"a") for _ in range(count)), **PRODUCER)
        produce(kafka.bootstrap, work.input, rows(("a",), 10, 20))
        until(lambda: daemon.identity() == (20 + count, 20 + count), "records are not accounted for")
        assert peak(daemon) - before < count * size / 2
        assert daemon.metrics()['tidegauge_dead_letters_total{reason="size"}'] == count
        until(lambda: len(consume_all(kafka.bootstrap, work.dead)) == count, "the dead letters do not come")
        assert daemon.stop()[0] == 0
    letter = consume_all(kafka.bootstrap, work.dead)[0]
    assert len(letter.value) < MIB
    assert ("truncated", str(size + 1).encode()) in letter.headers


@both_clients
def test_a_batch_that_is_too_large_is_named(kafka: Broker, job: Callable[..., Job], folder: Path) -> None:
    """If it failed, the daemon would be killed for its memory, restarted, and killed again, without a word."""
    work = job()
    produce(kafka.bootstrap, work.input, rows(("a",), 0, 10))
    produce(kafka.bootstrap, work.input, [bytes(160 * MIB)], **PRODUCER)
    with Daemon(folder / "one", work.member()) as daemon:
        until(lambda: daemon.process.poll() is not None, "it does not end")
        assert daemon.ended() == 78
        (line,) = daemon.said
    assert f"the batch at offset 10 of {work.input}-0 unpacks to more than 32 MiB" in line
    assert "Traceback" not in daemon.text
