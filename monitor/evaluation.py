"""A recording, window by window: what production would have scored it, its line, and whether a label touches it.

One pass over the recording feeds the engine, for scores and lines as they would have been, and the dataset, for rows
and labels. So a detector that learns from each stream's past is evaluated as it is run.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from models.bundle import Bundle
from monitor import dataset
from monitor.agreement import prior_of
from monitor.config import Config
from monitor.dataset import Dataset, Range
from monitor.engine import Engine
from monitor.pipeline import ScoreRows
from monitor.score import Model
from monitor.sources.base import Batch, Key, Rows, Source
from monitor.table import StreamTable
from monitor.threshold import Threshold, build
from monitor.window import WindowSettings


@dataclass(frozen=True)
class Scored:
    """The scored windows of a recording, stream after stream, each in order of time.

    Attributes:
        dataset: rows, windows, labels and streams.
        window: how windows were cut.
        windows: `(n,)` int64 positions in `dataset.cells.starts`, rising.
        score: `(n,)` float64, finite.
        line: `(n,)` float64, what its stream's line was when the window came.
        first_line: the line that a new stream begins with: what the bundle and section `threshold` choose.
        labels: whether there were any: a column `label`, or ranges.
    """

    dataset: Dataset
    window: WindowSettings
    windows: NDArray[np.int64]
    score: NDArray[np.float64]
    line: NDArray[np.float64]
    first_line: float
    labels: bool

    @property
    def label(self) -> NDArray[np.bool_]:
        """`(n,)` whether a label touches the window."""
        cells = self.dataset.cells
        return cells.touched(cells.label, self.window.length)[self.windows]


def read(
    config: Config,
    bundle: Bundle,
    model: Model,
    source: Source,
    ranges: Sequence[Range] | None = None,
    progress: Callable[[int], None] | None = None,
) -> Scored:
    """Read a recording to its end, score it as production would have done, and close it.

    Args:
        config: the configuration; nothing that it names is touched.
        bundle: the model's bundle.
        model: what scores.
        source: the recording.
        ranges: labels; None = those of the recording's column `label`, if it has one.
        progress: called after each poll with the number of records so far.

    Raises:
        ConfigError: if the configuration contradicts the bundle.
        SourceError: if the recording cannot be read.
    """
    engine = Engine(config, bundle, model, keep_scores=True)
    both = _Both(source, engine)
    found = dataset.read(both, engine.features, config.record, engine.window, ranges, progress)
    windows, score, line = _matched(found, engine.window.length, both.rows)
    threshold = build(config.threshold, prior_of(bundle, engine.window.stride), config.alert.open_after)
    return Scored(
        found, engine.window, windows, score, line, _first(threshold), labels=ranges is not None or both.labels
    )


@dataclass(frozen=True, slots=True)
class _Rows:
    """Scores of one partition's windows: ids, ends in ms, scores and lines, NaN where unscored."""

    stream: list[str]
    end: NDArray[np.int64]
    score: NDArray[np.float64]
    line: NDArray[np.float64]


class _Both(Source):
    """A source whose batches go through the engine on their way."""

    def __init__(self, source: Source, engine: Engine) -> None:
        self._source, self._engine = source, engine
        self.rows: dict[Key, list[_Rows]] = {}
        self.labels = False

    def poll(self, timeout: float) -> list[Batch | Rows]:
        batches = self._source.poll(timeout)
        self.labels |= any(isinstance(batch, Rows) and batch.label is not None for batch in batches)
        for key, parts in self._engine.process(batches).output.scores.items():
            self.rows.setdefault(key, []).extend(map(_kept, parts))
        return batches

    @property
    def exhausted(self) -> bool:
        return self._source.exhausted

    def close(self) -> None:
        self._source.close()


def _kept(rows: ScoreRows) -> _Rows:
    return _Rows(rows.stream, rows.time, rows.score, rows.threshold)


def _matched(
    found: Dataset, length: int, rows: Mapping[Key, Sequence[_Rows]]
) -> tuple[NDArray[np.int64], NDArray[np.float64], NDArray[np.float64]]:
    """Return positions, scores and lines of the dataset's windows that were scored.

    The engine has every window of the dataset; it is found by its stream and end. Where a clock was set back an end can
    come twice in a stream; then they are in the same order on both sides.
    """
    numbers = {place: number for number, place in enumerate(zip(found.partitions, found.streams, strict=True))}
    parts = [(key, part) for key in sorted(rows) for part in rows[key]]
    stream = np.array([numbers[key, name] for key, part in parts for name in part.stream], np.int64)
    end, score, line = (
        np.concatenate([np.zeros(0, dtype), *(getattr(part, name) for _, part in parts)])
        for name, dtype in (("end", np.int64), ("score", np.float64), ("line", np.float64))
    )
    cells = found.cells
    own = cells.stream[cells.starts].astype(np.int64), cells.time[cells.starts + length - 1]
    moments, place = np.unique(np.concatenate([end, own[1]]), return_inverse=True)
    theirs = stream * len(moments) + place[: len(end)]
    ours = own[0] * len(moments) + place[len(end) :]
    order, mine = np.argsort(theirs, kind="stable"), np.argsort(ours, kind="stable")
    wanted = ours[mine]
    turn = np.arange(len(wanted)) - np.searchsorted(wanted, wanted)
    at = np.empty(len(wanted), np.int64)
    at[mine] = order[np.searchsorted(theirs[order], wanted) + turn]
    windows = np.flatnonzero(np.isfinite(score[at])).astype(np.int64)
    return windows, score[at][windows], line[at][windows]


def _first(threshold: Threshold) -> float:
    """Return the line of a stream that nothing is known of."""
    table = StreamTable(threshold.columns)
    slots = np.array([table.assign(b"new")], np.int32)
    return float(threshold.step(table, slots, np.zeros(1), np.zeros(1, np.int64), np.ones(1, np.bool_))[0])
