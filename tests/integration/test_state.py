"""What is known of the streams outlives the process: kills, members that come and go, another bundle, lost state."""

from __future__ import annotations

import json
import random
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from kafka import KafkaAdminClient

from models.bundle import Bundle, read
from tests.integration.conftest import Job, both_clients, committed
from tests.integration.daemon import Daemon, environment, until
from tests.integration.streams import PERIOD, rows
from tests.kafka.broker import Broker
from tests.kafka.topics import Record, consume_all, create_topic, produce

STREAMS = tuple(f"s{number}" for number in range(6))
LEARNING: dict[str, Any] = {
    "threshold": {"q": 0.95, "half_life": 50, "prior_weight": 10},
    "alert": {"open_after": 2, "resolve_after": 6, "rest": 30},
    "state": {"sweep_records": 150},
}
"""Lines that learn, alerts that last and rest: what a process that forgot would do otherwise. Sweeps come often."""


def learning(work: Job, name: str | None = "one", **source: Any) -> dict[str, Any]:
    """Return the configuration of a member whose alerts depend on all that came before."""
    return {**work.member(name, **source), **LEARNING}


def state_topic(work: Job) -> str:
    """Return the topic of the job's state."""
    return f"{work.group}-state-{work.input}"


def by_partition(events: list[bytes], without: str = "") -> dict[int, list[Any]]:
    """Return events by the partition of their input, in order; without a part of their data."""
    found: dict[int, list[Any]] = {}
    for event in events:
        read = json.loads(event)
        number = read["data"]["position"]["partition"]
        if without:
            del read["data"][without]
        found.setdefault(number, []).append(read if without else event)
    return found


def same_as_replay(work: Job, config: Path, without: str = "") -> int:
    """Compare what was published with what one uninterrupted pass makes; return how many events there are."""
    out = config.parent / "alerts.jsonl"
    command = [sys.executable, "-m", "monitor", "replay", f"kafka://{work.input}", "--config", str(config)]
    subprocess.run(
        [*command, "--out", str(out)],
        check=True,
        env=environment(),
        cwd=config.parent,
        timeout=120,
        capture_output=True,
    )
    published = [each.value or b"" for each in consume_all(work.bootstrap, work.alerts)]
    wanted = out.read_bytes().splitlines()
    assert by_partition(published, without) == by_partition(wanted, without)
    return len(wanted)


def failed(folder: Path, config: dict[str, Any]) -> str:
    """Start a daemon that must end with status 78; return the one line that it says."""
    with Daemon(folder, config) as daemon:
        assert daemon.ended() == 78
    assert "Traceback" not in daemon.text
    (line,) = daemon.said
    return line


def test_kills_change_no_alert(kafka: Broker, job: Callable[..., Job], folder: Path) -> None:
    """If it failed, a crash would change lines, windows or firing alerts, and with them what is an alert."""
    work = job(partitions=2)
    count = 700
    produce(kafka.bootstrap, work.input, rows(STREAMS, 0, count, partitions=2))
    chance = random.Random(11)  # noqa: S311 - when to kill
    places = [0]
    for turn in range(5):
        with Daemon(folder / str(turn), learning(work, max_poll_records=10, commit_interval_ms=100)) as daemon:
            until(lambda: committed(work) > places[-1], "nothing is committed")
            time.sleep(chance.uniform(0, 0.15))
            daemon.kill()
        places.append(committed(work))
    assert places == sorted(set(places))
    assert places[-1] < count * len(STREAMS)  # the last one still has something to do
    with Daemon(folder / "last", learning(work, max_poll_records=500)) as daemon:
        until(lambda: committed(work) == count * len(STREAMS), "the committed offset does not reach the end")
        restored = [each for each in daemon.log if each["event"] == "restored"]
        assert {each["partition"] for each in restored} == {f"{work.input}-0", f"{work.input}-1"}
        assert sum(each["streams"] for each in restored) in {3, 6}  # a partition may not have had its turn
        assert sum(each["records"] for each in restored) <= sum(places[-1:])
        assert daemon.get("/readyz")[0] == 200
        assert daemon.metrics()["tidegauge_restore_duration_seconds_count"] == 2
        assert daemon.stop()[0] == 0
    assert same_as_replay(work, folder / "last" / "config.yaml") > 10


@both_clients
def test_members_come_and_go(kafka: Broker, job: Callable[..., Job], folder: Path) -> None:
    """If it failed, a member would begin streams anew that another one knew, when it comes or when that one goes."""
    work = job(partitions=2)
    step = 3 * PERIOD // 2  # in the middle of a bump's distance

    def fill(turn: int) -> None:
        produce(kafka.bootstrap, work.input, rows(STREAMS, turn * step, (turn + 1) * step, partitions=2))
        until(lambda: committed(work) == (turn + 1) * step * len(STREAMS), "nobody goes on")

    def assigned(daemon: Daemon) -> list[str]:
        found = [each["partitions"] for each in daemon.log if each["event"] == "partitions_assigned"]
        return found[-1] if found else []

    def restored(daemon: Daemon) -> list[str]:
        return [each["partition"] for each in daemon.log if each["event"] == "restored"]

    with Daemon(folder / "one", learning(work, None)) as one:
        fill(0)
        assert restored(one) == []
        with Daemon(folder / "two", learning(work, None)) as two:
            until(lambda: len(assigned(one)) == len(assigned(two)) == 1, "the members do not share the partitions")
            until(lambda: restored(two) == assigned(two), "the second does not restore what it got")
            fill(1)
            assert restored(one) == []  # what it kept is not restored
            assert two.stop()[0] == 0
        until(lambda: len(restored(one)) == 1, "the first does not restore what came back")
        fill(2)
        assert one.get("/readyz")[0] == 200
        assert one.stop()[0] == 0
    assert same_as_replay(work, folder / "one" / "config.yaml") > 5


def test_a_static_member_restarts(kafka: Broker, job: Callable[..., Job], folder: Path) -> None:
    """If it failed, a deployment of a member would cost more than its start, or forget what it knew."""
    work = job(partitions=2)
    for turn in range(2):
        produce(kafka.bootstrap, work.input, rows(STREAMS, turn * 55, (turn + 1) * 55, partitions=2))
        with Daemon(folder / str(turn), learning(work)) as daemon:
            until(lambda: committed(work) == (turn + 1) * 55 * len(STREAMS), "the records are not processed")  # noqa: B023 - called in this turn
            assert daemon.stop()[0] == 0
    assert same_as_replay(work, folder / "1" / "config.yaml") > 3


def test_idle_partitions_finish_their_sweep(kafka: Broker, job: Callable[..., Job], folder: Path) -> None:
    """If it failed, a restore would read old input for ever again where no records come any more, until it is gone."""
    work = job()
    produce(kafka.bootstrap, work.input, rows(STREAMS, 0, 100))
    config = {**learning(work), "state": {"sweep_records": 1_000_000, "sweep_interval": "1s"}}
    with Daemon(folder / "one", config) as daemon:
        until(lambda: committed(work) == 600, "the records are not processed")

        def size() -> int:
            return len(consume_all(kafka.bootstrap, state_topic(work)))

        time.sleep(4)
        done = size()
        time.sleep(2)
        assert size() == done  # and then it is quiet
        assert daemon.stop()[0] == 0
    with Daemon(folder / "two", config) as daemon:
        assert daemon.wait_for("restored")["records"] == 0
        assert daemon.ready().stop()[0] == 0


def other_bundle(bundle: Bundle, path: Path) -> Path:
    """Copy a bundle, with another calibration."""
    shutil.copytree(bundle.path, path)
    manifest = json.loads((path / "bundle.json").read_text())
    manifest["calibration"]["log_mean"] += 0.25
    (path / "bundle.json").write_text(json.dumps(manifest))
    return path


def test_another_bundle(kafka: Broker, job: Callable[..., Job], folder: Path, bundle: Bundle) -> None:
    """If it failed, scores of a new model would be held against lines of the old one, unasked, or alerts never end."""
    work = job()
    other = other_bundle(bundle, folder / "other")
    produce(kafka.bootstrap, work.input, rows(STREAMS, 0, PERIOD - 2))  # ends within a bump: alerts are firing
    with Daemon(folder / "one", work.member()) as daemon:
        until(lambda: committed(work) == len(STREAMS) * (PERIOD - 2), "the records are not processed")
        assert daemon.stop()[0] == 0
    new = {**work.member(), "model": {"bundle": str(other)}}
    line = failed(folder / "refused", new)
    assert "state.on_new_bundle" in line
    assert bundle.sha256[:12] in line
    with Daemon(folder / "two", {**new, "state": {"on_new_bundle": "restart_lines"}}) as daemon:
        adopted = daemon.wait_for("state_adopted")
        assert (adopted["restarted"], adopted["resolved"]) == (["line"], len(STREAMS))
        daemon.ready()
        produce(kafka.bootstrap, work.input, rows(STREAMS, PERIOD - 2, 2 * PERIOD))
        until(lambda: committed(work) == len(STREAMS) * 2 * PERIOD, "the records are not processed")
        assert daemon.metrics()["tidegauge_windows_scored_total"] == len(STREAMS) * (PERIOD + 2)  # windows stayed
        assert daemon.stop()[0] == 0
    events = [json.loads(each.value or b"") for each in consume_all(kafka.bootstrap, work.alerts)]
    ends = [event for event in events if event["data"]["reason"] == "model_changed"]
    assert sorted(event["subject"] for event in ends) == sorted(STREAMS)
    begins = {event["data"]["alert_id"]: event for event in events if event["data"]["revision"] == 0}
    for event in ends:
        assert event["data"]["model"]["sha256"] == bundle.sha256  # the one that scored what it tells of
        assert event["data"]["startsAt"] == begins[event["data"]["alert_id"]]["data"]["startsAt"]
        assert len(event["data"]["attribution"]) == 2
    line = failed(folder / "old", work.member())
    assert "superseded" in line
    with Daemon(folder / "again", new) as daemon:  # known by now: nothing to allow
        assert daemon.ready().stop()[0] == 0


def test_a_rolling_deployment(kafka: Broker, job: Callable[..., Job], folder: Path, bundle: Bundle) -> None:
    """If it failed, members of the old bundle would take back what the new one has, or alerts be lost or doubled."""
    work = job(partitions=2)
    other = other_bundle(bundle, folder / "other")
    old = work.member(None)
    new = {**old, "model": {"bundle": str(other)}, "state": {"on_new_bundle": "keep_lines"}}
    step = 3 * PERIOD // 2  # in the middle of a bump's distance: what fires or waits is handed over

    def fill(turn: int) -> None:
        produce(kafka.bootstrap, work.input, rows(STREAMS, turn * step, (turn + 1) * step, partitions=2))
        until(lambda: committed(work) == (turn + 1) * step * len(STREAMS), "nobody goes on")

    def named(daemon: Daemon, event: str) -> list[str]:
        return [each["partition"] for each in daemon.log if each["event"] == event]

    with Daemon(folder / "old", old) as one:
        fill(0)
        with Daemon(folder / "new", new) as two:
            until(lambda: len(named(two, "state_adopted")) == 1, "the new bundle takes nothing on")
            two.ready()
            fill(1)  # two bundles are live in one group
            assert named(one, "restored") == []
            assert one.process.poll() is None
            assert two.stop()[0] == 0
        assert one.ended() == 78  # what comes back has gone on
        (line,) = one.said
        assert "superseded" in line
        assert named(two, "state_adopted")[0] in line
    with Daemon(folder / "last", new) as last:
        fill(2)
        assert sorted(named(last, "restored")) == [f"{work.input}-0", f"{work.input}-1"]
        assert set(named(last, "state_adopted")) == set(named(last, "restored")) - set(named(two, "state_adopted"))
        assert last.stop()[0] == 0
    assert same_as_replay(work, folder / "last" / "config.yaml", without="model") > 10
    events = [json.loads(each.value or b"") for each in consume_all(kafka.bootstrap, work.alerts)]
    assert {event["data"]["model"]["sha256"] for event in events} == {bundle.sha256, read(other).sha256}
    assert len({event["id"] for event in events}) == len(events)


def test_a_stage_of_another_type_begins_anew(kafka: Broker, job: Callable[..., Job], folder: Path) -> None:
    """If it failed, another threshold would read the numbers of the one before, or every stream would begin anew."""
    work = job()
    produce(kafka.bootstrap, work.input, rows(STREAMS, 0, 30))
    with Daemon(folder / "one", learning(work)) as daemon:
        until(lambda: committed(work) == 180, "the records are not processed")
        assert daemon.stop()[0] == 0
    for turn, threshold in enumerate(({"type": "p2", "q": 0.99}, {"type": "rolling_quantile", "q": 0.99, "size": 50})):
        produce(kafka.bootstrap, work.input, rows(STREAMS, 30 + 10 * turn, 40 + 10 * turn))
        with Daemon(folder / f"line-{turn}", {**learning(work), "threshold": threshold}) as daemon:
            assert daemon.wait_for("state_adopted")["restarted"] == ["line"]
            until(lambda: committed(work) == 180 + 60 * (turn + 1), "the records are not processed")  # noqa: B023 - called in this turn
            assert daemon.metrics()["tidegauge_windows_scored_total"] == 60
            daemon.kill()
    with Daemon(folder / "window", {**learning(work), "threshold": threshold, "window": {"stride": 2}}) as daemon:
        assert daemon.wait_for("state_adopted")["restarted"] == ["window"]
        produce(kafka.bootstrap, work.input, rows(STREAMS, 50, 70))
        until(lambda: committed(work) == 420, "the records are not processed")
        assert daemon.metrics()["tidegauge_windows_scored_total"] == len(STREAMS) * 5
        daemon.kill()
    with Daemon(folder / "last", {**learning(work), "threshold": threshold, "window": {"stride": 2}}) as daemon:
        assert daemon.wait_for("restored")["streams"] == len(STREAMS)
        assert daemon.ready().stop()[0] == 0


def test_state_and_offsets_that_do_not_belong_together(kafka: Broker, job: Callable[..., Job], folder: Path) -> None:
    """If it failed, a daemon would go on with what it does not know, or know it of another topic, without a word."""
    work = job()
    produce(kafka.bootstrap, work.input, rows(STREAMS, 0, 20))
    with Daemon(folder / "one", work.member()) as daemon:
        until(lambda: committed(work) == 120, "the records are not processed")
        assert daemon.stop()[0] == 0
    other = work.member(group_id=f"{work.group}-2")
    line = failed(folder / "no-offset", {**other, "state": {"topic": f"{work.group}-state"}})
    assert "stands at 120" in line
    assert state_topic(work) in line
    admin = KafkaAdminClient(bootstrap_servers=kafka.bootstrap)
    try:
        admin.create_partitions({work.input: 2})
        line = failed(folder / "partitions", work.member())
        assert "2 partitions" in line
        admin.delete_topics([state_topic(work)])
    finally:
        admin.close()
    create_topic(kafka.bootstrap, state_topic(work), 2, cleanup_policy="compact")
    line = failed(folder / "gone", work.member())
    assert "its state" in line
    assert "is gone" in line
    for name, value, said in (
        ("damaged", b"\xc1", "damaged"),
        ("newer", b"\x82\xa1v\x63\xa4meta\x81\xa6format\x63", "format 99"),
    ):
        produce(kafka.bootstrap, state_topic(work), [Record(value, key=b"M", partition=0)])
        line = failed(folder / name, work.member())
        assert said in line
        assert f"{work.input}-0" in line
