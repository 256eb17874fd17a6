"""The benchmark works: all of it at toy size, looked at for shape and sense, never for speed."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
TOY = ["--json", "--records", "20000", "--rounds", "1", "--seconds", "4", "--warm", "0", "--streams", "4000"]
TOY_STATE = ["--rows", "3", "--lag", "20000", "--written", "20000", "--patience", "1", "--steady", "0.5"]


def _run(*cases: str) -> dict[str, dict[str, float]]:
    """Run cases at toy size."""
    done = subprocess.run(
        [sys.executable, "-m", "tests.performance", *cases, *TOY, *TOY_STATE],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT), "TF_CPP_MIN_LOG_LEVEL": "3"},
        capture_output=True,
        text=True,
        check=False,
        timeout=500,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    found: dict[str, dict[str, float]] = json.loads(done.stdout)
    return found


def test_stages_can_be_measured() -> None:
    """If it failed, nobody could tell whether a change made the hot path slower."""
    found = _run("codec", "core", "memory")
    assert found["codec"]["us_per_record"] > found["codec"]["parse_alone_us"] > 0
    assert found["core"]["us_per_record"] > 0
    assert found["memory"]["bytes_per_stream"] > found["memory"]["bytes_per_stream_beyond_windows"]


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.usefixtures("kafka")
def test_the_job_can_be_measured_on_kafka() -> None:
    """If it failed, the figures that users are told of could not be measured again."""
    durable = ("state", "restore", "failover", "lag", "rebalance", "changelog")
    found = _run("model", "throughput", "latency", "ready", *durable)
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
