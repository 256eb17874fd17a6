"""The benchmark works: all of it at toy size, looked at for shape and sense, never for speed."""

from __future__ import annotations

import json
import math
import os
import re
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from tests.performance import limits, training
from tests.performance.peers import race, venvs

ROOT = Path(__file__).parents[1]
TOY = ["--json", "--records", "20000", "--rounds", "1", "--seconds", "4", "--warm", "0", "--streams", "4000"]
TOY_LONG = ["--recorded", "20000", "--silence", "5"]
TOY_STATE = ["--rows", "3", "--lag", "20000", "--written", "20000", "--patience", "1", "--steady", "0.5"]


def _run(*cases: str) -> dict[str, dict[str, Any]]:
    """Run cases at toy size."""
    done = subprocess.run(
        [sys.executable, "-m", "tests.performance", *cases, *TOY, *TOY_LONG, *TOY_STATE],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT), "TF_CPP_MIN_LOG_LEVEL": "3"},
        capture_output=True,
        text=True,
        check=False,
        timeout=500,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    found: dict[str, dict[str, Any]] = json.loads(done.stdout)
    return found


def test_stages_can_be_measured() -> None:
    """If it failed, nobody could tell whether a change made the hot path slower."""
    found = _run("codec", "core", "logic", "memory", "growth")
    assert found["codec"]["us_per_record"] > found["codec"]["parse_alone_us"] > 0
    assert found["core"]["us_per_record"] > 0
    assert 0 < found["logic"]["plain_us_per_window"] < found["logic"]["quality_us_per_window"]
    assert found["memory"]["bytes_per_stream"] > found["memory"]["bytes_per_stream_beyond_windows"]
    assert found["growth"]["many_to_few"] > 0
    assert found["must"]["codec"]["us_per_record"]["must"] == "<= 1.2"


@pytest.mark.slow
def test_training_can_be_measured() -> None:
    """If it failed, nobody could tell whether a change made training slower; the plain way differs by one call."""
    found = training._run("ours", 1_000)
    assert found["windows_per_second"] > 0
    assert found["peak_mb"] > 100


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.usefixtures("kafka")
def test_the_job_can_be_measured_on_kafka() -> None:
    """If it failed, the figures that users are told of could not be measured again."""
    new = ("replay", "scaling", "idle")
    durable = ("state", "restore", "failover", "lag", "rebalance", "changelog")
    found = _run("model", "throughput", "latency", "ready", *new, *durable)
    stages = [value for name, value in found["throughput"].items() if name.startswith("us_")]
    assert sum(stages) == pytest.approx(1e6 / found["throughput"]["job_records_per_second"])
    assert found["model"]["to_default_session"] > 0
    assert found["model"]["int8_to_served"] > 0
    assert found["model"]["int8_graph_bytes"] < 0.5 * found["model"]["graph_bytes"]
    assert found["replay"]["peak_mb"] > 50
    assert found["scaling"]["two_to_one"] > 0
    assert 0 < found["idle"]["cpu_percent"] < 100 > found["idle"]["bare_client_cpu_percent"] > 0
    assert found["throughput"]["job_to_raw"] > 0
    assert found["throughput"]["raw_poll_records_per_second"] > 0
    assert found["throughput"]["job_records_per_second"] > 0
    assert found["latency"]["events"] > 0
    assert found["latency"]["p99_ms"] >= found["latency"]["p50_ms"] > 0
    assert found["ready"]["exec_to_ready_seconds"] > 0
    assert found["state"]["with_to_without"] > 0
    assert found["restore"]["exec_to_restored_seconds"] > found["restore"]["restore_seconds"] > 0
    assert found["restore"]["few_log_entries"] > 0
    assert found["failover"]["kill_to_first_alert_seconds"] > 0
    assert found["lag"]["peak_mb"] > found["lag"]["tables_mb"] > 0
    assert found["rebalance"]["rebalances"] > 0
    assert found["rebalance"]["dropped_partitions"] == found["rebalance"]["restored_partitions"] == 0
    assert found["changelog"]["mb_before_compaction"] >= found["changelog"]["mb_after_compaction"] > 0


@pytest.mark.parametrize("program", sorted({peer.program for peer in race.PEERS}))
def test_a_peer_is_pinned_and_its_program_compiles(program: str) -> None:
    """If it failed, a figure beside a peer would be one of whatever version came out last, or of nothing at all."""
    pins = venvs.pins(program)
    assert len(pins) > 5
    assert [pin for pin in pins if not re.fullmatch(r"[A-Za-z0-9._-]+==[0-9][A-Za-z0-9.]*", pin)] == []
    source = Path(venvs.__file__).with_name(f"{program}.py").read_text(encoding="utf-8")
    compile(source, program, "exec")
    assert re.search(r"^(from|import) (monitor|models)\b", source, re.MULTILINE) is None


def test_a_peer_that_cannot_be_installed_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """If it failed, one peer that is gone from its index would end the measurement of all others in a traceback."""
    monkeypatch.setattr(venvs, "CACHE", tmp_path)
    monkeypatch.setattr(venvs, "pins", lambda _: ["./no/such/package"])
    with pytest.raises(
        venvs.PeerError, match=r"^tutorial cannot be installed with Python 3\S+: ERROR: .*no/such"
    ) as caught:
        venvs.python("tutorial")
    assert "\n" not in str(caught.value)


def test_the_task_of_the_peers_is_counted() -> None:
    """If it failed, a peer that leaves work out would be measured as a fast one."""
    windows = {(stream, last): range(last - 63, last + 1) for stream in range(2_000) for last in range(63, 150, 8)}
    spiked = {key for key, rows in windows.items() if any(race.spiked(key[0], row) for row in rows)}
    assert race.Task.of(300_000) == (22_000, len(spiked), len({stream for stream, _ in spiked}))
    assert race.Task.of(300_000).alerts == 240
    sent = Counter({(f"stream-{stream:06}", last): 1 for stream, last in spiked})
    report = {"windows": 22_000.0, "alerts": 240.0}
    race._check(race.PEERS[0], report, race.Task.of(300_000), sent)
    for wrong, found in (({**report, "windows": 21_999}, sent), (report, sent + Counter([next(iter(sent))]))):
        with pytest.raises(venvs.PeerError, match="its figures do not count"):
            race._check(race.PEERS[0], wrong, race.Task.of(300_000), found)


def test_a_limit_that_is_missed_is_said() -> None:
    """If it failed, a figure that is too low would look like one that is good."""
    found: dict[str, dict[str, float]] = {
        "peers": {"to_quix_exactly_once": 4.0, "to_faust": 5.9, "to_bytewax": math.nan},
        "machine": {},
    }
    assert {name: met for _, name, _, met in limits.judged(found)} == {
        "to_quix_exactly_once": True,
        "to_faust": False,
        "to_bytewax": False,
    }
    second = {name: (str(limit), met) for _, name, limit, met in limits.judged(found, "confluent")}
    assert second["to_quix_exactly_once"] == (">= 5", False)
    assert second["to_faust"] == (">= 6", False)
