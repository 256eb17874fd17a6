"""What is installed: the distribution's metadata, its command, and modules that need no TensorFlow."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import tomllib
from importlib import metadata
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
# pyarrow is of the extra `parquet`, confluent-kafka of `librdkafka`, openvino of its own, the others of `train`; the
# base has none of them.
NOT_IN_BASE = (
    *("tensorflow", "keras", "tf2onnx", "onnx", "matplotlib", "pyarrow"),
    *("confluent_kafka", "confluent-kafka", "openvino"),
)

IMPORT_EVERYTHING = f"""
import importlib, json, pkgutil, sys

BLOCKED = {NOT_IN_BASE!r}

class Block:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in BLOCKED:
            raise ModuleNotFoundError(f"{{name}} is blocked", name=name)

sys.meta_path.insert(0, Block())
done, failed = [], {{}}
for root in ("monitor", "models"):
    for found in pkgutil.walk_packages([root], root + "."):
        # What needs a library of an extra, and is imported when it is used alone.
        if found.name.endswith((".__main__", "._arrow")) or ".kafka.confluent." in found.name:
            continue
        try:
            importlib.import_module(found.name)
        except BaseException as error:
            failed[found.name] = f"{{type(error).__name__}}: {{error}}"
        done.append(found.name)
print(json.dumps([done, failed]))
"""


def test_version_is_the_packages_own() -> None:
    """If it failed, `tidegauge --version`, the wheel and the changelog could name different versions."""
    found = re.search(
        r'^__version__ = "(\d+\.\d+\.\d+)"$', (ROOT / "monitor" / "__init__.py").read_text(), re.MULTILINE
    )
    assert found is not None
    assert PROJECT["dynamic"] == ["version"]
    try:
        installed = metadata.version("tidegauge")
    except metadata.PackageNotFoundError:
        pytest.skip("tidegauge is not installed here")
    assert installed == found[1]


def test_the_command_answers() -> None:
    """If it failed, the first thing that a user types after the install would be a traceback."""
    assert PROJECT["scripts"] == {"tidegauge": "monitor.cli:main"}
    script = "from monitor.cli import main; main(['--help'])"
    done = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, check=False, text=True)
    assert done.returncode == 0, done.stderr
    for verb in ("demo", "train", "evaluate", "inspect", "run", "replay", "check", "topics", "alerts", "schema"):
        assert verb in done.stdout


def test_the_base_install_has_nothing_of_the_extras() -> None:
    """If it failed, the serving image would grow from 400 MB to 2 GB."""
    base = {re.split(r"[^A-Za-z0-9-]", each)[0].lower() for each in PROJECT["dependencies"]}
    assert not base & set(NOT_IN_BASE)
    extras = PROJECT["optional-dependencies"]
    assert set(extras) == {"inspect", "librdkafka", "openvino", "parquet", "quality", "search", "train", "test"}
    assert "tidegauge[parquet]" in extras["train"]
    assert "tidegauge[librdkafka,openvino,parquet]" in extras["test"]


def test_every_module_imports_without_tensorflow() -> None:
    """If it failed, a member that only serves would need TensorFlow: 10 s and 500 MB more."""
    done = subprocess.run(
        [sys.executable, "-c", IMPORT_EVERYTHING], cwd=ROOT, capture_output=True, check=False, text=True
    )
    assert done.returncode == 0, done.stderr
    imported, failed = json.loads(done.stdout.splitlines()[-1])
    assert not failed
    assert {"monitor.record", "models.bundle"} <= set(imported)


def test_the_packages_say_that_they_are_typed() -> None:
    """If it failed, a type checker would ignore every annotation of an installed tidegauge."""
    for package in ("monitor", "models"):
        assert (ROOT / package / "py.typed").exists()


def test_the_licence_is_complete() -> None:
    """If it failed, the metadata would promise a licence that the sdist does not carry."""
    text = (ROOT / "LICENSE").read_text()
    assert PROJECT["license"] == "Apache-2.0"
    assert "Version 2.0, January 2004" in text
    assert "END OF TERMS AND CONDITIONS" in text


def test_the_environment_decides_nothing_in_secret() -> None:
    """If it failed, a variable that no document names would change what a daemon does."""
    read = re.compile(r"environ(?:\.get|\.setdefault|\.pop)?[\[(]\s*\"(\w+)\"|getenv\(\s*\"(\w+)\"")
    found = {
        name
        for folder in ("monitor", "models")
        for file in (ROOT / folder).rglob("*.py")
        for pair in read.findall(file.read_text())
        for name in pair
        if name
    }
    assert found == {
        "KERAS_BACKEND",
        "NO_COLOR",
        "ORT_TELEMETRY_DISABLED",
        "STATE_DIRECTORY",
        "TF_CPP_MIN_LOG_LEVEL",
        "WATCHDOG_USEC",
    }
