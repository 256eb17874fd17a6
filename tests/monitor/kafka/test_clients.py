"""Which client is behind the port, and what is said where it is not installed."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

from models.bundle import Bundle
from tests.integration.daemon import ROOT, environment

WITHOUT = """
import sys

class Block:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] == "confluent_kafka":
            raise ModuleNotFoundError(name, name=name)

sys.meta_path.insert(0, Block())
sys.modules.pop("confluent_kafka", None)
import importlib.util
found = importlib.util.find_spec
importlib.util.find_spec = lambda name, *more: None if name == "confluent_kafka" else found(name, *more)
from monitor.cli import main
sys.exit(main(sys.argv[1:]))
"""
"""The command where the extra is not installed."""


def test_a_client_that_is_missing_is_one_line(bundle: Bundle, tmp_path: Path) -> None:
    """If it failed, somebody who sets `source.client: confluent` would meet a traceback in place of what to install."""
    config = {
        "source": {"type": "kafka", "topics": ["sensors"], "group_id": "g", "client": "confluent"},
        "model": {"bundle": str(bundle.path)},
        "sink": {"type": "kafka", "topic": "alerts"},
    }
    path = tmp_path / "config.yaml"
    path.write_text(json.dumps(config))
    for verb in (["check", str(path)], ["run", "--config", str(path)]):
        done = subprocess.run(
            [sys.executable, "-c", WITHOUT, *verb],
            cwd=ROOT,
            env=environment(),
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        assert done.returncode == 78, done.stderr
        lines = [line for line in done.stderr.splitlines() if not line.startswith("{")]
        assert len(lines) == 1, done.stderr
        assert "source.client: confluent needs the extra librdkafka: pip install 'tidegauge[librdkafka]'" in lines[0]
