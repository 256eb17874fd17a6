"""Several fleets from the command line: check, replay, run over files, and a look at their state."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from models.bundle import Bundle
from tests.integration.streams import value
from tests.monitor.cli.conftest import Run
from tests.monitor.test_shares import fan

ROWS = 160


@pytest.fixture
def recording(tmp_path: Path) -> Path:
    """Two pumps, a fan, and a door that belongs to no fleet."""
    lines = []
    for row in range(ROWS):
        for name in ("pump-1", "fan-1", "pump-2", "door"):
            record = json.loads(fan(row) if name == "fan-1" else value(row))
            lines.append(json.dumps({"stream": name, **record}))
    path = tmp_path / "mixed.jsonl"
    path.write_text("\n".join(lines) + "\n")
    return path


@pytest.fixture
def config(tmp_path: Path, bundle: Bundle, fans: Bundle, recording: Path) -> dict[str, Any]:
    """A configuration of two fleets."""
    return {
        "source": {"type": "jsonl", "path": str(recording)},
        "model": {
            "bundles": [
                {"streams": "pump-*", "bundle": str(bundle.path)},
                {"streams": "fan-*", "bundle": str(fans.path)},
            ]
        },
        "threshold": {"q": 0.9, "half_life": 20},
        "alert": {"open_after": 1, "resolve_after": 2, "rest": 0},
        "sink": {"type": "jsonl", "path": str(tmp_path / "alerts.jsonl")},
        "state": {"path": str(tmp_path / "state"), "sweep_records": 200},
        "log": {"level": "warning"},
    }


def write(folder: Path, config: Mapping[str, Any], **sections: Any) -> Path:
    """Write a configuration, with other sections."""
    path = folder / "tidegauge.yaml"
    path.write_text(json.dumps({**config, **sections}))
    return path


def test_check_shows_each_fleet(run: Run, tmp_path: Path, config: dict[str, Any], fans: Bundle) -> None:
    """If it failed, an operator would not know which model scores which streams, or what they take."""
    done = run("check", write(tmp_path, config), "--capacity")
    assert (done.status, done.err) == (0, "")
    said = done.out.splitlines()
    for part in (
        "fleets: pump-*, fan-*: a stream is of the first that its id matches; streams that none of them matches are",
        "capacity: of each fleet, as if the whole load were its own",
        "fleet pump-*: model: lstm, 2 features (pressure, flow)",
        "fleet fan-*: model: pca, 3 features (speed, temperature, flow)",
        "fleet fan-*: window: 6 cells of 120000ms, one every 2",
        "fleet pump-*: memory: ",
        "fleet fan-*: capacity: ",
    ):
        assert any(line.startswith(part) for line in said), part
    rest = {"bundle": str(fans.path), **config["model"]}
    shown = run("check", write(tmp_path, config, model=rest)).out
    assert "fleets: pump-*, fan-*, *: a stream is of the first that its id matches\n" in shown


@pytest.mark.parametrize(
    ("model", "said"),
    [
        ({"bundles": []}, "model.bundles: found [], expected a list of at least 1"),
        ({"bundles": [{"streams": "a"}]}, "model.bundles.0.bundle: missing"),
        ({"bundles": [{"streams": "", "bundle": "b"}]}, "model.bundles.0.streams: found '', expected text that is not"),
        (
            {"bundles": [{"streams": "a*", "bundle": "b"}, {"streams": "a*", "bundle": "c"}]},
            "model: bundles.1.streams: found 'a*', which bundles.0 has already: give each its own",
        ),
        (
            {"bundles": [{"streams": "*", "bundle": "b"}, {"streams": "a*", "bundle": "c"}]},
            "model: bundles.1.streams: found 'a*', but every such stream goes to bundles.0 ('*'), which comes first",
        ),
        (
            {
                "bundles": [
                    {"streams": "a*", "bundle": "b"},
                    {"streams": "x", "bundle": "b"},
                    {"streams": "a?*", "bundle": "c"},
                ]
            },
            "model: bundles.2.streams: found 'a?*', but every such stream goes to bundles.0 ('a*'), which comes first",
        ),
        (
            {"bundle": "d", "bundles": [{"streams": "a*", "bundle": "b"}, {"streams": "*", "bundle": "c"}]},
            "model: bundle: found 'd' for the streams that bundles leave, but bundles.1 ('*') takes all",
        ),
        ({"bundles": [{"streams": "a*", "bundle": "nowhere"}]}, "nowhere"),
    ],
)
def test_what_makes_no_sense_is_one_line(
    run: Run, tmp_path: Path, config: dict[str, Any], model: dict[str, Any], said: str
) -> None:
    """If it failed, a fleet that can never have a stream would be served, or a mistake be a traceback."""
    path = write(tmp_path, config, model=model)
    for verb in (("check", path), ("run", "--config", path)):
        done = run(*verb)
        assert done.status == 78
        assert len(done.said) == 1
        assert said in done.said[0]


def test_patterns_that_only_look_alike_are_taken(run: Run, tmp_path: Path, config: dict[str, Any]) -> None:
    """If it failed, a good configuration would be refused."""
    fleets = config["model"]["bundles"]
    globs = ["pump-?", "pump-*", "fan-[12]", "fan-1*", "a*b", "a*", "[*]"]
    model = {"bundles": [{**fleets[n % 2], "streams": glob} for n, glob in enumerate(globs)]}
    assert run("check", write(tmp_path, config, model=model)).status == 0


def test_a_window_that_contradicts_one_bundle(run: Run, tmp_path: Path, config: dict[str, Any], fans: Bundle) -> None:
    """If it failed, a model would score windows that it was not trained for."""
    done = run("check", write(tmp_path, config, window={"length": 12}))
    assert done.status == 78
    assert f"window.length: found 12, but the model in {fans.path} was trained with 6" in done.err


def test_run_and_replay_are_what_two_daemons_make(
    run: Run, tmp_path: Path, config: dict[str, Any], recording: Path, bundle: Bundle, fans: Bundle
) -> None:
    """If it failed, a backtest would differ from production, or a fleet's alerts depend on the other fleet."""
    path = write(tmp_path, config)
    assert run("run", "--config", path).status == 0
    ran = (tmp_path / "alerts.jsonl").read_bytes().splitlines()
    done = run("replay", recording, "--config", path, "--out", tmp_path / "replayed.jsonl", "--json")
    assert done.status == 0
    assert (tmp_path / "replayed.jsonl").read_bytes().splitlines() == ran
    report = json.loads(done.out)
    assert set(report["fleets"]) == {"pump-*", "fan-*"}
    assert report["fleets"]["fan-*"]["sha256"] == fans.sha256
    assert report["classes"]["filtered"] == ROWS
    assert sum(report["classes"].values()) + report["pending"] == report["records"] == 4 * ROWS
    found = []
    for glob, own in (("pump-*", bundle), ("fan-*", fans)):
        alone = {"bundle": str(own.path)}
        path = write(tmp_path, config, model=alone, record={"select": {"include": [glob]}})
        out = tmp_path / "alone.jsonl"
        assert run("replay", recording, "--config", path, "--out", out).status == 0
        found += [plain(line) for line in out.read_bytes().splitlines()]
    assert sorted(found, key=str) == sorted(map(plain, ran), key=str)
    assert {each["data"]["model"]["sha256"] for each in found} == {bundle.sha256, fans.sha256}


def plain(event: bytes) -> dict[str, Any]:
    """Return an event without the configuration's hash, which covers `record.select`."""
    read: dict[str, Any] = json.loads(event)
    del read["data"]["config_sha256"]
    return read


def test_a_look_at_the_state(run: Run, tmp_path: Path, config: dict[str, Any], recording: Path) -> None:
    """If it failed, an operator could not see where the fleets stand, nor take their state elsewhere."""
    path = write(tmp_path, config)
    assert run("run", "--config", path).status == 0
    text = run("state", "inspect", path).out
    assert "fleet pump-*: 2 streams; bundle" in text
    assert "fleet fan-*: 1 streams; bundle" in text
    (state,) = json.loads(run("state", "inspect", path, "--json").out)["partitions"]
    assert (state["state"]["streams"], state["state"]["counts"]["filtered"]) == (3, ROWS)
    assert set(state["state"]["fleets"]["fan-*"]) >= {"bundle", "configs", "streams", "time", "stages"}
    one = run("state", "inspect", path, "--stream", "fan-1")
    assert one.out.startswith("fan-1 (fleet fan-*)  mixed.jsonl-0, as of offset")
    assert run("state", "inspect", path, "--stream", "door").status != 0
    saved = tmp_path / "saved"
    assert run("state", "export", path, "--out", saved).status == 0
    more = run("replay", recording, "--config", path, "--state", saved, "--json")
    assert more.status == 0
    (warm,) = json.loads(more.out)["warm_start"]
    assert (warm["offset"], warm["streams"]) == (4 * ROWS, 3)


def test_a_table_has_the_columns_of_all_fleets(run: Run, tmp_path: Path, config: dict[str, Any]) -> None:
    """If it failed, a CSV of two fleets would lose the columns of one, or empty cells be alerts."""
    columns = ("pressure", "flow", "speed", "temperature")
    lines = ["time,stream," + ",".join(columns)]
    for row in range(ROWS):
        for name in ("pump-1", "fan-1"):
            record = json.loads(fan(row) if name == "fan-1" else value(row))
            cells = [str(record["values"].get(column, "")) for column in columns]
            lines.append(f"{record['time']},{name},{','.join(cells)}")
    lines.append(f"{record['time'] + 60_000},pump-1,,,900,40")  # a fan's values
    path = tmp_path / "mixed.csv"
    path.write_text("\n".join(lines) + "\n")
    settings = write(tmp_path, config)
    done = run("replay", path, "--config", settings, "--out", tmp_path / "out.jsonl", "--json")
    assert done.status == 0
    report = json.loads(done.out)
    assert report["dead_letter_reasons"] == {"features": 1}
    assert report["classes"]["processed"] + report["pending"] == 2 * ROWS
    streams = {json.loads(line)["subject"] for line in (tmp_path / "out.jsonl").read_bytes().splitlines()}
    assert streams == {"pump-1", "fan-1"}
