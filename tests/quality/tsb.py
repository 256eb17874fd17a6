"""Set `tsb`: 51 series of TSB-AD-M, rebuilt; mean VUS-PR, by the benchmark's own package.

A bundle a series, trained on its first `train_rows` rows. Every row is scored when it arrives; rows before the first
window have the first window's score. VUS-PR judges the order of scores; what is judged is the detector's score, beside
it that of the members that are networks, alone (the same networks, trained once). Series are pieces (`shelf`).
"""

from __future__ import annotations

import functools
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from models.bundle import Bundle
from models.ensemble import Trainer
from models.roster import TELEMETRY
from models.settings import TrainSettings
from monitor.window import WindowSettings
from tests.quality import product, recordings
from tests.quality.recordings import MissingDataError, Series
from tests.quality.shelf import Piece, Shelf

LENGTH = 64
NETWORKS = replace(
    TELEMETRY, members=tuple(replace(one, shared=True) for one in TELEMETRY.members if one.kind == "network")
)


def vus_pr(score: NDArray[np.float64], series: Series) -> float:
    """Return VUS-PR of a row's scores, with the benchmark's window.

    Raises:
        ModuleNotFoundError: if the package of the benchmark is not installed.
    """
    from TSB_AD.evaluation.basic_metrics import generate_curve
    from TSB_AD.utils.slidingWindows import find_length_rank

    window = find_length_rank(series.values[:, :1].astype(np.float64), 1)
    return float(generate_curve(series.label.astype(int), score, window, "opt", 250)[7])


def one(series: Series, seed: int, trainers: Mapping[str, Trainer]) -> Piece:
    """Train, replay and judge one series, with all members and with the networks alone."""
    window = WindowSettings(length=LENGTH, stride=1)
    made: Piece = {}
    whole: Bundle | None = None
    with product.temporary() as folder:
        for name, trainer in trainers.items():
            began = time.monotonic()
            train = functools.partial(trainer.train, beside=whole)
            bundle = product.learn([series], window, TrainSettings(seed=seed), Path(folder) / name, train)
            whole = whole or bundle
            (found,) = product.watch(bundle, [series], ("window.stride=1",))
            made[name] = vus_pr(_filled(found.score), series)
            made[f"seconds_{name}"] = round(time.monotonic() - began, 1)
    return made


def _filled(score: NDArray[np.float64]) -> NDArray[np.float64]:
    known = score[~np.isnan(score)]
    return product.held(score, float(known[0]) if len(known) else 0.0)


def means(rows: Mapping[str, Piece]) -> dict[str, float]:
    """Return the mean of every figure, over all series and over each collection."""
    found: dict[str, float] = {}
    for figure in next(iter(rows.values()), {}):
        if figure.startswith("seconds"):
            continue
        found[figure] = float(np.mean([row[figure] for row in rows.values()]))
        for name in sorted({key.split("/")[0] for key in rows}):
            own = [row[figure] for key, row in rows.items() if key.startswith(name)]
            found[f"{figure}_{name.lower()}"] = float(np.mean(own))
    return found


def measure(seeds: Sequence[int], shelf: Shelf) -> dict[str, Any]:
    """Measure.

    Raises:
        MissingDataError: if the benchmark's package is not installed.
    """
    if find_spec("TSB_AD") is None:
        message = "VUS-PR is the benchmark's own: pip install --no-deps TSB-AD==1.5, beside the extra quality"
        raise MissingDataError(message)
    trainers = {"vus_pr": Trainer(), "vus_pr_network": Trainer(NETWORKS)}
    rows = []
    for seed in seeds:
        wanted = (series for series in recordings.tsb() if shelf.wants(series.name))
        found = {s.name: shelf.piece(seed, s.name, functools.partial(one, s, seed, trainers)) for s in wanted}
        rows.append(means(found) | {"series": float(len(found))})
    return product.summary(rows)
