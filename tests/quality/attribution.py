"""Set `attribution`: whether the features that an alert names are those that experts named, on SMD's root causes.

A bundle a machine, trained on its normal half; of what its detector says of each window, the errors by feature are
taken, which are the shares of `attribution`. Only the member that they come from is trained (`roster.TELEMETRY`'s level
member). Beside them stands the plain z-score of each feature (distance from the training mean in training deviations),
of a row and as the mean square over the rows that the member sees.

HitRate@P of a row (OmniAnomaly's): of G guilty features, the share found among the ⌊P · G⌋ that are named first. It is
averaged over the rows of each event, then over events, since a long one would otherwise count for many. Machines are
pieces (`shelf`).
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from models import serving
from models.bundle import Bundle
from models.ensemble import Trainer
from models.roster import TELEMETRY
from models.settings import TrainSettings
from monitor.detector import Detector
from monitor.table import StreamTable
from monitor.window import WindowSettings
from monitor.window.windows import Windows
from tests.quality import product, recordings
from tests.quality.recordings import Series
from tests.quality.shelf import Piece, Shelf

LENGTH = 64
SHARES = (1.0, 1.5)
LEVEL = replace(TELEMETRY, members=TELEMETRY.members[:1])
_CHUNK = 512
_LEAST = 0.01  # added to deviations: what never moved in training is not infinitely far from it

Events = Sequence[tuple[int, int, list[int]]]


def hit_rate(found: NDArray[np.floating[Any]], guilty: Sequence[int], share: float) -> float:
    """Return the share of guilty features among the first ones of each row of `found` `(n, F)`, averaged over rows."""
    count = int(share * len(guilty))
    named = np.argsort(-found, axis=1, kind="stable")[:, :count]
    return float(np.isin(named, guilty).sum(axis=1).mean() / len(guilty))


def feature_errors(bundle: Bundle, series: Series) -> NDArray[np.float32]:
    """Return the detector's error of each feature `(n, F)` for the window ending with each row; 0 before the first."""
    model = serving.Model(bundle)
    settings = bundle.manifest.detector
    if settings is None:
        message = "the bundle has no detector"
        raise ValueError(message)
    detector = Detector(settings, bundle.manifest.scaling, model.members, model.arrays, 1)
    table = StreamTable(detector.columns)
    slot = table.assign(b"s")
    table.admit(np.array([slot]))
    errors = np.zeros(series.values.shape, np.float32)
    views = np.lib.stride_tricks.sliding_window_view(series.values, LENGTH, axis=0).transpose(0, 2, 1)
    for first in range(0, len(views), _CHUNK):
        values = np.ascontiguousarray(views[first : first + _CHUNK])
        count = len(values)
        rows = np.arange(first, first + count) + LENGTH - 1
        windows = Windows(
            np.full(count, slot, np.int32),
            values,
            series.time[rows - LENGTH + 1],
            series.time[rows],
            rows,
            rows,
            rows,
            np.zeros(count),
            np.zeros(count, np.bool_),
        )
        errors[rows] = detector.judge(table, windows, 0.5).errors
    return errors


def one(train: NDArray[np.float32], test: NDArray[np.float32], events: Events) -> Piece:
    """Return each event's hit rates."""
    values = np.concatenate([train, test])
    series = Series("machine", recordings.clock(len(values)), values, np.zeros(len(values), np.bool_), len(train))
    with product.temporary() as folder:
        window = WindowSettings(length=LENGTH, stride=1)
        bundle = product.learn([series], window, TrainSettings(), Path(folder) / "bundle", Trainer(LEVEL).train)
        errors = feature_errors(bundle, series)[len(train) :]
    z = (test - train.mean(axis=0)) / (train.std(axis=0) + _LEAST)
    reach = LEVEL.members[0].view.reach
    sums = np.cumsum(np.pad(z.astype(np.float64) ** 2, ((reach, 0), (0, 0))), axis=0)
    ways = {"product": errors, "z_score": np.abs(z), "z_score_window": sums[reach:] - sums[:-reach]}
    return {
        f"{name}_{round(100 * share)}": [hit_rate(way[a : b + 1], guilty, share) for a, b, guilty in events]
        for name, way in ways.items()
        for share in SHARES
    }


def measure(seeds: Sequence[int], shelf: Shelf) -> dict[str, Any]:
    """Measure; there is nothing random in it, seeds do not matter."""
    del seeds
    pieces = [
        shelf.piece(0, name, functools.partial(one, train, test, events))
        for name, train, test, events in recordings.smd_causes()
        if shelf.wants(name)
    ]
    found: dict[str, Any] = {name: float(np.mean([hit for p in pieces for hit in p[name]])) for name in pieces[0]}
    return {**found, "events": sum(len(next(iter(piece.values()))) for piece in pieces)}
