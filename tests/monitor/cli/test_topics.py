"""`tidegauge topics`: what an operator makes before the daemon."""

from __future__ import annotations

import json
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.kafka.broker import Broker
from tests.monitor.cli.conftest import Run


def written(folder: Path, bootstrap: str, topics: tuple[str, str, str], **source: Any) -> Path:
    """Write a configuration."""
    path = folder / "tidegauge.yaml"
    settings = {"type": "kafka", "bootstrap_servers": [bootstrap], "topics": [topics[0]], "group_id": "g", **source}
    config = {"source": settings, "sink": {"type": "kafka", "topic": topics[1]}, "dead_letter": {"topic": topics[2]}}
    path.write_text(json.dumps(config))
    return path


def test_what_is_missing_is_made_and_nothing_altered(
    run: Run, kafka: Broker, topic: Callable[..., str], tmp_path: Path
) -> None:
    """If it failed, a first start would need an admin tool, or a second `--create` would change production's topics."""
    mark = uuid.uuid4().hex[:8]
    names = (topic(partitions=2), f"alerts-{mark}", f"dead-{mark}")
    path = written(tmp_path, kafka.bootstrap, names, partitions=3, group_id=mark)
    before = json.loads(run("topics", path, "--json").out)
    assert [(each["name"], each["purpose"], each["found"] is None) for each in before["topics"]] == [
        (names[0], "input", False),
        (names[1], "alerts", True),
        (names[2], "dead letters", True),
        (f"{mark}-state-{names[0]}", "state", True),
    ]
    done = run("topics", path, "--create", "--json")
    assert (done.status, done.err) == (0, "")
    made = json.loads(done.out)["topics"]
    assert [each["created"] for each in made] == [False, True, True, True]
    assert [each["found"]["partitions"] for each in made] == [2, 3, 3, 2]  # state as its input
    assert [each["found"]["replication"] for each in made] == [1, 1, 1, 1]
    assert made[3]["found"]["configs"]["cleanup.policy"] == "compact"
    assert made[0]["configs"] == {}
    assert made[0]["found"]["configs"]["retention.ms"] == "-1"
    assert (
        made[1]["configs"]
        == made[1]["found"]["configs"]
        == {
            "cleanup.policy": "delete",
            "retention.ms": str(30 * 86_400_000),
        }
    )
    assert made[2]["found"]["configs"]["retention.ms"] == str(14 * 86_400_000)
    again = json.loads(run("topics", path, "--create", "--json", "--set", "source.partitions=5").out)["topics"]
    assert not any(each["created"] for each in again)
    assert [each["found"] for each in again] == [each["found"] for each in made]


def test_people_read_lines(run: Run, kafka: Broker, topic: Callable[..., str], tmp_path: Path) -> None:
    """If it failed, an operator would not see which topic is missing, or has other partitions than he thinks."""
    names = (topic(partitions=2), "no-such-alerts", topic(partitions=4))
    done = run("topics", written(tmp_path, kafka.bootstrap, names))
    assert done.status == 0
    lines = done.out.splitlines()
    assert lines[0].split()[:4] == [names[0], "input", "there:", "2"]
    assert "4 would be made (source.partitions)" in lines[0]
    assert "retention.ms=-1" in lines[1]
    assert "missing: wants 4 partitions, cleanup.policy=delete, retention.ms=2592000000" in lines[2]
    assert "dead letters  there: 4 partitions" in lines[3]
    assert "missing: wants 2 partitions, cleanup.policy=compact" in lines[4]


def test_what_cannot_be_made(run: Run, kafka: Broker, tmp_path: Path) -> None:
    """If it failed, a wrong name would end in a traceback."""
    done = run("topics", written(tmp_path, kafka.bootstrap, ("a b", "alerts", "dead")), "--create")
    assert (done.status, len(done.said)) == (78, 1)
    assert "source.topics.0: found 'a b', expected the name of a topic" in done.err


def test_no_cluster(run: Run, tmp_path: Path) -> None:
    """If it failed, a configuration without Kafka, or with a broker that is down, would end in a traceback."""
    path = written(tmp_path, "127.0.0.1:9", ("in", "out", "dead"), bootstrap_timeout_ms=1_000)
    done = run("topics", path)
    assert (done.status, len(done.said)) == (1, 1)
    assert "can be reached" in done.err
    path.write_text('{"source": {"type": "csv", "path": "a.csv"}}')
    done = run("topics", path)
    assert done.status == 78
    assert done.said == [f"tidegauge: {path}: neither source nor sink is of type kafka: there is no cluster to ask"]
