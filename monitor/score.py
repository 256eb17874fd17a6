"""Scores: one number a window from the model's errors, and which feature it came from."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from monitor.window.windows import Windows

UNSCORED = ("missing", "not_finite", "warmup")
"""Why a window was not scored: too many of its values are missing or filled; the model's score is no finite number; the
detector knows too little of the stream yet."""

_MANY = 256


class ModelScores(Protocol):
    """What a model returns for `n` windows of `L` rows and `F` features."""

    @property
    def score(self) -> NDArray[np.float32]:
        """`(n,)`, larger = stranger."""

    @property
    def errors(self) -> NDArray[np.float32]:
        """`(n, F)`, each feature's part; 0 where it has no present cell."""

    @property
    def reconstruction(self) -> NDArray[np.float32]:
        """`(n, L, F)`, raw units."""


class Model(Protocol):
    """What scores windows: the same bits for a window, whatever other windows it is scored with."""

    def score(self, windows: NDArray[np.float32]) -> ModelScores:
        """Score `(n, L, F)` windows in raw units, NaN = missing."""


@dataclass(frozen=True, slots=True)
class Scored:
    """The scores of one partition's windows.

    Attributes:
        scored: `(n,)` bool; False for windows with too many missing values.
        score: `(n,)` float64, NaN where not scored.
        errors: `(n, F)` float32, zeros where not scored.
        reconstruction: `(n, L, F)` float32, unset where not scored.
        warming: `(n,)` bool, not scored because their stream is new to the detector; None = there is no such time.
        said: `(n, M)` float32, what each member of a detector made of the window, on the scale of `score`; None = there
            is no detector.
        refreshed: slots whose slow columns these windows have changed; None = there are no such columns.
    """

    scored: NDArray[np.bool_]
    score: NDArray[np.float64]
    errors: NDArray[np.float32]
    reconstruction: NDArray[np.float32]
    warming: NDArray[np.bool_] | None = None
    said: NDArray[np.float32] | None = None
    refreshed: NDArray[np.int32] | None = None


def score(model: Model, parts: list[Windows], max_missing: float) -> list[Scored]:
    """Score the windows of several partitions in one pass over the model.

    A window whose share of missing and filled values is above `max_missing`, or whose score is not finite, is not
    scored: it changes neither lines nor alerts.
    """
    masks = [part.missing <= max_missing for part in parts]
    chosen = [part.values if mask.all() else part.values[mask] for part, mask in zip(parts, masks, strict=True)]
    filled = [values for values in chosen if len(values)]
    if not filled:
        return [_unscored(part) for part in parts]
    results = iter(_results(model, filled))
    out: list[Scored] = []
    for part, mask, values in zip(parts, masks, chosen, strict=True):
        if len(values) == 0:
            out.append(_unscored(part))
            continue
        number, errors, rebuilt = next(results)
        finite = np.isfinite(number)
        if len(values) == len(part) and finite.all():
            out.append(Scored(mask, number.astype(np.float64), errors, rebuilt))
            continue
        scored = _unscored(part)
        where = np.flatnonzero(mask)[finite]
        scored.scored[where] = True
        scored.score[where] = number[finite]
        scored.errors[where] = errors[finite]
        scored.reconstruction[where] = rebuilt[finite]
        out.append(scored)
    return out


def _results(
    model: Model, filled: list[NDArray[np.float32]]
) -> list[tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.float32]]]:
    """Return score, errors and reconstruction of each array of windows; none of them is empty.

    Few windows go through the model together. Many are not copied into one array first: they fill its chunks anyway,
    and a window's score does not depend on what else is scored with it.
    """
    if len(filled) == 1 or min(map(len, filled)) >= _MANY:
        results = [model.score(values) for values in filled]
        return [(found.score, found.errors, found.reconstruction) for found in results]
    found, ends = model.score(np.concatenate(filled)), np.cumsum([len(values) for values in filled]).tolist()
    parts = [slice(begin, end) for begin, end in zip([0, *ends], ends, strict=False)]
    return [(found.score[here], found.errors[here], found.reconstruction[here]) for here in parts]


def _unscored(part: Windows) -> Scored:
    """Return room for the scores of a partition's windows, none of them scored."""
    n, _, features = part.values.shape
    return Scored(
        np.zeros(n, np.bool_),
        np.full(n, np.nan),
        np.zeros((n, features), np.float32),
        np.zeros_like(part.values),
    )


def worst_rows(
    values: NDArray[np.float32], reconstruction: NDArray[np.float32]
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Return actual and expected value of each feature at its worst row.

    Args:
        values: `(n, L, F)`, NaN = missing.
        reconstruction: `(n, L, F)`.

    Returns:
        Two `(n, F)` arrays. Where a feature has no present row, actual is NaN and expected is that of the last row.
    """
    residual = np.abs(values.astype(np.float64) - reconstruction)
    worst = residual.argmax(axis=1)
    window, feature = np.ogrid[: len(values), : values.shape[2]]
    if np.isnan(residual[window, worst, feature]).any():  # the first missing cell counts as the largest
        absent = np.isnan(residual)
        worst = np.where(absent, -1.0, residual).argmax(axis=1)
        worst = np.where(absent.all(axis=1), values.shape[1] - 1, worst)
    return values[window, worst, feature], reconstruction[window, worst, feature]


def shares(errors: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return each feature's share of the error, `(n, F)`, rows that sum to 1; equal shares where that means nothing.

    It means nothing where all errors are 0, or one of them is no finite number.
    """
    wide = errors.astype(np.float64)
    total = wide.sum(axis=1, keepdims=True)
    known = (total > 0) & np.isfinite(total)
    equal = 1.0 / errors.shape[1]
    return np.where(known, np.where(known, wide, 0.0) / np.where(known, total, 1.0), equal).astype(np.float32)
