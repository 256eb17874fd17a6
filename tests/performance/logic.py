"""What scoring takes once the model has spoken: residuals, voices, line and alert machine, for each preset.

One feature, windows of 64 rows, one with every record; each poll has a record of each stream. The preset `quality` has
the members of a fleet, with principal components in the place of the two networks: what is left after them is the same.
Time in the members themselves is taken away.

Beside it stands what `alert.quality` adds to all of the core: every kind switched on, of one feature, nothing wrong.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from models import roster, serving
from models.bundle import Bundle, WindowShape
from models.cells import Cells
from models.ensemble import Trainer
from models.settings import TrainSettings
from monitor.agreement import prior_of
from monitor.alert import AlertSettings
from monitor.detector import Detector
from monitor.pipeline import Pipeline
from monitor.quality import Quality, QualitySettings
from monitor.record import Records, RecordSettings
from monitor.stopwatch import Stopwatch
from monitor.threshold import Tracked
from monitor.window import WindowSettings
from tests.performance.stages import PRIOR, FlatModel

LENGTH = 64
STREAMS = 10_000
_MINUTE = 60_000
_ROUNDS = 24  # three times the windows after which a covariance is learned from


class _Timed(Pipeline):
    """A pipeline that takes the time from windows to alerts.

    Attributes:
        seconds: spent so far.
    """

    seconds = 0.0

    def _score(self, *given: Any) -> Any:
        begin = time.perf_counter()
        found = super()._score(*given)
        self.seconds += time.perf_counter() - begin
        return found

    def _judge(self, *given: Any) -> None:
        begin = time.perf_counter()
        super()._judge(*given)
        self.seconds += time.perf_counter() - begin


def bundle(folder: Path) -> Bundle:
    """Train the detector of a fleet in a second: what is linear in it is all there is."""
    random = np.random.default_rng(0)
    streams, rows = 8, 400
    phase = np.arange(streams)[:, None] + np.arange(rows) / 9
    values = np.sin(phase) + random.normal(0, 0.1, (streams, rows))
    starts = np.arange(streams)[:, None] * rows + np.arange(rows - LENGTH + 1)
    cells = Cells(
        values.reshape(-1, 1).astype(np.float32),
        np.repeat(np.arange(streams), rows).astype(np.int32),
        np.tile(np.arange(rows, dtype=np.int64) * _MINUTE, streams),
        starts.ravel().astype(np.int64),
        np.zeros(streams * rows, np.bool_),
    )
    members = tuple(replace(m, kind="linear") if m.kind == "network" else m for m in roster.FLEET.members)
    trainer = Trainer(replace(roster.FLEET, members=members))
    return trainer.train(cells, WindowShape(length=LENGTH), ("value",), TrainSettings(), folder / "quality")


def _measured(pipeline: _Timed, watch: Stopwatch | None, streams: int) -> list[float]:
    """Return µs a window of each poll, the model taken away, once windows are there and streams have warmed up."""
    random = np.random.default_rng(1)
    partition = pipeline.partition("sensors", 0)
    slots = np.array([partition.table.assign(b"stream-%d" % number) for number in range(streams)], np.int32)
    found = []
    warm = LENGTH + 150
    for row in range(warm + _ROUNDS):
        values = (np.sin(row / 9) + random.normal(0, 0.1, (streams, 1))).astype(np.float32)
        offsets = np.arange(row * streams, (row + 1) * streams, dtype=np.int64)
        records = Records(slots, np.full(streams, (row + 1) * _MINUTE, np.int64), values, offsets)
        pipeline.seconds = 0.0
        if watch is not None:
            watch.start()
        output = pipeline.process([(partition, records)])
        if row >= warm and output.windows == streams:
            model = 0.0 if watch is None else watch.scoring
            found.append((pipeline.seconds - model) / streams * 1e6)
    return found


def _pipeline(model: Any, prior: Any, quality: Quality | None = None) -> _Timed:
    window = WindowSettings(length=LENGTH, stride=1)
    return _Timed(RecordSettings(), window, Tracked.Settings(), AlertSettings(), model, prior, 1, quality=quality)


def logic(folder: Path, streams: int = STREAMS) -> dict[str, float]:
    """Return µs a window (mean of polls: every 8th also learns covariances), and bytes a stream beside its window."""
    made = bundle(folder)
    served = serving.Model(made)
    watch = Stopwatch(served.members)
    settings = made.manifest.detector
    if settings is None:
        message = "the bundle has no detector"
        raise ValueError(message)
    detector = Detector(settings, made.manifest.scaling, watch.models, served.arrays, 1)
    plain, quality = _pipeline(FlatModel(), PRIOR), _pipeline(detector, prior_of(made))
    return {
        "plain_us_per_window": float(np.mean(_measured(plain, None, streams))),
        "quality_us_per_window": float(np.mean(_measured(quality, watch, streams))),
        "plain_bytes_per_stream": _bytes(plain, plain.line_columns) + _bytes(plain, plain.alert_columns),
        "quality_bytes_per_stream": _bytes(quality, quality.line_columns) + _bytes(quality, quality.alert_columns),
    }


def faults(streams: int = STREAMS) -> dict[str, float]:
    """Return what alerts on the data themselves add: µs a record, and bytes a stream."""
    settings = QualitySettings.model_validate(
        {
            "flat_line": {"after": "1h", "accept": "1d"},
            "missing_feature": "10m",
            "out_of_range": {"value": [-9, 9]},
            "silence": {"factor": 5, "min": "5m"},
            "sampling_rate": {"factor": 2, "after": "10m", "accept": "1d"},
            "clock_skew": {"max": "5m", "after": "10m"},
        }
    )
    ways = {"without": None, "with": Quality(settings, ["value"])}
    made = {name: _pipeline(FlatModel(), PRIOR, quality) for name, quality in ways.items()}
    spent = {name: _spent(pipeline, streams) for name, pipeline in made.items()}
    kept = {name: sum(each.partition("", 0).table.bytes_per_stream().values()) for name, each in made.items()}
    return {
        "data_quality_us_per_record": spent["with"] - spent["without"],
        "data_quality_bytes_per_stream": float(kept["with"] - kept["without"]),
    }


def _spent(pipeline: Pipeline, streams: int) -> float:
    """Return the median µs a record of a pipeline with all that it does, windows full."""
    random = np.random.default_rng(1)
    partition = pipeline.partition("sensors", 0)
    slots = np.array([partition.table.assign(b"stream-%d" % number) for number in range(streams)], np.int32)
    seconds = []
    for row in range(LENGTH + 2 * _ROUNDS):
        values = random.normal(0, 1, (streams, 1)).astype(np.float32)
        offsets = np.arange(row * streams, (row + 1) * streams, dtype=np.int64)
        times = np.full(streams, (row + 1) * _MINUTE, np.int64)
        begin = time.perf_counter()
        pipeline.process([(partition, Records(slots, times, values, offsets, times))])
        seconds.append(time.perf_counter() - begin)
    return float(np.median(seconds[LENGTH + _ROUNDS :])) / streams * 1e6


def _bytes(pipeline: Pipeline, columns: Sequence[Any]) -> float:
    sizes = pipeline.partition("", 0).table.bytes_per_stream()
    return float(sum(sizes[column.name] for column in columns))
