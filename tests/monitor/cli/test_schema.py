"""`tidegauge schema`: what it prints describes what is written and read."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from jsonschema import Draft202012Validator  # type: ignore[import-untyped]  # it has none

from models.bundle import Bundle
from monitor.cli._schemas import SCHEMAS
from tests.monitor.cli.conftest import Run
from tests.recordings import messages

ROOT = Path(__file__).parents[3]
CASES = ROOT / "tests" / "data" / "config"


def validator(name: str) -> Draft202012Validator:
    """Return a validator of one of the schemas."""
    return Draft202012Validator(SCHEMAS[name]())


@pytest.mark.parametrize("name", SCHEMAS)
def test_it_prints_a_schema(run: Run, name: str) -> None:
    """If it failed, an editor or another team's build could not use the schemas."""
    done = run("schema", name)
    assert (done.status, done.err) == (0, "")
    schema = json.loads(done.out)
    assert schema == SCHEMAS[name]()
    assert schema["$schema"] == "https://json-schema.org/draft/2020-12/schema"
    assert schema["$id"].startswith("urn:tidegauge:")
    Draft202012Validator.check_schema(schema)


def test_an_unknown_one(run: Run) -> None:
    """If it failed, a slip would end in a traceback."""
    done = run("schema", "alerts")
    assert done.status == 2
    assert "'config', 'record', 'alert', 'alert-data'" in done.err


def test_events_are_as_described(run: Run, bundle: Bundle, recording: Path) -> None:
    """If it failed, a consumer who trusts the schema would drop real alerts."""
    done = run("replay", recording, "--bundle", bundle.path, "--out", "-")
    events = [json.loads(line) for line in done.out.splitlines()]
    assert {event["data"]["status"] for event in events} == {"firing", "resolved"}
    whole, data = validator("alert"), validator("alert-data")
    for event in events:
        whole.validate(event)
        data.validate(event["data"])
        assert event["dataschema"] == SCHEMAS["alert-data"]()["$id"]
        # The schema says nothing less than the event: every field is described.
        assert set(event) == set(SCHEMAS["alert"]()["properties"])
        # `members` is of bundles with several, and this one has one.
        assert set(event["data"]) == set(SCHEMAS["alert-data"]()["properties"]) - {"members"}
    broken = {**events[0], "data": {**events[0]["data"], "status": "maybe"}}
    assert not whole.is_valid(broken)


def test_records_are_as_described() -> None:
    """If it failed, a producer who checks against the schema would send dead letters, or not send good records."""
    record = validator("record")
    for _, value, _ in messages():
        record.validate(json.loads(value))
    good: list[Any] = [
        {"stream": "pump-17", "time": "2026-11-21T12:00:00.250Z", "values": {"pressure": 3.2, "flow": None}},
        {"time": 1795262400250, "values": {"pressure": 3}},
        {"stream": "pump-17", "sensor": "pressure", "value": 3.2, "time": 1.5, "more": [1]},
    ]
    bad: list[Any] = [
        {"stream": "pump-17", "values": {}},
        {"stream": "pump-17", "values": {"pressure": "3.2"}},
        {"stream": "pump-17", "values": {"pressure": True}},
        {"stream": "", "values": {"pressure": 3}},
        {"stream": "a\nb", "values": {"pressure": 3}},
        {"stream": "a", "sensor": "pressure"},
        {"stream": "a"},
        [1],
    ]
    assert [record.is_valid(each) for each in good] == [True] * len(good)
    assert [record.is_valid(each) for each in bad] == [False] * len(bad)


def test_configurations_are_as_described() -> None:
    """If it failed, an editor would underline a good configuration, or no bad one."""
    config = validator("config")
    for path in [*CASES.glob("*.good.yaml"), ROOT / "config.example.yaml"]:
        found = yaml.safe_load(path.read_text().replace("1e-3", "0.001")) or {}  # PyYAML takes 1e-3 for text
        config.validate(found)
    for name in ("unknown", "types", "ranges", "alternatives", "kinds", "sink", "password"):
        assert not config.is_valid(yaml.safe_load((CASES / f"{name}.bad.yaml").read_text())), name
