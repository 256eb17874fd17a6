"""A record that kills the process: from a file, and from Kafka."""

from __future__ import annotations

import json
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from models.bundle import Bundle
from tests.integration.conftest import Job, committed
from tests.integration.daemon import Daemon, until
from tests.integration.recording import AT, TEXT, config, letters, lines, oracle
from tests.integration.streams import rows
from tests.kafka.broker import Broker
from tests.kafka.topics import consume_all, produce

DEADLY = ("tests.integration.deadly",)


def test_a_record_that_kills(bundle: Bundle, tmp_path: Path) -> None:
    """If it failed, one record could stop a daemon for ever; or be judged again, and kill again, with each restore."""
    wanted, folder = oracle(bundle, tmp_path / "wanted"), tmp_path / "job"
    folder.mkdir()
    (folder / "in.jsonl").write_bytes((wanted / "in.jsonl").read_bytes())
    statuses: list[int] = []
    while not statuses or (statuses[-1] != 0 and len(statuses) < 10):
        with Daemon(folder / "run", config(bundle, folder), program=DEADLY) as daemon:
            statuses.append(daemon.ended())
    assert statuses == [-signal.SIGSEGV] * 6 + [0]
    (letter,) = letters(folder)
    assert (letter["reason"], letter["source-offset"], letter["value"]) == ("crash", str(AT), TEXT)
    assert (folder / "alerts.jsonl").read_bytes() == (wanted / "alerts.jsonl").read_bytes()
    with (folder / "in.jsonl").open("a") as file:
        file.write("".join(f"{line}\n" for line in list(lines(210))[600:]))
    with Daemon(folder / "again", config(bundle, folder), program=DEADLY) as daemon:  # the restore passes it by
        assert daemon.ended() == 0
        assert daemon.wait_for("restored")["records"] > 0
    assert len(letters(folder)) == 1


def test_sigterm_ends_a_count(bundle: Bundle, tmp_path: Path) -> None:
    """If it failed, an operator who restarts a daemon would bring a good record nearer to being given up."""
    folder = tmp_path / "job"
    folder.mkdir()
    source = folder / "in.jsonl"
    source.write_text("".join(f"{line}\n" for line in lines(20, 50, TEXT)))
    marker = folder / "state" / "crash-0"
    for _ in range(2):
        with Daemon(folder / "run", config(bundle, folder, follow=True), program=DEADLY) as daemon:
            assert daemon.ended() == -signal.SIGSEGV
    assert json.loads(marker.read_text().splitlines()[0])["hand"]
    with Daemon(folder / "run", config(bundle, folder, follow=True)) as daemon:
        daemon.ready()
        until(lambda: daemon.consumed() > 0, "nothing was consumed")
        assert daemon.stop()[0] == 0
    assert not marker.exists()


@pytest.mark.slow
def test_a_record_of_a_topic_that_kills(kafka: Broker, job: Callable[..., Job], tmp_path: Path) -> None:
    """If it failed, one record could stop a partition for ever, for whichever member has it."""
    work = job()
    records = list(rows(("a", "b", "c"), 0, 60))
    produce(kafka.bootstrap, work.input, [*records[:AT], TEXT.encode(), *records[AT:]])
    member: dict[str, Any] = {**work.member(max_poll_records=60), "state": {"path": str(tmp_path / "own")}}
    for _ in range(6):
        with Daemon(tmp_path / "run", member, program=DEADLY) as daemon:
            assert daemon.ended() == -signal.SIGSEGV
    with Daemon(tmp_path / "run", member, program=DEADLY) as daemon:
        until(lambda: committed(work) == len(records) + 1, "the committed offset does not reach the end")
        assert daemon.stop()[0] == 0
    (letter,) = consume_all(kafka.bootstrap, work.dead)
    headers = dict(letter.headers)
    assert (headers["reason"], headers["source-offset"], letter.value) == (b"crash", b"%d" % AT, TEXT.encode())
    with Daemon(tmp_path / "again", member, program=DEADLY) as daemon:  # the restore passes it by
        daemon.ready()
        assert daemon.stop()[0] == 0
    seen = [json.loads(each.value)["id"] for each in consume_all(kafka.bootstrap, work.alerts)]
    assert len(seen) == len(set(seen)) >= 6
