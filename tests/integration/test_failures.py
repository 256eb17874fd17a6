"""Killed daemons, killed brokers, and starts that must fail: with one line, and the right exit status."""

from __future__ import annotations

import json
import random
import shutil
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from models.bundle import Bundle
from tests.integration.conftest import CLIENTS, Job, both_clients, committed, make_job
from tests.integration.daemon import Daemon, until
from tests.integration.streams import PERIOD, rows
from tests.kafka import topics
from tests.kafka.broker import PASSWORD, USER, Broker
from tests.kafka.topics import consume_all, delete_before, produce


def ids(work: Job, isolation: topics.Isolation = "read_committed") -> Counter[str]:
    """Return how often each event is in the alerts topic."""
    return Counter(json.loads(each.value)["id"] for each in consume_all(work.bootstrap, work.alerts, isolation))


@both_clients
def test_killed_again_and_again(kafka: Broker, job: Callable[..., Job], folder: Path) -> None:
    """If it failed, a crash would lose records, or publish an alert twice."""
    work = job()
    streams = [f"s{number}" for number in range(20)]
    count, total = 1_000, 20 * 1_000
    produce(kafka.bootstrap, work.input, rows(streams, 0, count))
    chance = random.Random(7)  # noqa: S311 - when to kill
    places = [0]
    for turn in range(6):
        with Daemon(folder / str(turn), work.member(max_poll_records=20, commit_interval_ms=100)) as daemon:
            until(daemon.consumed, "nothing is consumed")
            if turn % 2:  # a kill after a commit; the others come wherever they come
                until(lambda: committed(work) > places[-1], "nothing is committed")
            time.sleep(chance.uniform(0, 0.1))
            daemon.kill()
        places.append(committed(work))
    assert len(set(places)) > 3  # kills did come between commits
    with Daemon(folder / "last", work.member()) as daemon:
        until(lambda: committed(work) == total, "the committed offset does not reach the end")
        assert daemon.stop()[0] == 0
    seen = ids(work)
    assert set(seen.values()) == {1}
    assert len(seen) > count // PERIOD * len(streams)
    assert set(seen) <= set(ids(work, "read_uncommitted"))


@both_clients
def test_the_broker_freezes_and_is_killed(bundle: Bundle, folder: Path, client: str) -> None:
    """If it failed, a broker that hangs or restarts would end daemons, or double alerts.

    It is frozen in the middle of transactions. It is killed between them: a lone node that is killed with the markers
    of a transaction on their way may come back without them, and then the group's offsets are held by a transaction
    that never ends, whatever the client does.
    """
    with Broker() as broker:
        if not broker.owned:
            pytest.skip("this Kafka is somebody else's")
        work = make_job(
            bundle, broker.bootstrap, lambda **how: topics.create_topic(broker.bootstrap, **how), client=client
        )
        streams = [f"s{number}" for number in range(10)]
        with Daemon(folder / "one", work.member(max_poll_records=100)) as daemon:
            produce(broker.bootstrap, work.input, rows(streams, 0, 300))
            until(lambda: daemon.consumed() > 300, "nothing is consumed")
            broker.pause()
            daemon.wait_for("transaction_failed")
            assert daemon.get("/livez")[0] == 200
            assert daemon.get("/readyz")[0] == 503
            broker.resume()
            until(lambda: committed(work) == 3_000, "the daemon does not recover from a broker that hung")
            time.sleep(1)  # for the markers of the last transaction
            broker.kill()
            broker.restart()
            produce(broker.bootstrap, work.input, rows(streams, 300, 300 + PERIOD))
            until(lambda: committed(work) == 3_000 + 10 * PERIOD, "the daemon does not recover from a restart")
            assert daemon.get("/readyz")[0] == 200
            seen = ids(work)
            assert seen
            assert set(seen.values()) == {1}
            broker.kill()
            time.sleep(1)
            status, seconds = daemon.stop()  # while nobody answers
            assert (status, daemon.said) == (0, [])
            assert seconds < 10


def failed(folder: Path, config: dict[str, Any]) -> tuple[int, str]:
    """Start a daemon that must fail; return its status and the one line that it says."""
    with Daemon(folder / "failing", config) as daemon:
        status = daemon.ended()
    assert "Traceback" not in daemon.text
    (line,) = daemon.said
    assert line.startswith("tidegauge: ")
    return status, line


@pytest.mark.parametrize("which", ["input", "alerts", "dead"])
def test_a_missing_topic(job: Callable[..., Job], folder: Path, which: str) -> None:
    """If it failed, a typo in a topic's name would be found out by the first alert that does not arrive."""
    work = job()
    config = work.member()
    setting = {"input": "source.topics", "alerts": "sink.topic", "dead": "dead_letter.topic"}[which]
    if which == "input":
        config["source"]["topics"] = ["no-such-topic"]
    else:
        config["sink" if which == "alerts" else "dead_letter"]["topic"] = "no-such-topic"
    status, line = failed(folder, config)
    assert status == 78
    assert "'no-such-topic'" in line
    assert setting in line


def test_no_broker(job: Callable[..., Job], folder: Path) -> None:
    """If it failed, a broker that is down would look like a bug, or Kubernetes would kill a start that waits for it."""
    config = job().member(bootstrap_servers=["127.0.0.1:9"], bootstrap_timeout_ms=3_000)
    with Daemon(folder / "one", config) as daemon:
        daemon.wait_for("starting")
        assert daemon.get("/livez")[0] == 200
        assert daemon.get("/readyz")[0] == 503
        assert daemon.ended() == 1
        assert "Traceback" not in daemon.text
        (line,) = daemon.said
        assert "127.0.0.1:9" in line
        assert "source.bootstrap_servers" in line


def test_a_stop_before_the_start(job: Callable[..., Job], folder: Path) -> None:
    """If it failed, a deployment could not be taken back while the brokers are away."""
    with Daemon(folder / "one", job().member(bootstrap_servers=["127.0.0.1:9"])) as daemon:
        daemon.wait_for("starting")
        status, seconds = daemon.stop()
        assert (status, daemon.said) == (0, [])
        assert seconds < 10


@pytest.mark.parametrize("mechanism", ["PLAIN", "SCRAM-SHA-512"])
def test_a_password(kafka: Broker, job: Callable[..., Job], folder: Path, mechanism: str) -> None:
    """If it failed, a wrong password would be told as a timeout, retried for ever, or shown in the log."""
    if not kafka.owned:
        pytest.skip("the listener with SASL belongs to brokers that are started here")
    secret = folder / "password"
    config = job().member(
        bootstrap_servers=kafka.sasl_bootstrap.split(","),
        security_protocol="SASL_PLAINTEXT",
        sasl_mechanism=mechanism,
        sasl_plain_username=USER,
        sasl_plain_password_file=str(secret),
        allow_insecure_password=True,
        bootstrap_timeout_ms=5_000,
    )
    secret.write_text("not-the-password\n")
    status, line = failed(folder, config)
    assert status == 78
    assert "source.sasl_plain_password_file" in line
    assert "not-the-password" not in (folder / "failing" / "log").read_text()
    secret.write_text(f"{PASSWORD}\n")
    with Daemon(folder / "good", config) as daemon:
        assert daemon.ready().stop()[0] == 0
    secret.unlink()
    status, line = failed(folder, config)
    assert status == 78
    assert str(secret) in line


def test_a_bundle_that_was_changed(job: Callable[..., Job], folder: Path, bundle: Bundle) -> None:
    """If it failed, a model that nobody has approved could decide what an alert is."""
    copy = folder / "bundle"
    shutil.copytree(bundle.path, copy)
    with (copy / "model.onnx").open("ab") as file:
        file.write(b"x")
    config = {**job().member(), "model": {"bundle": str(copy)}}
    status, line = failed(folder, config)
    assert status == 78
    assert "model.onnx" in line


def test_a_window_that_the_model_does_not_know(job: Callable[..., Job], folder: Path) -> None:
    """If it failed, a model would score windows of another length than it was trained for."""
    status, line = failed(folder, {**job().member(), "window": {"length": 99}})
    assert status == 78
    assert "window.length" in line


def test_features_that_the_model_does_not_know(kafka: Broker, job: Callable[..., Job], folder: Path) -> None:
    """If it failed, a stream of other sensors would be scored as if they were missing, without a word."""
    work = job()
    produce(kafka.bootstrap, work.input, [b'{"stream": "s", "time": 1700000000000, "values": {"colour": 3}}'] * 3)
    with Daemon(folder / "one", work.member()) as daemon:
        until(lambda: daemon.identity() == (3, 3), "records are not accounted for")
        assert daemon.metrics()['tidegauge_dead_letters_total{reason="features"}'] == 3
        assert daemon.stop()[0] == 0


@pytest.mark.parametrize(
    ("client", "busy"), [(CLIENTS[0], True), (CLIENTS[0], False), (CLIENTS[1], False)], indirect=["client"]
)
def test_a_twin(kafka: Broker, job: Callable[..., Job], folder: Path, *, busy: bool) -> None:
    """If it failed, two processes with one identity would both publish, or the first would be a ghost for ever."""
    work = job()
    with Daemon(folder / "one", work.member()) as one:
        one.ready()
        with Daemon(folder / "two", work.member()) as two:
            two.ready()
            if busy:
                produce(kafka.bootstrap, work.input, rows(("a", "b"), 0, PERIOD))
            assert one.ended() == 75
            (line,) = one.said
            assert f"{work.group}-one" in line
            if not busy:
                produce(kafka.bootstrap, work.input, rows(("a", "b"), 0, PERIOD))
            until(lambda: committed(work) == 2 * PERIOD, "the second does not go on")
            assert two.stop()[0] == 0
    assert set(ids(work).values()) == {1}


def begun(work: Job, folder: Path) -> None:
    """Process the first 20 records of one stream, and stop."""
    produce(work.bootstrap, work.input, rows(("a",), 0, 20))
    with Daemon(folder / "one", work.member()) as daemon:
        until(lambda: committed(work) == 20, "nothing is committed")
        assert daemon.stop()[0] == 0


@both_clients
def test_lost_offsets(kafka: Broker, job: Callable[..., Job], folder: Path) -> None:
    """If it failed, records that retention took before they were processed would be skipped without a word."""
    work = job()
    work.config["state"] = {"sweep_records": 1}  # each commit writes all windows: none must be rebuilt from old input
    begun(work, folder)
    delete_before(kafka.bootstrap, work.input, 20)
    with Daemon(folder / "edge", work.member()) as daemon:  # nothing was lost: all of it had been processed
        assert daemon.ready().stop()[0] == 0
    produce(kafka.bootstrap, work.input, rows(("a",), 20, 40))
    delete_before(kafka.bootstrap, work.input, 30)
    status, line = failed(folder, work.member())
    assert status == 78
    assert "20" in line
    assert "30" in line


def test_lost_windows(kafka: Broker, job: Callable[..., Job], folder: Path) -> None:
    """If it failed, windows that cannot be rebuilt, for want of old input, would be silently others."""
    work = job()
    begun(work, folder)
    delete_before(kafka.bootstrap, work.input, 5)
    status, line = failed(folder, work.member())
    assert status == 78
    assert "needs the input from 0 on" in line
    assert "begins at 5" in line


def test_where_a_new_group_begins(kafka: Broker, job: Callable[..., Job], folder: Path) -> None:
    """If it failed, `source.start: end` would read history, or forget after a restart where it had begun."""
    work = job()
    produce(kafka.bootstrap, work.input, rows(("a",), 0, 20))
    with Daemon(folder / "one", work.member(start="end")) as daemon:
        daemon.ready()
        until(lambda: committed(work) == 20, "the start is not committed at once")
        daemon.kill()
    produce(kafka.bootstrap, work.input, rows(("a",), 20, 25))
    with Daemon(folder / "two", work.member(start="end")) as daemon:
        until(lambda: daemon.consumed() == 5, "the restart has chosen another start")
        assert daemon.stop()[0] == 0
