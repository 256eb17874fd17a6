"""The committed schemas: what other teams and editors read without installing anything."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from monitor.cli._schemas import SCHEMAS

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "deploy" / "schemas"
FILES = {
    "config": "config.schema.json",
    "record": "record.v1.schema.json",
    "alert": "alert.v1.schema.json",
    "alert-data": "alert-data.v1.schema.json",
}


@pytest.mark.parametrize("name", FILES)
def test_committed_is_what_is_printed(name: str) -> None:
    """If it failed, the files would describe another version; write them anew with `tidegauge schema NAME > FILE`."""
    assert (FOLDER / FILES[name]).read_text() == json.dumps(SCHEMAS[name](), indent=2, ensure_ascii=False) + "\n"


def test_there_is_a_file_for_each() -> None:
    """If it failed, a schema would be printed that nobody finds, or one lie there that nobody prints."""
    assert set(FILES) == set(SCHEMAS)
    assert {path.name for path in FOLDER.iterdir()} == set(FILES.values())


def test_an_independent_validator_takes_them() -> None:
    """If it failed, other tools could not read them."""
    command = [sys.executable, "-m", "check_jsonschema", "--check-metaschema"]
    done = subprocess.run(
        [*command, *(str(FOLDER / name) for name in FILES.values())], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize("path", ["config.example.yaml", "deploy/kubernetes/base/config.yaml"])
def test_our_own_configurations_pass(path: str) -> None:
    """If it failed, an editor would underline what we hand out."""
    command = [sys.executable, "-m", "check_jsonschema", "--schemafile", str(FOLDER / FILES["config"])]
    done = subprocess.run([*command, str(ROOT / path)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout
