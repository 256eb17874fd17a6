"""The daemon over files as a process: killed fifty times, and started again."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from models.bundle import Bundle
from tests.integration.daemon import ROOT, environment
from tests.integration.recording import config, letters, oracle


@pytest.mark.slow
def test_fifty_kills_from_outside(bundle: Bundle, tmp_path: Path) -> None:
    """If it failed, `kill -9` would lose or double alerts, or records that nothing is wrong with be given up for it."""
    wanted, folder = oracle(bundle, tmp_path / "wanted"), tmp_path / "job"
    folder.mkdir()
    (folder / "config.yaml").write_text(json.dumps(config(bundle, folder)))
    command = [sys.executable, "-m", "tests.integration.killed", str(folder / "config.yaml"), "50", "7"]
    command += [str(wanted / "in.jsonl"), str(folder / "in.jsonl")]
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, env=environment(), check=False)
    assert done.stdout == "killed 50, then 0\n", done.stderr[-4000:]
    for name in ("alerts.jsonl", "dead.jsonl"):
        assert (folder / name).read_bytes() == (wanted / name).read_bytes()
    assert done.stderr.count('"restored"') > 10  # many lives were long enough to go on, and were killed then
    assert not any(letter["reason"] == "crash" for letter in letters(folder))
