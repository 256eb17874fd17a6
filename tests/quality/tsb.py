"""Set `tsb`: 51 series of TSB-AD-M, rebuilt; mean VUS-PR, by the benchmark's own package.

A bundle a series, trained on its first `train_rows` rows. Every row is scored when it arrives; rows before the first
window have the first window's score. VUS-PR judges the order of scores; what is judged is the detector's score, and
beside it that of each member that is a network, alone.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from models.ensemble import Trainer
from models.roster import TELEMETRY
from models.settings import TrainSettings
from monitor.window import WindowSettings
from tests.quality import product, recordings
from tests.quality.recordings import Series

LENGTH = 64
NETWORKS = replace(TELEMETRY, members=tuple(member for member in TELEMETRY.members if member.kind == "network"))


def vus_pr(score: NDArray[np.float64], series: Series) -> float:
    """Return VUS-PR of a row's scores, with the benchmark's window.

    Raises:
        ModuleNotFoundError: if the package of the benchmark is not installed.
    """
    from TSB_AD.evaluation.basic_metrics import generate_curve
    from TSB_AD.utils.slidingWindows import find_length_rank

    window = find_length_rank(series.values[:, :1].astype(np.float64), 1)
    return float(generate_curve(series.label.astype(int), score, window, "opt", 250)[7])


def one(series: Series, seed: int) -> dict[str, float]:
    """Train, replay and judge one series, with all members and with the networks alone."""
    window = WindowSettings(length=LENGTH, stride=1)
    made: dict[str, float] = {}
    for name, trainer in (("vus_pr", Trainer()), ("vus_pr_network", Trainer(NETWORKS))):
        with product.temporary() as folder:
            out = Path(folder) / "bundle"
            bundle = product.learn([series], window, TrainSettings(seed=seed), out, trainer.train)
            (found,) = product.watch(bundle, [series], ("window.stride=1",))
        made[name] = vus_pr(_filled(found.score), series)
    return made


def _filled(score: NDArray[np.float64]) -> NDArray[np.float64]:
    known = score[~np.isnan(score)]
    return product.held(score, float(known[0]) if len(known) else 0.0)


def each(
    series: Iterable[Series], seed: int, judge: Callable[[Series, int], dict[str, float]] = one
) -> dict[str, dict[str, float]]:
    """Return the figures of every series by its name."""
    return {part.name: judge(part, seed) for part in series}


def means(rows: dict[str, dict[str, float]]) -> dict[str, float]:
    """Return the mean of every figure, over all series and over each collection."""
    found: dict[str, float] = {}
    for figure in next(iter(rows.values())):
        found[figure] = float(np.mean([row[figure] for row in rows.values()]))
        for name in sorted({key.split("/")[0] for key in rows}):
            own = [row[figure] for key, row in rows.items() if key.startswith(name)]
            found[f"{figure}_{name.lower()}"] = float(np.mean(own))
    return found


def measure(seeds: Sequence[int]) -> dict[str, Any]:
    """Measure."""
    return product.summary([means(each(recordings.tsb(), seed)) for seed in seeds])
