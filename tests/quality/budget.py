"""Set `budget`: alerts a stream and day on normal rows, divided by those that the default configuration allows.

The normal halves of 19 machines of SMD, a row a minute. A bundle a machine is trained on the first half of its rows,
and the alerts that the product opens on the others are counted: of the preset `quality`, of a plain bundle of the
default kind, and of a plain one of principal components, each with its default line. Machines are pieces (`shelf`).
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from models.bundle import Bundle
from models.ensemble import Trainer
from models.settings import TrainSettings
from models.training import train
from monitor.threshold import DEFAULT_BUDGET
from monitor.window import WindowSettings
from tests.quality import product, recordings
from tests.quality.recordings import Series
from tests.quality.shelf import Piece, Shelf

LENGTH = 64
DAY_MS = 86_400_000


def one(series: Series, trainers: Mapping[str, tuple[TrainSettings, Callable[..., Bundle]]]) -> Piece:
    """Return the days behind the training rows, and the alerts in them for each way to train."""
    window = WindowSettings(length=LENGTH, stride=1)
    made: Piece = {"days": float(series.time[-1] - series.time[series.train]) / DAY_MS}
    for name, (settings, trainer) in trainers.items():
        with product.temporary() as folder:
            bundle = product.learn([series], window, settings, Path(folder) / "bundle", trainer)
            (found,) = product.watch(bundle, [series], ("window.stride=1",))
        made[name] = int(np.count_nonzero(found.opened[series.train :]))
    return made


def once(seed: int, shelf: Shelf) -> dict[str, float]:
    """Measure every machine."""
    trainers: dict[str, tuple[TrainSettings, Callable[..., Bundle]]] = {
        "quality": (TrainSettings(seed=seed), Trainer().train),
        "plain": (TrainSettings(seed=seed), train),
        "plain_pca": (TrainSettings(seed=seed, kind="pca"), train),
    }
    rows: list[Piece] = []
    for name, values in recordings.smd():
        if shelf.wants(name):
            time = recordings.clock(len(values))
            series = Series(name, time, values, np.zeros(len(values), np.bool_), len(values) // 2)
            rows.append(shelf.piece(seed, name, functools.partial(one, series, trainers)))
    days = sum(row["days"] for row in rows)
    found = {name: sum(row[name] for row in rows) / days / DEFAULT_BUDGET for name in trainers}
    return {
        **found,
        **{f"{name}_most": max(row[name] / row["days"] for row in rows) / DEFAULT_BUDGET for name in found},
    }


def measure(seeds: Sequence[int], shelf: Shelf) -> dict[str, Any]:
    """Measure."""
    return product.summary([once(seed, shelf) for seed in seeds], less=("",))
