"""The demo: a real recording with documented incidents through the service of production, and what came of it.

Nothing is tuned to the recording but the length of a window, a day of hourly rows. Threshold and alerts are the
product's defaults, and alerts are read from where the sink wrote them.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np

from models.bundle import Bundle
from models.settings import TrainSettings
from models.training import Epoch, train
from monitor import dataset, sources
from monitor.config import Config, ConfigError
from monitor.demo.incidents import (
    FEATURE,
    LENGTH,
    RULE,
    STRIDE,
    TRAINED,
    Raised,
    Recording,
    Verdict,
    judge,
    water_flow,
)
from monitor.engine import Engine, Work
from monitor.http import Health
from monitor.metrics import Metrics
from monitor.pipeline import ScoreRows
from monitor.replay import ScoreFile
from monitor.service import Service
from monitor.times import from_iso
from monitor.window import WindowSettings

__all__ = ["RULE", "Demo", "demo"]

MARK = "tidegauge-demo.json"
"""The file by which a folder is known to be a demo's."""

_WRITTEN = ("recording.csv", "training.csv", "alerts.jsonl", "scores.parquet", "demo.png")


@dataclass(frozen=True)
class Demo:
    """What a demo came to.

    Attributes:
        out: its folder.
        recording: the rows.
        verdict: alerts by what they belong to.
        alerts: all of them in order of time.
        seconds: how long it took.
    """

    out: Path
    recording: Recording
    verdict: Verdict
    alerts: tuple[Raised, ...]
    seconds: float

    def figures(self) -> dict[str, int | float | str]:
        """Return the figures for a program."""
        incidents = len(self.verdict.matches)
        return {
            "incidents": incidents,
            "found": self.verdict.found,
            "missed": incidents - self.verdict.found,
            "false_alarms": len(self.verdict.false_alarms),
            "alerts": len(self.alerts),
            "seconds": round(self.seconds, 1),
            "out": str(self.out),
        }


def demo(
    out: Path,
    *,
    settings: TrainSettings | None = None,
    step: Callable[[str], None] = lambda _: None,
    progress: Callable[[Epoch], None] | None = None,
) -> Demo:
    """Train, run, judge, and write it all into a folder: a demo that is there already is replaced.

    Args:
        out: the folder.
        settings: how to train; None = as `tidegauge train` does by itself.
        step: called at the beginning of each step with what it does.
        progress: called after each epoch.

    Raises:
        ConfigError: if the folder holds something else, or cannot be written.
        TrainingError: if what training needs is not installed.
    """
    began = time.monotonic()
    _prepare(out)
    recording = water_flow()
    (out / "recording.csv").write_text(recording.csv(range(len(recording.time)), labels=True), encoding="utf-8")
    (out / "training.csv").write_text(recording.csv(TRAINED, labels=False), encoding="utf-8")
    step("training")
    bundle = _train(out, settings or TrainSettings(), progress)
    step("running the service")
    scores = _run(out, bundle)
    alerts = _alerts(out / "alerts.jsonl")
    result = judge(alerts, recording.time)
    step("drawing")
    from monitor.demo import picture  # loads matplotlib

    picture.draw(recording, scores, result, out / "demo.png")
    finished = Demo(out, recording, result, tuple(alerts), time.monotonic() - began)
    (out / MARK).write_text(json.dumps(finished.figures()) + "\n", encoding="utf-8")
    return finished


def _prepare(out: Path) -> None:
    """Make the folder, or take what an earlier demo wrote out of it.

    Raises:
        ConfigError: if it holds something else, or cannot be written.
    """
    try:
        if out.exists() and not (out / MARK).is_file() and not (out.is_dir() and not any(out.iterdir())):
            message = f"--out {out}: exists and is no demo: name another folder, or remove it"
            raise ConfigError(message)
        out.mkdir(parents=True, exist_ok=True)
        (out / MARK).write_text("{}\n", encoding="utf-8")  # at once: a demo that was interrupted is one, too
        for name in _WRITTEN:
            (out / name).unlink(missing_ok=True)
    except OSError as error:
        message = f"--out {out}: cannot be written: {error.strerror}"
        raise ConfigError(message) from None


def _train(out: Path, settings: TrainSettings, progress: Callable[[Epoch], None] | None) -> Bundle:
    """Train as `tidegauge train` does, on the file with the trained rows."""
    config = Config(window=WindowSettings(length=LENGTH, stride=STRIDE), train=settings)
    source = sources.for_recording([str(out / "training.csv")]).build(config.record, [FEATURE])
    found = dataset.read(source, [FEATURE], config.record, config.window)
    return train(found.cells, dataset.shape(config.window), [FEATURE], settings, out / "bundle", progress)


def _run(out: Path, bundle: Bundle) -> ScoreRows:
    """Run the recording through the service as `tidegauge run` does; alerts go to `alerts.jsonl`."""
    from models.serving import Model

    config = Config.model_validate(
        {
            "source": {"type": "csv", "path": str(out / "recording.csv")},
            "model": {"bundle": out / "bundle"},
            "sink": {"type": "jsonl", "path": str(out / "alerts.jsonl")},
        }
    )
    engine = Engine(config, bundle, Model(bundle), keep_scores=True)
    assert config.source is not None  # noqa: S101 - set above
    source = config.source.build(config.record, engine.features)
    pieces: list[ScoreRows] = []

    def observe(work: Work) -> None:
        file.add(work.output.scores)
        for rows in work.output.scores.values():
            pieces.extend(rows)

    with ScoreFile.open(out / "scores.parquet") as file:
        built = [sink.build() for sink in config.sink]
        Service(config, engine, source, built, Metrics(()), Health(), observe=observe).run()
    return _joined(pieces)


def _joined(pieces: Sequence[ScoreRows]) -> ScoreRows:
    """Return the score rows of all polls as one."""
    stream = [name for piece in pieces for name in piece.stream]
    names = [field.name for field in fields(ScoreRows)][1:]
    return ScoreRows(stream, *(np.concatenate([getattr(piece, name) for piece in pieces]) for name in names))


def _alerts(path: Path) -> list[Raised]:
    """Return the alerts that the sink wrote, in order of their opening."""
    opened: dict[str, dict[str, Any]] = {}
    resolved: dict[str, int] = {}
    for line in path.read_text(encoding="utf-8").splitlines():
        event = json.loads(line)
        data = event["data"]
        if data["status"] == "firing":
            opened[data["alert_id"]] = event
        else:
            resolved[data["alert_id"]] = from_iso(event["time"])
    return [
        Raised(from_iso(event["time"]), resolved.get(name), event["data"]["anomaly_score"], event["data"]["severity"])
        for name, event in opened.items()
    ]
