"""`tidegauge demo`, trained for a few epochs only: what it finds is not judged here, but what it says of it."""

from __future__ import annotations

import io
import json
import shutil
import sys
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console

from models.bundle import read
from models.settings import TrainSettings
from monitor.cli import main
from monitor.cli.demo import _show
from monitor.config import ConfigError
from monitor.demo import MARK, RULE, Demo, demo
from monitor.demo.incidents import INCIDENTS, TRAINED, Raised, judge, water_flow

QUICK = TrainSettings(epochs=3)
HOURS = np.arange(1_268, dtype=np.int64) * 3_600_000


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Demo:
    """A demo."""
    return demo(tmp_path_factory.mktemp("demo") / "out", settings=QUICK)


def _raised(opened: int, resolved: int | None) -> Raised:
    end = None if resolved is None else resolved * 3_600_000
    return Raised(opened * 3_600_000, end, 1.5, "warning")


def test_the_recording_is_the_documented_one() -> None:
    """Otherwise a new version of river could move the incidents away from their rows unnoticed."""
    recording = water_flow()
    assert len(recording.time) == 1_268
    assert np.all(np.diff(recording.time) >= 3_600_000)
    for incident in INCIDENTS:
        rows = recording.flow[incident.first : incident.last + 1]
        assert rows.min() < 30 or rows.max() > 109
    trained = recording.flow[TRAINED.start : TRAINED.stop]
    assert len(trained) == 520
    assert 95 < trained.min() < trained.max() < 105


@pytest.mark.parametrize(
    ("opened", "resolved", "incident"),
    [
        (93, 95, 0),
        (60, 93, 0),  # opened before, still firing when it begins
        (138, 140, 0),  # a window after its last row
        (60, 92, None),
        (139, 150, None),
        (329, 330, 2),
        (353, 400, 2),  # within the trained span, but of an incident
        (880, None, 3),
    ],
)
def test_alerts_belong_by_the_rule(opened: int, resolved: int | None, incident: int | None) -> None:
    """Otherwise the demo would count what it likes."""
    alert = _raised(opened, resolved)
    verdict = judge([alert], HOURS)
    assert [alert in alerts for alerts in verdict.matches] == [number == incident for number in range(4)]
    assert verdict.false_alarms == (() if incident is not None else (alert,))
    assert verdict.found == (incident is not None)


def test_the_trained_span_counts_neither_way() -> None:
    """Otherwise an alert on rows that the model was trained on would look like a figure of quality."""
    inside, after = _raised(500, 510), _raised(860, 862)
    verdict = judge([inside, after], HOURS)
    assert (verdict.trained, verdict.false_alarms, verdict.found) == ((inside,), (after,), 0)


@pytest.mark.slow
def test_figures_agree_with_what_was_written(finished: Demo) -> None:
    """Otherwise the summary would say something else than the alerts that were delivered."""
    figures = finished.figures()
    assert list(figures) == ["incidents", "found", "missed", "false_alarms", "alerts", "seconds", "out"]
    assert figures["incidents"] == 4
    assert figures["found"] + figures["missed"] == 4  # type: ignore[operator] # both are numbers
    verdict = finished.verdict
    belonging = {alert for alerts in verdict.matches for alert in alerts}
    assert figures["alerts"] == len(belonging) + len(verdict.false_alarms) + len(verdict.trained)
    events = [json.loads(line) for line in (finished.out / "alerts.jsonl").read_text().splitlines()]
    assert figures["alerts"] == len({event["data"]["alert_id"] for event in events})
    assert {event["subject"] for event in events} == {"water-flow"}
    assert {event["data"]["model"]["sha256"] for event in events} == {read(finished.out / "bundle").sha256}
    assert json.loads((finished.out / MARK).read_text()) == figures


@pytest.mark.slow
def test_the_folder_has_what_is_promised(finished: Demo) -> None:
    """Otherwise a newcomer would look for what README names."""
    from pyarrow import parquet

    names = {path.name for path in finished.out.iterdir()}
    assert names == {
        MARK, "alerts.jsonl", "bundle", "demo.png", "recording.csv", "scores.parquet", "training.csv",
    }  # fmt: skip
    assert (finished.out / "demo.png").read_bytes().startswith(b"\x89PNG")
    scores = parquet.read_table(finished.out / "scores.parquet")
    assert scores.column_names == [
        "stream", "time", "offset", "score", "threshold", "anomaly_score", "status", "reason",
    ]  # fmt: skip
    # length 24, stride 1: every row from the 24th on ends a window, gaps or not
    assert scores["offset"].to_pylist() == list(range(23, 1_268))
    assert set(scores["status"].to_pylist()) <= {"normal", "anomalous"}
    manifest = read(finished.out / "bundle").manifest
    training = manifest.training
    parts = (training.training_windows, training.validation_windows, training.calibration_windows)
    assert sum(parts) + training.left_out_windows == 520 - 23


@pytest.mark.slow
def test_the_table_shows_every_alert_and_every_miss(finished: Demo) -> None:
    """Otherwise misses and false alarms would be hidden; on a terminal of 80 columns nothing may be cut off."""
    text = io.StringIO()
    _show(finished, Console(file=text, width=80))
    shown = text.getvalue()
    assert shown.count("missed") == finished.figures()["missed"] + 1  # type: ignore[operator] # the last line has one, too
    assert shown.count("false alarm\n") + shown.count("false alarm ") >= len(finished.verdict.false_alarms)
    assert "…" not in shown
    assert "340–859" in shown
    assert " ".join(RULE.split()) in " ".join(shown.split())


@pytest.mark.slow
def test_a_second_run_raises_the_same_alerts(finished: Demo, tmp_path: Path) -> None:
    """Otherwise nobody could show what he saw; and a demo must be able to replace itself."""
    before = (finished.out / "alerts.jsonl").read_text().splitlines()
    copy = shutil.copytree(finished.out, tmp_path / "out")
    again = demo(copy, settings=QUICK)
    after = (copy / "alerts.jsonl").read_text().splitlines()
    assert again.alerts == finished.alerts

    def without_model(line: str) -> dict[str, object]:
        event: dict[str, object] = json.loads(line)
        data = event["data"]
        assert isinstance(data, dict)
        del data["model"]  # its hash covers how long the training took
        return event

    assert list(map(without_model, before)) == list(map(without_model, after))


def test_another_folder_is_left_alone(tmp_path: Path) -> None:
    """Otherwise `--out` with a wrong name would delete somebody's work."""
    mine = tmp_path / "alerts.jsonl"
    mine.write_text("mine")
    with pytest.raises(ConfigError, match="exists and is no demo"):
        demo(tmp_path, settings=QUICK)
    with pytest.raises(ConfigError, match="exists and is no demo"):
        demo(mine, settings=QUICK)
    assert [path.name for path in tmp_path.iterdir()] == ["alerts.jsonl"]
    assert mine.read_text() == "mine"


def test_without_the_extra_it_says_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Otherwise the newcomer's first command would be a traceback after the base installation."""
    monkeypatch.setattr(sys, "argv", ["tidegauge", "demo", "--out", str(tmp_path / "demo")])
    monkeypatch.setitem(sys.modules, "keras", None)
    with pytest.raises(SystemExit, match="1"):
        main()
    assert "pip install 'tidegauge[train]'" in capsys.readouterr().err
    assert not (tmp_path / "demo").exists()
