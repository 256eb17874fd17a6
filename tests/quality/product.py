"""The product as the harness uses it: `train` on the allowed prefix, `replay` over the whole series.

Nothing is set but the window's length and stride, and which preset or kind is trained (the sets say it): defaults are
what is measured. Series are streams of one partition, moved in time by whole weeks so that they begin together: hours
and days of the week stay, and no stream expires another.
"""

from __future__ import annotations

import functools
import tempfile
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from models import serving
from models.bundle import Bundle
from models.ensemble import Trainer
from models.settings import TrainSettings
from models.training import train
from monitor import dataset
from monitor.alert import Alert
from monitor.config import Config, load
from monitor.message import Message
from monitor.pipeline import ScoreRows
from monitor.record import RecordSettings
from monitor.replay import EventFile, ScoreFile, replay
from monitor.sources.base import Batch, Key, Rows, Source
from monitor.window import WindowSettings
from tests.quality.recordings import Series

_BATCH = 2048
_WEEK = 604_800_000
TOPIC = "quality"


@dataclass(frozen=True)
class Found:
    """What the product said of one series, a number a row; rows that no window ends with have NaN.

    Attributes:
        score: the window's score.
        line: the line that it was held against.
        opened: rows at which an alert fired.
        status: `unscored`, `normal` or `anomalous`, as in `monitor.pipeline.STATUS`; -1 where no window ends.
    """

    score: NDArray[np.float64]
    line: NDArray[np.float64]
    opened: NDArray[np.bool_]
    status: NDArray[np.int8]

    def dump(self) -> dict[str, list[float]]:
        """Return what `load` takes; JSON has NaN in Python."""
        return {name: value.tolist() for name, value in vars(self).items()}

    @staticmethod
    def load(kept: Mapping[str, Sequence[float]]) -> Found:
        """Return what was dumped."""
        types = {"opened": np.bool_, "status": np.int8}
        return Found(**{name: np.array(value, types.get(name, np.float64)) for name, value in kept.items()})


class Memory(Source):
    """Series as a source, partition after partition in rounds."""

    def __init__(self, parts: Sequence[Series], names: Sequence[str] | None = None) -> None:
        """Read `parts`; `names` are stream ids, those of the series where left out."""
        self._parts = parts
        self._names = names or [part.name for part in parts]
        self._at = 0

    def poll(self, timeout: float) -> list[Batch | Rows]:
        """Return the next rows of every series."""
        del timeout
        batches: list[Batch | Rows] = []
        rows = slice(self._at, self._at + _BATCH)
        for number, (part, name) in enumerate(zip(self._parts, self._names, strict=True)):
            time = part.time[rows]
            if len(time):
                stream = np.zeros(len(time), np.int32)
                offset = np.arange(self._at, self._at + len(time), dtype=np.int64)
                batches.append(Rows(TOPIC, number, [name], stream, time, part.values[rows], offset))
        self._at += _BATCH
        return batches

    @property
    def exhausted(self) -> bool:
        """Whether all rows were read."""
        return self._at >= max(len(part.time) for part in self._parts)


class Together(Source):
    """Series as streams of one partition, in the order of time, moved by whole weeks so that they begin together."""

    def __init__(self, parts: Sequence[Series]) -> None:
        """Read `parts`; `owner` and `row` say whose row an offset is."""
        moves = [round((parts[0].time[0] - part.time[0]) / _WEEK) * _WEEK for part in parts]
        time = np.concatenate([part.time + move for part, move in zip(parts, moves, strict=True)])
        # Clocks of some series go back: their rows stay in their order all the same.
        place = np.concatenate([np.maximum.accumulate(p.time + move) for p, move in zip(parts, moves, strict=True)])
        order = np.argsort(place, kind="stable")
        self.owner = np.repeat(np.arange(len(parts)), [len(part.time) for part in parts])[order].astype(np.int32)
        self.row = np.concatenate([np.arange(len(part.time)) for part in parts])[order]
        self._names = [part.name for part in parts]
        self._time, self._values = time[order], np.concatenate([part.values for part in parts])[order]
        self._at = 0

    def poll(self, timeout: float) -> list[Batch | Rows]:
        """Return the next rows."""
        del timeout
        rows = slice(self._at, self._at + _BATCH)
        offset = np.arange(self._at, min(self._at + _BATCH, len(self._time)), dtype=np.int64)
        self._at += _BATCH
        return [Rows(TOPIC, 0, self._names, self.owner[rows], self._time[rows], self._values[rows], offset)]

    @property
    def exhausted(self) -> bool:
        """Whether all rows were read."""
        return self._at >= len(self._time)


class _Scores(ScoreFile):
    """Keeps the rows of a replay."""

    def __init__(self) -> None:
        self.rows: dict[Key, list[ScoreRows]] = {}

    def add(self, scores: Mapping[Key, Sequence[ScoreRows]]) -> None:
        for key, rows in scores.items():
            self.rows.setdefault(key, []).extend(rows)

    def _write(self, key: Key, columns: object) -> None:
        raise NotImplementedError

    def _join(self, made: Path) -> None:
        raise NotImplementedError


class _Openings(EventFile):
    """Keeps the alerts of a replay."""

    def __init__(self) -> None:
        self.alerts: list[Alert] = []

    def add(self, alerts: Iterable[Alert], events: Iterable[Message]) -> None:
        del events
        self.alerts += alerts


def features(count: int) -> tuple[str, ...]:
    """Return names for the columns of a series."""
    return tuple(f"f{number}" for number in range(count))


def learn(
    parts: Sequence[Series],
    window: WindowSettings,
    settings: TrainSettings,
    out: Path,
    trainer: Callable[..., Bundle] = train,
) -> Bundle:
    """Train a bundle on the prefixes of these series, as `tidegauge train` does."""
    prefixes = [Series(p.name, p.time[: p.train], p.values[: p.train], p.label[: p.train], p.train) for p in parts]
    names = features(parts[0].values.shape[1])
    found = dataset.read(Memory(prefixes), names, RecordSettings(), window)
    return trainer(found.cells, dataset.shape(window), names, settings, out)


class Crew:
    """Trains detectors of the preset `quality`, compiling each network once."""

    def __init__(self, settings: TrainSettings) -> None:
        """Train with these settings."""
        self._settings, self._trainer = settings, Trainer()

    def fleet(self, parts: Sequence[Series], window: WindowSettings, out: Path) -> Bundle:
        """Train one bundle for all."""
        return learn(parts, window, self._settings, out, self._trainer.train)

    def own(self, parts: Sequence[Series], window: WindowSettings, out: Path, fleet: Bundle) -> Bundle:
        """Train a bundle for one stream beside those of the fleet's members that are shared."""
        return learn(parts, window, self._settings, out, functools.partial(self._trainer.train, beside=fleet))


def watch(bundle: Bundle, parts: Sequence[Series], overrides: Sequence[str] = ()) -> list[Found]:
    """Replay whole series with a bundle, and return what the product said."""
    config: Config = load(None, tuple(overrides))
    scores, openings, source = _Scores(), _Openings(), Together(parts)
    replay(config, bundle, serving.Model(bundle), source, out=openings, scores=scores)
    found = []
    for part in parts:
        rows = len(part.time)
        nothing = np.full(rows, np.nan)
        found.append(Found(nothing, nothing.copy(), np.zeros(rows, np.bool_), np.full(rows, -1, np.int8)))
    for piece in scores.rows.get((TOPIC, 0), []):
        owner, row = source.owner[piece.offset], source.row[piece.offset]
        for number in np.unique(owner).tolist():
            own = owner == number
            found[number].score[row[own]] = piece.score[own]
            found[number].line[row[own]] = piece.threshold[own]
            found[number].status[row[own]] = piece.status[own]
    for alert in openings.alerts:
        if alert.status == "firing":
            found[source.owner[alert.last_offset]].opened[source.row[alert.last_offset]] = True
    return found


def held(values: NDArray[np.float64], start: float = 0.0) -> NDArray[np.float64]:
    """Return values with every NaN replaced by the one before it, `start` before the first."""
    known = ~np.isnan(values)
    place = np.maximum.accumulate(np.where(known, np.arange(len(values)), -1))
    return np.where(place >= 0, values[np.maximum(place, 0)], start)


def temporary() -> tempfile.TemporaryDirectory[str]:
    """Return a directory for bundles."""
    return tempfile.TemporaryDirectory(prefix="tidegauge-quality-")


_LESS_IS_BETTER = ("alarm", "alerts", "budget")
_NEITHER = ("level", "lifted", "series")


def summary(rows: Sequence[Mapping[str, float]], *, less: Sequence[str] = _LESS_IS_BETTER) -> dict[str, Any]:
    """Return the mean over seeds of every figure, and the worst one of each under `worst`.

    Of figures that have one of `less` in their names the largest is the worst; levels and counts have no worst.
    """

    def worst(name: str) -> Callable[[Iterable[float]], float]:
        return max if any(part in name for part in less) else min

    return {
        **{name: float(np.mean([row[name] for row in rows])) for name in rows[0]},
        "worst": {
            name: worst(name)(row[name] for row in rows)
            for name in rows[0]
            if not name.endswith(("_level", "_lifted")) and name not in _NEITHER
        },
        "seeds": len(rows),
    }
