"""Set `skab`: 34 recordings of a water-circulation test bed; F1 of rows, always with false and missed alarm rates.

A bundle for each recording, trained on its first 400 rows, beside the network of a bundle for all; the rows after them
are judged. F1 alone can be had by an alarm that never ends, so it is worth nothing without the false alarm rate beside
it. An alarm is a score over the level at which the line begins: the line's fatigue is for pagers, not for rows. Three
rows of figures: at the default level; at the best one with at most 13 % false alarms in hindsight (`best_`); with each
group's level chosen on the others (`left_out_`).
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from models.bundle import Bundle
from models.settings import TrainSettings
from monitor.threshold.unified import LEVEL
from monitor.window import WindowSettings
from tests.quality import product, recordings
from tests.quality.recordings import Series
from tests.quality.shelf import Piece, Shelf

LENGTH = 64
MOST_FALSE = 0.13
LEVELS = tuple(np.round(np.arange(0.24, 0.6, 0.01), 2).tolist())


def rates(alarm: Sequence[NDArray[np.bool_]], parts: Sequence[Series]) -> dict[str, float]:
    """Return F1, false alarm rate and missed alarm rate, pooled over rows."""
    found = np.concatenate([a[p.train :] for a, p in zip(alarm, parts, strict=True)])
    label: NDArray[np.bool_] = np.concatenate([p.label[p.train :] for p in parts])
    hit = float(np.count_nonzero(found & label))
    return {
        "f1": 2 * hit / max(1, int(np.count_nonzero(found)) + int(np.count_nonzero(label))),
        "false_alarm_rate": float(np.count_nonzero(found & ~label) / np.count_nonzero(~label)),
        "missed_alarm_rate": float(1 - hit / np.count_nonzero(label)),
    }


def chosen(scores: Sequence[NDArray[np.float64]], parts: Sequence[Series]) -> float:
    """Return the level with the best F1 whose false alarms are at most `MOST_FALSE`."""
    made = [(rates([score > level for score in scores], parts), level) for level in LEVELS]
    allowed = [(row["f1"], level) for row, level in made if row["false_alarm_rate"] <= MOST_FALSE]
    level: float = max(allowed)[1]
    return level


def judged(scores: Sequence[NDArray[np.float64]], begun: Sequence[float], parts: Sequence[Series]) -> dict[str, float]:
    """Return the rates where each bundle's line begins (`begun`), at the best level, and with others' choice of it."""
    best = chosen(scores, parts)
    alarms: list[NDArray[np.bool_]] = []
    for part, score in zip(parts, scores, strict=True):
        group = part.name.split("/")[0]
        others = [number for number, other in enumerate(parts) if not other.name.startswith(group)]
        alarms.append(score > chosen([scores[number] for number in others], [parts[number] for number in others]))
    return {
        **rates([score > level for score, level in zip(scores, begun, strict=True)], parts),
        "lifted": float(np.count_nonzero(np.array(begun) > LEVEL)),
        **{f"best_{name}": value for name, value in rates([s > best for s in scores], parts).items()},
        "best_level": best,
        **{f"left_out_{name}": value for name, value in rates(alarms, parts).items()},
    }


def once(seed: int, shelf: Shelf) -> dict[str, float]:
    """Train, replay and judge."""
    parts = recordings.skab()
    window = WindowSettings(length=LENGTH, stride=1)
    crew = product.Crew(TrainSettings(seed=seed))
    fleet = shelf.bundle(seed, "fleet", functools.partial(crew.fleet, parts, window))
    wanted = [part for part in parts if shelf.wants(part.name)]
    pieces = [shelf.piece(seed, part.name, functools.partial(_one, crew, part, window, fleet)) for part in wanted]
    return judged([np.array(piece["score"]) for piece in pieces], [piece["begun"] for piece in pieces], wanted)


def _one(crew: product.Crew, part: Series, window: WindowSettings, fleet: Bundle) -> Piece:
    with product.temporary() as folder:
        bundle = crew.own([part], window, Path(folder) / "bundle", fleet)
        (found,) = product.watch(bundle, [part], ("window.stride=1",))
    return {"score": product.held(found.score).tolist(), "begun": float(found.line[~np.isnan(found.line)][0])}


def measure(seeds: Sequence[int], shelf: Shelf) -> dict[str, Any]:
    """Measure."""
    return product.summary([once(seed, shelf) for seed in seeds])
