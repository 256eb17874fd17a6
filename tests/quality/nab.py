"""Set `nab`: 58 series of the Numenta Anomaly Benchmark, by its own score.

A detection is the row at which an alert fires. Two detectors: `fleet`, one bundle for all series, trained on the first
rows of each (those that the benchmark does not score); and a bundle for each series, trained on its own first rows
beside the fleet's coarse member, which is what the keys without a prefix are. Nothing of a file but its past is used:
not its range, and of its length only what the benchmark's own probation needs.

For each detector: the score with the best level in hindsight (as the leaderboard has it), with each category's level
chosen on the others (`left_out_`), and with the shipped default line (`default_`).
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from models.bundle import Bundle
from models.settings import TrainSettings
from monitor.agreement import prior_of
from monitor.threshold import LEVEL, Prior
from monitor.window import WindowSettings
from tests.quality import product, recordings, sweep
from tests.quality.nab_scorer import PROFILES, Labelled, Steps, steps, tally
from tests.quality.product import Found
from tests.quality.recordings import Series
from tests.quality.shelf import Piece, Shelf

LENGTH = 64
LEVELS = tuple(np.round(np.arange(0.24, 0.54, 0.02), 2).tolist())
Corpus = Sequence[tuple[Series, Labelled]]
Rows = list[NDArray[np.bool_]]


def levels(corpus: Corpus, found: Sequence[Found], priors: Sequence[Prior]) -> dict[float, Rows]:
    """Return the openings at each level."""
    each = [
        sweep.openings(made, series, prior, LEVELS)
        for made, (series, _), prior in zip(found, corpus, priors, strict=True)
    ]
    for made, (series, _), rows in zip(found, corpus, each, strict=True):
        if not np.array_equal(rows[LEVELS.index(LEVEL)], made.opened):
            message = f"{series.name}: at the default level the sweep's openings are not those of the replay"
            raise RuntimeError(message)
    return {level: [rows[number] for rows in each] for number, level in enumerate(LEVELS)}


def scored(corpus: Corpus, rows: Rows, wanted: Sequence[str] | None = None) -> Steps:
    """Return what openings are worth, over all categories or some."""
    return steps(
        (labelled, np.where(row, 1.0, -np.inf))
        for (_, labelled), row in zip(corpus, rows, strict=True)
        if wanted is None or labelled.group in wanted
    )


def figures(corpus: Corpus, found: Sequence[Found], priors: Sequence[Prior]) -> dict[str, float]:
    """Return every figure of one detector."""
    at = levels(corpus, found, priors)
    groups = sorted({labelled.group for _, labelled in corpus})
    made: dict[str, float] = {}
    default = [part.opened for part in found]
    for name, profile in PROFILES.items():
        best = max(at, key=lambda level: scored(corpus, at[level]).at(1.0, profile))
        made[name] = scored(corpus, at[best]).at(1.0, profile)
        made[f"default_{name}"] = scored(corpus, default).at(1.0, profile)
        if name == "standard":
            made["level"] = best
        total = perfect = 0.0
        for group in groups:
            others = [other for other in groups if other != group]
            chosen = max(at, key=lambda level: scored(corpus, at[level], others).at(1.0, profile))
            own = scored(corpus, at[chosen], [group])
            weight = own.windows * (1 + profile.fn)
            total += own.at(1.0, profile) / 100 * weight if own.windows else _cost(own, profile.fp)
            perfect += weight
        made[f"left_out_{name}"] = 100 * total / perfect
    made |= _counted(corpus, at[made["level"]], "")
    made |= _counted(corpus, default, "default_")
    return made


def _cost(own: Steps, fp: float) -> float:
    return float(fp * own.loss.sum())


def _counted(corpus: Corpus, rows: Rows, prefix: str) -> dict[str, float]:
    """Return windows hit, false alarms and alerts a series and day."""
    both = tally(((labelled, row.astype(float)) for (_, labelled), row in zip(corpus, rows, strict=True)), 1.0)
    days = sum((s.time[-1] - s.time[min(m.probation, m.rows - 1)]) / 86_400_000 for s, m in corpus)
    alerts = sum(int(row[m.probation :].sum()) for (_, m), row in zip(corpus, rows, strict=True))
    return {
        f"{prefix}windows_hit": float(both.hit),
        f"{prefix}false_alarms_per_series_day": both.false / days,
        f"{prefix}alerts_per_series_day": alerts / days,
    }


def once(seed: int, shelf: Shelf) -> dict[str, float]:
    """Train, replay and judge both detectors.

    A subset of the series is judged as if it were the corpus; of an empty one (`--only fleet`) the fleet's figures for
    the whole corpus are returned alone.
    """
    corpus = recordings.nab()
    parts = [series for series, _ in corpus]
    window = WindowSettings(length=LENGTH, stride=1)
    crew = product.Crew(TrainSettings(seed=seed))
    fleet = shelf.bundle(seed, "fleet", functools.partial(crew.fleet, parts, window))
    whole = shelf.piece(seed, "fleet-found", lambda: {"found": [f.dump() for f in _watch(fleet, parts)]})["found"]
    wanted = [number for number, part in enumerate(parts) if shelf.wants(part.name)]
    judged = wanted or range(len(parts))
    made = {
        f"fleet_{name}": value
        for name, value in figures(
            [corpus[number] for number in judged],
            [Found.load(whole[number]) for number in judged],
            [prior_of(fleet)] * len(judged),
        ).items()
    }
    if not wanted:
        return made
    own = [shelf.piece(seed, parts[n].name, functools.partial(_one, crew, parts[n], window, fleet)) for n in wanted]
    alone = figures(
        [corpus[number] for number in wanted],
        [Found.load(piece["found"]) for piece in own],
        [Prior(**piece["prior"]) for piece in own],
    )
    return alone | made


def _watch(bundle: Bundle, parts: Sequence[Series]) -> list[Found]:
    return product.watch(bundle, parts, ("window.stride=1",))


def _one(crew: product.Crew, part: Series, window: WindowSettings, fleet: Bundle) -> Piece:
    with product.temporary() as folder:
        bundle = crew.own([part], window, Path(folder) / "bundle", fleet)
        (found,) = _watch(bundle, [part])
    return {"found": found.dump(), "prior": asdict(prior_of(bundle))}


def measure(seeds: Sequence[int], shelf: Shelf) -> dict[str, Any]:
    """Measure."""
    return product.summary([once(seed, shelf) for seed in seeds])
